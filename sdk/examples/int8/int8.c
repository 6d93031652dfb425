/* SPDX-License-Identifier: Apache-2.0 */
/* Compressor `int8`: 8 bits an element, linear between minus and plus the largest magnitude of its block, with error feedback
   (after Dettmers, "8-bit approximations for parallelism in deep learning", arXiv 1511.04561). C99 and onebit/abi.h, nothing
   else:

     cc -std=c99 -O2 -ffp-contract=off -fPIC -shared -fvisibility=hidden -I PREFIX/include int8.c -o int8.so -lm

   Payload of n elements: the scale (fp32: largest magnitude / 127), then n signed bytes, then zeros up to a multiple of 4. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onebit/abi.h"

/* Ours; the header only says that there is such a struct. */
struct onebit_compressor {
  int64_t block;
};

#define TEXT(literal) \
  { literal, sizeof(literal) - 1 }

/* Whoever did not allocate a struct asks whether it has a field: an older host's error may end before the message. */
static onebit_code fail(onebit_error* err, onebit_code code, const char* format, long long value) {
  if (err != NULL && ONEBIT_HAS(err, onebit_error, native)) err->native = 0;
  if (err != NULL && ONEBIT_HAS(err, onebit_error, message)) snprintf(err->message, sizeof err->message, format, value);
  return code;
}

static const onebit_schema block_option = {sizeof(onebit_schema),
                                           TEXT("block"),
                                           TEXT("elements a block, a multiple of 32; each costs 32 bits more"),
                                           TEXT("1024"),
                                           {NULL, 0},
                                           32,
                                           65536,
                                           ONEBIT_VALUE_INT,
                                           0};
static const onebit_schema* const options[] = {&block_option};

static const onebit_option* find(const onebit_config* config, const onebit_str* key) {
  for (size_t i = 0; i < config->count; ++i) {
    const onebit_option* option = config->options[i];
    if (option->key.size == key->size && memcmp(option->key.data, key->data, key->size) == 0) return option;
  }
  return NULL;
}

static onebit_code create(const onebit_host* host, const onebit_config* config, onebit_compressor** out, onebit_error* err) {
  (void)host;
  const onebit_option* block = ONEBIT_HAS(config, onebit_config, options) ? find(config, &block_option.key) : NULL;
  if (block == NULL || !ONEBIT_HAS(block, onebit_option, integer))
    return fail(err, ONEBIT_INVALID_ARGUMENT, "the host gave no option 'block' (%lld)", 0);
  if (block->integer < 32 || block->integer > 65536 || block->integer % 32 != 0)
    return fail(err, ONEBIT_INVALID_ARGUMENT, "block is %lld; it must be a multiple of 32 from 32 to 65536", block->integer);
  onebit_compressor* self = malloc(sizeof *self);
  if (self == NULL) return fail(err, ONEBIT_OUT_OF_MEMORY, "no memory for a compressor of %lld bytes", sizeof *self);
  self->block = block->integer;
  *out = self;
  return ONEBIT_OK;
}
static void destroy(onebit_compressor* self) { free(self); }

static onebit_code describe(onebit_compressor* self, onebit_codec* out, onebit_error* err) {
  (void)err;
  if (ONEBIT_HAS(out, onebit_codec, block)) out->block = self->block;
  if (ONEBIT_HAS(out, onebit_codec, statistics)) out->statistics = 0; /* a block's scale is found where it is encoded */
  if (ONEBIT_HAS(out, onebit_codec, span)) out->span = ONEBIT_SPAN_BLOCK;
  if (ONEBIT_HAS(out, onebit_codec, feedback)) out->feedback = 1;
  return ONEBIT_OK;
}

static size_t payload_size(onebit_compressor* self, int64_t count) {
  (void)self;
  return sizeof(float) + ((size_t)count + 3) / 4 * 4;
}

static onebit_code measure(onebit_compressor* self, const onebit_batch* batch, const float* values, const float* errors,
                           double* statistics, onebit_error* err) {
  (void)self, (void)batch, (void)values, (void)errors, (void)statistics, (void)err;
  return ONEBIT_OK;
}

/* Largest magnitude / 127; a NaN compares false and is passed over. */
static float scale_of(const float* values, const float* errors, int64_t count) {
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float magnitude = fabsf(values[i] + errors[i]);
    if (magnitude > largest) largest = magnitude;
  }
  return largest / 127;
}

/* The nearest code; in this order of comparisons a NaN ends as -127 and no conversion overflows. */
static int8_t code_of(float x, float scale) {
  const float at = scale > 0 ? rintf(x / scale) : 0;
  return at > 127 ? 127 : at >= -127 ? (int8_t)at : -127;
}

static void encode_block(const float* values, const float* errors, float* new_errors, int64_t count, unsigned char* payload) {
  const float scale = scale_of(values, errors, count);
  memset(payload, 0, payload_size(NULL, count));
  memcpy(payload, &scale, sizeof scale);
  for (int64_t i = 0; i < count; ++i) {
    const float x = values[i] + errors[i];
    const int8_t code = code_of(x, scale);
    memcpy(payload + sizeof scale + i, &code, 1);
    new_errors[i] = x - (float)code * scale;
  }
}

static onebit_code encode(onebit_compressor* self, const onebit_batch* batch, const float* values, const float* errors,
                          float* new_errors, const double* statistics, void* payload, onebit_error* err) {
  (void)self, (void)statistics, (void)err;
  for (size_t k = 0; k < batch->piece_count; ++k) {
    const onebit_piece* piece = &batch->pieces[k]; /* frozen: an array of them is walked through as it is */
    encode_block(values + piece->first, errors + piece->first, new_errors + piece->first, piece->count,
                 (unsigned char*)payload + piece->payload);
  }
  return ONEBIT_OK;
}

static void decode_block(const unsigned char* payload, int64_t count, float weight, int add, float* out) {
  float scale;
  memcpy(&scale, payload, sizeof scale);
  for (int64_t i = 0; i < count; ++i) {
    int8_t code;
    memcpy(&code, payload + sizeof scale + i, 1);
    const float x = weight * ((float)code * scale);
    out[i] = add ? out[i] + x : x;
  }
}

static onebit_code decode(onebit_compressor* self, const onebit_batch* batch, const void* payload, float weight, int32_t add,
                          float* out, onebit_error* err) {
  (void)self, (void)err;
  for (size_t k = 0; k < batch->piece_count; ++k) {
    const onebit_piece* piece = &batch->pieces[k];
    decode_block((const unsigned char*)payload + piece->payload, piece->count, weight, add != 0, out + piece->first);
  }
  return ONEBIT_OK;
}

/* fold stays NULL: only spans wider than a block need it. */
static const onebit_compressor_api api = {
    sizeof(onebit_compressor_api), create, destroy, describe, payload_size, measure, NULL, encode, decode};
static const onebit_component component = {
    sizeof(onebit_component), ONEBIT_KIND_COMPRESSOR, "int8", ONEBIT_DEVICE_CPU, 0, options, 1, &api};
static const onebit_component* const components[] = {&component};
static const onebit_plugin plugin = {
    sizeof(onebit_plugin), ONEBIT_ABI_MINOR, "int8", "1.0.0", "C99 " __VERSION__, components, 1, NULL, NULL};

const onebit_plugin* onebit_plugin_entry_v1(const onebit_host* host, onebit_error* err) {
  (void)host, (void)err;
  return &plugin;
}

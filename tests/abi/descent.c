/* SPDX-License-Identifier: Apache-2.0 */
/* Gradient descent with momentum and a codec to 16 bits, in plain C99. Built in many ways: as NAME, against the contract of
   today, of 1.0 and of a version that has grown. Each build looks at what its host gives it, and refuses what is too small. */
#include <stdlib.h>
#include <string.h>

#include "onebit/abi.h"

#define TEXT_OF(x) #x
#define QUOTED(x) TEXT_OF(x)
#define TEXT(s) \
  { s, sizeof(s) - 1 }

#if ONEBIT_ABI_MINOR == 99 /* grown: `grown` ends every struct, and a host has it everywhere or nowhere */
#define FITS(self, ptr, type) (ONEBIT_HAS(ptr, type, grown) == (self)->in_grown_host)
#else
#define FITS(self, ptr, type) ((void)(self), (ptr)->struct_size >= sizeof(type))
#endif

/* Of this name in every library that is built from here, or from descent.cpp. */
extern char shared_name[];
char shared_name[] = "1.0-" QUOTED(NAME);

struct onebit_optimizer {
  int in_grown_host;
  int compressed;
  const char* fail; /* the call that fails */
  onebit_round round;
  const onebit_round* rounds[1];
};
struct onebit_compressor {
  int in_grown_host;
  const char* fail;
};

static onebit_code say(onebit_error* err, onebit_code code, const char* message, int32_t native) {
  strncpy(err->message, message, sizeof err->message - 1);
  err->message[sizeof err->message - 1] = '\0';
  err->native = native;
  return code;
}
#define REQUIRE_FIT(ptr, type) \
  if (!FITS(self, ptr, type)) return say(err, ONEBIT_STATE_MISMATCH, #type " has another size than this host's others", 0)

/* ---- options */
static const onebit_option* option_of(const onebit_config* cfg, const char* key) {
  for (size_t i = 0; i < cfg->count; ++i)
    if (cfg->options[i]->key.size == strlen(key) && memcmp(cfg->options[i]->key.data, key, strlen(key)) == 0)
      return cfg->options[i];
  return NULL;
}
static const char* call_that_fails(const onebit_config* cfg) {
  static const char* const calls[] = {"create", "plan", "consume", "encode"};
  const onebit_str chosen = option_of(cfg, "fail")->string;
  for (size_t i = 0; i < sizeof calls / sizeof *calls; ++i)
    if (chosen.size == strlen(calls[i]) && memcmp(chosen.data, calls[i], chosen.size) == 0) return calls[i];
  return "";
}
static int grown(const onebit_host* host) {
#if ONEBIT_ABI_MINOR == 99
  return ONEBIT_HAS(host, onebit_host, grown);
#else
  (void)host;
  return 0;
#endif
}

/* ---- optimizer */
static onebit_code create_optimizer(const onebit_host* host, const onebit_config* cfg, onebit_optimizer** out,
                                    onebit_error* err) {
  onebit_optimizer* const self = calloc(1, sizeof *self);
  if (self == NULL) return say(err, ONEBIT_OUT_OF_MEMORY, "out of memory", 0);
  self->in_grown_host = grown(host);
  self->compressed = option_of(cfg, "compressed")->integer != 0;
  self->fail = call_that_fails(cfg);
  *out = self;
  if (strcmp(self->fail, "create") != 0 && FITS(self, cfg, onebit_config) && FITS(self, cfg->options[0], onebit_option))
    return ONEBIT_OK;
  free(self);
  return say(err, ONEBIT_DEVICE_ERROR, "failed on purpose", 7);
}
static void destroy_optimizer(onebit_optimizer* self) { free(self); }

static onebit_code declare(onebit_optimizer* self, const onebit_tensor_info* const* tensors, size_t count,
                           const onebit_state* state, onebit_error* err) {
  onebit_state_desc desc;
  REQUIRE_FIT(state, onebit_state);
  for (size_t i = 0; i < count; ++i) REQUIRE_FIT(tensors[i], onebit_tensor_info);
  memset(&desc, 0, sizeof desc);
  desc.struct_size = sizeof desc;
  desc.name.data = "momentum";
  desc.name.size = 8;
  desc.extent = ONEBIT_PER_ELEMENT;
  desc.count = 1;
  desc.scope = ONEBIT_REPLICATED;
  desc.reshard = ONEBIT_RESHARD_MEAN;
  desc.dtype.code = ONEBIT_DTYPE_FLOAT;
  desc.dtype.bits = 32;
  desc.dtype.lanes = 1;
  if (state->declare(state->ctx, &desc) != 0) return say(err, ONEBIT_INTERNAL, "expected slot 0", 0);
  desc.name.data = "steps";
  desc.name.size = 5;
  desc.extent = ONEBIT_PER_MODEL;
  return state->declare(state->ctx, &desc) == 1 ? ONEBIT_OK : say(err, ONEBIT_INTERNAL, "expected slot 1", 0);
}

static onebit_code plan(onebit_optimizer* self, const onebit_step* step, const onebit_totals* totals, onebit_plan* out,
                        onebit_error* err) {
  const int even = (int)*(const double*)totals->slots[1] % 2 == 1;
  REQUIRE_FIT(step, onebit_step);
  REQUIRE_FIT(totals, onebit_totals);
  REQUIRE_FIT(out, onebit_plan);
  if (strcmp(self->fail, "plan") == 0) return say(err, ONEBIT_INTERNAL, "failed on purpose", 0);
  self->round.struct_size = sizeof self->round;
  self->round.kind = even && self->compressed ? ONEBIT_ROUND_COMPRESSED : ONEBIT_ROUND_DENSE;
  self->round.of = ONEBIT_OF_MESSAGE;
  self->rounds[0] = &self->round;
  out->rounds = self->rounds;
  out->round_count = 1;
#if ONEBIT_ABI_MINOR == 99
  if (ONEBIT_HAS(out, onebit_plan, grown)) out->grown = 1;
#endif
  return ONEBIT_OK;
}

static onebit_code produce(onebit_optimizer* self, const onebit_step* step, int32_t round, const onebit_tile* tile,
                           onebit_error* err) {
  (void)step, (void)round;
  REQUIRE_FIT(tile, onebit_tile);
  for (size_t b = 0; b < tile->block_count; ++b)
    for (int64_t i = 0; i < tile->blocks[b].count; ++i)
      tile->message[tile->blocks[b].packed + i] = tile->blocks[b].gradient[i] * *tile->gradient_scale;
  return ONEBIT_OK;
}
static onebit_code consume(onebit_optimizer* self, const onebit_step* step, int32_t round, const onebit_tile* tile,
                           onebit_error* err) {
  (void)round;
  REQUIRE_FIT(tile, onebit_tile);
  if (strcmp(self->fail, "consume") == 0) return say(err, ONEBIT_INTERNAL, "an exception that is not a std::exception", 0);
  for (size_t b = 0; b < tile->block_count; ++b) {
    const onebit_block* const block = &tile->blocks[b];
    const float rate = (float)step->groups[block->group].learning_rate;
    float* const momentum = (float*)tile->slots[0] + block->flat;
    for (int64_t i = 0; i < block->count; ++i) {
      momentum[i] = 0.5F * momentum[i] + tile->mean[block->packed + i];
      block->parameter[i] -= rate * momentum[i];
    }
  }
  return ONEBIT_OK;
}
static onebit_code combine(onebit_optimizer* self, const onebit_step* step, const onebit_totals* totals, onebit_error* err) {
  (void)step;
  REQUIRE_FIT(totals, onebit_totals);
  *(double*)totals->slots[1] += 1;
  return ONEBIT_OK;
}
static onebit_code apply(onebit_optimizer* self, const onebit_step* step, const onebit_tile* tile, onebit_error* err) {
  (void)self, (void)step, (void)tile;
  return say(err, ONEBIT_INTERNAL, "apply was not planned", 0);
}

/* ---- compressor: the upper half of each float */
static onebit_code create_compressor(const onebit_host* host, const onebit_config* cfg, onebit_compressor** out,
                                     onebit_error* err) {
  *out = calloc(1, sizeof **out);
  if (*out == NULL) return say(err, ONEBIT_OUT_OF_MEMORY, "out of memory", 0);
  (*out)->in_grown_host = grown(host);
  (*out)->fail = call_that_fails(cfg);
  return ONEBIT_OK;
}
static void destroy_compressor(onebit_compressor* self) { free(self); }
static onebit_code describe(onebit_compressor* self, onebit_codec* out, onebit_error* err) {
  REQUIRE_FIT(out, onebit_codec);
  out->block = 32;
  out->statistics = 0;
  out->span = ONEBIT_SPAN_BLOCK;
  out->feedback = 1;
  return ONEBIT_OK;
}
static size_t payload_size(onebit_compressor* self, int64_t count) {
  (void)self;
  return (size_t)(count + 1) / 2 * 4;
}
static onebit_code measure(onebit_compressor* self, const onebit_batch* batch, const float* values, const float* errors,
                           double* statistics, onebit_error* err) {
  (void)values, (void)errors, (void)statistics;
  REQUIRE_FIT(batch, onebit_batch);
  return ONEBIT_OK;
}
static onebit_code encode(onebit_compressor* self, const onebit_batch* batch, const float* values, const float* errors,
                          float* new_errors, const double* statistics, void* payload, onebit_error* err) {
  (void)statistics;
  REQUIRE_FIT(batch, onebit_batch);
  if (strcmp(self->fail, "encode") == 0) return say(err, ONEBIT_OUT_OF_MEMORY, "out of memory", 0);
  for (size_t p = 0; p < batch->piece_count; ++p) {
    const onebit_piece* const piece = &batch->pieces[p];
    uint16_t* const halves = (uint16_t*)((char*)payload + piece->payload);
    for (int64_t i = 0; i < piece->count; ++i) {
      const float value = values[piece->first + i] + errors[piece->first + i];
      uint32_t bits;
      float kept;
      memcpy(&bits, &value, sizeof bits);
      halves[i] = (uint16_t)(bits >> 16);
      bits &= 0xFFFF0000U;
      memcpy(&kept, &bits, sizeof kept);
      new_errors[piece->first + i] = value - kept;
    }
    if (piece->count % 2 != 0) halves[piece->count] = 0;
  }
  return ONEBIT_OK;
}
static onebit_code decode(onebit_compressor* self, const onebit_batch* batch, const void* payload, float weight, int32_t add,
                          float* out, onebit_error* err) {
  REQUIRE_FIT(batch, onebit_batch);
  for (size_t p = 0; p < batch->piece_count; ++p) {
    const onebit_piece* const piece = &batch->pieces[p];
    const uint16_t* const halves = (const uint16_t*)((const char*)payload + piece->payload);
    for (int64_t i = 0; i < piece->count; ++i) {
      const uint32_t bits = (uint32_t)halves[i] << 16;
      float value;
      memcpy(&value, &bits, sizeof value);
      out[piece->first + i] = (add ? out[piece->first + i] : 0) + weight * value;
    }
  }
  return ONEBIT_OK;
}

/* ---- tables */
#if ONEBIT_ABI_MINOR == 99
#define LATER_TYPES ONEBIT_VALUE_LATER
#define CAPABILITIES ONEBIT_CAPABILITY_LATER
#else
#define LATER_TYPES 0
#define CAPABILITIES 0
#endif
static const onebit_schema lr = {
    sizeof lr, TEXT("lr"), TEXT("the learning rate"), TEXT("0.5"), {NULL, 0}, 0, 1, ONEBIT_VALUE_FLOAT | LATER_TYPES, 0};
static const onebit_schema compressed = {sizeof compressed,
                                         TEXT("compressed"),
                                         TEXT("compress every second round"),
                                         TEXT("false"),
                                         {NULL, 0},
                                         0,
                                         0,
                                         ONEBIT_VALUE_BOOL,
                                         0};
static const onebit_schema fail = {sizeof fail,
                                   TEXT("fail"),
                                   TEXT("the call that fails"),
                                   TEXT("\"nowhere\""),
                                   TEXT("nowhere|create|plan|consume|encode"),
                                   0,
                                   0,
                                   ONEBIT_VALUE_STRING,
                                   0};
static const onebit_schema* const options[] = {&fail, &lr, &compressed};

static const onebit_optimizer_api optimizer_api = {
    sizeof optimizer_api, create_optimizer, destroy_optimizer, declare, plan, produce, consume, combine, apply};
static const onebit_compressor_api compressor_api = {
    sizeof compressor_api, create_compressor, destroy_compressor, describe, payload_size, measure, NULL, encode, decode};
static const onebit_component optimizer = {
    sizeof optimizer, ONEBIT_KIND_OPTIMIZER, QUOTED(NAME), ONEBIT_DEVICE_CPU, CAPABILITIES, options, 3, &optimizer_api};
static const onebit_component compressor = {
    sizeof compressor, ONEBIT_KIND_COMPRESSOR, QUOTED(NAME), ONEBIT_DEVICE_CPU, 0, options, 1, &compressor_api};
#if ONEBIT_ABI_MINOR == 99
static const onebit_component later = {sizeof later, ONEBIT_KIND_LATER, "Not a name of today", 99, 0, NULL, 7, NULL};
static const onebit_component* const components[] = {&later, &optimizer, &compressor};
#else
static const onebit_component* const components[] = {&optimizer, &compressor};
#endif

static const onebit_plugin table = {
    sizeof table, ONEBIT_ABI_MINOR, QUOTED(NAME), shared_name, "C99", components, sizeof components / sizeof *components, NULL,
    NULL};

const onebit_plugin* onebit_plugin_entry_v1(const onebit_host* host, onebit_error* err) {
  (void)host, (void)err;
  return &table;
}

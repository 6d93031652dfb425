/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin in plain C, sound when DEFECT is NONE and else wrong in one way: an optimizer and a compressor named "plain". */
#include <stdlib.h>
#include <string.h>

#include "onebit/abi.h"

enum Defect {
  NONE,
  NEWER,
  ENTRY_NULL,
  ENTRY_NULL_TEXT,
  PLUGIN_SIZE_0,
  PLUGIN_SIZE_3,
  PLUGIN_SIZE_HUGE,
  NO_COMPONENTS,
  COMPONENTS_NULL,
  COMPONENT_NULL,
  COMPONENT_SIZE_0,
  TOO_MANY_COMPONENTS,
  PLUGIN_NAME_NULL,
  PLUGIN_NAME_EMPTY,
  VERSION_NULL,
  NAME_NULL,
  NAME_EMPTY,
  NAME_BAD,
  NAME_LONG,
  TWICE,
  UNKNOWN_KIND,
  API_NULL,
  API_SIZE_3,
  API_SIZE_HUGE,
  SLOT_NULL,
  PROBE_UNAVAILABLE,
  PROBE_FAILS,
  OPTION_NULL,
  OPTION_SIZE_0,
  OPTION_KEY_BAD,
  OPTION_KEY_PLUGIN,
  OPTION_TYPES,
  OPTION_TYPES_NEWER,
  OPTION_RANGE,
  OPTION_DEFAULT,
  OPTION_TWICE,
  OPTION_HELP_EMPTY,
  OPTION_HELP_LINES,
  OPTIONS_NULL,
  REFUSES,
  SILENT,
  UNKNOWN_CODE,
  UNTERMINATED,
  NO_OBJECT,
  THREE_ROUNDS,
  TWO_COMPRESSED,
  UNKNOWN_ROUND,
  UNKNOWN_VECTOR,
  ROUNDS_NULL,
  SLOT_UNKNOWN,
  SLOT_THERE,
  CODEC_BLOCK,
  CODEC_STATISTICS,
  CODEC_SPAN,
  CODEC_FOLD,
  PAYLOAD_0,
  PAYLOAD_ODD,
  PAYLOAD_HUGE,
  STATE_SIZE_3,
  STATE_SCOPE,
  STATE_RESHARD,
  STATE_DTYPE,
  STATE_LATER
};
#define IS(defect) (DEFECT == (defect))
#define TEXT(s) \
  { s, sizeof(s) - 1 }

struct onebit_optimizer {
  int steps;
};
struct onebit_compressor {
  int64_t block;
};

static onebit_code say(onebit_error* err, onebit_code code, const char* message) {
  strncpy(err->message, message, sizeof err->message - 1);
  err->message[sizeof err->message - 1] = '\0';
  err->native = 42;
  return code;
}

/* ---- optimizer */
static onebit_code create_optimizer(const onebit_host* host, const onebit_config* cfg, onebit_optimizer** out,
                                    onebit_error* err) {
  (void)host, (void)cfg;
  if (IS(REFUSES)) return say(err, ONEBIT_UNAVAILABLE, "no such unit in this machine");
  if (IS(SILENT)) return ONEBIT_OUT_OF_MEMORY;
  if (IS(UNKNOWN_CODE)) return say(err, 77, "seventy-seven");
  if (IS(UNTERMINATED)) {
    memset(err->message, 'x', sizeof err->message);
    return ONEBIT_INTERNAL;
  }
  if (IS(NO_OBJECT)) return ONEBIT_OK;
  *out = calloc(1, sizeof **out);
  return *out ? ONEBIT_OK : ONEBIT_OUT_OF_MEMORY;
}
static void destroy_optimizer(onebit_optimizer* self) { free(self); }
static onebit_code declare(onebit_optimizer* self, const onebit_tensor_info* const* tensors, size_t count,
                           const onebit_state* state, onebit_error* err) {
  (void)self, (void)tensors, (void)count;
  const onebit_state_desc desc = {IS(STATE_SIZE_3) ? 3 : sizeof desc,
                                  TEXT("momentum"),
                                  ONEBIT_PER_ELEMENT,
                                  1,
                                  IS(STATE_SCOPE) ? 7 : ONEBIT_REPLICATED,
                                  IS(STATE_RESHARD) ? 7 : ONEBIT_RESHARD_MEAN,
                                  IS(STATE_LATER) ? 1 : 0,
                                  {ONEBIT_DTYPE_FLOAT, IS(STATE_DTYPE) ? 16 : 32, 1},
                                  0};
  const int32_t slot = state->declare(state->ctx, &desc);
  if (IS(STATE_LATER)) state->begins_later(state->ctx, slot);
  return slot == 0 ? ONEBIT_OK : say(err, ONEBIT_INTERNAL, "expected slot 0");
}
static onebit_code plan(onebit_optimizer* self, const onebit_step* step, const onebit_totals* totals, onebit_plan* out,
                        onebit_error* err) {
  static const onebit_round dense = {sizeof dense, IS(UNKNOWN_ROUND) ? 9 : ONEBIT_ROUND_DENSE,
                                     IS(UNKNOWN_VECTOR) ? 9 : ONEBIT_OF_GRADIENT, 0};
  static const onebit_round compressed = {sizeof compressed, ONEBIT_ROUND_COMPRESSED, ONEBIT_OF_MESSAGE, 1};
  static const onebit_round* const rounds[] = {IS(TWO_COMPRESSED) ? &compressed : &dense, &compressed, &dense};
  static const int32_t release[] = {IS(SLOT_UNKNOWN) ? 1 : 0};
  (void)self, (void)totals, (void)err;
  out->rounds = IS(ROUNDS_NULL) ? NULL : rounds;
  out->round_count = IS(THREE_ROUNDS) ? 3 : 2;
  out->release = release;
  out->release_count = 1;
  if (IS(SLOT_THERE)) out->acquire = release, out->acquire_count = 1;
  out->apply = step->number == 2;
  return ONEBIT_OK;
}
static onebit_code tile_call(onebit_optimizer* self, const onebit_step* step, int32_t round, const onebit_tile* tile,
                             onebit_error* err) {
  (void)self, (void)step, (void)round, (void)tile, (void)err;
  return ONEBIT_OK;
}
static onebit_code combine(onebit_optimizer* self, const onebit_step* step, const onebit_totals* totals, onebit_error* err) {
  (void)step, (void)totals, (void)err;
  ++self->steps;
  return ONEBIT_OK;
}
static onebit_code apply(onebit_optimizer* self, const onebit_step* step, const onebit_tile* tile, onebit_error* err) {
  (void)self, (void)step, (void)tile, (void)err;
  return ONEBIT_OK;
}

/* ---- compressor: four bytes an element, as they are */
static onebit_code create_compressor(const onebit_host* host, const onebit_config* cfg, onebit_compressor** out,
                                     onebit_error* err) {
  (void)host, (void)cfg, (void)err;
  *out = calloc(1, sizeof **out);
  return *out ? ONEBIT_OK : ONEBIT_OUT_OF_MEMORY;
}
static void destroy_compressor(onebit_compressor* self) { free(self); }
static onebit_code describe(onebit_compressor* self, onebit_codec* out, onebit_error* err) {
  (void)self, (void)err;
  out->block = IS(CODEC_BLOCK) ? 33 : 4096;
  out->statistics = IS(CODEC_STATISTICS) ? 9 : 0;
  out->span = IS(CODEC_SPAN) ? 7 : IS(CODEC_FOLD) ? ONEBIT_SPAN_TENSOR : ONEBIT_SPAN_BLOCK;
  out->feedback = 0;
  return ONEBIT_OK;
}
static size_t payload_size(onebit_compressor* self, int64_t count) {
  (void)self;
  if (IS(PAYLOAD_0)) return 0;
  if (IS(PAYLOAD_HUGE)) return SIZE_MAX - 3;
  return (size_t)count * 4 + IS(PAYLOAD_ODD);
}
static onebit_code measure(onebit_compressor* self, const onebit_batch* batch, const float* values, const float* errors,
                           double* statistics, onebit_error* err) {
  (void)self, (void)batch, (void)values, (void)errors, (void)statistics, (void)err;
  return ONEBIT_OK;
}
static onebit_code encode(onebit_compressor* self, const onebit_batch* batch, const float* values, const float* errors,
                          float* new_errors, const double* statistics, void* payload, onebit_error* err) {
  (void)self, (void)errors, (void)new_errors, (void)statistics, (void)err;
  for (size_t i = 0; i < batch->piece_count; ++i)
    memcpy((char*)payload + batch->pieces[i].payload, values + batch->pieces[i].first, (size_t)batch->pieces[i].count * 4);
  return ONEBIT_OK;
}
static onebit_code decode(onebit_compressor* self, const onebit_batch* batch, const void* payload, float weight, int32_t add,
                          float* out, onebit_error* err) {
  (void)self, (void)err;
  for (size_t i = 0; i < batch->piece_count; ++i)
    for (int64_t k = 0; k < batch->pieces[i].count; ++k) {
      float value;
      memcpy(&value, (const char*)payload + batch->pieces[i].payload + 4 * k, 4);
      float* const at = out + batch->pieces[i].first + k;
      *at = (add ? *at : 0) + weight * value;
    }
  return ONEBIT_OK;
}

/* ---- tables. NEWER ends each with a field that this host does not know. */
static const struct {
  onebit_optimizer_api api;
  void (*later)(void);
} optimizer = {
    {IS(API_SIZE_3)      ? 3
     : IS(API_SIZE_HUGE) ? UINT64_C(1) << 60
     : IS(NEWER)         ? sizeof optimizer
                         : sizeof optimizer.api,
     create_optimizer, destroy_optimizer, declare, IS(SLOT_NULL) ? NULL : plan, tile_call, tile_call, combine, apply},
    NULL};
static const onebit_compressor_api compressor = {
    sizeof compressor, create_compressor, destroy_compressor, describe, payload_size, measure, NULL, encode, decode};

static const onebit_schema lr = {
    IS(OPTION_SIZE_0) ? 0 : sizeof lr,
    {IS(OPTION_KEY_BAD)      ? "L R"
     : IS(OPTION_KEY_PLUGIN) ? "plugin"
                             : "lr",
     IS(OPTION_KEY_BAD)      ? 3
     : IS(OPTION_KEY_PLUGIN) ? 6
                             : 2},
    {IS(OPTION_HELP_LINES) ? "the learning\nrate!" : "the learning rate", IS(OPTION_HELP_EMPTY) ? 0 : 17},
    {IS(OPTION_DEFAULT) ? "7.0" : "0.1", 3},
    {NULL, 0},
    IS(OPTION_RANGE) ? 2 : 0,
    1,
    IS(OPTION_TYPES)         ? 64
    : IS(OPTION_TYPES_NEWER) ? 64 | ONEBIT_VALUE_FLOAT
                             : ONEBIT_VALUE_FLOAT,
    0};
static const onebit_schema* const options[] = {IS(OPTION_NULL) ? NULL : &lr, &lr};

static const onebit_component plain_optimizer = {
    IS(COMPONENT_SIZE_0) ? 0 : sizeof plain_optimizer,
    IS(UNKNOWN_KIND) ? 99 : ONEBIT_KIND_OPTIMIZER,
    IS(NAME_NULL)    ? NULL
    : IS(NAME_EMPTY) ? ""
    : IS(NAME_BAD)   ? "Plain Name"
    : IS(NAME_LONG)  ? "a_name_of_more_than_sixty_four_letters_which_nobody_would_like_to_type_twice"
                     : "plain",
    ONEBIT_DEVICE_CPU,
    UINT64_MAX, /* capabilities of the future are ignored */
    IS(OPTIONS_NULL) ? NULL : options,
    IS(OPTION_TWICE) ? 2 : 1,
    IS(API_NULL) ? NULL : &optimizer};
static const onebit_component plain_compressor = {
    sizeof plain_compressor, ONEBIT_KIND_COMPRESSOR, "plain", ONEBIT_DEVICE_CPU, 0, NULL, 0, &compressor};
static const onebit_component* const components[] = {&plain_optimizer, IS(COMPONENT_NULL) ? NULL
                                                                       : IS(TWICE)        ? &plain_optimizer
                                                                                          : &plain_compressor};

static onebit_code probe(onebit_error* err) {
  if (IS(PROBE_UNAVAILABLE)) return say(err, ONEBIT_UNAVAILABLE, "no abacus in this machine");
  if (IS(PROBE_FAILS)) return say(err, ONEBIT_INTERNAL, "the abacus is broken");
  return ONEBIT_OK;
}
static int* shutdowns;
static void shut_down(void) {
  if (shutdowns) ++*shutdowns;
}

static const struct {
  onebit_plugin plugin;
  uint64_t later;
} table = {{IS(PLUGIN_SIZE_0)      ? 0
            : IS(PLUGIN_SIZE_3)    ? 3
            : IS(PLUGIN_SIZE_HUGE) ? UINT64_C(1) << 60
            : IS(NEWER)            ? sizeof table
                                   : sizeof table.plugin,
            IS(NEWER) ? 7 : ONEBIT_ABI_MINOR,
            IS(PLUGIN_NAME_NULL)    ? NULL
            : IS(PLUGIN_NAME_EMPTY) ? ""
                                    : "plain",
            IS(VERSION_NULL) ? NULL : "0.9.1", "a C compiler", IS(COMPONENTS_NULL) ? NULL : components,
            IS(NO_COMPONENTS)         ? 0
            : IS(TOO_MANY_COMPONENTS) ? (size_t)1 << 40
                                      : 2,
            probe, shut_down},
           0};

#ifdef DEFECT_CALLS
int DEFECT_CALLS(void); /* of a library that is not there */
#endif

/* For tests: where to count calls of shutdown. */
ONEBIT_EXPORT void bad_count_shutdowns(int* counter);
void bad_count_shutdowns(int* counter) { shutdowns = counter; }

ONEBIT_EXPORT const onebit_plugin* onebit_plugin_entry_v1(const onebit_host* host, onebit_error* err) {
  (void)host;
  if (IS(ENTRY_NULL)) return NULL;
  if (IS(ENTRY_NULL_TEXT)) {
    say(err, ONEBIT_UNSUPPORTED, "this plugin wants a host of the year 2040");
    return NULL;
  }
#ifdef DEFECT_CALLS
  DEFECT_CALLS();
#endif
  return &table.plugin;
}

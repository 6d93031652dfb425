/* SPDX-License-Identifier: Apache-2.0 */
/* onebit/abi.h: the binary contract between the host and its plugins, C99.

   A plugin is a shared library with one exported symbol, onebit_plugin_entry_v1. It returns tables of C functions for any
   number of components: optimizers (arithmetic), compressors (codecs) and communicators (moving bytes). C++ authors do not
   write these tables: they subclass the classes of optimizer.hpp, compressor.hpp and communicator.hpp.

   Versions.  The major version is part of the entry's name. Within a major, structs only grow at the end: every struct that
     may grow starts with struct_size, set with plain sizeof by whoever allocates it, who also fills in defaults: 0 and NULL
     unless said otherwise. It is never less than it was in version 1.0, so the fields of 1.0 are always there; a later field is
     touched by whoever did not allocate the struct, reader or writer, only through ONEBIT_HAS or ONEBIT_CAN. Structs marked
     frozen never change, and only those are embedded, passed by value or put in arrays; arrays of others are arrays of
     pointers. No padding may hide a field: the header compiles with -Wpadded -Werror.
   Errors.  Every call that can fail returns a code and, unless that is ONEBIT_OK, fills the onebit_error that it was given;
     what else it gave means nothing then. No exception and no longjmp crosses, either way. Unknown enum values are refused with
     ONEBIT_UNSUPPORTED, a code unknown to the caller counts as ONEBIT_INTERNAL, unknown flag and capability bits are ignored.
   Ownership.  Whatever a call is given is lent for that call unless said otherwise, device memory until the stream has done
     the call's work. The plugin owns what create returned until destroy. A pointer that a plugin returns says below how long
     it lives.
   NULL.  A pointer is NULL only where that is said, or where there is nothing to point at: no entries, no bytes, no text.
   Threads.  Calls marked (tile) may run at once on disjoint tiles of one object; all other calls on one object are serialised
     by the host, but may come from different threads; abort alone may come from any thread at any time before destroy. The
     entry is cheap and starts no thread. A step's calls come in the default floating-point environment and leave it so.
   CUDA.  Work goes to the given stream; no call waits for the whole device. In create, and in calls with a stream, the current
     device is the one that the memory is on; it is left so. */
#ifndef ONEBIT_ABI_H_
#define ONEBIT_ABI_H_

#include <stddef.h>
#include <stdint.h>

#if UINTPTR_MAX != UINT64_MAX || SIZE_MAX != UINT64_MAX
#error "onebit's contract is for machines with 64-bit addresses"
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define ONEBIT_ABI_MAJOR 1u /* part of the entry symbol's name */
#define ONEBIT_ABI_MINOR 1u /* informative: fields are gated by struct_size */

#if defined(__GNUC__)
#define ONEBIT_EXPORT __attribute__((visibility("default")))
#else
#define ONEBIT_EXPORT
#endif

#define ONEBIT_HAS(ptr, type, field) ((ptr)->struct_size >= offsetof(type, field) + sizeof((ptr)->field))
#define ONEBIT_CAN(ptr, type, fn) (ONEBIT_HAS(ptr, type, fn) && (ptr)->fn != NULL)

/* ---- values ------------------------------------------------------------------------------------------------------- */
typedef struct onebit_str { /* UTF-8, not NUL-terminated; frozen */
  const char* data;
  size_t size;
} onebit_str;

typedef int32_t onebit_code;
enum {
  ONEBIT_OK = 0,
  ONEBIT_INVALID_ARGUMENT = 1,
  ONEBIT_UNSUPPORTED = 2, /* never, whatever the moment */
  ONEBIT_UNAVAILABLE = 3, /* not on this machine, or not now */
  ONEBIT_OUT_OF_MEMORY = 4,
  ONEBIT_TIMEOUT = 5,
  ONEBIT_ABORTED = 6,
  ONEBIT_PEER_FAILED = 7,
  ONEBIT_DEVICE_ERROR = 8,
  ONEBIT_STATE_MISMATCH = 9, /* ranks, files or steps that do not belong together */
  ONEBIT_INTERNAL = 10
};
typedef struct onebit_error { /* on the caller's stack: nothing to free, no thread state */
  uint64_t struct_size;
  int32_t native;    /* errno, MPI or NCCL code; 0 if none */
  char message[484]; /* always NUL-terminated */
} onebit_error;

enum { ONEBIT_DEVICE_CPU = 1, ONEBIT_DEVICE_CUDA = 2 }; /* DLPack's numbers, as are the dtype codes */
enum { ONEBIT_DTYPE_INT = 0, ONEBIT_DTYPE_UINT = 1, ONEBIT_DTYPE_FLOAT = 2, ONEBIT_DTYPE_BFLOAT = 4 };
typedef struct onebit_device { /* frozen */
  int32_t type;
  int32_t id;
} onebit_device;
typedef struct onebit_dtype { /* frozen */
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
} onebit_dtype;
typedef struct onebit_tensor { /* the layout of DLPack's DLTensor; lent; frozen */
  void* data;
  onebit_device device;
  int32_t ndim;
  onebit_dtype dtype;
  int64_t* shape;
  int64_t* strides; /* in elements; NULL only when ndim is 0 */
  uint64_t byte_offset;
} onebit_tensor;
/* CUDA: handle is a cudaStream_t, never the default stream, and calls are stream-ordered. CPU: handle is NULL, or there is no
   stream at all (a stream that is NULL), and calls are synchronous. */
typedef struct onebit_stream {
  uint64_t struct_size;
  onebit_device device;
  void* handle;
} onebit_stream;

/* ---- options ------------------------------------------------------------------------------------------------------ */
enum {
  ONEBIT_VALUE_BOOL = 1, /* bits: an option may allow several types, such as an integer or "auto" */
  ONEBIT_VALUE_INT = 2,
  ONEBIT_VALUE_FLOAT = 4, /* also takes an integer */
  ONEBIT_VALUE_STRING = 8
};
typedef struct onebit_option { /* the value of one option */
  uint64_t struct_size;
  onebit_str key;
  int64_t type;    /* one ONEBIT_VALUE_ bit */
  int64_t integer; /* also booleans: 0 or 1 */
  double real;
  onebit_str string;
} onebit_option;
typedef struct onebit_schema { /* an option that a component accepts; lives as long as the library */
  uint64_t struct_size;
  /* lower case, digits, '_', at most 64; `plugin`, and of optimizers `dense` and `group`, are the host's: it takes no others */
  onebit_str key;
  onebit_str help;     /* one line */
  onebit_str fallback; /* the default, written as in TOML; empty: the option is required */
  onebit_str choices;  /* for strings: the allowed words, separated by '|'; empty: any */
  double minimum;      /* for numbers, inclusive */
  double maximum;
  int64_t types;     /* ONEBIT_VALUE_ bits; those that a host does not know are ignored, while it knows one */
  int64_t array_max; /* 0: a scalar; else an array, given as options key.0, key.1, ..., of at most this many; at most 4096 */
} onebit_schema;
typedef struct onebit_config { /* what create receives: validated against the schema, every default filled in */
  uint64_t struct_size;
  size_t count;
  const onebit_option* const* options;
} onebit_config;

/* ---- host services: thread-safe, never throwing, valid for the life of the process --------------------------------- */
enum { ONEBIT_LOG_DEBUG = 1, ONEBIT_LOG_INFO = 2, ONEBIT_LOG_WARN = 3, ONEBIT_LOG_ERROR = 4 };
enum { ONEBIT_METRIC_COUNTER = 1, ONEBIT_METRIC_GAUGE = 2, ONEBIT_METRIC_HISTOGRAM = 3 };
typedef struct onebit_host {
  uint64_t struct_size;
  uint64_t abi_minor;
  void* ctx;
  int32_t (*log_enabled)(void* ctx, int32_t level);
  void (*log)(void* ctx, int32_t level, onebit_str component, onebit_str message);
  /* align: 0 or a power of two; stream: as onebit_stream.handle; UNSUPPORTED: this host lends no memory of that device */
  onebit_code (*alloc)(void* ctx, onebit_device device, size_t size, size_t align, void* stream, void** out);
  void (*free)(void* ctx, onebit_device device, void* ptr, void* stream); /* what alloc gave; ptr may be NULL */
  int32_t (*metric)(void* ctx, int32_t kind, onebit_str name);            /* a handle >= 0, or -1; once, at create */
  void (*record)(void* ctx, int32_t metric, double value);                /* hot path: no strings; handle -1 is ignored */
  /* something that took from begin to end (nanoseconds of CLOCK_MONOTONIC), such as a transfer, for the trace of a run */
  void (*span)(void* ctx, onebit_str name, int64_t begin_ns, int64_t end_ns);
} onebit_host;

/* ---- state: declared by an optimizer, owned by the host, which allocates, saves, reshards, frees and reports it ------ */
enum {
  ONEBIT_PER_ELEMENT = 1, /* extent; this one is fp32, or, since 1.1, bf16; all others are doubles */
  ONEBIT_PER_BLOCK = 2,   /* scratch for partial sums: valid from consume to combine of one step, zero before */
  ONEBIT_PER_TENSOR = 3,
  ONEBIT_PER_MODEL = 4
};
enum { ONEBIT_REPLICATED = 1, ONEBIT_RANK_LOCAL = 2 };
enum { ONEBIT_RESHARD_MEAN = 1, ONEBIT_RESHARD_ZERO = 2, ONEBIT_RESHARD_FIRST = 3 }; /* rank-local, when the ranks change */
/* anchor: the parameters as all ranks have them, while local steps change each rank's own. Per element, replicated; at most one
   slot; equal to the parameters after every step that brings the ranks together. What is evaluated and saved. */
enum { ONEBIT_ROLE_NONE = 0, ONEBIT_ROLE_ANCHOR = 1 };
typedef struct onebit_state_desc {
  uint64_t struct_size;
  onebit_str name;
  int32_t extent;
  int32_t count; /* values per element, block, tensor or model */
  int32_t scope;
  int32_t reshard;
  double initial;
  onebit_dtype dtype; /* of per-element state: float 32; since 1.1 also bfloat 16 */
  uint32_t role;
} onebit_state_desc;
typedef struct onebit_state { /* what declare talks to */
  uint64_t struct_size;
  void* ctx;
  int32_t (*declare)(void* ctx, const onebit_state_desc* desc); /* a slot >= 0, numbered from 0 in order; -1: refused */
  void (*whole_tensors)(void* ctx);                             /* this optimizer's tiles must be whole tensors */
  /* since 1.1. A per-element slot, declared before, with initial 0 and without a role, that has no memory until a plan acquires
     it, and then none for tensors that are ONEBIT_TENSOR_DENSE */
  void (*begins_later)(void* ctx, int32_t slot);
} onebit_state;

/* ---- the model as plugins see it ----------------------------------------------------------------------------------- */
typedef struct onebit_block { /* a run of elements of one tensor; frozen: array element of the hot path */
  int64_t index;              /* in the model: its per-block state is slot[index] */
  int64_t tensor;             /* its per-tensor state is slot[tensor * count ...] */
  int64_t group;              /* its group in onebit_step.groups */
  int64_t first;              /* its first element, counted in the tensor */
  int64_t flat;               /* its first element in per-element state */
  int64_t packed;             /* its first element in message, mean and previous */
  int64_t count;              /* elements */
  float* parameter;           /* its first element */
  const float* gradient;      /* likewise; zeros where this rank has none; read-only until the step ends */
  uint64_t flags;             /* its tensor's: ONEBIT_TENSOR_ bits */
} onebit_block;
typedef struct onebit_group { /* frozen. From the optimizer's options lr and weight_decay; schedules change it */
  double learning_rate;
  double weight_decay;
} onebit_group;
enum { ONEBIT_STEP_SYNC = 1 }; /* a flag of a step: an optimizer with local steps shall bring the ranks together in this one */
typedef struct onebit_step {
  uint64_t struct_size;
  int64_t number; /* from 1, absolute; a skipped step's number is used again */
  int32_t rank;
  int32_t ranks;
  uint64_t flags; /* ONEBIT_STEP_ bits, the same on every rank; unknown ones are ignored */
  const onebit_group* groups;
  size_t group_count;
  const onebit_group* device_groups; /* the same in device memory; NULL on CPU */
  /* since 1.1. By tensor: the earlier steps with a round that left it as it was, for no rank had a gradient of it. The bias
     correction of such a tensor counts its own steps. NULL: none has ever missed one */
  const int64_t* missed_steps;
  const int64_t* device_missed_steps; /* since 1.1. The same in device memory; NULL on CPU */
} onebit_step;
/* Neighbouring blocks, few enough to stay in cache. CUDA: blocks and slots are arrays of the host's memory, but the pointers in
   them, and all others here but stream, are of device memory. */
typedef struct onebit_tile {
  uint64_t struct_size;
  size_t block_count;
  const onebit_block* blocks;
  const onebit_block* device_blocks; /* the same in device memory; NULL on CPU */
  float* message;                    /* produce: to be written; else NULL */
  const float* mean;           /* consume: this round's mean; consume in a step without a round, apply unless planned: NULL */
  const float* previous;       /* the retained mean of an earlier step, in produce, and in consume where planned; else NULL */
  void* const* slots;          /* by slot: base of each declared state; NULL before it is acquired, and once released */
  const float* gradient_scale; /* one float (clipping, accumulation): every use of block.gradient multiplies by it */
  const int32_t* skip;         /* CUDA: device flag, when it is not 0 nothing is written; NULL on CPU */
  const onebit_stream* stream;
} onebit_tile;

/* ---- compressor: a codec over blocks --------------------------------------------------------------------------------- */
typedef struct onebit_compressor onebit_compressor;
enum { ONEBIT_SPAN_BLOCK = 1, ONEBIT_SPAN_TENSOR = 2, ONEBIT_SPAN_BUCKET = 3 }; /* over what one statistic is taken */
typedef struct onebit_codec {
  uint64_t struct_size;
  int64_t block;      /* most elements a block may have; a multiple of 32, at most 65,536 */
  int64_t statistics; /* doubles a block or span; 0 to 8 */
  int32_t span;       /* ONEBIT_SPAN_ */
  int32_t feedback;   /* 0: needs no error feedback, errors are NULL and cost nothing */
} onebit_codec;
typedef struct onebit_piece { /* one block for the codec; frozen: array element of the hot path */
  int64_t first;              /* in values, errors and out */
  int64_t count;              /* elements, >= 1 */
  int64_t payload;            /* byte offset of this block's payload; a multiple of 4 */
  int64_t statistic;          /* index of its statistics, own or its span's, in units of onebit_codec.statistics doubles */
  uint64_t key; /* with step and rank: the counter of a stochastic codec; a server's is another than its worker's */
} onebit_piece;
typedef struct onebit_batch { /* the blocks of one tile */
  uint64_t struct_size;
  size_t piece_count;
  const onebit_piece* pieces;
  const onebit_piece* device_pieces; /* NULL on CPU */
  uint64_t step;
  uint64_t rank;
  const int32_t* skip; /* as in onebit_tile */
  const onebit_stream* stream;
} onebit_batch;
typedef struct onebit_run { /* neighbouring blocks, those of one span, counted in a folding's statistics; frozen */
  int64_t first;
  int64_t count;
} onebit_run;
typedef struct onebit_folding { /* the spans of one bucket */
  uint64_t struct_size;
  size_t span_count;
  const onebit_run* spans;
  const onebit_run* device_spans; /* NULL on CPU */
  const int32_t* skip;            /* as in onebit_tile */
  const onebit_stream* stream;
} onebit_folding;
typedef struct onebit_compressor_api {
  uint64_t struct_size;
  onebit_code (*create)(const onebit_host* host, const onebit_config* cfg, onebit_compressor** out, onebit_error* err);
  void (*destroy)(onebit_compressor* self);
  onebit_code (*describe)(onebit_compressor* self, onebit_codec* out, onebit_error* err); /* constant */
  /* constant: exact bytes of a block of 1 to onebit_codec.block elements: a multiple of 4, at most 16 MiB; 0: it failed */
  size_t (*payload_size)(onebit_compressor* self, int64_t count);
  /* (tile) the statistics of value + error of each block */
  onebit_code (*measure)(onebit_compressor* self, const onebit_batch* batch, const float* values, const float* errors,
                         double* statistics, onebit_error* err);
  /* out: for each span the statistics of its blocks, added in order; only spans wider than a block need it, else NULL */
  onebit_code (*fold)(onebit_compressor* self, const onebit_folding* folding, const double* blocks, double* out,
                      onebit_error* err);
  /* (tile) payload, aligned to 4 bytes, of value + error; new_error = value + error - what decode will give; new_errors may be
     errors, and is NULL where errors are */
  onebit_code (*encode)(onebit_compressor* self, const onebit_batch* batch, const float* values, const float* errors,
                        float* new_errors, const double* statistics, void* payload, onebit_error* err);
  /* (tile) out = weight * decoded, or out += weight * decoded */
  onebit_code (*decode)(onebit_compressor* self, const onebit_batch* batch, const void* payload, float weight, int32_t add,
                        float* out, onebit_error* err);
} onebit_compressor_api;

/* ---- communicator ---------------------------------------------------------------------------------------------------- */
/* Where ranks meet before they have a communicator: a key/value store; thread-safe. Lent until every communicator that was made
   with it, by create or split, is destroyed. */
typedef struct onebit_rendezvous {
  uint64_t struct_size;
  int32_t rank;
  int32_t size;       /* 0: the host knows of no ranks; for communicators with ONEBIT_CAPABILITY_PROCESSES */
  int32_t local_rank; /* among the ranks of this machine */
  int32_t local_size;
  void* ctx;
  onebit_code (*put)(void* ctx, onebit_str key, const void* value, size_t size, onebit_error* err); /* again: replaces */
  /* waits for the key; timeout < 0: the host's default, 0: no limit. *size is the value's; INVALID_ARGUMENT if it has more than
     `capacity` bytes */
  onebit_code (*get)(void* ctx, onebit_str key, void* value, size_t capacity, size_t* size, int64_t timeout_ns,
                     onebit_error* err);
} onebit_rendezvous;
enum { ONEBIT_SUM = 1, ONEBIT_AVG = 2, ONEBIT_MIN = 3, ONEBIT_MAX = 4 };
typedef struct onebit_communicator onebit_communicator;
typedef struct onebit_request onebit_request;
typedef struct onebit_call { /* what every collective takes besides its data */
  uint64_t struct_size;
  uint64_t tag;       /* the same on every rank; a mismatch is an error */
  int64_t timeout_ns; /* < 0: the communicator's default; 0: no limit */
  const onebit_stream* stream;
} onebit_call;
typedef struct onebit_part { /* a rank's share of a buffer, in bytes; frozen */
  int64_t offset;
  int64_t bytes;
} onebit_part;
/* Collectives are asynchronous: they return a request, owned by the communicator until wait takes it back. Buffers and part
   arrays stay untouched and alive until then; tensors' structs and the onebit_call only for the call. Tensors are contiguous.
   Every rank issues the same collectives in the same order, split and barrier among them; sizes that do not match give an error
   on every rank, never a hang. After TIMEOUT, ABORTED or PEER_FAILED only abort and destroy are useful. */
typedef struct onebit_communicator_api {
  uint64_t struct_size;
  onebit_code (*create)(const onebit_host* host, const onebit_config* cfg, const onebit_rendezvous* rv,
                        onebit_communicator** out, onebit_error* err);
  void (*destroy)(onebit_communicator* self);
  onebit_code (*rank_and_size)(onebit_communicator* self, int32_t* rank, int32_t* size, onebit_error* err); /* constant */
  /* adds over ranks 0 to n-1 in this order: the same bits on every rank; in and out may be the same tensor. At least for float
     32 and 64, int 32 and 64 and uint 8. op: ONEBIT_SUM, ... */
  onebit_code (*all_reduce)(onebit_communicator* self, const onebit_tensor* in, onebit_tensor* out, int32_t op,
                            const onebit_call* call, onebit_request** req, onebit_error* err);
  /* sends out_parts[rank].bytes from in; in may be its own place in out */
  onebit_code (*all_gather)(onebit_communicator* self, const void* in, void* out, const onebit_part* out_parts,
                            const onebit_call* call, onebit_request** req, onebit_error* err);
  /* in_parts[j] of rank i arrives in out_parts[i] of rank j; in and out do not overlap */
  onebit_code (*all_to_all)(onebit_communicator* self, const void* in, const onebit_part* in_parts, void* out,
                            const onebit_part* out_parts, const onebit_call* call, onebit_request** req, onebit_error* err);
  onebit_code (*broadcast)(onebit_communicator* self, onebit_tensor* io, int32_t root, const onebit_call* call,
                           onebit_request** req, onebit_error* err);
  onebit_code (*barrier)(onebit_communicator* self, const onebit_call* call, onebit_error* err);
  /* 1: wait would return at once. Never takes req back */
  onebit_code (*test)(onebit_communicator* self, onebit_request* req, int32_t* done, onebit_error* err);
  onebit_code (*wait)(onebit_communicator* self, onebit_request* req, int64_t timeout_ns,
                      onebit_error* err); /* takes req back unless it answers TIMEOUT; timeout as in onebit_call */
  /* ranks of one color, ordered by key, then rank; color < 0: *out = NULL. What it makes may outlive self */
  onebit_code (*split)(onebit_communicator* self, int32_t color, int32_t key, onebit_communicator** out, onebit_error* err);
  onebit_code (*abort)(onebit_communicator* self, onebit_str reason, onebit_error* err); /* ends all waits on all ranks */
  /* a number that ranks of one machine (which share a fast link) have in common, and no others; local; NULL: all share one */
  onebit_code (*machine)(onebit_communicator* self, uint64_t* out, onebit_error* err);
} onebit_communicator_api;
/* Capability of a communicator: its ranks are processes which a launcher has started. It knows rank and size by itself and
   takes a rendezvous of size 0, which says that the host knows of no ranks. */
#define ONEBIT_CAPABILITY_PROCESSES 1u
/* Capability of a communicator: its ranks are threads of one process, and can be nothing else. */
#define ONEBIT_CAPABILITY_THREADS 2u

/* ---- optimizer: arithmetic --------------------------------------------------------------------------------------------- */
typedef struct onebit_optimizer onebit_optimizer;
enum { ONEBIT_ROUND_DENSE = 1, ONEBIT_ROUND_COMPRESSED = 2 };
enum { ONEBIT_OF_GRADIENT = 1, ONEBIT_OF_MESSAGE = 2 };
typedef struct onebit_round { /* one agreement on a vector */
  uint64_t struct_size;
  int32_t kind;    /* ONEBIT_ROUND_ */
  int32_t of;      /* ONEBIT_OF_ */
  uint64_t retain; /* 1: keep this round's mean, for tile.previous of later steps */
} onebit_round;
typedef struct onebit_plan { /* filled by plan, the same on every rank; its pointers live until the next plan, or destroy */
  uint64_t struct_size;
  const onebit_round* const* rounds;
  size_t round_count;          /* 0 (a local step) to 2, at most one compressed */
  const int32_t* release;      /* slots no longer needed once this step has committed; per-element ones keep the elements */
  size_t release_count;        /* of tensors that are ONEBIT_TENSOR_DENSE, and their base stays good for those */
  int32_t reset_error;         /* 1: forget worker and server errors before this step's first encode */
  int32_t apply;               /* 1: a second pass after combine */
  int32_t previous_in_consume; /* 1: consume reads tile.previous; produce always may */
  int32_t mean_in_apply;       /* 1: apply reads tile.mean, of this step's retained round */
  uint64_t flags;              /* since 1.1: ONEBIT_PLAN_ bits */
  const int32_t* acquire;      /* since 1.1: slots that begin later, and are there from this step on, zeros at first */
  size_t acquire_count;
} onebit_plan;
/* A flag of a plan: the last step in which statistics change; what is made of them in consume, combine and apply stays. So
   consume and apply get the blocks of absent tensors, too, make of their state what they must, and leave their parameters. */
enum { ONEBIT_PLAN_FREEZES = 1 };
/* Flags of a tensor.
   DENSE: it is exempt from compression (the user's optimizer.dense). It is updated as by the dense parent of the optimizer,
   with live statistics, and its part of a compressed round travels and is averaged as fp32.
   ABSENT (since 1.1): of this step only, in blocks and totals: no rank has a gradient of it (in a local step: this rank has
   none), so that everything of it stays as it is. Consume and apply do not get its blocks (on CUDA their count is 0 in
   device_blocks), except where the plan freezes; nor does produce, except where this round's mean is the first to be kept, when
   the message is what that mean would be without this step, and where messages are sent before ranks agree which tensors are
   absent (session.overlap): produce then gets blocks of such tensors without the flag, with zeros for a gradient, and nobody
   uses the message. Combine leaves its numbers as they are. */
enum { ONEBIT_TENSOR_DENSE = 1, ONEBIT_TENSOR_ABSENT = 2 };
typedef struct onebit_tensor_info {
  uint64_t struct_size;
  onebit_str name;
  const onebit_tensor* tensor; /* its shape; data is not to be touched */
  int64_t group;
  uint64_t flags; /* ONEBIT_TENSOR_ bits; unknown ones are ignored */
} onebit_tensor_info;
typedef struct onebit_totals { /* for plan (the host's memory, read-only) and combine (on CUDA, device memory, but for slots) */
  uint64_t struct_size;
  int64_t tensor_count;
  const int64_t* first_block; /* tensor_count + 1 entries: a tensor's partial sums are those of its blocks, in this order */
  const int64_t* elements;    /* tensor_count entries: elements of each tensor */
  const uint64_t* flags;      /* tensor_count entries: ONEBIT_TENSOR_ bits of each */
  /* by slot: combine: per-block, per-tensor and per-model state; plan: per-model state, and nothing else may be read; NULL for
     per-element slots, and for others but per-model ones once released */
  void* const* slots;
  const int32_t* skip;         /* as in onebit_tile */
  const onebit_stream* stream; /* NULL in plan */
} onebit_totals;
typedef struct onebit_optimizer_api {
  uint64_t struct_size;
  onebit_code (*create)(const onebit_host* host, const onebit_config* cfg, onebit_optimizer** out, onebit_error* err);
  void (*destroy)(onebit_optimizer* self);
  /* once, before all else */
  onebit_code (*declare)(onebit_optimizer* self, const onebit_tensor_info* const* tensors, size_t count,
                         const onebit_state* state, onebit_error* err);
  /* a pure function of options, step and per-model state */
  onebit_code (*plan)(onebit_optimizer* self, const onebit_step* step, const onebit_totals* totals, onebit_plan* out,
                      onebit_error* err);
  /* (tile) writes message, and only message; may be called twice for a tile; never for a round of the gradient itself */
  onebit_code (*produce)(onebit_optimizer* self, const onebit_step* step, int32_t round, const onebit_tile* tile,
                         onebit_error* err);
  /* (tile) state, parameter and partial sums from mean; once with mean NULL in a step without a round */
  onebit_code (*consume)(onebit_optimizer* self, const onebit_step* step, int32_t round, const onebit_tile* tile,
                         onebit_error* err);
  /* once a step after all tiles; the only place where per-tensor and per-model state changes */
  onebit_code (*combine)(onebit_optimizer* self, const onebit_step* step, const onebit_totals* totals, onebit_error* err);
  /* (tile) only when the plan asked */
  onebit_code (*apply)(onebit_optimizer* self, const onebit_step* step, const onebit_tile* tile, onebit_error* err);
} onebit_optimizer_api;

/* ---- the plugin ---------------------------------------------------------------------------------------------------------- */
/* Components of a kind that a host does not know are left out. Kinds from 65,536 on are private to one version of a host. */
enum { ONEBIT_KIND_OPTIMIZER = 1, ONEBIT_KIND_COMPRESSOR = 2, ONEBIT_KIND_COMMUNICATOR = 3 };
typedef struct onebit_component {
  uint64_t struct_size;
  int64_t kind;
  const char* name;      /* lower case, digits, '_', at most 64; the key is (kind, name, device) */
  int64_t device;        /* ONEBIT_DEVICE_ */
  uint64_t capabilities; /* ONEBIT_CAPABILITY_ bits; unknown ones are ignored */
  const onebit_schema* const* options;
  size_t option_count;
  const void* api; /* onebit_<kind>_api */
} onebit_component;
typedef struct onebit_plugin { /* constant, lives as long as the library */
  uint64_t struct_size;
  uint64_t abi_minor;    /* ONEBIT_ABI_MINOR */
  const char* name;      /* lower case, digits, '_', at most 64 */
  const char* version;   /* for humans */
  const char* toolchain; /* likewise; may be NULL */
  const onebit_component* const* components;
  size_t component_count;
  onebit_code (*probe)(onebit_error* err); /* UNAVAILABLE with a reason: no GPU, no libnccl, no MPI; NULL: always available */
  void (*shutdown)(void);                  /* after the last destroy: join threads; the entry may come again; may be NULL */
} onebit_plugin;

/* The only exported symbol. Answers the same table whenever it is called, on any thread. NULL with err filled: refused. */
ONEBIT_EXPORT const onebit_plugin* onebit_plugin_entry_v1(const onebit_host* host, onebit_error* err);
typedef const onebit_plugin* (*onebit_plugin_entry_v1_fn)(const onebit_host* host, onebit_error* err);

#ifdef __cplusplus
}
#endif
#endif

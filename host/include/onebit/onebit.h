/* SPDX-License-Identifier: Apache-2.0 */
/* onebit/onebit.h: the C API of onebit, for trainers in C and in every language that calls C. Library: libonebit.so.1.

   One rank of a run, in a process that torchrun or the like has started:

     onebit_manifest_load("config.toml", NULL, 0, &manifest, &err);
     onebit_registry_create(ONEBIT_LOG_WARN, &registry, &err);
     onebit_registry_load(registry, manifest, NULL, 0, &err);
     onebit_configuration_create(registry, manifest, &configuration, &err);
     onebit_rendezvous_environment(300000000000, &rendezvous, &err);
     onebit_session_create(registry, configuration, rendezvous, parameters, count, &session, &err);
     for (...) onebit_session_step(session, NULL, gradients, count, NULL, &report, &err);
     onebit_session_free(session);

   What each of these is and does is said where C++ has it: manifest.hpp, registry.hpp, configuration.hpp, rendezvous.hpp and
   session.hpp, in the same folder. Only what differs is said here.

   Errors.  A call that can fail returns a code of abi.h and, unless that is ONEBIT_OK, fills `err`, which may be NULL. Its
   message is cut at 483 bytes: onebit_last_error() has all of it. No exception leaves a call, none prints, none ends the
   process. What a failed call was to give is NULL. A call that is refused for its arguments changes nothing; after another
   error of a collective call the session is unusable on every rank, but for errors of save and load, which session.hpp
   describes. Collective.  Marked (collective): returns when every rank has called it; all ranks make these calls in the same
   order. Ownership.  Who makes something frees it: each onebit_X_create, load or parse has an onebit_X_free, which takes NULL.
   They may be freed in any order, but a rendezvous not before its session is made. Texts that a call gives are freed by
     onebit_free(). What a call is given is lent for that call, but for the memory of parameters, which stays as long as the
   session. Texts.  UTF-8, ended by NUL. NULL is refused, unless it is said to be allowed. Threads.  Any thread may make any
   call. A session does one call at a time: a second one is refused, but for those marked (any time). Versions.  As in abi.h:
   within libonebit.so.1 functions are only added, and structs only grow at the end. The caller sets struct_size = sizeof the
   struct, and the rest to 0 where nothing is said. Structs marked frozen never change. */
#ifndef ONEBIT_ONEBIT_H_
#define ONEBIT_ONEBIT_H_

#include <stddef.h>
#include <stdint.h>

#include "onebit/abi.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ONEBIT_API_MINOR 0u /* 1.N: functions and fields that were added later say so */

/* The library's, which may be later than the header's: its N; and the release, as "1.0.0". */
ONEBIT_EXPORT uint32_t onebit_api_minor(void);
ONEBIT_EXPORT const char* onebit_version(void);
/* The whole message of the last call of this thread that failed; "" when none has. Good until the thread's next call. */
ONEBIT_EXPORT const char* onebit_last_error(void);
/* What a call gave as a text. NULL is allowed. */
ONEBIT_EXPORT void onebit_free(char* text);

/* ---- configuration --------------------------------------------------------------------------------------------------- */
typedef struct onebit_manifest onebit_manifest;
typedef struct onebit_registry onebit_registry;
typedef struct onebit_configuration onebit_configuration;

/* overrides: count of "table.key=value", as the command's --set takes them; NULL when there are none. */
ONEBIT_EXPORT onebit_code onebit_manifest_load(const char* file, const char* const* overrides, size_t count,
                                               onebit_manifest** out, onebit_error* err);
/* text: TOML. name: what errors call it. folder: what relative paths in it are relative to. */
ONEBIT_EXPORT onebit_code onebit_manifest_parse(const char* text, const char* name, const char* folder,
                                                const char* const* overrides, size_t count, onebit_manifest** out,
                                                onebit_error* err);
ONEBIT_EXPORT void onebit_manifest_free(onebit_manifest* manifest);

/* log_level: the lowest that is kept for onebit_registry_take_log, ONEBIT_LOG_DEBUG to ONEBIT_LOG_ERROR; 0: nothing is. */
ONEBIT_EXPORT onebit_code onebit_registry_create(int32_t log_level, onebit_registry** out, onebit_error* err);
/* Loads the plugins that the manifest names, those in `folders` (count of them; NULL when there are none), and the built-in
   ones. manifest: NULL is allowed, where it names none. */
ONEBIT_EXPORT onebit_code onebit_registry_load(onebit_registry* registry, const onebit_manifest* manifest,
                                               const char* const* folders, size_t count, onebit_error* err);
/* JSON: {"plugins": [{"name", "version", "file", "unavailable", "components": [{"kind", "name", "device"}]}],
          "failures": [{"file", "reason"}]}; unavailable: why it can't be used on this machine, or "". */
ONEBIT_EXPORT onebit_code onebit_registry_describe(const onebit_registry* registry, char** out, onebit_error* err);
/* (any time) The oldest line of the log that nobody has taken, and its level; *out is NULL when there is none. Of a log that
   nobody takes the newest 1,000 lines are kept, after one that says how many were dropped. */
ONEBIT_EXPORT onebit_code onebit_registry_take_log(onebit_registry* registry, int32_t* level, char** out, onebit_error* err);
/* Sessions that were made with it go on. */
ONEBIT_EXPORT void onebit_registry_free(onebit_registry* registry);

/* Tables of other programs, such as [train] and [checkpoint] of the command, are not looked at. */
ONEBIT_EXPORT onebit_code onebit_configuration_create(const onebit_registry* registry, const onebit_manifest* manifest,
                                                      onebit_configuration** out, onebit_error* err);
/* The whole, with all defaults, as a manifest. */
ONEBIT_EXPORT onebit_code onebit_configuration_toml(const onebit_configuration* configuration, char** out, onebit_error* err);
ONEBIT_EXPORT void onebit_configuration_free(onebit_configuration* configuration);

/* ---- rendezvous: where ranks meet ------------------------------------------------------------------------------------ */
/* Each is one rank's. timeout_ns: of this call and of each wait in it later; above 0. */

/* Ranks that are threads of this process: `ranks` of them, in `out`, which has room for as many. For communicator `threads`. */
ONEBIT_EXPORT onebit_code onebit_rendezvous_local(int32_t ranks, onebit_rendezvous** out, onebit_error* err);

typedef struct onebit_launched_rank { /* this process as one rank of a job; LaunchedRank of rendezvous.hpp */
  uint64_t struct_size;
  int32_t rank;
  int32_t size;
  int32_t local_rank; /* among the ranks of its machine */
  int32_t local_size;
  const char* host; /* rank 0's name or address */
  const char* job;  /* the same on all ranks; NULL is allowed */
  int64_t port;     /* of rank 0's store */
} onebit_launched_rank;
/* Ranks that are processes. Rank 0 serves a store at host:port, others call there, and may do so before it is there. */
ONEBIT_EXPORT onebit_code onebit_rendezvous_tcp(const onebit_launched_rank* self, int64_t timeout_ns, onebit_rendezvous** out,
                                                onebit_error* err);
/* The same, by the environment variables of torchrun and its kin. *out is NULL where there are none. */
ONEBIT_EXPORT onebit_code onebit_rendezvous_environment(int64_t timeout_ns, onebit_rendezvous** out, onebit_error* err);

typedef struct onebit_mpi_ranks { /* an MPI communicator as this rank sees it; MpiRendezvous of mpi.hpp */
  uint64_t struct_size;
  int32_t handle; /* MPI_Comm_c2f(comm), which is duplicated when the session is made, and stays the caller's */
  int32_t rank;
  int32_t size;
  int32_t local_rank;
  int32_t local_size;
  int32_t reserved; /* 0 */
} onebit_mpi_ranks;
/* For communicator `mpi`. */
ONEBIT_EXPORT onebit_code onebit_rendezvous_mpi(const onebit_mpi_ranks* self, onebit_rendezvous** out, onebit_error* err);

/* (any time) Ends what waits at this rendezvous, now and from now on, with ONEBIT_ABORTED: such as
   onebit_session_create. Freeing it then waits for nobody. */
ONEBIT_EXPORT onebit_code onebit_rendezvous_interrupt(onebit_rendezvous* rendezvous, onebit_error* err);
/* One of the five above; others, a program's own tables, are not freed by this. */
ONEBIT_EXPORT void onebit_rendezvous_free(onebit_rendezvous* rendezvous);

/* ---- session: one rank's part of a training ---------------------------------------------------------------------------- */
typedef struct onebit_session onebit_session;

typedef struct onebit_parameter {
  uint64_t struct_size;
  const char* name;
  /* DLPack's: fp32, fp16 or bf16, dense in any order of dimensions; strides NULL: row by row. */
  onebit_tensor tensor;
  uint64_t identity; /* of the object whose memory this is, where that may move; 0: its name will do */
} onebit_parameter;

enum { ONEBIT_STEP_SKIPPED = 1, ONEBIT_STEP_COMPRESSED = 2, ONEBIT_STEP_LOCAL = 4 };
typedef struct onebit_step_report { /* StepReport of session.hpp */
  uint64_t struct_size;
  uint64_t flags; /* ONEBIT_STEP_ bits */
  int64_t number;
  double gradient_norm;
  double gradient_scale;
  int64_t absent;
  int64_t frozen_at;
  int64_t unseen;
  double clamped_share;
} onebit_step_report;

typedef struct onebit_traffic { /* Traffic of session.hpp */
  uint64_t struct_size;
  uint64_t dense_bytes;
  uint64_t compressed_bytes;
  uint64_t agreement_bytes;
  uint64_t other_bytes;
  uint64_t local_bytes;
  int64_t dense_steps;
  int64_t compressed_steps;
  int64_t local_steps;
  int64_t skipped_steps;
  int64_t compressed_parameters;
} onebit_traffic;

/* (collective) rendezvous: NULL where the communicator finds the ranks by itself, as `mpi` does under mpirun; with others this
   process is then the only rank. A table of the program's own will do, too. count: of parameters. */
ONEBIT_EXPORT onebit_code onebit_session_create(const onebit_registry* registry, const onebit_configuration* configuration,
                                                const onebit_rendezvous* rendezvous, const onebit_parameter* const* parameters,
                                                size_t count, onebit_session** out, onebit_error* err);
/* Waits for a call under way on another thread. In a fork of the process that made it, does nothing. */
ONEBIT_EXPORT void onebit_session_free(onebit_session* session);
/* (any time) Ends the session on all ranks: what waits in a call is ended with ONEBIT_ABORTED and this reason. */
ONEBIT_EXPORT onebit_code onebit_session_abort(onebit_session* session, const char* reason, onebit_error* err);
ONEBIT_EXPORT onebit_code onebit_session_ranks(onebit_session* session, int32_t* rank, int32_t* size, onebit_error* err);

/* (collective) gradients: `count` of them, one for each parameter in their order: fp32, in the order of the parameter's memory;
   NULL: this rank has none of it. parameters: as for create, where they may have moved; NULL: they are where they were. stream:
   the cudaStream_t in which gradients were computed, NULL the legacy default stream. report: NULL is allowed. */
ONEBIT_EXPORT onebit_code onebit_session_step(onebit_session* session, const onebit_parameter* const* parameters,
                                              const void* const* gradients, size_t count, void* stream,
                                              onebit_step_report* report, onebit_error* err);
/* A step in parts, by which gradients travel while others are still being computed: begin, ready for each gradient once, by any
   threads and in any order, finish. begin: count: of parameters, where `parameters` is not NULL. ready: (any time) count
   gradients, of the parameters numbered which[0..count). Gradients stay as they are until finish returns, on CUDA until settle.
   What is not announced, this rank has no gradient of. */
ONEBIT_EXPORT onebit_code onebit_session_begin(onebit_session* session, const onebit_parameter* const* parameters, size_t count,
                                               void* stream, onebit_error* err);
ONEBIT_EXPORT onebit_code onebit_session_ready(onebit_session* session, const int64_t* which, const void* const* gradients,
                                               size_t count, void* stream, onebit_error* err);
ONEBIT_EXPORT onebit_code onebit_session_finish(onebit_session* session, onebit_step_report* report,
                                                onebit_error* err); /* (collective) */
/* Waits for the last step, which on CUDA may be open when step returns, and gives its full report. */
ONEBIT_EXPORT onebit_code onebit_session_settle(onebit_session* session, onebit_step_report* report, onebit_error* err);

ONEBIT_EXPORT onebit_code onebit_session_next_step(onebit_session* session, int64_t* number, onebit_error* err);
ONEBIT_EXPORT onebit_code onebit_session_set_next_step(onebit_session* session, int64_t number, onebit_error* err);
/* Of each group: the optimizer's own first, then those of [[optimizer.group]] in their order. *count: in, of the room in
   `rates`; out, of the groups. rates: NULL is allowed where *count is 0. */
ONEBIT_EXPORT onebit_code onebit_session_learning_rates(onebit_session* session, double* rates, size_t* count,
                                                        onebit_error* err);
/* From the next step on, the same on every rank. count: of the groups. */
ONEBIT_EXPORT onebit_code onebit_session_set_learning_rates(onebit_session* session, const double* rates, size_t count,
                                                            onebit_error* err);
ONEBIT_EXPORT onebit_code onebit_session_set_gradient_scale(onebit_session* session, double scale, onebit_error* err);
ONEBIT_EXPORT onebit_code onebit_session_request_sync(onebit_session* session, onebit_error* err);
/* on: 1: parameters are those that all ranks share, until 0 gives each rank its own back. Session::AtAnchor of session.hpp. */
ONEBIT_EXPORT onebit_code onebit_session_at_anchor(onebit_session* session, int32_t on, onebit_error* err);
ONEBIT_EXPORT onebit_code onebit_session_parameter_hash(onebit_session* session, uint64_t* hash, onebit_error* err);
ONEBIT_EXPORT onebit_code onebit_session_traffic(onebit_session* session, onebit_traffic* traffic, onebit_error* err);
/* JSON: {"step": the last one's report, "traffic": bytes and steps, "timings": seconds, "memory": bytes, "metrics": {NAME:
   {"count", "sum" or "value", "min", "max"}} of the process}. */
ONEBIT_EXPORT onebit_code onebit_session_report(onebit_session* session, char** out, onebit_error* err);

/* (collective) For what ranks share besides: rank `root`'s bytes on all of them; the sum (ONEBIT_SUM), mean (ONEBIT_AVG),
   minimum or maximum of each value over all ranks. Memory of the CPU. NULL is allowed where there is nothing. */
ONEBIT_EXPORT onebit_code onebit_session_broadcast(onebit_session* session, void* bytes, size_t size, int32_t root,
                                                   onebit_error* err);
ONEBIT_EXPORT onebit_code onebit_session_all_reduce(onebit_session* session, double* values, size_t count, int32_t op,
                                                    onebit_error* err);

/* ---- checkpoints ------------------------------------------------------------------------------------------------------- */
typedef struct onebit_blob { /* bytes of the program's own that a checkpoint carries; frozen */
  const char* name;
  const void* bytes;
  size_t size;
} onebit_blob;
enum { ONEBIT_OF_RANK = 1, ONEBIT_OF_ALL = 2 };
typedef struct onebit_save_options { /* SaveOptions of checkpoint.hpp */
  uint64_t struct_size;
  int32_t keep;               /* complete checkpoints that stay; 0: all */
  int32_t background;         /* 1: save returns when it has a copy, and a thread writes that */
  int32_t skip_if_busy;       /* 1: in the background, while the last one is being written, this one is left out */
  int32_t reserved;           /* 0 */
  const char* hash;           /* "xxh3-128", which NULL stands for, or "sha256" */
  const onebit_blob* of_rank; /* each rank its own */
  size_t of_rank_count;
  const onebit_blob* of_all; /* those of rank 0 */
  size_t of_all_count;
} onebit_save_options;

/* (collective, all three) options: NULL: the defaults. report: NULL is allowed. JSON, of save and finish_save {"begun", "step",
   "folder", "committed", "left"}, of load {"folder", "step", "ranks", "refused", "afresh", "changed"}: SaveReport and
   LoadReport of checkpoint.hpp. ignore_state: 1: parameters alone. */
ONEBIT_EXPORT onebit_code onebit_session_save(onebit_session* session, const char* root, const onebit_save_options* options,
                                              char** report, onebit_error* err);
ONEBIT_EXPORT onebit_code onebit_session_finish_save(onebit_session* session, char** report, onebit_error* err);
ONEBIT_EXPORT onebit_code onebit_session_load(onebit_session* session, const char* folder, int32_t ignore_state, char** report,
                                              onebit_error* err);
/* The bytes that the checkpoint loaded last has under this name: which: ONEBIT_OF_RANK, ONEBIT_OF_ALL. *bytes is NULL, and the
   code ONEBIT_OK, where it has none; good until the next load. */
ONEBIT_EXPORT onebit_code onebit_session_loaded(onebit_session* session, int32_t which, const char* name, const void** bytes,
                                                size_t* size, onebit_error* err);

#ifdef __cplusplus
}
#endif
#endif

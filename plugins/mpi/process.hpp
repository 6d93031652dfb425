// SPDX-License-Identifier: Apache-2.0
// MPI in this process: started where nobody has, and then ended when the process exits.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <string>

namespace onebit::mpi {

class Engine;

// Makes sure that MPI runs with the thread level that is needed. Throws Error(unavailable, unsupported).
void start();
// Something was left under way that nobody will finish: MPI must not be finalized, the process leaves through MPI_Abort.
void give_up_finalizing();
// A rank did not come in time, or is gone: when this process then ends with an error, it does not wait for it in MPI_Finalize.
void note_lost_rank();

// MPI_Finalize begins with engine.shut_down(), unless it was forgotten before: an embedder, or the end of the process, may
// finalize MPI while communicators are alive.
void end_at_finalize(Engine& engine);
void forget(Engine& engine) noexcept;

// Throws Error(peer_failed) with MPI's own words, unless code is MPI_SUCCESS.
void check(int code, const char* call);
std::string text_of(int code);

// The same on all ranks of a machine, as MPI names it; also when MPI is finalized.
uint64_t machine();

}  // namespace onebit::mpi

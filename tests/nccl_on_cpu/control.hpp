// SPDX-License-Identifier: Apache-2.0
// What tests ask of the pretended NCCL: to go wrong. Ranks are those of a communicator; of every one that has such a rank.
#pragma once

extern "C" {
// ncclCommGetAsyncError answers this to that rank; 0: nothing is wrong.
void nccl_on_cpu_set_async_error(int rank, int result);
// ncclGroupEnd answers this to that rank, once.
void nccl_on_cpu_fail_next_group(int rank, int result);
// ncclCommInitRank answers this to that rank, once.
void nccl_on_cpu_fail_next_init(int rank, int result);
// What that rank gives to a stream is not done until its communicator is aborted; -1: all ranks work.
void nccl_on_cpu_hang(int rank);
// Communicators that were made and not aborted.
int nccl_on_cpu_alive();
// Calls of ncclAllGather, of ncclSend.
int nccl_on_cpu_gathers();
int nccl_on_cpu_sends();
}

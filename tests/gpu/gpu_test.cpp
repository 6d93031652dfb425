// SPDX-License-Identifier: Apache-2.0
// On a GPU: sessions with 1, 2 and 4 ranks over NCCL, all on one device, have the bits of the same sessions on the CPU over
// threads. Without a GPU these tests say why they are skipped.
#include <cuda_runtime.h>
#include <doctest/doctest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <iostream>
#include <thread>
#include <utility>
#include <vector>

#include "core/cuda/device_cases.hpp"
#include "onebit/cuda.hpp"
#include "support/scratch_folder.hpp"

namespace onebit::test {
namespace {

bool is_skipped() {
  try {
    cuda::probe();
    return false;
  } catch (const Error& e) {
    std::cout << "SKIPPED: " << e.what() << "\n";
    return true;
  }
}

class Process {
 public:
  Process(const DeviceCase& run, int rank, const std::string& job, const std::filesystem::path& log) {
    std::string script = "exec env";
    const auto set = [&](const char* name, const std::string& value) {
      script += std::string(" ") + name + "='" + value + "'";
    };
    set("ONEBIT_GPU_CASE", run.name);
    set("RANK", std::to_string(rank));
    set("WORLD_SIZE", std::to_string(run.ranks));
    set("LOCAL_RANK", std::to_string(rank));  // devices are dealt out in turn: with one, all have it
    set("LOCAL_WORLD_SIZE", std::to_string(run.ranks));
    set("MASTER_ADDR", "127.0.0.1");
    set("MASTER_PORT", "29511");
    set("TORCHELASTIC_RUN_ID", job);
    set("NCCL_HOSTID", "rank" + std::to_string(rank));  // else NCCL refuses two ranks on one device
    set("NCCL_MULTI_RANK_GPU_ENABLE", "1");             // the same, since NCCL 2.28
    set("NCCL_SOCKET_IFNAME", "lo");
    script += " '" ONEBIT_BINARY_DIR "/bin/gpu_rank' >'" + log.string() + "' 2>&1";
    std::string shell = "sh", option = "-c";
    char* const arguments[] = {shell.data(), option.data(), script.data(), nullptr};
    REQUIRE(::posix_spawn(&id_, "/bin/sh", nullptr, nullptr, arguments, environ) == 0);
  }
  Process(Process&& other) noexcept : id_(std::exchange(other.id_, -1)) {}
  ~Process() {
    if (id_ <= 0) return;
    ::kill(id_, SIGKILL);
    ::waitpid(id_, nullptr, 0);
  }
  // Its exit status; -1 when it did not end in time.
  int ends(std::chrono::steady_clock::time_point by) {
    int status = 0;
    while (::waitpid(id_, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > by) return -1;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    id_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t id_ = -1;
};

void run_processes(const DeviceCase& run) {
  CAPTURE(run.name);
  const ScratchFolder folder;
  std::vector<Process> processes;
  for (int rank = 0; rank < run.ranks; ++rank)
    processes.emplace_back(run, rank, folder.path().filename().string(), folder / ("rank" + std::to_string(rank)));
  const auto by = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  for (int rank = 0; rank < run.ranks; ++rank) {
    const int status = processes[static_cast<size_t>(rank)].ends(by);
    CAPTURE(rank);
    CHECK(status == 0);
    if (status != 0) MESSAGE(contents_of(folder / ("rank" + std::to_string(rank))));
  }
}

void run_cases(int ranks) {
  if (is_skipped()) return;
  for (const std::vector<DeviceCase>& cases : {device_cases(), early_cases()})
    for (const DeviceCase& run : cases)
      if (run.ranks == ranks) run_processes(run);
}

}  // namespace

TEST_CASE("1 rank on a GPU: the bits of the CPU") { run_cases(1); }
TEST_CASE("2 ranks on a GPU over NCCL: the bits of 2 on the CPU over threads") { run_cases(2); }
TEST_CASE("4 ranks on a GPU over NCCL: the bits of 4 on the CPU over threads") { run_cases(4); }

}  // namespace onebit::test

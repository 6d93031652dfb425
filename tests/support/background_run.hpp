// SPDX-License-Identifier: Apache-2.0
// A run of the command under mpirun that goes on beside the test, which knows the process of each rank and can strike it.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include "mpirun.hpp"
#include "scratch_folder.hpp"

namespace onebit::test {

// Waits for something to be so; false: it did not come in time.
inline bool comes(const std::function<bool()>& condition, std::chrono::seconds within) {
  const auto end = std::chrono::steady_clock::now() + within;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

class BackgroundRun {
 public:
  // arguments: of onebit. The folder outlives the run.
  BackgroundRun(const ScratchFolder& folder, int ranks, const std::string& arguments) : folder_(folder), ranks_(ranks) {
    const std::filesystem::path rank =
        folder.file("rank.sh", "#!/bin/sh\necho $$ >'" + (folder / "pid.").string() + "'$OMPI_COMM_WORLD_RANK$PMI_RANK\nexec " +
                                   onebit_command() + " \"$@\"\n");
    std::filesystem::permissions(rank, std::filesystem::perms::owner_all);
    const std::string command =
        "exec env " + mpirun_command(ranks) + rank.string() + " " + arguments + " >'" + (folder / "said").string() + "' 2>&1";
    launcher_ = ::fork();
    if (launcher_ != 0) return;
    ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    ::_exit(127);
  }
  ~BackgroundRun() {
    if (launcher_ > 0) {
      ::kill(launcher_, SIGKILL);
      ::waitpid(launcher_, nullptr, 0);
    }
    for (int rank = 0; rank < ranks_; ++rank)
      if (lives(rank)) signal(rank, SIGKILL);
  }
  BackgroundRun(const BackgroundRun&) = delete;
  BackgroundRun& operator=(const BackgroundRun&) = delete;

  void signal(int rank, int number) const { ::kill(process(rank), number); }
  // The exit status of mpirun, as a shell has it; -1 when it has not ended in time.
  int ends(std::chrono::seconds within) {
    int status = 0;
    if (!comes([&] { return ::waitpid(launcher_, &status, WNOHANG) == launcher_; }, within)) return -1;
    launcher_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  bool all_gone() const {
    for (int rank = 0; rank < ranks_; ++rank)
      if (lives(rank)) return false;
    return true;
  }
  std::string said() const { return contents_of(folder_ / "said"); }

 private:
  pid_t process(int rank) const {
    pid_t pid = 0;
    std::ifstream(folder_ / ("pid." + std::to_string(rank))) >> pid;
    return pid;
  }
  // A zombie is gone: it waits for nobody but its parent.
  bool lives(int rank) const {
    const pid_t pid = process(rank);
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string number, name, state;
    return pid > 0 && file >> number >> name >> state && state != "Z";
  }

  const ScratchFolder& folder_;
  int ranks_;
  pid_t launcher_ = 0;
};

}  // namespace onebit::test

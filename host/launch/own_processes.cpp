// SPDX-License-Identifier: Apache-2.0
// Starting processes, and waiting for them.
#include "launch/own_processes.hpp"

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>

#include "launch/ways_out.hpp"
#include "onebit/tcp/address.hpp"

namespace onebit::host {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kPatience = std::chrono::seconds(10);  // with the other ranks, when one has failed ...
constexpr auto kGrace = std::chrono::seconds(30);     // ... and when they have been told to stop

// A port of the loopback interface that nobody else gets by chance until rank 0 listens there: it is bound, which with
// SO_REUSEADDR on both sides lets one more socket bind it and listen.
class HeldPort {
 public:
  HeldPort() : socket_(tcp::open_socket(AF_INET)) {
    sockaddr_in loopback = {};
    loopback.sin_family = AF_INET;
    loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    tcp::set(socket_, SOL_SOCKET, SO_REUSEADDR, 1);
    socklen_t size = sizeof loopback;
    tcp::checked(::bind(socket_.number(), reinterpret_cast<const sockaddr*>(&loopback), size), "bind");
    tcp::checked(::getsockname(socket_.number(), reinterpret_cast<sockaddr*>(&loopback), &size), "getsockname");
    port_ = ntohs(loopback.sin_port);
  }
  int port() const { return port_; }

 private:
  const tcp::Descriptor socket_;
  int port_ = 0;
};

// What execve takes.
class Words {
 public:
  explicit Words(std::vector<std::string> words) : words_(std::move(words)) {
    for (std::string& word : words_) pointers_.push_back(word.data());
    pointers_.push_back(nullptr);
  }
  char* const* get() { return pointers_.data(); }

 private:
  std::vector<std::string> words_;
  std::vector<char*> pointers_;
};

// The environment of a rank: this process's, but as torchrun would tell it. Its mark is what is believed before all others.
std::vector<std::string> environment_of(int rank, int ranks, int port) {
  const std::string r = std::to_string(rank), n = std::to_string(ranks);
  std::vector<std::string> told = {"RANK=" + r,
                                   "WORLD_SIZE=" + n,
                                   "LOCAL_RANK=" + r,
                                   "LOCAL_WORLD_SIZE=" + n,
                                   "TORCHELASTIC_RUN_ID=onebit-" + std::to_string(::getpid()),
                                   "MASTER_ADDR=127.0.0.1",
                                   "MASTER_PORT=" + std::to_string(port)};
  const auto count = static_cast<std::ptrdiff_t>(told.size());
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view name = std::string_view(*entry).substr(0, std::string_view(*entry).find('='));
    const bool of_a_launcher = name.starts_with("TORCHELASTIC_") || name == "LOCAL_SIZE" || name == "ONEBIT_PORT";
    const bool is_told = std::any_of(told.begin(), told.begin() + count, [&](const std::string& one) {
      return std::string_view(one).substr(0, one.find('=')) == name;
    });
    if (!of_a_launcher && !is_told) told.emplace_back(*entry);
  }
  return told;
}

// The signals that this process waits for, held back meanwhile; a process that it starts has them as they were.
class Signals {
 public:
  Signals() {
    ::sigemptyset(&awaited_);
    for (const int signal : {SIGINT, SIGTERM, SIGTSTP, SIGCHLD}) ::sigaddset(&awaited_, signal);
    ::signal(SIGCHLD, SIG_DFL);  // where it was ignored, nobody could be waited for
    ::sigprocmask(SIG_BLOCK, &awaited_, &before_);
  }
  // 0: none came within a second.
  int next() const {
    const timespec second = {1, 0};
    return std::max(0, ::sigtimedwait(&awaited_, nullptr, &second));
  }
  void as_before() const { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t awaited_ = {}, before_ = {};
};

class Processes {
 public:
  Processes(int ranks, const std::vector<std::string>& arguments) {
    const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
    std::vector<std::string> words = without_options(arguments, {"--local_rank", "--local-rank"});
    words.insert(words.begin(), self);
    Words command(std::move(words));
    std::fprintf(stderr, "onebit: starting %d processes of this machine, one for each rank\n", ranks);
    std::fflush(nullptr);
    for (int rank = 0; rank < ranks; ++rank) {
      Words environment(environment_of(rank, ranks, port_.port()));
      start(rank, command, environment);
    }
  }
  Processes(const Processes&) = delete;
  Processes& operator=(const Processes&) = delete;

  // The exit status of all.
  int wait() {
    while (!running_.empty()) {
      const int signal = signals_.next();
      if (signal == SIGINT || signal == SIGTERM) hand_on(signal);
      if (signal == SIGTSTP) pause();
      reap();
      if (stop_ && Clock::now() >= *stop_) press();
    }
    return status_;
  }

 private:
  struct Running {
    pid_t process;
    int rank;
  };

  // In a group of its own, so that a terminal's Ctrl-C comes once: from this process.
  void start(int rank, Words& command, Words& environment) {
    const pid_t parent = ::getpid(), process = ::fork();
    if (process < 0) {
      const int native = errno;
      hand_on(SIGKILL);
      errno = native;
      tcp::fail("rank " + std::to_string(rank) + " can't be started");
    }
    if (process == 0) {
      ::setpgid(0, 0);
      ::prctl(PR_SET_PDEATHSIG, SIGTERM);
      signals_.as_before();
      if (::getppid() == parent) ::execve(command.get()[0], command.get(), environment.get());
      constexpr std::string_view kWords = "onebit: a rank can't be started: its program is no longer there\n";
      (void)!::write(STDERR_FILENO, kWords.data(), kWords.size());
      ::_exit(127);
    }
    running_.push_back({process, rank});
  }
  void hand_on(int signal) {
    told_to_stop_ = true;
    for (const Running& one : running_) ::kill(one.process, signal);
  }
  // Ctrl-Z: all stop, and go on with this process.
  void pause() const {
    for (const Running& one : running_) ::kill(one.process, SIGSTOP);
    ::raise(SIGSTOP);
    for (const Running& one : running_) ::kill(one.process, SIGCONT);
  }
  void reap() {
    int how = 0;
    for (pid_t ended = 0; (ended = ::waitpid(-1, &how, WNOHANG)) > 0;) {
      const auto found =
          std::find_if(running_.begin(), running_.end(), [&](const Running& one) { return one.process == ended; });
      if (found == running_.end()) continue;
      note(found->rank, how);
      running_.erase(found);
    }
  }
  void note(int rank, int how) {
    const bool killed = WIFSIGNALED(how);
    const int status = killed ? 128 + WTERMSIG(how) : WEXITSTATUS(how);
    if (killed && !told_to_stop_)
      std::fprintf(stderr, "onebit: rank %d was ended by signal %d (%s)\n", rank, WTERMSIG(how), ::strsignal(WTERMSIG(how)));
    if (status == 0 || status_ != 0) return;
    status_ = status;
    if (!told_to_stop_) stop_ = Clock::now() + kPatience;
  }
  // Of a failed run's ranks that are still there.
  void press() {
    hand_on(pressed_ ? SIGKILL : SIGTERM);
    pressed_ = true;
    stop_ = Clock::now() + kGrace;
  }

  const HeldPort port_;
  const Signals signals_;
  std::vector<Running> running_;
  int status_ = 0;
  bool told_to_stop_ = false, pressed_ = false;
  std::optional<Clock::time_point> stop_;
};

}  // namespace

void become_launcher(int ranks, const std::vector<std::string>& arguments) {
  Processes processes(ranks, arguments);
  ::_exit(processes.wait());
}

}  // namespace onebit::host

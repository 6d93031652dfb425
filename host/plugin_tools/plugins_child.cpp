// SPDX-License-Identifier: Apache-2.0
// Spawning, watching and ending the child.
#include "plugin_tools/plugins_child.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <utility>

#include "onebit/error.hpp"

namespace onebit::host {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

constexpr int kReportDescriptor = 3;  // in the child
constexpr size_t kMostSaid = 16384, kMostLine = 1 << 20;
constexpr double kMostStart = 60;  // seconds until a child tells its first stage, however little time a plugin is given
constexpr int kTick = 20;          // milliseconds: a process of the plugin's may hold the pipes open when the child is gone

[[noreturn]] void fail(const std::string& what, int number) {
  throw Error(Code::internal, what + ": " + std::strerror(number), number);
}

// Read here without waiting, written in the child. Neither end is one of the descriptors that the child gets them as.
class Pipe {
 public:
  Pipe() {
    if (::pipe2(ends_, O_CLOEXEC) != 0) fail("no pipe", errno);
    for (int& end : ends_) {
      const int low = std::exchange(end, ::fcntl(end, F_DUPFD_CLOEXEC, kReportDescriptor + 1));
      ::close(low);
    }
    ::fcntl(ends_[0], F_SETFL, O_NONBLOCK);
  }
  ~Pipe() {
    ::close(ends_[0]);
    close_writer();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  void close_writer() {
    if (ends_[1] >= 0) ::close(std::exchange(ends_[1], -1));
  }
  int reader() const { return open_ ? ends_[0] : -1; }
  int writer() const { return ends_[1]; }
  // What is there now.
  std::string read() {
    std::string text;
    char piece[4096];
    ssize_t got = 0;
    while (open_ && text.size() < kMostLine && (got = ::read(ends_[0], piece, sizeof piece)) > 0)
      text.append(piece, static_cast<size_t>(got));
    if (got == 0) open_ = false;
    return text;
  }

 private:
  int ends_[2] = {-1, -1};
  bool open_ = true;
};

// posix_spawn's settings: a group of its own, no signal blocked or ignored, nothing to read.
class Settings {
 public:
  Settings(const Pipe& report, const Pipe& said) {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
    ::posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_adddup2(&actions_, said.writer(), STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions_, said.writer(), STDERR_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions_, report.writer(), kReportDescriptor);
    sigset_t none, all;
    ::sigemptyset(&none);
    ::sigfillset(&all);
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~Settings() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  Settings(const Settings&) = delete;
  Settings& operator=(const Settings&) = delete;

  pid_t spawn(std::vector<std::string> arguments) const {
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    pid_t child = 0;
    if (const int error = ::posix_spawn(&child, "/proc/self/exe", &actions_, &attributes_, pointers.data(), environ);
        error != 0)
      fail("no child process", error);
    return child;
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

// "how it ended" for all but a good end.
std::string ending(int status, bool ended, const std::string& stage) {
  if (WIFEXITED(status)) {
    if (ended && WEXITSTATUS(status) == 0) return "";
    return fmt::format("called exit({}) while {} ran", WEXITSTATUS(status), stage);
  }
  const int signal = WTERMSIG(status);
  const bool from_outside = signal == SIGKILL || signal == SIGTERM || signal == SIGINT || signal == SIGHUP;
  return fmt::format("{} SIG{} while {} ran", from_outside ? "was ended by" : "crashed with", ::sigabbrev_np(signal), stage);
}

class Child {
 public:
  Child(const std::vector<std::string>& arguments, const std::function<void(const Json&)>& hear) : hear_(hear) {
    std::vector<std::string> line = {"onebit", "plugins", "examine", "--report-to", std::to_string(kReportDescriptor)};
    line.insert(line.end(), arguments.begin(), arguments.end());
    ::signal(SIGCHLD, SIG_DFL);  // where a shell had it ignored, a child would be gone without telling how it ended
    pid_ = Settings(report_, said_).spawn(std::move(line));
    report_.close_writer();
    said_.close_writer();
  }
  // What the plugin started goes with it. The child is a zombie, or killed by this: its number is nobody else's yet.
  ~Child() { reap(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  ChildEnd watch(double seconds) {
    since_ = Clock::now();
    bool late = false;
    while (!late && !gone()) {
      pollfd both[] = {{report_.reader(), POLLIN, 0}, {said_.reader(), POLLIN, 0}};
      ::poll(both, 2, kTick);
      listen();
      late = std::chrono::duration<double>(Clock::now() - since_).count() > (begun_ ? seconds : std::max(seconds, kMostStart));
    }
    const int status = reap();
    listen();
    if (late) return {fmt::format("did not return within {} s from {}", seconds, stage_), stage_, last_said_};
    return {ending(status, ended_, stage_), stage_, last_said_};
  }

 private:
  bool gone() const {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid_;
  }
  int reap() {
    if (pid_ <= 0) return 0;
    int status = 0;
    ::kill(-pid_, SIGKILL);
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
    pid_ = 0;
    return status;
  }

  void listen() {
    last_said_ += said_.read();
    if (last_said_.size() > kMostSaid) last_said_.erase(0, last_said_.size() - kMostSaid);
    unread_ += report_.read();
    size_t begin = 0;
    for (size_t end = 0; (end = unread_.find('\n', begin)) != std::string::npos; begin = end + 1)
      hear(Json::parse(unread_.begin() + static_cast<std::ptrdiff_t>(begin), unread_.begin() + static_cast<std::ptrdiff_t>(end),
                       nullptr, false));
    unread_.erase(0, begin);
    if (unread_.size() > kMostLine) unread_.clear();
  }
  // What is not the child's own words is passed over: a plugin may write to any descriptor.
  void hear(const Json& message) {
    if (!message.is_object() || message.empty()) return;
    since_ = Clock::now();
    begun_ = true;
    if (message.contains("stage") && message["stage"].is_string())
      stage_ = message["stage"];
    else if (message.contains("end"))
      ended_ = true;
    else
      hear_(message);
  }

  const std::function<void(const Json&)>& hear_;
  Pipe report_, said_;
  pid_t pid_ = 0;
  Clock::time_point since_;
  std::string unread_, last_said_, stage_ = "the start of its process";
  bool begun_ = false, ended_ = false;
};

}  // namespace

ChildEnd run_child(const std::vector<std::string>& arguments, double seconds, const std::function<void(const Json&)>& hear) {
  return Child(arguments, hear).watch(seconds);
}

std::string quoted_lines(const std::string& said) {
  std::string text;
  for (size_t begin = 0; begin < said.size();) {
    const size_t end = std::min(said.find('\n', begin), said.size());
    text += "  | " + said.substr(begin, end - begin) + "\n";
    begin = end + 1;
  }
  return text;
}

}  // namespace onebit::host

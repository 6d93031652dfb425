// SPDX-License-Identifier: Apache-2.0
// Trace: where the time of a rank's steps went (session.trace), for chrome://tracing or ui.perfetto.dev: what the session does
// by itself, step by step and bucket by bucket, and what plugins report as having taken time, such as transfers. Kept in
// memory, the latest 65,536 spans, and written when the session ends; nothing is allocated or written in a step.
//
// Plugins report to the process: where several ranks live in one, each of their traces has what any plugin reported.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace spdlog {
class logger;  // NOLINT(readability-identifier-naming): spdlog's
}

namespace onebit {

class Trace;

// The traces that are being recorded in this process. Any thread.
class Traces {
 public:
  void add(Trace* trace);
  void remove(Trace* trace);
  void span(std::string_view name, int64_t begin_ns, int64_t end_ns);

 private:
  std::mutex mutex_;
  std::vector<Trace*> recording_;
};

class Trace {
 public:
  // "run/trace.json" becomes "run/trace.rank0.json". Throws Error(invalid_argument) where that can't be written.
  static constexpr size_t kMost = 65536;  // spans that are kept
  Trace(Traces& traces, const std::filesystem::path& file, int rank, size_t most = kMost,
        std::shared_ptr<spdlog::logger> logger = nullptr);
  // Writes it. Failing to is no error of the session, which has done its work, but the logger is told why.
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  static std::filesystem::path file_of(const std::filesystem::path& file, int rank);

  // The step that what follows belongs to.
  void enter(int64_t step) { step_ = step; }
  // What this thread tells from now on has a lane of its own.
  void exchange_here() { exchanging_ = std::this_thread::get_id(); }
  // Nanoseconds of the steady clock; bucket < 0: none. One thread of the session at a time.
  void own(std::string_view name, int64_t begin_ns, int64_t end_ns, int64_t bucket);
  // Any thread.
  void plugin(std::string_view name, int64_t begin_ns, int64_t end_ns);

 private:
  struct Span {
    int64_t begin, end, step, bucket;
    int64_t lane;   // 0: of whoever steps, 1: of the session's own thread, which exchanges ahead; -1: of plugins
    char name[63];  // cut off where longer
  };
  void keep(Span span, std::string_view name);
  std::vector<Span> in_order() const;
  void write();
  void write_span(const Span& span, int64_t lane);
  void put(const std::string& text);

  Traces& traces_;
  const std::filesystem::path file_;
  const std::shared_ptr<spdlog::logger> logger_;  // NULL: nobody is told
  const int rank_;
  int64_t step_ = 0;
  std::atomic<std::thread::id> exchanging_{};  // none
  std::ofstream out_;
  int trouble_ = 0;  // errno of the first write that failed
  std::mutex mutex_;
  std::vector<Span> ring_;
  uint64_t count_ = 0;  // ever kept
};

}  // namespace onebit

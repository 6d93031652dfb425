// SPDX-License-Identifier: Apache-2.0
// Chrome's trace event format: an array of complete events ("X"), in microseconds. Spans of one lane (tid) must not overlap
// except by nesting: the session's own do nest; those of plugins, such as transfers at the same time, are spread over lanes.
#include "telemetry/trace.hpp"

#include <spdlog/logger.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "onebit/error.hpp"

namespace onebit {
namespace {

std::string text_of(const nlohmann::ordered_json& event) {
  return event.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

nlohmann::ordered_json label(const char* what, int rank, int64_t lane, const char* key, const std::string& text) {
  return {{"ph", "M"}, {"name", what}, {"pid", rank}, {"tid", lane}, {"args", {{key, text}}}};
}

}  // namespace

void Traces::add(Trace* trace) {
  const std::lock_guard lock(mutex_);
  recording_.push_back(trace);
}

void Traces::remove(Trace* trace) {
  const std::lock_guard lock(mutex_);
  recording_.erase(std::remove(recording_.begin(), recording_.end(), trace), recording_.end());
}

void Traces::span(std::string_view name, int64_t begin_ns, int64_t end_ns) {
  const std::lock_guard lock(mutex_);
  for (Trace* trace : recording_) trace->plugin(name, begin_ns, end_ns);
}

std::filesystem::path Trace::file_of(const std::filesystem::path& file, int rank) {
  std::filesystem::path own = file;
  return own.replace_extension(".rank" + std::to_string(rank) + file.extension().string());
}

Trace::Trace(Traces& traces, const std::filesystem::path& file, int rank, size_t most, std::shared_ptr<spdlog::logger> logger)
    : traces_(traces), file_(file_of(file, rank)), logger_(std::move(logger)), rank_(rank), out_(file_), ring_(most) {
  if (!out_)
    throw Error(Code::invalid_argument,
                "session.trace: '" + file_.string() + "' can't be written: " + std::generic_category().message(errno) +
                    "; its folder must be there",
                errno);
  traces_.add(this);
}

Trace::~Trace() {
  traces_.remove(this);
  try {
    write();
  } catch (const std::exception&) {
    out_.setstate(std::ios::failbit);  // a trace cut short; what it is of has gone well
  }
  if (!out_ && logger_)
    logger_->error("session.trace: '{}' is cut short, it can't be written: {}", file_.string(),
                   std::generic_category().message(trouble_ == 0 ? ENOMEM : trouble_));
}

void Trace::own(std::string_view name, int64_t begin_ns, int64_t end_ns, int64_t bucket) {
  keep({begin_ns, end_ns, step_, bucket, std::this_thread::get_id() == exchanging_.load() ? 1 : 0, {}}, name);
}

void Trace::plugin(std::string_view name, int64_t begin_ns, int64_t end_ns) {
  keep({begin_ns, std::max(begin_ns, end_ns), 0, -1, -1, {}}, name);
}

void Trace::keep(Span span, std::string_view name) {
  name.copy(span.name, sizeof span.name - 1);  // the rest is zero
  const std::lock_guard lock(mutex_);
  ring_[count_++ % ring_.size()] = span;
}

// By their beginning; of those that begin together, the longest first, which holds the others.
std::vector<Trace::Span> Trace::in_order() const {
  std::vector<Span> spans(ring_.begin(), ring_.begin() + static_cast<std::ptrdiff_t>(std::min<uint64_t>(count_, ring_.size())));
  std::sort(spans.begin(), spans.end(),
            [](const Span& a, const Span& b) { return a.begin != b.begin ? a.begin < b.begin : a.end > b.end; });
  return spans;
}

void Trace::put(const std::string& text) {
  if (out_ && !(out_ << text)) trouble_ = errno;
}

void Trace::write() {
  put("[\n" + text_of(label("process_name", rank_, 0, "name", "rank " + std::to_string(rank_))));
  put(",\n" + text_of(label("thread_name", rank_, 0, "name", "steps")));
  const std::vector<Span> spans = in_order();
  if (std::any_of(spans.begin(), spans.end(), [](const Span& span) { return span.lane == 1; }))
    put(",\n" + text_of(label("thread_name", rank_, 1, "name", "exchange")));
  if (count_ > ring_.size())
    put(",\n" + text_of(label("process_labels", rank_, 0, "labels",
                              "the last " + std::to_string(ring_.size()) + " of " + std::to_string(count_) + " spans")));
  std::vector<int64_t> lane_ends;
  for (const Span& span : spans) {
    if (span.lane >= 0) {
      write_span(span, span.lane);
      continue;
    }
    const auto free = std::find_if(lane_ends.begin(), lane_ends.end(), [&](int64_t end) { return end <= span.begin; });
    const auto lane = free - lane_ends.begin() + 2;
    if (free == lane_ends.end()) {
      lane_ends.push_back(0);
      put(",\n" + text_of(label("thread_name", rank_, lane, "name", "plugins " + std::to_string(lane - 1))));
    }
    lane_ends[static_cast<size_t>(lane - 2)] = span.end;
    write_span(span, lane);
  }
  put("\n]\n");
  if (out_ && !out_.flush()) trouble_ = errno;
}

void Trace::write_span(const Span& span, int64_t lane) {
  nlohmann::ordered_json event = {{"ph", "X"}, {"name", span.name}, {"cat", span.lane >= 0 ? "session" : "plugin"}};
  event["pid"] = rank_;
  event["tid"] = lane;
  event["ts"] = static_cast<double>(span.begin) / 1e3;
  event["dur"] = static_cast<double>(span.end - span.begin) / 1e3;
  if (span.lane >= 0) event["args"]["step"] = span.step;
  if (span.bucket >= 0) event["args"]["bucket"] = span.bucket;
  put(",\n" + text_of(event));
}

}  // namespace onebit

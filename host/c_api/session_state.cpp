// SPDX-License-Identifier: Apache-2.0
// What a session tells of itself, and what it saves.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "c_api/handles.hpp"
#include "onebit/metrics.hpp"

namespace onebit::c_api {
namespace {

using Json = nlohmann::json;

Json told(const StepReport& r) {
  return {{"number", r.number},
          {"skipped", r.skipped},
          {"compressed", r.compressed},
          {"local", r.local},
          {"absent", r.absent},
          {"gradient_norm", r.gradient_norm},
          {"unseen", r.unseen},
          {"frozen_at", r.frozen_at},
          {"gradient_scale", r.gradient_scale},
          {"clamped_share", r.clamped_share}};
}
Json told(const Traffic& t) {
  return {{"dense_bytes", t.dense_bytes},           {"compressed_bytes", t.compressed_bytes},
          {"agreement_bytes", t.agreement_bytes},   {"other_bytes", t.other_bytes},
          {"local_bytes", t.local_bytes},           {"dense_steps", t.dense_steps},
          {"compressed_steps", t.compressed_steps}, {"local_steps", t.local_steps},
          {"skipped_steps", t.skipped_steps},       {"compressed_parameters", t.compressed_parameters}};
}
Json told(const Timings& t) {
  return {{"scan", t.scan},       {"send", t.send}, {"serve", t.serve},
          {"receive", t.receive}, {"wait", t.wait}, {"checks", t.checks}};
}
Json told(const Footprint& f) {
  Json state = Json::object();
  for (const StateBytes& one : f.state) state[one.name] = one.bytes;
  return {{"state", std::move(state)},      {"masters", f.masters},   {"worker_error", f.worker_error},
          {"server_error", f.server_error}, {"retained", f.retained}, {"exchange_buffers", f.exchange_buffers},
          {"snapshot", f.snapshot},         {"held", f.held()},       {"peak", f.peak}};
}
Json told(const std::vector<MetricSnapshot>& metrics) {
  Json all = Json::object();
  for (const MetricSnapshot& m : metrics)
    all[m.name] = {
        {"count", m.count}, {m.kind == ONEBIT_METRIC_GAUGE ? "value" : "sum", m.value}, {"min", m.minimum}, {"max", m.maximum}};
  return all;
}
Json told(const SaveReport& r) {
  return {{"begun", r.begun}, {"step", r.step}, {"folder", r.folder.string()}, {"committed", r.committed}, {"left", r.left}};
}
Json told(const LoadReport& r) {
  return {{"folder", r.folder.string()}, {"step", r.step},     {"ranks", r.ranks},
          {"refused", r.refused},        {"afresh", r.afresh}, {"changed", r.changed}};
}

// Texts of others, such as the name of a file, may be no UTF-8.
std::string dumped(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::vector<CheckpointBlob> blobs(const onebit_blob* given, size_t count, const std::string& name) {
  std::vector<CheckpointBlob> all;
  for (size_t i = 0; i < count; ++i) {
    const onebit_blob& one = (&required(given, name.c_str()))[i];
    const std::string at = name + "[" + std::to_string(i) + "]";
    const std::string called = text(one.name, (at + ".name").c_str());
    if (one.size > 0) required(static_cast<const char*>(one.bytes), (at + ".bytes").c_str());
    all.push_back({called, std::string(static_cast<const char*>(one.bytes), one.size)});
  }
  return all;
}

SaveOptions options_of(const onebit_save_options* given) {
  SaveOptions options;
  if (given == nullptr) return options;
  const onebit_save_options& own = required_struct(given, "options", ONEBIT_FIRST_SIZE(onebit_save_options, of_all_count));
  options.keep = own.keep;
  options.wait = own.background == 0;
  options.skip_if_busy = own.skip_if_busy != 0;
  if (own.hash != nullptr) options.hash = own.hash;
  options.of_rank = blobs(own.of_rank, own.of_rank_count, "options.of_rank");
  options.of_all = blobs(own.of_all, own.of_all_count, "options.of_all");
  return options;
}

void tell(const Json& report, char** out) {
  if (out != nullptr) *out = given(dumped(report));
}

}  // namespace
}  // namespace onebit::c_api

using namespace onebit;
using namespace onebit::c_api;

extern "C" {

onebit_code onebit_session_traffic(onebit_session* session, onebit_traffic* traffic, onebit_error* err) {
  return call(err, [&] {
    required_struct(traffic, "traffic", ONEBIT_FIRST_SIZE(onebit_traffic, compressed_parameters));
    const Traffic t = SessionCall(session)->traffic();
    give({0, t.dense_bytes, t.compressed_bytes, t.agreement_bytes, t.other_bytes, t.local_bytes, t.dense_steps,
          t.compressed_steps, t.local_steps, t.skipped_steps, t.compressed_parameters},
         *traffic);
  });
}
onebit_code onebit_session_report(onebit_session* session, char** out, onebit_error* err) {
  return call(err, [&] {
    char*& text = result(out);
    const SessionCall one(session);
    const Traffic traffic = one->traffic();
    text = given(dumped({{"step", told(one.handle().last)},
                         {"traffic", told(traffic)},
                         {"timings", told(one->timings())},
                         {"memory", told(one->footprint())},
                         {"metrics", told(one.handle().registry->metrics().snapshot())}}));
  });
}

onebit_code onebit_session_save(onebit_session* session, const char* root, const onebit_save_options* options, char** report,
                                onebit_error* err) {
  return call(err, [&] {
    if (report != nullptr) *report = nullptr;
    const SessionCall one(session);
    tell(told(one->save(text(root, "root"), options_of(options))), report);
  });
}
onebit_code onebit_session_finish_save(onebit_session* session, char** report, onebit_error* err) {
  return call(err, [&] {
    if (report != nullptr) *report = nullptr;
    tell(told(SessionCall(session)->finish_save()), report);
  });
}
onebit_code onebit_session_load(onebit_session* session, const char* folder, int32_t ignore_state, char** report,
                                onebit_error* err) {
  return call(err, [&] {
    if (report != nullptr) *report = nullptr;
    const SessionCall one(session);
    LoadOptions options;
    options.ignore_state = ignore_state != 0;
    one.handle().loaded = one->load(text(folder, "folder"), options);
    tell(told(one.handle().loaded), report);
  });
}
onebit_code onebit_session_loaded(onebit_session* session, int32_t which, const char* name, const void** bytes, size_t* size,
                                  onebit_error* err) {
  return call(err, [&] {
    const void*& found = result(bytes, "bytes");
    required(size, "size") = 0;
    const SessionCall one(session);
    if (which != ONEBIT_OF_RANK && which != ONEBIT_OF_ALL)
      refuse("which is " + std::to_string(which) + "; expected ONEBIT_OF_RANK or ONEBIT_OF_ALL");
    const std::string called = text(name, "name");
    const LoadReport& loaded = one.handle().loaded;
    for (const CheckpointBlob& blob : which == ONEBIT_OF_RANK ? loaded.of_rank : loaded.of_all) {
      if (blob.name != called) continue;
      found = blob.bytes.data();
      *size = blob.bytes.size();
    }
  });
}
}

// SPDX-License-Identifier: Apache-2.0
#include "saving/description.hpp"

#include <utility>

#include "exchange/retained.hpp"
#include "onebit/error.hpp"

namespace onebit {
namespace {

using json = nlohmann::json;

json tensors_told(const std::vector<ModelTensor>& tensors) {
  json all = json::array();
  for (const ModelTensor& tensor : tensors) {
    all.push_back({{"name", tensor.name}, {"shape", tensor.shape}});
    if (!tensor.order.empty()) all.back()["strides"] = tensor.order;
  }
  return all;
}

json layout_told(const Layout& layout, const Place& place) {
  const LayoutOptions& options = layout.options();
  return {{"ranks", options.ranks},
          {"locals", options.locals},
          {"machines", place.machines},
          {"block", options.block},
          {"span", options.span},
          {"bucket_bytes", options.bucket_bytes},
          {"dense_type", static_cast<int>(options.dense_type)},
          {"dense_below", options.dense_below},
          {"whole_tensors", options.whole_tensors},
          {"exempt", options.exempt},
          {"codes", layout.codes()},
          {"blocks", layout.blocks.size()}};
}

json slots_told(const StateStore& state) {
  json all = json::array();
  for (const StateSlot& slot : state.slots())
    all.push_back({{"name", slot.name},
                   {"extent", slot.extent},
                   {"count", slot.count},
                   {"scope", slot.scope},
                   {"role", slot.role},
                   {"released", slot.released}});
  for (size_t i = 0; i < all.size(); ++i)
    if (state.slots()[i].type != WireType::fp32) all[i]["dtype"] = stored_name(state.slots()[i].type);
  return all;
}

json progress_told(const Progress& progress) {
  return {{"next_step", progress.next_step},
          {"frozen_at", progress.frozen_at},
          {"unseen", progress.unseen},
          {"learning_rate_factor", progress.learning_rate_factor},
          {"sync_requested", progress.sync_requested},
          {"local_steps", progress.local_steps},
          {"local_hash", progress.local_hash},
          {"skipped_in_a_row", progress.skipped_in_a_row},
          {"first_skipped", progress.first_skipped},
          {"missed", progress.missed}};
}

json plugins_told(const std::vector<PluginFact>& plugins) {
  json all = json::object();
  for (const PluginFact& fact : plugins)
    all[fact.kind] = {
        {"component", fact.component}, {"plugin", fact.plugin}, {"version", fact.version}, {"abi_minor", fact.abi_minor}};
  return all;
}

json retained_told(Retained& retained) {
  if (retained.restored() != nullptr) return "fp32";
  if (!retained.kind()) return nullptr;
  return *retained.kind() == RoundKind::dense ? "dense" : "compressed";
}

// Values of a checkpoint's JSON, in their range.
int64_t number(const json& object, const char* key, int64_t least, int64_t most) {
  const json& value = object.at(key);
  if (!value.is_number_integer() || value.get<int64_t>() < least || value.get<int64_t>() > most)
    throw Error(Code::invalid_argument, std::string(key) + " is " + value.dump().substr(0, 80));
  return value.get<int64_t>();
}
int small_number(const json& object, const char* key, int least) {
  return static_cast<int>(number(object, key, least, 1 << 24));
}

ModelTensor tensor_of(const json& told) {
  ModelTensor tensor;
  tensor.name = told.at("name").get<std::string>();
  tensor.shape = told.at("shape").get<std::vector<int64_t>>();
  if (told.contains("strides")) tensor.order = told.at("strides").get<std::vector<int64_t>>();
  tensor.elements = 1;
  for (const int64_t extent : tensor.shape)
    if (extent < 0 || __builtin_mul_overflow(tensor.elements, extent, &tensor.elements))
      throw Error(Code::invalid_argument, "a parameter has an impossible shape");
  return tensor;
}

LayoutOptions layout_of(const json& told, size_t tensors) {
  LayoutOptions options;
  options.ranks = small_number(told, "ranks", 1);
  options.locals = small_number(told, "locals", 1);
  options.block = number(told, "block", 1, int64_t{1} << 40);
  options.span = small_number(told, "span", 0);
  options.bucket_bytes = number(told, "bucket_bytes", 1, int64_t{1} << 50);
  options.dense_type = static_cast<WireType>(number(told, "dense_type", 0, 2));
  options.dense_below = number(told, "dense_below", 0, INT64_MAX);
  options.whole_tensors = told.at("whole_tensors").get<bool>();
  options.exempt = told.at("exempt").get<std::vector<bool>>();
  if (!options.exempt.empty() && options.exempt.size() != tensors)
    throw Error(Code::invalid_argument, "exempt is not of as many tensors as there are");
  return options;
}

Progress progress_of(const json& told, size_t tensors) {
  Progress progress;
  progress.next_step = number(told, "next_step", 1, INT64_MAX);
  progress.frozen_at = number(told, "frozen_at", 0, INT64_MAX);
  progress.unseen = told.contains("unseen") ? number(told, "unseen", 0, INT64_MAX) : 0;  // since 2026-11-29
  progress.learning_rate_factor = told.at("learning_rate_factor").get<double>();
  progress.sync_requested = told.at("sync_requested").get<bool>();
  progress.local_steps = number(told, "local_steps", 0, INT64_MAX);
  progress.local_hash = told.at("local_hash").get<uint64_t>();
  progress.skipped_in_a_row = number(told, "skipped_in_a_row", 0, INT64_MAX);
  progress.first_skipped = told.at("first_skipped").get<std::string>();
  progress.missed = told.at("missed").get<std::vector<int64_t>>();
  if (!progress.missed.empty() && progress.missed.size() != tensors)
    throw Error(Code::invalid_argument, "missed is not of as many tensors as there are");
  return progress;
}

void take_retained(const json& told, SavedSession& saved) {
  if (told.is_null()) return;
  const auto kind = told.get<std::string>();
  saved.restored = kind == "fp32";
  if (kind == "dense") saved.retained = RoundKind::dense;
  if (kind == "compressed") saved.retained = RoundKind::compressed;
  if (!saved.restored && !saved.retained) throw Error(Code::invalid_argument, "retained is \"" + kind + "\"");
}

template <class F>
auto described_in(const std::filesystem::path& file, F&& f) {
  try {
    return f();
  } catch (const std::exception& e) {
    throw Error(Code::invalid_argument, file.string() +
                                            ": what it says of the session is not what onebit " ONEBIT_CORE_VERSION
                                            " expects, so it was written by another version: " +
                                            e.what());
  }
}

}  // namespace

json described(const SessionParts& parts, const RunFacts& facts) {
  Exchange& exchange = parts.exchange;
  return {{"onebit", ONEBIT_CORE_VERSION},
          {"plugins", plugins_told(facts.plugins)},
          {"configuration", facts.configuration},
          {"parameters", tensors_told(parts.tensors)},
          {"layout", layout_told(parts.layout, parts.place)},
          {"slots", slots_told(parts.state)},
          {"errors", exchange.worker_error().size() > 0 || exchange.carried().size() > 0},
          {"retained", retained_told(exchange.retained())},
          {"apart", parts.apart},
          {"progress", progress_told(parts.progress)}};
}

json described_rank(const SessionParts& parts) {
  return {{"machine", parts.place.machine},
          {"machines", parts.place.machines},
          {"local", parts.place.local},
          {"locals", parts.place.locals},
          {"missed_local", parts.progress.missed_local},
          {"steps_without", parts.progress.steps_without},
          {"ever", parts.progress.ever},
          {"local_bits", parts.progress.local}};
}

WireType element_type(const json& slot) {
  const std::string name = slot.contains("dtype") ? slot.at("dtype").get<std::string>() : stored_name(WireType::fp32);
  for (const WireType type : {WireType::fp32, WireType::bf16})
    if (name == stored_name(type)) return type;
  throw Error(Code::invalid_argument, "dtype is " + name.substr(0, 80));
}

SavedSession read_description(const json& session, const std::filesystem::path& file) {
  return described_in(file, [&] {
    SavedSession saved;
    for (const json& tensor : session.at("parameters")) saved.tensors.push_back(tensor_of(tensor));
    saved.configuration = session.at("configuration").get<std::string>();
    for (const json& slot : session.at("slots"))
      saved.slots.push_back({slot.at("name").get<std::string>(), number(slot, "extent", 0, 100), number(slot, "count", 1, 4096),
                             number(slot, "scope", 0, 100), slot.at("released").get<bool>(), element_type(slot)});
    saved.layout = layout_of(session.at("layout"), saved.tensors.size());
    saved.codes = session.at("layout").at("codes").get<bool>();
    saved.errors = session.at("errors").get<bool>();
    take_retained(session.at("retained"), saved);
    saved.apart = session.at("apart").get<bool>();
    saved.progress = progress_of(session.at("progress"), saved.tensors.size());
    return saved;
  });
}

SavedRank read_rank(const std::string& text, const std::filesystem::path& file) {
  return described_in(file, [&] {
    const json told = json::parse(text);
    SavedRank saved;
    saved.place = {small_number(told, "machine", 0), small_number(told, "machines", 1), small_number(told, "local", 0),
                   small_number(told, "locals", 1)};
    saved.progress.missed_local = told.at("missed_local").get<bool>();
    saved.progress.steps_without = number(told, "steps_without", 0, INT64_MAX);
    saved.progress.ever = told.at("ever").get<std::vector<uint64_t>>();
    saved.progress.local = told.at("local_bits").get<std::vector<uint64_t>>();
    return saved;
  });
}

}  // namespace onebit

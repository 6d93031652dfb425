// SPDX-License-Identifier: Apache-2.0
#include "saving/compatibility.hpp"

#include <algorithm>
#include <map>
#include <string_view>

#include "onebit/error.hpp"
#include "saving/settings.hpp"

namespace onebit {
namespace {

namespace fs = std::filesystem;

constexpr const char* parameters_alone = "; load it with ignore_state to take its parameters alone";

[[noreturn]] void refuse_fit(const fs::path& folder, const std::string& text) {
  throw Error(Code::invalid_argument, folder.string() + ": " + text);
}

std::string list_of(const std::vector<int64_t>& numbers) {
  std::string text;
  for (const int64_t number : numbers) text += (text.empty() ? "" : ", ") + std::to_string(number);
  return "[" + text + "]";
}

std::string in_order(const ModelTensor& tensor) {
  return tensor.order.empty() ? "row by row in memory" : "in memory with strides " + list_of(tensor.order);
}

void require_same_order(const SessionParts& parts, const SavedSession& saved, const fs::path& folder) {
  for (size_t t = 0; t < parts.tensors.size(); ++t) {
    const ModelTensor &now = parts.tensors[t], &before = saved.tensors[t];
    if (now.name != before.name)
      refuse_fit(folder, "parameter " + std::to_string(t) + " was '" + before.name + "' when it was saved and is '" + now.name +
                             "' here: state is kept in the order of the model's parameters" + parameters_alone);
    if (now.order != before.order)
      refuse_fit(folder, "parameter '" + now.name + "' was " + in_order(before) + " when it was saved and is " + in_order(now) +
                             " here, and state is kept in the order of memory" + parameters_alone);
  }
}

void require_same_component(const std::vector<SettingLine>& before, const std::vector<SettingLine>& now, const char* table,
                            const fs::path& folder) {
  const std::string was = value_in(before, table, "component"), is = value_in(now, table, "component");
  if (was == is) return;
  const auto told = [](const std::string& value) { return value.empty() ? std::string("none") : value; };
  refuse_fit(folder, std::string("the ") + table + " was " + told(was) + " when it was saved and is " + told(is) + " here" +
                         parameters_alone);
}

void require_same_slots(const SessionParts& parts, const SavedSession& saved, const fs::path& folder) {
  const auto text = [](const std::string& name, int64_t extent, int64_t count, int64_t scope, WireType type) {
    static constexpr const char* extents[] = {"?", "element", "block", "tensor", "model"};
    return "'" + name + "' (" + std::to_string(count) + " per " + extents[extent >= 1 && extent <= 4 ? extent : 0] +
           (type == WireType::fp32 ? "" : ", bf16") + (scope == ONEBIT_RANK_LOCAL ? ", rank-local)" : ")");
  };
  for (size_t i = 0; i < std::max(parts.state.slots().size(), saved.slots.size()); ++i) {
    const StateSlot* now = i < parts.state.slots().size() ? &parts.state.slots()[i] : nullptr;
    const SavedSlot* before = i < saved.slots.size() ? &saved.slots[i] : nullptr;
    const std::string is = now == nullptr ? "nothing" : text(now->name, now->extent, now->count, now->scope, now->type);
    const std::string was =
        before == nullptr ? "nothing" : text(before->name, before->extent, before->count, before->scope, before->type);
    if (was != is)
      refuse_fit(folder, "state " + std::to_string(i) + " of the optimizer was " + was + " when it was saved and is " + is +
                             " here: the plugin or its options have other state" + parameters_alone);
  }
}

// Tensors that are exempt from compression have no errors, and from the freeze on other state than the rest.
void require_same_exempt(const SessionParts& parts, const SavedSession& saved, const fs::path& folder) {
  bool begun = false;
  for (size_t i = 0; i < saved.slots.size(); ++i)
    begun = begun || saved.slots[i].released != parts.state.slots()[i].later;  // what begins later is not there before
  if (!begun && saved.progress.frozen_at == 0 && !saved.errors && !saved.retained && !saved.restored) return;
  const auto told = [](bool exempt) { return exempt ? "exempt from compression" : "compressed"; };
  for (size_t t = 0; t < parts.tensors.size(); ++t) {
    const bool was = !saved.layout.exempt.empty() && saved.layout.exempt[t];
    const bool is = (parts.layout.flags[t] & ONEBIT_TENSOR_DENSE) != 0;
    if (was != is)
      refuse_fit(folder, "parameter '" + parts.tensors[t].name + "' was " + told(was) + " when it was saved and is " +
                             told(is) + " here (optimizer.dense), and what is kept of it is not the same" + parameters_alone);
  }
}

void require_same_stage(const RunFacts& facts, const SavedSession& saved, const fs::path& folder) {
  constexpr int64_t most = 1'000'000;
  const int64_t taken = saved.progress.next_step - 1, frozen = saved.progress.frozen_at;
  const int64_t fixed = facts.freeze_step(frozen > 0 ? most : taken);
  const bool past = fixed > 0 && fixed <= taken;
  if (fixed == 0 || past == (frozen > 0)) return;
  const std::string here = freeze_told(settings_of(facts.configuration), fixed) + " here";
  if (frozen > 0)
    refuse_fit(folder, "the optimizer froze its state at step " + std::to_string(frozen) + ", and " + std::to_string(taken) +
                           " steps had been taken when it was saved; " + here +
                           " would have it go on until then: set it as it was" + parameters_alone);
  refuse_fit(folder, "the optimizer had not frozen its state after " + std::to_string(taken) + " steps, when it was saved; " +
                         here + " lies before that: set a later step" + parameters_alone);
}

}  // namespace

void require_same_model(const SessionParts& parts, const SavedSession& saved, const fs::path& folder) {
  std::map<std::string_view, const ModelTensor*> before;
  for (const ModelTensor& tensor : saved.tensors) before.emplace(tensor.name, &tensor);
  for (const ModelTensor& now : parts.tensors) {
    const auto found = before.find(now.name);
    if (found == before.end())
      refuse_fit(folder, "it has no parameter '" + now.name + "', which the model has, of shape " + list_of(now.shape));
    if (found->second->shape != now.shape)
      refuse_fit(folder, "parameter '" + now.name + "' had shape " + list_of(found->second->shape) +
                             " when it was saved and has " + list_of(now.shape) + " here");
    before.erase(found);
  }
  for (const ModelTensor& tensor : saved.tensors)
    if (before.count(tensor.name) > 0)
      refuse_fit(folder, "it has a parameter '" + tensor.name + "' of shape " + list_of(tensor.shape) +
                             ", which the model does not have");
}

void require_same_state(const SessionParts& parts, const RunFacts& facts, const SavedSession& saved, const fs::path& folder) {
  const std::vector<SettingLine> before = settings_of(saved.configuration), now = settings_of(facts.configuration);
  require_same_order(parts, saved, folder);
  require_same_component(before, now, "optimizer", folder);
  require_same_slots(parts, saved, folder);
  if (saved.errors || saved.retained == RoundKind::compressed) require_same_component(before, now, "compressor", folder);
  require_same_exempt(parts, saved, folder);
  require_same_stage(facts, saved, folder);
}

}  // namespace onebit

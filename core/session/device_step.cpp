// SPDX-License-Identifier: Apache-2.0
#include "session/device_step.hpp"

#include <algorithm>
#include <cstring>

namespace onebit {
namespace {

template <class T>
T* staging(Device& device, size_t count) {
  return static_cast<T*>(device.allocate_staging(std::max<size_t>(count, 1) * sizeof(T)));
}

}  // namespace

DeviceStep::DeviceStep(Device& device, const Layout& layout, const StateStore& state, MeteredCommunicator& communicator,
                       MemoryMeter& meter, size_t groups)
    : device_(device),
      layout_(layout),
      state_(state),
      communicator_(communicator),
      blocks_(meter, layout.blocks.size() * sizeof(onebit_block)),
      groups_(meter, groups * sizeof(onebit_group)),
      ballots_(meter, static_cast<size_t>(communicator.size()) * sizeof(Ballot)),
      verdict_(meter, sizeof(Verdict)),
      scratch_(meter, device.scan_scratch(static_cast<int64_t>(layout.blocks.size()))),
      tensors_(meter, (3 * layout.elements.size() + 1) * sizeof(int64_t)),
      host_slots_(state.slots().size(), nullptr) {
  std::vector<int64_t> numbers(layout.first_block);
  numbers.insert(numbers.end(), layout.elements.begin(), layout.elements.end());
  for (const uint64_t flags : layout.flags) numbers.push_back(static_cast<int64_t>(flags));
  tensors_.set(numbers.data(), numbers.size() * sizeof(int64_t));
  for (int64_t rank = 0; rank < communicator.size(); ++rank)
    parts_.push_back({rank * static_cast<int64_t>(sizeof(Ballot)), static_cast<int64_t>(sizeof(Ballot))});

  staged_blocks_ = staging<onebit_block>(device, layout.blocks.size());
  staged_groups_ = staging<onebit_group>(device, groups);
  staged_ballots_ = staging<Ballot>(device, parts_.size());
  staged_model_ = staging<std::byte>(device, state.model_bytes());
  for (size_t slot = 0; slot < host_slots_.size(); ++slot)
    if (state.slots()[slot].extent == ONEBIT_PER_MODEL) host_slots_[slot] = staged_model_ + state.model_offset(slot);
  std::memset(staged_groups_, 0, groups * sizeof(onebit_group));
  if (state.model_bytes() > 0) device.download(staged_model_, state.model_memory(), state.model_bytes());
  update_blocks(0, layout.blocks.size());
  device.settle();
}

DeviceStep::~DeviceStep() {
  for (void* memory : {static_cast<void*>(staged_blocks_), static_cast<void*>(staged_groups_),
                       static_cast<void*>(staged_ballots_), static_cast<void*>(staged_model_)})
    if (memory != nullptr) device_.release_staging(memory);
}

void DeviceStep::update_blocks(size_t first, size_t last) {
  if (first >= last) return;
  std::copy(layout_.blocks.begin() + static_cast<std::ptrdiff_t>(first),
            layout_.blocks.begin() + static_cast<std::ptrdiff_t>(last), staged_blocks_ + first);
  device_.upload(blocks_.as<onebit_block>() + first, staged_blocks_ + first, (last - first) * sizeof(onebit_block));
}

const onebit_group* DeviceStep::update_groups(const std::vector<onebit_group>& groups) {
  const size_t bytes = groups.size() * sizeof(onebit_group);
  if (std::memcmp(staged_groups_, groups.data(), bytes) != 0) {
    std::memcpy(staged_groups_, groups.data(), bytes);
    device_.upload(groups_.bytes(), staged_groups_, bytes);
  }
  return groups_.as<onebit_group>();
}

Opening DeviceStep::open(const Ballot& said, const Terms& terms) {
  local_ = terms.local != 0;
  auto* const all = ballots_.as<Ballot>();
  Ballot* const own = all + (local_ ? 0 : communicator_.rank());
  device_.scan(blocks(), static_cast<int64_t>(layout_.blocks.size()), terms.clip_norm > 0, said, own, scratch_.bytes());
  if (!local_ && communicator_.size() > 1) {
    Call call(static_cast<uint64_t>(~0U));
    call.stream = device_.stream();
    communicator_.enter(Stage::agreement);
    communicator_.wait(communicator_.all_gather(own, all, parts_.data(), call), -1);
    communicator_.enter(Stage::other);
  }
  auto* const verdict = verdict_.as<Verdict>();
  device_.judge(all, local_ ? 1 : communicator_.size(), terms, verdict);
  return {&verdict->gradient_scale, &verdict->skip_tiles};
}

Totals DeviceStep::totals() const {
  const auto* const numbers = tensors_.as<int64_t>();
  const size_t tensors = layout_.elements.size();
  return {sizeof(Totals),
          static_cast<int64_t>(tensors),
          numbers,
          numbers + tensors + 1,
          reinterpret_cast<const uint64_t*>(numbers + 2 * tensors + 1),
          state_.totals_slots(),
          &verdict_.as<Verdict>()->skip,
          device_.stream()};
}

Totals DeviceStep::host_totals() const {
  return {sizeof(Totals),
          static_cast<int64_t>(layout_.elements.size()),
          layout_.first_block.data(),
          layout_.elements.data(),
          layout_.flags.data(),
          host_slots_.data(),
          nullptr,
          nullptr};
}

void DeviceStep::report() {
  device_.download(staged_ballots_, ballots_.bytes(), (local_ ? 1 : parts_.size()) * sizeof(Ballot));
  if (state_.model_bytes() > 0) device_.download(staged_model_, state_.model_memory(), state_.model_bytes());
}

void DeviceStep::read(std::vector<Ballot>& ballots) const {
  ballots.assign(staged_ballots_, staged_ballots_ + (local_ ? 1 : parts_.size()));
}

}  // namespace onebit

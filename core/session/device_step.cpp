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
      meter_(meter),
      words_(words_of(static_cast<int64_t>(layout.elements.size()))),
      blocks_(meter, layout.blocks.size() * sizeof(onebit_block)),
      groups_(meter, groups * sizeof(onebit_group)),
      ballots_(meter, static_cast<size_t>(communicator.size() * Ballots{nullptr, 0, words_}.stride())),
      bits_(meter, static_cast<size_t>(words_) * sizeof(uint64_t)),
      verdict_(meter, sizeof(Verdict)),
      scratch_(meter, device.scan_scratch(static_cast<int64_t>(layout.blocks.size()))),
      tensors_(meter, (3 * layout.elements.size() + 1) * sizeof(int64_t)),
      early_(meter, sizeof(float) + sizeof(int32_t)),
      host_slots_(state.slots().size(), nullptr) {
  std::vector<int64_t> numbers(layout.first_block);
  numbers.insert(numbers.end(), layout.elements.begin(), layout.elements.end());
  for (const uint64_t flags : layout.flags) numbers.push_back(static_cast<int64_t>(flags));
  tensors_.set(numbers.data(), numbers.size() * sizeof(int64_t));
  const int64_t stride = Ballots{nullptr, 0, words_}.stride();
  for (int64_t rank = 0; rank < communicator.size(); ++rank) parts_.push_back({rank * stride, stride});

  staged_blocks_ = staging<onebit_block>(device, layout.blocks.size());
  staged_groups_ = staging<onebit_group>(device, groups);
  staged_ballots_ = staging<std::byte>(device, parts_.size() * static_cast<size_t>(stride));
  staged_bits_ = staging<uint64_t>(device, static_cast<size_t>(words_));
  std::memset(staged_bits_, 0, static_cast<size_t>(words_) * sizeof(uint64_t));
  staged_missed_ = staging<int64_t>(device, layout.elements.size());
  staged_model_ = staging<std::byte>(device, state.model_bytes());
  staged_vanished_ = staging<uint64_t>(device, 1);
  staged_scale_ = staging<float>(device, 1);
  for (size_t slot = 0; slot < host_slots_.size(); ++slot)
    if (state.slots()[slot].extent == ONEBIT_PER_MODEL) host_slots_[slot] = staged_model_ + state.model_offset(slot);
  std::memset(staged_groups_, 0, groups * sizeof(onebit_group));
  update_blocks(0, layout.blocks.size());
  read_model();
}

DeviceStep::~DeviceStep() {
  for (void* memory :
       {static_cast<void*>(staged_blocks_), static_cast<void*>(staged_groups_), static_cast<void*>(staged_ballots_),
        static_cast<void*>(staged_bits_), static_cast<void*>(staged_missed_), static_cast<void*>(staged_model_),
        static_cast<void*>(staged_vanished_), static_cast<void*>(staged_scale_)})
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

const int64_t* DeviceStep::update_missed(const int64_t* missed) {
  if (missed == nullptr) return nullptr;
  const size_t bytes = layout_.elements.size() * sizeof(int64_t);
  const bool first = missed_.size() == 0;
  if (first) missed_ = Buffer(meter_, bytes);
  if (first || std::memcmp(staged_missed_, missed, bytes) != 0) {
    std::memcpy(staged_missed_, missed, bytes);
    device_.upload(missed_.bytes(), staged_missed_, bytes);
  }
  return missed_.as<int64_t>();
}

// Buffers of a device begin as zeros, as what is staged does.
void DeviceStep::say(const std::vector<uint64_t>& bits) {
  const size_t bytes = bits.size() * sizeof(uint64_t);
  if (std::equal(bits.begin(), bits.end(), staged_bits_)) return;
  std::memcpy(staged_bits_, bits.data(), bytes);
  device_.upload(bits_.bytes(), staged_bits_, bytes);
}

// Where this rank has all gradients none is absent, and what said so is taken back.
const onebit_block* DeviceStep::mark_absent(const uint64_t* lacking) {
  if (lacking == nullptr && !marked_) return nullptr;
  if (present_blocks_.size() == 0) present_blocks_ = Buffer(meter_, layout_.blocks.size() * sizeof(onebit_block));
  const auto tensors = static_cast<int64_t>(layout_.elements.size());
  auto* const flags = reinterpret_cast<uint64_t*>(tensors_.as<int64_t>() + 2 * tensors + 1);
  device_.mark_absent(on_device(), tensors, flags, blocks_.as<onebit_block>(), static_cast<int64_t>(layout_.blocks.size()),
                      present_blocks_.as<onebit_block>());
  marked_ = lacking != nullptr;
  return marked_ ? present_blocks_.as<onebit_block>() : nullptr;
}

Opening DeviceStep::open(const Ballot& said, const Terms& terms, const std::vector<uint64_t>& bits, const uint64_t* lacking) {
  device_.begin_scan(scratch_.bytes());
  device_.scan(blocks(), 0, static_cast<int64_t>(layout_.blocks.size()), terms.clip_norm > 0, scratch_.bytes());
  return agree(said, terms, bits, lacking);
}

Opening DeviceStep::begin(float gradient_scale) {
  *staged_scale_ = gradient_scale;
  device_.upload(early_.bytes(), staged_scale_, sizeof gradient_scale);
  device_.begin_scan(scratch_.bytes());
  return {early_.as<float>(), early_.as<int32_t>() + 1, nullptr, nullptr, scratch_.bytes()};
}

void DeviceStep::scan(const Bucket& bucket) {
  const auto first = static_cast<size_t>(bucket.first_block);
  update_blocks(first, first + static_cast<size_t>(bucket.block_count));
  device_.scan(blocks(), bucket.first_block, bucket.block_count, false, scratch_.bytes());
}

Opening DeviceStep::agree(const Ballot& said, const Terms& terms, const std::vector<uint64_t>& bits, const uint64_t* lacking) {
  local_ = terms.local != 0;
  say(bits);
  auto* const all = ballots_.bytes();
  auto* const own = reinterpret_cast<Ballot*>(all + (local_ ? 0 : parts_[static_cast<size_t>(communicator_.rank())].offset));
  device_.finish_scan(blocks(), static_cast<int64_t>(layout_.blocks.size()), terms.clip_norm > 0, said,
                      {bits_.as<uint64_t>(), words_}, own, scratch_.bytes());
  if (!local_ && communicator_.size() > 1) {
    Call call(static_cast<uint64_t>(~0U));
    call.stream = device_.stream();
    communicator_.enter(Stage::agreement);
    communicator_.wait(communicator_.all_gather(own, all, parts_.data(), call), -1);
    communicator_.enter(Stage::other);
  }
  auto* const verdict = verdict_.as<Verdict>();
  device_.judge(on_device(), terms, verdict);
  return {&verdict->gradient_scale, &verdict->skip_tiles, lacking, mark_absent(lacking)};
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

void DeviceStep::read_model() {
  if (state_.model_bytes() > 0) device_.download(staged_model_, state_.model_memory(), state_.model_bytes());
  device_.settle();
}

void DeviceStep::report(const uint64_t* vanished) {
  if (vanished != nullptr) device_.download(staged_vanished_, vanished, sizeof(uint64_t));
  device_.download(staged_ballots_, ballots_.bytes(), bytes_of(on_device()));
  if (state_.model_bytes() > 0) device_.download(staged_model_, state_.model_memory(), state_.model_bytes());
}

}  // namespace onebit

// SPDX-License-Identifier: Apache-2.0
#include "saving/retained_form.hpp"

#include <cstddef>
#include <memory>
#include <vector>

#include "dtypes/dense_codec.hpp"
#include "exchange/retained.hpp"
#include "onebit/error.hpp"
#include "saving/contents.hpp"
#include "saving/restore.hpp"
#include "saving/settings.hpp"

namespace onebit {
namespace {

// The options of [compressor], as lines of TOML.
std::string codec_options(const std::string& configuration) {
  std::string options;
  for (const SettingLine& setting : settings_of(configuration))
    if (setting.table == "compressor" && setting.key != "component" && setting.key != "plugin" && setting.key != "version")
      options += setting.key + " = " + setting.value + "\n";
  return options;
}

std::vector<int64_t> elements_of_tensors(const SavedSession& saved) {
  std::vector<int64_t> elements;
  for (const ModelTensor& tensor : saved.tensors) elements.push_back(tensor.elements);
  return elements;
}

std::unique_ptr<Compressor> dense_codec_of(Device* device, WireType type) {
  if (device != nullptr) return device->dense_codec(type, nullptr);
  return std::make_unique<DenseCodec>(type);
}

}  // namespace

RetainedForm::RetainedForm(const SessionParts& parts, const RunFacts& facts, const SavedSession& saved,
                           const SafetensorsReader& state)
    : parts_(parts), saved_(saved), state_(state) {
  if (!saved.retained) return;
  LayoutOptions options = saved.layout;
  if (saved.codes) {
    const std::string before = codec_options(saved.configuration);
    same_codec_ = before == codec_options(facts.configuration);
    if (parts.compressor == nullptr)
      throw Error(Code::invalid_argument,
                  "a mean is kept whose blocks are those of a compressor, and none is configured here: add the table "
                  "[compressor] as it was when it was saved");
    if (!same_codec_) old_codec_ = facts.compressor_with(before);
    const Compressor* codec = same_codec_ ? parts.compressor : old_codec_.get();
    options.payload_size = [codec](int64_t count) { return codec->payload_size(count); };
  }
  old_ = std::make_unique<Layout>(elements_of_tensors(saved), options);
  check_sizes();
}

void RetainedForm::check_sizes() const {
  std::vector<int64_t> bytes(saved_.tensors.size());
  for (const onebit_block& block : old_->blocks)
    bytes[static_cast<size_t>(block.tensor)] += payload_bytes(*old_, *saved_.retained, block);
  for (size_t t = 0; t < bytes.size(); ++t) {
    const SafetensorsReader::Entry& entry = state_.at(kRetained + saved_.tensors[t].name);
    if (entry.bytes != static_cast<uint64_t>(bytes[t]))
      throw Error(Code::invalid_argument, "the mean that is kept of '" + saved_.tensors[t].name + "' has " +
                                              std::to_string(entry.bytes) + " bytes, where the codec makes " +
                                              std::to_string(bytes[t]) + ": it is another version of the codec");
  }
}

bool RetainedForm::same_blocks() const {
  const Layout& now = parts_.layout;
  if (!same_codec_ || now.blocks.size() != old_->blocks.size()) return false;
  for (size_t b = 0; b < now.blocks.size(); ++b) {
    const onebit_block &is = now.blocks[b], &was = old_->blocks[b];
    if (is.tensor != was.tensor || is.first != was.first || is.count != was.count ||
        now.is_raw(is.tensor) != old_->is_raw(is.tensor))
      return false;
  }
  return *saved_.retained == RoundKind::compressed || now.options().dense_type == old_->options().dense_type;
}

void RetainedForm::restore() const {
  if (saved_.restored) return copy_floats();
  if (!saved_.retained) return;
  same_blocks() ? copy_payloads() : decode();
}

void RetainedForm::copy_payloads() const {
  parts_.exchange.retained().begin_with(*saved_.retained);
  for (const Stored& stored : retained_contents(parts_)) copy_stored(state_, stored);
}

void RetainedForm::copy_floats() const {
  parts_.exchange.retained().begin_restored();
  for (const Stored& stored : retained_contents(parts_)) copy_stored(state_, stored);
}

void RetainedForm::decode() const {
  float* const flat = parts_.exchange.retained().begin_restored();
  std::unique_ptr<Compressor> dense;
  if (*saved_.retained == RoundKind::dense) dense = dense_codec_of(parts_.device, saved_.layout.dense_type);
  for (size_t t = 0; t < parts_.tensors.size(); ++t) {
    const bool raw = old_->is_raw(static_cast<int64_t>(t));
    const Compressor* codec = dense ? dense.get() : raw ? nullptr : same_codec_ ? parts_.compressor : old_codec_.get();
    if (parts_.tensors[t].elements > 0) decode_tensor(t, codec, flat + parts_.flat(t));
  }
}

// codec: NULL for fp32.
void RetainedForm::decode_tensor(size_t t, const Compressor* codec, float* out) const {
  const SafetensorsReader::Entry& entry = state_.at(kRetained + parts_.tensors[t].name);
  std::vector<std::byte> payload(entry.bytes);
  state_.read_bytes(entry, 0, entry.bytes, payload.data());
  if (codec == nullptr) return copy_in(parts_.device, out, payload.data(), payload.size());
  std::vector<onebit_piece> pieces;
  int64_t at = 0;
  for (int64_t b = old_->first_block[t]; b < old_->first_block[t + 1]; ++b) {
    const onebit_block& block = old_->blocks[static_cast<size_t>(b)];
    pieces.push_back({block.first, block.count, at, b - old_->first_block[t], 2 * static_cast<uint64_t>(b)});
    at += payload_bytes(*old_, *saved_.retained, block);
  }
  onebit_batch batch = {sizeof(onebit_batch), pieces.size(), pieces.data(), nullptr, 0, 0, nullptr, nullptr};
  if (parts_.device == nullptr) return codec->decode(batch, payload.data(), 1.0F, false, out);
  Buffer there(parts_.meter, payload.size()), pieces_there(parts_.meter, pieces.size() * sizeof(onebit_piece));
  const Buffer skip(parts_.meter, sizeof(int32_t));  // not set
  there.set(payload.data(), payload.size());
  pieces_there.set(pieces.data(), pieces.size() * sizeof(onebit_piece));
  batch.device_pieces = pieces_there.as<onebit_piece>();
  batch.skip = skip.as<int32_t>();
  batch.stream = parts_.device->stream();
  codec->decode(batch, there.bytes(), 1.0F, false, out);
  parts_.device->settle();
}

}  // namespace onebit

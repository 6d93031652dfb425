// SPDX-License-Identifier: Apache-2.0
// What each rank has for itself: rank-local state, parameters of its own, errors. Where the number of ranks is another one, the
// mean over those that were there, so that sums over ranks divided by their number stay: what compression left out is in them.
#include <algorithm>
#include <string>

#include "dtypes/half_conversion.hpp"
#include "onebit/error.hpp"
#include "saving/contents.hpp"
#include "saving/draft.hpp"
#include "saving/restore.hpp"

namespace onebit {
namespace {

bool any_of_them(const std::vector<float>& values) {
  return std::any_of(values.begin(), values.end(), [](float value) { return value != 0; });
}

// The values in this type: themselves, or a copy in halves.
const void* in_type(WireType type, const float* values, int64_t count, std::vector<uint16_t>& halves) {
  if (type == WireType::fp32) return values;
  halves.resize(static_cast<size_t>(count));
  to_half(type, values, 1.0F, count, halves.data());
  return halves.data();
}

}  // namespace

bool Restore::own_errors(const std::vector<ErrorPiece>& pieces, const char* stem) {
  if (!old_.same_number()) return false;
  const RankFile& own = old_.own();
  const Place &was = own.told().place, &is = parts_.place;
  if (was.machine != is.machine || was.machines != is.machines || was.local != is.local || was.locals != is.locals)
    return false;
  return !own.has_errors() || std::all_of(pieces.begin(), pieces.end(), [&](const ErrorPiece& piece) {
    return own.covers(stem + parts_.tensors[piece.tensor].name, piece.first, piece.count);
  });
}

std::string Restore::said() {
  bool elsewhere = false;  // errors of tensors that keep none here
  for (size_t t = 0; t < parts_.tensors.size() && old_.same_number(); ++t)
    elsewhere = elsewhere || (!keeps_errors(t) && old_.own().has_errors_of(parts_.tensors[t].name));
  std::string text;
  text += own_errors(worker_, kWorkerError) ? 'w' : '-';
  text += own_errors(served_, kServerError) ? 's' : '-';
  text += old_.same_number() && old_.own().has_errors() ? 'e' : '-';
  text += elsewhere ? 'x' : '-';
  return text;
}

void Restore::agree(const std::vector<std::string>& said) {
  const auto is = [](size_t at) { return [at](const std::string& text) { return text[at] != '-'; }; };
  own_worker_errors_ = std::all_of(said.begin(), said.end(), is(0));
  own_server_errors_ = std::all_of(said.begin(), said.end(), is(1));
  any_errors_ = std::any_of(said.begin(), said.end(), is(2));
  old_.file(0);  // which has what is of all
  if (own_worker_errors_ && own_server_errors_ && std::none_of(said.begin(), said.end(), is(3))) return;
  old_.open_all();
  any_errors_ = old_.has_errors();
}

void Restore::read_local(const Stored& stored, int reshard) {
  if (old_.same_number() || reshard == ONEBIT_RESHARD_FIRST)
    return copy_stored(old_.file(old_.same_number() ? parts_.rank() : 0).reader(), stored);
  if (reshard == ONEBIT_RESHARD_ZERO) {
    const std::vector<std::byte> zeros(stored.bytes());
    return stored.write(0, zeros.size(), zeros.data());
  }
  if (stored.tensor.dtype != "F64") return read_local_mean(stored);
  std::vector<double> mean(stored.bytes() / sizeof(double)), one(mean.size());
  for (int rank = 0; rank < old_.count(); ++rank) {
    const SafetensorsReader& reader = old_.file(rank).reader();
    reader.read_bytes(reader.at(stored.tensor.name), 0, stored.bytes(), one.data());
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += one[i] / old_.count();
  }
  stored.write(0, stored.bytes(), reinterpret_cast<const std::byte*>(mean.data()));
}

void Restore::read_local_mean(const Stored& stored) {
  const WireType type = stored.tensor.dtype == stored_name(WireType::fp32) ? WireType::fp32 : WireType::bf16;
  const int64_t each = element_bytes(type);
  std::vector<uint16_t> halves;
  old_.mean(stored.tensor.name, static_cast<int64_t>(stored.bytes()) / each, old_.count(),
            [&](int64_t first, int64_t count, const float* values) {
              stored.write(static_cast<uint64_t>(first * each), static_cast<uint64_t>((first + count) * each),
                           static_cast<const std::byte*>(in_type(type, values, count, halves)));
            });
}

void Restore::read_own_parameters() {
  for (const Stored& stored : own_parameter_contents(parts_)) read_local(stored, ONEBIT_RESHARD_MEAN);
}

void Restore::read_errors() {
  if (!any_errors_ && !was_carried_) return;
  if (feeds_back_) {
    parts_.exchange.prepare_errors();
    own_worker_errors_ ? read_own_errors(worker_, kWorkerError, parts_.exchange.worker_error()) : read_worker_errors();
    for (size_t t = 0; t < parts_.tensors.size() && was_carried_; ++t) take_carried(t);
    read_server_errors();
  }
  carry_errors();
}

// Into their place from `position` on, as they are kept here.
void Restore::write_errors(const Buffer& errors, int64_t position, const float* values, int64_t count) const {
  const WireType type = parts_.exchange.error_type();
  const int64_t each = element_bytes(type);
  std::vector<uint16_t> halves;
  copy_in(parts_.device, errors.bytes() + position * each, in_type(type, values, count, halves),
          static_cast<uint64_t>(count * each));
}

// What this rank had itself, to the bit; zeros where it had none.
void Restore::read_own_errors(const std::vector<ErrorPiece>& pieces, const char* stem, const Buffer& errors) {
  constexpr int64_t most = kSavedPiece / sizeof(float);
  const bool in_place = parts_.device == nullptr && parts_.exchange.error_type() == WireType::fp32;
  std::vector<float> values;
  for (const ErrorPiece& piece : pieces) {
    const std::string name = stem + parts_.tensors[piece.tensor].name;
    for (int64_t at = 0; at < piece.count; at += most) {
      const int64_t count = std::min(most, piece.count - at);
      const int64_t position = piece.position + at;
      if (in_place && old_.own().read(name, piece.first + at, count, errors.as<float>() + position) == count) continue;
      values.assign(static_cast<size_t>(count), 0);
      old_.own().read(name, piece.first + at, count, values.data());
      write_errors(errors, position, values.data(), count);
    }
  }
}

void Restore::read_worker_errors() {
  for (size_t t = 0; t < parts_.tensors.size() && any_errors_; ++t)
    if (keeps_errors(t))
      mean_of_worker_errors(
          t, [&](int64_t first, int64_t count, const float* values) { take_worker_errors(t, first, count, values); });
}

// Over those who had one of an element: all ranks, or of each machine the one that spoke for it.
void Restore::mean_of_worker_errors(size_t tensor, const OldRanks::Take& take) {
  old_.mean(kWorkerError + parts_.tensors[tensor].name, parts_.tensors[tensor].elements, old_.file(0).told().place.machines,
            take);
}

// What a session that compressed nothing of a tensor carried becomes a worker error of everybody.
void Restore::take_carried(size_t tensor) {
  if (!keeps_errors(tensor)) return;
  const std::vector<float> values = carried(tensor);
  if (any_of_them(values)) take_worker_errors(tensor, 0, static_cast<int64_t>(values.size()), values.data());
}

// Of elements [first, first + count) of a tensor those that this rank has a worker error of.
void Restore::take_worker_errors(size_t tensor, int64_t first, int64_t count, const float* values) {
  for (const ErrorPiece& piece : worker_) {
    const int64_t from = std::max(first, piece.first), to = std::min(first + count, piece.first + piece.count);
    if (piece.tensor == tensor && from < to)
      write_errors(parts_.exchange.worker_error(), piece.position + (from - piece.first), values + (from - first), to - from);
  }
}

// Each has one holder among the old ranks, perhaps this one itself.
void Restore::read_server_errors() {
  const Buffer& errors = parts_.exchange.server_error();
  if (own_server_errors_) return read_own_errors(served_, kServerError, errors);
  std::vector<float> values;
  for (const ErrorPiece& piece : served_) {
    values.assign(static_cast<size_t>(piece.count), 0);
    for (int rank = 0; rank < old_.count(); ++rank)
      old_.file(rank).read(kServerError + parts_.tensors[piece.tensor].name, piece.first, piece.count, values.data());
    write_errors(errors, piece.position, values.data(), piece.count);
  }
}

// Of tensors that keep no errors here, what had been left out comes once, in the next mean of a compressed round.
void Restore::carry_errors() {
  const bool as_it_was = was_carried_ && !parts_.layout.codes();
  float* flat = nullptr;
  for (size_t t = 0; t < parts_.tensors.size(); ++t) {
    if (keeps_errors(t) || parts_.tensors[t].elements == 0) continue;
    const std::vector<float> values = left_out(t);
    if (!as_it_was && !any_of_them(values)) continue;
    if (flat == nullptr) flat = parts_.exchange.begin_carried();
    copy_in(parts_.device, flat + parts_.flat(t), values.data(), values.size() * sizeof(float));
  }
}

// Collective. The same on every rank.
std::vector<float> Restore::left_out(size_t tensor) {
  std::vector<float> values = carried(tensor);
  const std::string& name = parts_.tensors[tensor].name;
  if (!old_.has_errors_of(name)) return values;
  mean_of_worker_errors(tensor, [&](int64_t first, int64_t count, const float* mean) {
    for (int64_t i = 0; i < count; ++i) values[static_cast<size_t>(first + i)] += mean[i];
  });
  std::vector<float> served(values.size());
  for (int rank = 0; rank < old_.count(); ++rank)
    old_.file(rank).read(kServerError + name, 0, static_cast<int64_t>(served.size()), served.data());
  for (size_t i = 0; i < values.size(); ++i) values[i] += served[i];
  return values;
}

// Zeros where there is nothing.
std::vector<float> Restore::carried(size_t tensor) const {
  std::vector<float> values(static_cast<size_t>(parts_.tensors[tensor].elements));
  const SafetensorsReader::Entry* const entry = state_.find(kCarried + parts_.tensors[tensor].name);
  if (entry == nullptr) return values;
  if (entry->elements != values.size())
    throw Error(Code::invalid_argument, "tensor '" + entry->name + "' of the checkpoint has another size than the model's");
  state_.read(*entry, values.data());
  return values;
}

}  // namespace onebit

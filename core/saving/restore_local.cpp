// SPDX-License-Identifier: Apache-2.0
// What each rank has for itself: rank-local state, parameters of its own, errors. Where the number of ranks is another one, the
// mean over those that were there, so that sums over ranks divided by their number stay: what compression left out is in them.
#include <algorithm>
#include <string>

#include "onebit/error.hpp"
#include "saving/contents.hpp"
#include "saving/restore.hpp"

namespace onebit {

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
  std::string text;
  text += own_errors(worker_pieces(parts_.layout), kWorkerError) ? 'w' : '-';
  text += own_errors(served_pieces(parts_.layout), kServerError) ? 's' : '-';
  text += old_.same_number() && old_.own().has_errors() ? 'e' : '-';
  return text;
}

void Restore::agree(const std::vector<std::string>& said) {
  const auto is = [&](size_t at) { return [at](const std::string& text) { return text[at] != '-'; }; };
  own_worker_errors_ = std::all_of(said.begin(), said.end(), is(0));
  own_server_errors_ = std::all_of(said.begin(), said.end(), is(1));
  any_errors_ = std::any_of(said.begin(), said.end(), is(2));
  if (own_worker_errors_ && own_server_errors_ && parts_.layout.codes()) return;
  old_.open_all();
  for (int rank = 0; rank < old_.count(); ++rank) any_errors_ = any_errors_ || old_.file(rank).has_errors();
}

void Restore::read_local(const Stored& stored, int reshard) {
  if (old_.same_number() || reshard == ONEBIT_RESHARD_FIRST)
    return copy_stored(old_.file(old_.same_number() ? parts_.rank() : 0).reader(), stored);
  if (reshard == ONEBIT_RESHARD_ZERO) {
    const std::vector<std::byte> zeros(stored.bytes());
    return stored.write(0, zeros.size(), zeros.data());
  }
  if (stored.tensor.dtype == "F32")
    return old_.mean(stored.tensor.name, static_cast<int64_t>(stored.bytes() / sizeof(float)), old_.count(),
                     [&](int64_t first, int64_t count, const float* values) {
                       stored.write(static_cast<uint64_t>(first) * sizeof(float),
                                    static_cast<uint64_t>(first + count) * sizeof(float),
                                    reinterpret_cast<const std::byte*>(values));
                     });
  std::vector<double> mean(stored.bytes() / sizeof(double)), one(mean.size());
  for (int rank = 0; rank < old_.count(); ++rank) {
    const SafetensorsReader& reader = old_.file(rank).reader();
    reader.read_bytes(reader.at(stored.tensor.name), 0, stored.bytes(), one.data());
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += one[i] / old_.count();
  }
  stored.write(0, stored.bytes(), reinterpret_cast<const std::byte*>(mean.data()));
}

void Restore::read_own_parameters() {
  for (const Stored& stored : own_parameter_contents(parts_)) read_local(stored, ONEBIT_RESHARD_MEAN);
}

void Restore::read_errors() {
  const bool carried = !parts_.tensors.empty() && state_.find(kCarried + parts_.tensors[0].name) != nullptr;
  if (!any_errors_ && !carried) return;
  if (!parts_.layout.codes()) return carry_errors();
  parts_.exchange.prepare_errors();
  if (parts_.compressor->describe().feedback == 0) {
    report_.afresh.emplace_back("what compression had left out (errors): the compressor here keeps none");
    return;
  }
  read_worker_errors();
  read_server_errors();
}

// Of elements [first, first + count) of a tensor those that this rank has a worker error of.
void Restore::take_worker_errors(size_t tensor, int64_t first, int64_t count, const float* values) {
  auto* const errors = parts_.exchange.worker_error().as<float>();
  for (const ErrorPiece& piece : worker_) {
    const int64_t from = std::max(first, piece.first), to = std::min(first + count, piece.first + piece.count);
    if (piece.tensor == tensor && from < to)
      copy_in(parts_.device, errors + piece.position + (from - piece.first), values + (from - first),
              static_cast<uint64_t>(to - from) * sizeof(float));
  }
}

void Restore::read_worker_errors() {
  for (size_t t = 0; t < parts_.tensors.size(); ++t) {
    if (parts_.layout.is_raw(static_cast<int64_t>(t))) continue;
    const std::string& name = parts_.tensors[t].name;
    if (const SafetensorsReader::Entry* carried = state_.find(kCarried + name); carried != nullptr) {
      std::vector<float> values(carried->elements);
      state_.read(*carried, values.data());
      take_worker_errors(t, 0, static_cast<int64_t>(values.size()), values.data());
    } else if (!own_worker_errors_) {
      old_.mean(kWorkerError + name, parts_.tensors[t].elements, old_.file(0).told().place.machines,
                [&](int64_t first, int64_t count, const float* values) { take_worker_errors(t, first, count, values); });
    }
  }
  auto* const errors = parts_.exchange.worker_error().as<float>();
  std::vector<float> values;
  for (size_t i = 0; i < worker_.size() && own_worker_errors_; ++i) {
    const ErrorPiece& piece = worker_[i];
    values.assign(static_cast<size_t>(piece.count), 0);
    if (old_.own().read(kWorkerError + parts_.tensors[piece.tensor].name, piece.first, piece.count, values.data()) > 0)
      copy_in(parts_.device, errors + piece.position, values.data(), values.size() * sizeof(float));
  }
}

// Each has one holder among the old ranks.
void Restore::read_server_errors() {
  auto* const errors = parts_.exchange.server_error().as<float>();
  std::vector<float> values;
  for (const ErrorPiece& piece : served_) {
    values.assign(static_cast<size_t>(piece.count), 0);
    add_server_errors(parts_.tensors[piece.tensor].name, piece.first, values);
    copy_in(parts_.device, errors + piece.position, values.data(), values.size() * sizeof(float));
  }
}

void Restore::add_server_errors(const std::string& name, int64_t first, std::vector<float>& values) {
  const bool own = own_server_errors_ && parts_.layout.codes();
  const auto count = static_cast<int64_t>(values.size());
  std::vector<float> found(values.size());
  for (int rank = own ? parts_.rank() : 0; rank < (own ? parts_.rank() + 1 : old_.count()); ++rank) {
    std::fill(found.begin(), found.end(), 0.0F);
    if (old_.file(rank).read(kServerError + name, first, count, found.data()) == 0) continue;
    for (size_t i = 0; i < values.size(); ++i) values[i] += found[i];
  }
}

// Where nothing is compressed any more, once, in the next mean.
void Restore::carry_errors() {
  float* const flat = parts_.exchange.begin_carried();
  for (size_t t = 0; t < parts_.tensors.size(); ++t) {
    const std::string& name = parts_.tensors[t].name;
    float* const to = flat + parts_.flat(t);
    if (const SafetensorsReader::Entry* carried = state_.find(kCarried + name); carried != nullptr) {
      std::vector<float> values(carried->elements);
      state_.read(*carried, values.data());
      copy_in(parts_.device, to, values.data(), values.size() * sizeof(float));
      continue;
    }
    old_.mean(kWorkerError + name, parts_.tensors[t].elements, old_.file(0).told().place.machines,
              [&](int64_t first, int64_t count, const float* values) {
                std::vector<float> sum(values, values + count);
                add_server_errors(name, first, sum);
                copy_in(parts_.device, to + first, sum.data(), sum.size() * sizeof(float));
              });
  }
}

}  // namespace onebit

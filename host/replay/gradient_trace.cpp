// SPDX-License-Identifier: Apache-2.0
// Reading a trace: every key is understood and every gradient is there before the first step runs.
#include "replay/gradient_trace.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <map>
#include <optional>
#include <string_view>

#include "onebit/error.hpp"

namespace onebit::host {
namespace {

constexpr std::string_view kParameter = "parameter/", kGradient = "gradient/";

struct GradientKey {
  int64_t step;
  int rank;
  std::string_view name;
};

// Takes "12/" off the front. Only the usual way of writing a number counts: "012" would be a second name for 12.
template <class Int>
bool take_number(std::string_view& text, Int& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  const auto digits = static_cast<size_t>(end - text.data());
  if (error != std::errc() || out < 0 || (digits > 1 && text[0] == '0')) return false;
  if (digits == text.size() || text[digits] != '/') return false;
  text.remove_prefix(digits + 1);
  return true;
}

std::optional<GradientKey> parse_gradient_key(std::string_view key) {
  GradientKey parsed{0, 0, key.substr(kGradient.size())};
  const bool good = take_number(parsed.name, parsed.step) && take_number(parsed.name, parsed.rank) && parsed.step >= 1;
  return good ? std::optional(parsed) : std::nullopt;
}

// What no optimizer asks for: buffers of whole numbers, such as BatchNorm's num_batches_tracked, and whatever else is neither
// parameter nor gradient and in a type that is not read.
bool is_left_out(const SafetensorsReader::Entry& entry) {
  const std::string_view type = entry.dtype;
  const bool is_whole = type == "BOOL" || ((type.starts_with('I') || type.starts_with('U')) && type.size() <= 3);
  if (entry.name.starts_with(kGradient)) return false;
  return is_whole || (!entry.name.starts_with(kParameter) && !SafetensorsReader::reads(type));
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t dim : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(dim);
  return text + "]";
}

}  // namespace

std::string GradientTrace::gradient_key(int64_t step, int rank, const std::string& name) {
  return std::string(kGradient) + std::to_string(step) + "/" + std::to_string(rank) + "/" + name;
}

GradientTrace::GradientTrace(const std::filesystem::path& file) : file_(file), reader_(file) {
  add_parameters();
  add_gradients();
  check_complete();
}

void GradientTrace::fail(const std::string& what) const { throw Error(Code::invalid_argument, file_.string() + ": " + what); }

void GradientTrace::add_parameters() {
  for (const Entry& entry : reader_.entries()) {
    if (is_left_out(entry)) {
      left_out_.push_back(&entry);
      continue;
    }
    if (!SafetensorsReader::reads(entry.dtype))
      fail("'" + entry.name + "' has dtype " + entry.dtype +
           "; gradients and parameters are F32, BF16 or F16: convert it (in PyTorch: tensor.float()), or leave it out of the "
           "file");
    if (!entry.name.starts_with(kParameter)) continue;
    tensors_.push_back({entry.name.substr(kParameter.size()), entry.shape, static_cast<int64_t>(entry.elements)});
    parameters_.push_back(&entry);
  }
  if (tensors_.empty()) fail("has no 'parameter/<name>'; a trace needs the parameters before its first step");
}

void GradientTrace::add_gradients() {
  std::map<std::string, size_t, std::less<>> index;
  for (size_t i = 0; i < tensors_.size(); ++i) index.emplace(tensors_[i].name, i);
  struct Found {
    int64_t step;
    int rank;
    size_t tensor;
    const Entry* entry;
  };
  std::vector<Found> found;
  first_step_ = std::numeric_limits<int64_t>::max();
  int64_t last_step = 0;
  for (const Entry& entry : reader_.entries()) {
    if (entry.name.starts_with(kParameter) || is_left_out(entry)) continue;
    const auto key = entry.name.starts_with(kGradient) ? parse_gradient_key(entry.name) : std::nullopt;
    if (!key) fail("'" + entry.name + "' is neither 'parameter/<name>' nor 'gradient/<step>/<rank>/<name>' (steps from 1)");
    const auto tensor = index.find(key->name);
    if (tensor == index.end()) fail("'" + entry.name + "' has no '" + std::string(kParameter) + std::string(key->name) + "'");
    if (entry.shape != tensors_[tensor->second].shape)
      fail("'" + entry.name + "' has shape " + shape_text(entry.shape) + ", its parameter " +
           shape_text(tensors_[tensor->second].shape));
    found.push_back({key->step, key->rank, tensor->second, &entry});
    first_step_ = std::min(first_step_, key->step);
    last_step = std::max(last_step, key->step);
    ranks_ = std::max(ranks_, key->rank < std::numeric_limits<int>::max() ? key->rank + 1 : key->rank);
  }
  if (found.empty()) fail("has no 'gradient/<step>/<rank>/<name>'");
  // A file of k gradients that is complete has exactly this many; more steps or ranks mean that something between is missing.
  steps_ = last_step - first_step_ + 1;
  const auto expected = static_cast<double>(steps_) * ranks_ * static_cast<double>(tensors_.size());
  const bool overfull = expected > 4.0 * static_cast<double>(found.size()) + 1e6;  // far from complete: not worth a table
  if (overfull)
    fail("has " + std::to_string(found.size()) + " gradients, but steps " + std::to_string(first_step_) + " to " +
         std::to_string(last_step) + " on " + std::to_string(ranks_) + " ranks need many more; steps must be consecutive");
  gradients_.assign(static_cast<size_t>(expected), nullptr);
  for (const Found& f : found)
    gradients_[static_cast<size_t>(((f.step - first_step_) * ranks_ + f.rank)) * tensors_.size() + f.tensor] = f.entry;
}

void GradientTrace::check_complete() const {
  const auto missing = std::find(gradients_.begin(), gradients_.end(), nullptr);
  if (missing == gradients_.end()) return;
  const auto at = static_cast<size_t>(missing - gradients_.begin());
  const size_t row = at / tensors_.size();
  const auto step = first_step_ + static_cast<int64_t>(row) / ranks_;
  const auto rank = static_cast<int>(static_cast<int64_t>(row) % ranks_);
  fail("'" + gradient_key(step, rank, tensors_[at % tensors_.size()].name) +
       "' is missing; a trace has every tensor's gradient for every step, without gaps, and for every rank");
}

void GradientTrace::read_parameter(size_t tensor, float* out) const { reader_.read(*parameters_.at(tensor), out); }

void GradientTrace::read_gradient(int64_t step, int rank, size_t tensor, float* out) const {
  const auto row = static_cast<size_t>((step - first_step_) * ranks_ + rank);
  reader_.read(*gradients_.at(row * tensors_.size() + tensor), out);
}

}  // namespace onebit::host

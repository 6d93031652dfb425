// SPDX-License-Identifier: Apache-2.0
#include "session/replicas.hpp"

#include <xxhash.h>

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "configuration/dense_order.hpp"
#include "session/identity.hpp"

namespace onebit {
namespace {

int64_t elements_of(const Parameter& parameter) {
  int64_t elements = 1;
  for (const int64_t extent : parameter.shape) {
    if (extent < 0 || (extent > 0 && elements > std::numeric_limits<int64_t>::max() / 4 / extent))
      throw Error(Code::invalid_argument, "parameter '" + parameter.name + "' has an impossible shape");
    elements *= extent;
  }
  if (elements > 0 && parameter.place() == nullptr)
    throw Error(Code::invalid_argument, "parameter '" + parameter.name + "' has no data");
  if (!dense_order(parameter.shape, parameter.strides))
    throw Error(Code::invalid_argument,
                "the elements of parameter '" + parameter.name +
                    "' overlap or leave gaps in memory: expected them close together, row by row or with the dimensions in "
                    "another order; copy it there first");
  return elements;
}

WireType type_of(const Parameter& parameter) { return wire_type_of(type_text(parameter)); }

}  // namespace

Replicas::Replicas(std::vector<Parameter> parameters, MeteredCommunicator& communicator, Communicator& host, MemoryMeter& meter)
    : parameters_(std::move(parameters)),
      communicator_(communicator),
      host_(host),
      device_(meter.device()),
      masters_(meter, parameters_.size()) {
  std::set<std::string_view> names;
  for (const Parameter& parameter : parameters_) {
    elements_.push_back(elements_of(parameter));
    if (parameter.name.empty() || !names.insert(parameter.name).second)
      throw Error(Code::invalid_argument, "parameters need names, each its own; found '" + parameter.name + "' " +
                                              (parameter.name.empty() ? "without one" : "twice"));
    if (parameter.half != nullptr && parameter.data != nullptr)
      throw Error(Code::invalid_argument, "parameter '" + parameter.name + "' has data and half: expected one of them");
  }
  for (size_t t = 0; t < parameters_.size(); ++t)
    if (Parameter& parameter = parameters_[t]; parameter.half != nullptr && elements_[t] > 0)
      parameter.data = masters_.add(t, type_of(parameter), parameter.half, elements_[t]);
  tensor_hashes_.resize(parameters_.size());
  all_hashes_.resize(parameters_.size() * static_cast<size_t>(communicator.size()));
}

void Replicas::claim() {
  for (size_t t = 0; t < parameters_.size(); ++t) {
    require_device(parameters_[t], where());
    claims_.claim(parameters_[t].name, parameters_[t].place(), elements_[t] * element_bytes(type_of(parameters_[t])));
  }
  masters_.take_all();
}

const std::vector<size_t>& Replicas::moved(const ModelGradients& handed) {
  compare_tensors(parameters_, handed, where(), moved_);
  return moved_;
}

void Replicas::follow(const ModelGradients& handed) {
  for (const size_t t : moved_)  // all first: two may have changed places
    if (elements_[t] > 0) claims_.release(parameters_[t].place());
  for (const size_t t : moved_) {
    const Parameter& now = handed[t].parameter;
    claims_.claim(now.name, now.place(), elements_[t] * element_bytes(type_of(now)));
    if (now.half == nullptr) parameters_[t].data = now.data;
    parameters_[t].half = now.half;
    parameters_[t].memory = now.memory;
    masters_.take(t, now.half);
  }
}

uint64_t Replicas::model_hash() const {
  uint64_t hash = parameters_.size();
  for (const Parameter& parameter : parameters_) {
    hash = XXH64(parameter.name.data(), parameter.name.size(), hash);
    hash = XXH64(parameter.shape.data(), parameter.shape.size() * sizeof(int64_t), hash);
    const std::vector<int64_t> order = dense_order(parameter.shape, parameter.strides).value();
    hash = XXH64(order.data(), order.size() * sizeof(int64_t), hash);
    const WireType type = type_of(parameter);
    hash = XXH64(&type, sizeof type, hash);
  }
  return hash;
}

std::vector<Fact> Replicas::model_facts() const {
  std::vector<Fact> facts = {{"the number of its parameters", std::to_string(parameters_.size())}};
  for (size_t t = 0; t < parameters_.size(); ++t) {
    std::string shape;
    for (const int64_t extent : parameters_[t].shape) shape += (shape.empty() ? "" : ", ") + std::to_string(extent);
    std::string name = parameters_[t].name;
    name.erase(std::remove(name.begin(), name.end(), '\0'), name.end());
    std::string order;
    if (const auto strides = dense_order(parameters_[t].shape, parameters_[t].strides))
      for (const int64_t stride : *strides)
        order += (order.empty() ? ", in memory with strides " : ", ") + std::to_string(stride);
    const std::string type = parameters_[t].half != nullptr ? std::string(", ") + type_text(parameters_[t]) : "";
    facts.push_back({"parameter " + std::to_string(t), "'" + name + "' [" + shape + "]" + type + order});
  }
  return facts;
}

uint64_t Replicas::hash_of(size_t tensor, uint64_t seed) const {
  const size_t bytes = static_cast<size_t>(elements_[tensor]) * sizeof(float);
  if (device_ == nullptr) return XXH64(parameters_[tensor].data, bytes, seed);
  std::vector<char> copy(bytes);
  device_->read(copy.data(), parameters_[tensor].data, bytes);
  return XXH64(copy.data(), bytes, seed);
}

uint64_t Replicas::hash() const {
  uint64_t hash = 0;
  for (size_t t = 0; t < parameters_.size(); ++t)
    if (elements_[t] > 0) hash = hash_of(t, hash);
  return hash;
}

void Replicas::broadcast() {
  if (communicator_.size() == 1) return;
  for (size_t t = 0; t < parameters_.size(); ++t) {
    int64_t shape = elements_[t], stride = 1;
    onebit_tensor tensor = {parameters_[t].data, where(), 1, {ONEBIT_DTYPE_FLOAT, 32, 1}, &shape, &stride, 0};
    Call call(t);
    if (device_ != nullptr) call.stream = device_->stream();
    try {
      if (shape > 0) communicator_.wait(communicator_.broadcast(tensor, 0, call), -1);
    } catch (const Error& e) {
      throw Error(e.code(),
                  std::string(e.what()) + " (parameter '" + parameters_[t].name + "', " + std::to_string(shape * 4) +
                      " bytes, on its way from rank 0 at the start)",
                  e.native());
    }
  }
  masters_.round_all();
}

void Replicas::verify(int64_t step, const std::string& why) {
  const size_t count = parameters_.size(), n = static_cast<size_t>(communicator_.size());
  if (n == 1 || count == 0) return;
  for (size_t t = 0; t < count; ++t) tensor_hashes_[t] = hash_of(t, 0);
  std::vector<onebit_part> parts;
  const auto bytes = static_cast<int64_t>(count * sizeof(uint64_t));
  for (size_t rank = 0; rank < n; ++rank) parts.push_back({static_cast<int64_t>(rank) * bytes, bytes});
  host_.wait(host_.all_gather(tensor_hashes_.data(), all_hashes_.data(), parts.data(), Call()), -1);
  for (size_t t = 0; t < count; ++t)
    for (size_t rank = 1; rank < n; ++rank)
      if (all_hashes_[rank * count + t] != all_hashes_[t])
        throw Error(Code::state_mismatch, "after step " + std::to_string(step) + " parameter '" + parameters_[t].name +
                                              "' of rank " + std::to_string(rank) + " differs from rank 0's" + why);
}

}  // namespace onebit

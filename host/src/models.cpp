// The tensors of the models, and their initial values.
#include "models.hpp"

#include <cmath>

#include "onebit/error.hpp"
#include "random.hpp"

namespace onebit::host {

int64_t elements_of(const Parameter& parameter) {
  int64_t elements = 1;
  for (const int64_t dim : parameter.shape) elements *= dim;
  return elements;
}

// The networks of host/train/torch_model.cpp; a test holds the two together.
std::vector<Parameter> tensors_of(const std::string& model) {
  if (model == "cnn")
    return {{"conv1.weight", {16, 1, 3, 3}},  {"conv1.bias", {16}}, {"conv2.weight", {32, 16, 3, 3}}, {"conv2.bias", {32}},
            {"fc1.weight", {64, 32 * 5 * 5}}, {"fc1.bias", {64}},   {"fc2.weight", {10, 64}},         {"fc2.bias", {10}}};
  if (model == "mlp")
    return {{"fc1.weight", {4096, 28 * 28}}, {"fc1.bias", {4096}}, {"fc2.weight", {5200, 4096}}, {"fc2.bias", {5200}},
            {"fc3.weight", {10, 5200}},      {"fc3.bias", {10}}};
  throw Error(Code::invalid_argument, "unknown model '" + model + "'; there are: cnn, mlp");
}

void initialize(const std::vector<Parameter>& tensors, size_t index, uint64_t seed, float* out) {
  const bool is_bias = tensors.at(index).shape.size() == 1 && index > 0;
  const Parameter& weight = tensors[is_bias ? index - 1 : index];
  const int64_t fan_in = weight.shape.empty() ? 1 : elements_of(weight) / weight.shape.front();
  const auto bound = static_cast<float>(1 / std::sqrt(static_cast<double>(fan_in)));
  Random random(seed, index + 1);  // streams from 2^32 on are the order of the data
  for (int64_t i = 0; i < elements_of(tensors[index]); ++i) out[i] = random.uniform(bound);
}

}  // namespace onebit::host

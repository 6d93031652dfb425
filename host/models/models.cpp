// SPDX-License-Identifier: Apache-2.0
// The tensors of the models, and their initial values.
#include "models/models.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "data_sets/data_sets.hpp"
#include "data_sets/random.hpp"
#include "models/model_sizes.hpp"
#include "onebit/error.hpp"

namespace onebit::host {
namespace {

std::vector<Parameter> gpt_tensors() {
  using namespace gpt;  // NOLINT(google-build-using-namespace): its sizes
  std::vector<Parameter> tensors = {{"tokens.weight", {kSymbols, kWidth}}, {"positions.weight", {kContext, kWidth}}};
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    const int64_t outputs = shape.front();
    tensors.push_back({name + ".weight", std::move(shape)});
    tensors.push_back({name + ".bias", {outputs}});
  };
  for (int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string block = "block" + std::to_string(layer) + ".";
    add(block + "norm1", {kWidth});
    add(block + "qkv", {3 * kWidth, kWidth});
    add(block + "projection", {kWidth, kWidth});
    add(block + "norm2", {kWidth});
    add(block + "expand", {kInner, kWidth});
    add(block + "contract", {kWidth, kInner});
  }
  add("norm", {kWidth});
  tensors.push_back({"head.weight", {kSymbols, kWidth}});
  return tensors;
}

std::vector<Parameter> lstm_tensors() {
  using namespace lstm;  // NOLINT(google-build-using-namespace): its sizes
  return {{"words.weight", {kVocabulary, kEmbedding}},
          {"lstm.weight_ih_l0", {4 * kHidden, kEmbedding}},
          {"lstm.weight_hh_l0", {4 * kHidden, kHidden}},
          {"lstm.bias_ih_l0", {4 * kHidden}},
          {"lstm.bias_hh_l0", {4 * kHidden}},
          {"head.weight", {kVocabulary, kHidden}},
          {"head.bias", {kVocabulary}}};
}

std::vector<Parameter> resnet_tensors() {
  std::vector<Parameter> tensors;
  const auto add = [&](const std::string& conv, const std::string& norm, std::vector<int64_t> shape) {
    const int64_t channels = shape.front();
    tensors.push_back({conv + ".weight", std::move(shape)});
    tensors.push_back({norm + ".weight", {channels}});
    tensors.push_back({norm + ".bias", {channels}});
  };
  add("conv", "norm", {16, 1, 3, 3});
  for (int64_t block = 1, from = 16, to = 16; block <= 3; ++block, from = to, to *= 2) {
    const std::string name = "block" + std::to_string(block) + ".";
    add(name + "conv1", name + "norm1", {to, from, 3, 3});
    add(name + "conv2", name + "norm2", {to, to, 3, 3});
    if (from != to) add(name + "shortcut", name + "norm3", {to, from, 1, 1});
  }
  tensors.push_back({"fc.weight", {10, 64}});
  tensors.push_back({"fc.bias", {10}});
  return tensors;
}

std::vector<Parameter> mlp_deep_tensors() {
  std::vector<Parameter> tensors;
  int64_t from = 28 * 28;
  for (int layer = 1; layer <= mlp_deep::kLayers; ++layer) {
    const int64_t to = mlp_deep::outputs_of(layer);
    const std::string name = "fc" + std::to_string(layer);
    tensors.push_back({name + ".weight", {to, from}});
    tensors.push_back({name + ".bias", {to}});
    from = to;
  }
  return tensors;
}

bool has(const Parameter& tensor, const char* part) { return tensor.name.find(part) != std::string::npos; }
bool is_weight(const Parameter& tensor) { return has(tensor, ".weight"); }

// 0: not random.
double gpt_bound(const Parameter& tensor) {
  if (tensor.shape.size() < 2) return 0;
  const bool residual = has(tensor, "projection") || has(tensor, "contract");
  const double deviation = residual ? 0.02 / std::sqrt(2.0 * gpt::kLayers) : 0.02;
  return deviation * std::sqrt(3.0);
}

double lstm_bound(const Parameter& tensor) {
  if (has(tensor, "lstm")) return 1 / std::sqrt(static_cast<double>(lstm::kHidden));
  return is_weight(tensor) ? 0.1 : 0;
}

double image_bound(const std::vector<Parameter>& tensors, size_t index) {
  if (has(tensors[index], "norm")) return 0;
  const bool is_bias = tensors[index].shape.size() == 1;
  const Parameter& weight = tensors[is_bias ? index - 1 : index];
  const int64_t fan_in = elements_of(weight) / weight.shape.front();
  return 1 / std::sqrt(static_cast<double>(fan_in));
}

double bound_of(const std::string& model, const std::vector<Parameter>& tensors, size_t index) {
  if (model == "gpt") return gpt_bound(tensors[index]);
  return model == "lstm" ? lstm_bound(tensors[index]) : image_bound(tensors, index);
}

}  // namespace

int64_t elements_of(const Parameter& parameter) {
  int64_t elements = 1;
  for (const int64_t dim : parameter.shape) elements *= dim;
  return elements;
}

// The networks of host/libtorch; a test holds the two together.
std::vector<Parameter> tensors_of(const std::string& model) {
  if (model == "cnn")
    return {{"conv1.weight", {16, 1, 3, 3}},  {"conv1.bias", {16}}, {"conv2.weight", {32, 16, 3, 3}}, {"conv2.bias", {32}},
            {"fc1.weight", {64, 32 * 5 * 5}}, {"fc1.bias", {64}},   {"fc2.weight", {10, 64}},         {"fc2.bias", {10}}};
  if (model == "mlp")
    return {{"fc1.weight", {4096, 28 * 28}}, {"fc1.bias", {4096}}, {"fc2.weight", {5200, 4096}}, {"fc2.bias", {5200}},
            {"fc3.weight", {10, 5200}},      {"fc3.bias", {10}}};
  if (model == "mlp_deep") return mlp_deep_tensors();
  if (model == "resnet") return resnet_tensors();
  if (model == "gpt") return gpt_tensors();
  if (model == "lstm") return lstm_tensors();
  throw Error(Code::invalid_argument, "unknown model '" + model + "'; there are: cnn, mlp, mlp_deep, resnet, gpt, lstm");
}

SampleKind kind_of_model(const std::string& model) {
  if (model == "gpt") return SampleKind::characters;
  return model == "lstm" ? SampleKind::words : SampleKind::images;
}

void require_fit(const std::string& model, const std::string& data) {
  const SampleKind kind = kind_of_model(model);
  if (has_samples(data, kind)) return;
  const std::string taken = kind == SampleKind::images       ? "images"
                            : kind == SampleKind::characters ? "text by characters"
                                                             : "text by words";
  throw Error(
      Code::invalid_argument,
      "train.model = \"" + model + "\" takes " + taken + ", which train.data = \"" + data +
          "\" has not; what fits: cnn, mlp, mlp_deep or resnet with fashion_mnist, gpt with fortunes or fortunes_late, lstm "
          "with fortunes");
}

void Model::read(size_t index, float* out) {
  const Parameter parameter = parameters().at(index);
  std::copy_n(parameter.data, elements_of(parameter), out);
}

void Model::write(size_t index, const float* values) {
  const Parameter parameter = parameters().at(index);
  std::copy_n(values, elements_of(parameter), parameter.data);
}

void initialize(const std::string& model, size_t index, uint64_t seed, float* out) {
  const std::vector<Parameter> tensors = tensors_of(model);
  const int64_t elements = elements_of(tensors.at(index));
  const auto bound = static_cast<float>(bound_of(model, tensors, index));
  Random random(seed, index + 1);
  if (bound > 0)
    std::generate_n(out, elements, [&] { return random.uniform(bound); });
  else
    std::fill_n(out, elements, is_weight(tensors[index]) ? 1.0f : 0.0f);
}

}  // namespace onebit::host

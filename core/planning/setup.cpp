// SPDX-License-Identifier: Apache-2.0
#include "planning/setup.hpp"

#include <algorithm>

#include "configuration/dense_order.hpp"

namespace onebit {

TensorInfos::TensorInfos(const std::vector<Parameter>& parameters, const std::vector<TensorRole>& roles, const Device* device)
    : shapes_(parameters.size()), strides_(parameters.size()) {
  tensors_.reserve(parameters.size());
  infos_.reserve(parameters.size());
  for (size_t t = 0; t < parameters.size(); ++t) {
    const Parameter& parameter = parameters[t];
    shapes_[t] = parameter.shape;
    strides_[t] = parameter.strides.empty() ? row_strides(parameter.shape) : parameter.strides;
    tensors_.push_back({parameter.data,
                        device == nullptr ? onebit_device{ONEBIT_DEVICE_CPU, 0} : device->where(),
                        static_cast<int32_t>(parameter.shape.size()),
                        {ONEBIT_DTYPE_FLOAT, 32, 1},
                        shapes_[t].data(),
                        strides_[t].data(),
                        0});
    infos_.push_back({sizeof(onebit_tensor_info), str(parameter.name), &tensors_[t], roles[t].group,
                      roles[t].exempt ? uint64_t{ONEBIT_TENSOR_DENSE} : 0});
    pointers_.push_back(&infos_[t]);
  }
}

std::unique_ptr<Optimizer> make_optimizer(const Registry& registry, const Configuration& configuration) {
  return registry.make_optimizer(*configuration.optimizer.component, configuration.optimizer.options);
}

std::unique_ptr<Compressor> make_compressor(const Registry& registry, const Configuration& configuration) {
  if (configuration.compressor.component == nullptr) return nullptr;
  return registry.make_compressor(*configuration.compressor.component, configuration.compressor.options);
}

LayoutOptions layout_options(const Configuration& configuration, const Compressor* compressor, bool whole_tensors,
                             const std::vector<TensorRole>& roles, const Place& place, const Device* device) {
  LayoutOptions options = laid_out_for(place);
  if (device != nullptr) options.tile = device->tile_elements();
  for (const TensorRole& role : roles) options.exempt.push_back(role.exempt);
  options.whole_tensors = whole_tensors;
  options.bucket_bytes = configuration.exchange.options().integer("bucket_bytes");
  if (!place.alone()) options.dense_type = wire_type_of(configuration.exchange.options().text("dense_dtype"));
  options.dense_below = configuration.exchange.options().integer("dense_below");
  if (compressor == nullptr) return options;
  const Codec codec = compressor->describe();
  options.block = codec.block;
  if (place.alone()) return options;
  options.span = codec.span;
  if (options.locals > 1 && options.span != ONEBIT_SPAN_BLOCK)
    throw Error(Code::unsupported,
                "exchange.topology = \"hierarchical\" wants a compressor whose scales are of blocks (for `onebit`: scale = "
                "\"block\"): no rank of a machine has a whole tensor to measure; or set exchange.topology = \"flat\"");
  options.payload_size = [compressor](int64_t count) { return compressor->payload_size(count); };
  return options;
}

// Where it is not set, a quarter of what a dense round sends, and at least one bucket, whichever comes first.
int64_t ahead_bytes(const Configuration& configuration, const Layout& layout) {
  const int64_t set = configuration.exchange.options().integer("ahead_bytes");
  if (set >= 0) return set;
  int64_t whole = 0, largest = 0;
  for (const Bucket& bucket : layout.buckets) {
    whole += bucket.dense.bytes;
    largest = std::max(largest, bucket.dense.bytes);
  }
  return std::max(whole / 4, largest);
}

bool hierarchical(const Configuration& configuration) {
  return configuration.exchange.options().text("topology") == "hierarchical";
}

}  // namespace onebit

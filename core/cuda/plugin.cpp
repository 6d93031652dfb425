// SPDX-License-Identifier: Apache-2.0
// The library through which the core finds its part for CUDA, where it finds plugins.
#include "onebit/plugin.hpp"
#include "cuda_device.hpp"

namespace {

const onebit::DeviceMaker maker = {
    sizeof(onebit::DeviceMaker), ONEBIT_CORE_VERSION,
    [](int32_t ordinal) -> std::unique_ptr<onebit::Device> { return std::make_unique<onebit::CudaDevice>(ordinal); }};

}  // namespace

ONEBIT_PLUGIN("cuda", ONEBIT_CORE_VERSION,
              onebit::Component{
                  {sizeof(onebit_component), onebit::device_kind, "cuda", ONEBIT_DEVICE_CUDA, 0, nullptr, 0, &maker},
                  {},
                  onebit::detail::default_probe})

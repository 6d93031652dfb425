// SPDX-License-Identifier: Apache-2.0
// From the C tables of plugins to the abstract classes that core uses. Each adapter owns one object of its plugin.
#pragma once

#include <memory>

#include "loading/boundary.hpp"
#include "onebit/communicator.hpp"
#include "onebit/compressor.hpp"
#include "onebit/optimizer.hpp"

namespace onebit {

std::unique_ptr<Optimizer> adapt_optimizer(Boundary boundary, const onebit_optimizer_api& api, const onebit_host* host,
                                           const onebit_config* config);
std::unique_ptr<Compressor> adapt_compressor(Boundary boundary, const onebit_compressor_api& api, const onebit_host* host,
                                             const onebit_config* config);
std::unique_ptr<Communicator> adapt_communicator(Boundary boundary, const onebit_communicator_api& api, const onebit_host* host,
                                                 const onebit_config* config, const onebit_rendezvous& rendezvous);

}  // namespace onebit

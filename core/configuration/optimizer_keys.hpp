// SPDX-License-Identifier: Apache-2.0
// The keys of [optimizer] that belong to the host and not to the optimizer: `dense` and the tables [[optimizer.group]].
#pragma once

#include <vector>

#include "onebit/configuration.hpp"

namespace onebit {

ExemptTensors read_exempt(const Manifest& manifest);
// optimizer: selected from the same manifest. A group has its options lr and weight_decay, where it has them.
std::vector<TensorGroup> read_groups(const Manifest& manifest, const Selection& optimizer);
// Both as TOML, to follow the optimizer's own options.
std::string written(const ExemptTensors& exempt, const std::vector<TensorGroup>& groups, bool with_help);

}  // namespace onebit

// SPDX-License-Identifier: Apache-2.0
// Replays a trace of gradients through a configuration, on the ranks of the trace, and records what the parameters become.
#pragma once

#include <filesystem>
#include <optional>

#include "launch/ranks.hpp"
#include "onebit/configuration.hpp"
#include "onebit/registry.hpp"
#include "replay/gradient_trace.hpp"

namespace onebit::host {

// Throws Error(invalid_argument), naming the gradient that is missing or left over, unless the trace has as many ranks.
// asking: before the number.
void check_ranks(const GradientTrace& trace, int64_t ranks, const std::string& asking);

// Rank 0 writes `parameter/<step>/<rank>/<name>`, the values after each step on every rank, to out. The session counts steps as
// the trace does; a step that is skipped (a gradient is not finite) leaves the parameters as they were, and its number is used
// again. Answers how many were skipped; nothing where rank 0 runs elsewhere.
std::optional<int64_t> replay(const Registry& registry, const Configuration& configuration, const GradientTrace& trace,
                              const Ranks& ranks, const std::filesystem::path& out);

}  // namespace onebit::host

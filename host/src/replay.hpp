// Replays a trace of gradients through a configuration, on ranks that are threads, and records what the parameters become.
#pragma once

#include <filesystem>

#include "gradient_trace.hpp"
#include "onebit/configuration.hpp"
#include "onebit/registry.hpp"

namespace onebit::host {

// Writes `parameter/<step>/<rank>/<name>`, the values after each step, to out. The session counts steps as the trace does; a
// step that is skipped (a gradient is not finite) leaves the parameters as they were, and its number is used again.
// Answers how many were skipped.
int64_t replay(const Registry& registry, const Configuration& configuration, const GradientTrace& trace,
               const std::filesystem::path& out);

}  // namespace onebit::host

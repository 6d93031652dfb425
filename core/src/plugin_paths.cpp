// An array's elements are the options path.0, path.1, and so on.
#include "plugin_paths.hpp"

#include "trust.hpp"

namespace onebit {

std::vector<std::filesystem::path> plugin_paths(const ResolvedTable& plugins, const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  const onebit_config& config = *plugins.config();
  for (size_t i = 0; i < config.count; ++i)
    if (view(config.options[i]->key).substr(0, 5) == "path.")
      paths.push_back(written_out(folder / view(config.options[i]->string)));
  return paths;
}

}  // namespace onebit

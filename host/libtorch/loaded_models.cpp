// SPDX-License-Identifier: Apache-2.0
// The command's make_model: from a library of its own, for libtorch takes half a second to load, and only `onebit train` needs
// it.
#include <boost/dll/shared_library.hpp>
#include <boost/system/system_error.hpp>
#include <filesystem>
#include <string>

#include "models/models.hpp"
#include "onebit/error.hpp"
#include "onebit/registry.hpp"

namespace onebit::host {
namespace {

namespace dll = boost::dll;

// Loaded until the process ends, as libtorch must be. Global, for libtorch's BLAS is asked for by a name.
const dll::shared_library& library() {
  static const auto& loaded = *[] {
    const std::filesystem::path file = Registry::default_folder().parent_path() / "onebit_models.so";
    try {
      return new dll::shared_library(file.string(), dll::load_mode::rtld_lazy | dll::load_mode::rtld_global);
    } catch (const boost::system::system_error& e) {
      throw Error(Code::unavailable, "libtorch, which trains, can't be loaded: " + std::string(e.what()));
    }
  }();
  return loaded;
}

}  // namespace

std::unique_ptr<Model> make_model(const std::string& model, uint64_t seed, const ModelDevice& device) {
  return library().get_alias<decltype(make_model)>("onebit_make_model")(model, seed, device);
}

}  // namespace onebit::host

// SPDX-License-Identifier: Apache-2.0
// What `onebit train` says in a build without libtorch.
#include "models/models.hpp"
#include "onebit/error.hpp"

namespace onebit::host {

std::unique_ptr<Model> make_model(const std::string&, uint64_t, const ModelDevice&) {
  throw Error(
      Code::unavailable,
      "this onebit was built without libtorch and can't train; install libtorch (`apt-get install libtorch-dev`), configure "
      "with -DONEBIT_TORCH=ON and build again");
}

}  // namespace onebit::host

// SPDX-License-Identifier: Apache-2.0
// Runs of the command `onebit train` on a small data set.
#pragma once

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "support/running.hpp"
#include "support/scratch_folder.hpp"
#include "support/small_data_set.hpp"

namespace onebit::test {

// Of configs/.
inline std::string config(const std::string& name) { return std::string(ONEBIT_SOURCE_DIR) + "/configs/" + name + ".toml"; }

// Says so, once a test case, where the build has no libtorch.
inline bool can_train() {
  if (ONEBIT_WITH_TORCH == 0) MESSAGE("SKIPPED: this build has no libtorch (ONEBIT_TORCH=OFF)");
  return ONEBIT_WITH_TORCH != 0;
}

// A small data set, and the arguments that train on it quickly.
struct SmallRun {
  ScratchFolder folder;
  SmallRun() { write_data_set(small_data_set(640, 200), folder.path()); }
  std::string data() const { return " --set train.data_folder=" + folder.path().string() + " "; }
  std::string arguments(const std::string& name, const std::string& more = "") const {
    return "train " + config(name) + " --out " + (folder / name).string() + data() +
           "--set train.batch=16 --set train.log_every=10 " + more;
  }
  nlohmann::json summary(const std::string& name) const {
    return nlohmann::json::parse(contents_of(folder / name / "summary.json"));
  }
};

}  // namespace onebit::test

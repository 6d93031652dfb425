// SPDX-License-Identifier: Apache-2.0
// The data sets that `onebit train` knows by name.
#pragma once

#include <filesystem>
#include <string>

#include "data_sets/data_set.hpp"
#include "data_sets/images.hpp"

namespace onebit::host {

// Whether a data set has such samples. Throws Error(invalid_argument) for an unknown name.
bool has_samples(const std::string& data, SampleKind kind);

// As samples of a kind that it has. folder: "" is where Debian's package puts the data set. Throws Error where it is absent
// (and how to get it), damaged, or too small to be of use.
DataSet read_data(const std::string& data, SampleKind kind, const std::filesystem::path& folder);

DataSet image_data(Images train, Images test);

}  // namespace onebit::host

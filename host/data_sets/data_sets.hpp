// SPDX-License-Identifier: Apache-2.0
// The data sets that `onebit train` knows by name.
#pragma once

#include <filesystem>
#include <string>

#include "data_sets/data_set.hpp"
#include "data_sets/images.hpp"

namespace onebit::host {

// Throws Error(invalid_argument) for an unknown name.
SampleKind kind_of_data(const std::string& data);

// folder: "" is where Debian's package puts the data set. Throws Error where it is absent (and how to get it), damaged, or too
// small to be of use.
DataSet read_data(const std::string& data, const std::filesystem::path& folder);

DataSet image_data(Images train, Images test);

}  // namespace onebit::host

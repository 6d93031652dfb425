// SPDX-License-Identifier: Apache-2.0
// DeepSpeed's configuration as a manifest: each key becomes its counterpart, or a comment that says why it has none.
#pragma once

#include <string>

namespace onebit::host {

// json: the text of a ds_config.json. name: as errors call it. Throws Error(invalid_argument), with the line and column of what
// is no JSON, where there is no optimizer that onebit has, or a value of its that makes no sense.
std::string manifest_of_deepspeed(const std::string& json, const std::string& name);

// Those that are known, for people.
std::string deepspeed_optimizers();

}  // namespace onebit::host

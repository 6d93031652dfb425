// SPDX-License-Identifier: Apache-2.0
// plugins.trusted_owners: users whose files may be loaded, besides those of root and of the user who runs this.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "onebit/manifest.hpp"

namespace onebit {

using Owners = std::vector<uid_t>;

// Of [plugins]. Throws Error, with its place in the manifest, for a user that this machine does not know.
Owners trusted_owners(const Manifest& manifest);
// The number of a user, given by name or as a number in digits. Throws Error(invalid_argument).
uid_t number_of_user(const std::string& user);
// For people: "user spack (1234)", or "user 1234" where that has no name.
std::string user_label(uid_t number);

}  // namespace onebit

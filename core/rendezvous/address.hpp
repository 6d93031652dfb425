// SPDX-License-Identifier: Apache-2.0
// Addresses as people and launchers write them.
#pragma once

#include <string>
#include <string_view>

namespace onebit {

// The name or address of a machine, as a resolver takes it: the brackets around an IPv6 address taken off. What can never be
// one (a port behind it, a URL, blanks, a broken address) throws Error(invalid_argument) that begins with `what`. Whether a
// name is known is not asked: it may be later.
std::string host_in(std::string_view text, const std::string& what);

}  // namespace onebit

// SPDX-License-Identifier: Apache-2.0
// What ranks find out each for itself and then go by together: every rank learns what each came to, or of the first that
// failed. So a refusal of the system on one rank is the same error on all of them, and none waits for another.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "onebit/communicator.hpp"
#include "onebit/error.hpp"

namespace onebit {

// The same on every rank. With an error the session is as it was, and goes on.
template <class T>
using Agreed = std::variant<T, Error>;

template <class T>
T value_of(Agreed<T> agreed) {
  if (const auto* error = std::get_if<Error>(&agreed)) throw *error;
  return std::get<T>(std::move(agreed));
}

struct Told {
  std::vector<std::string> texts;  // by rank
  std::optional<Error> error;      // of the first rank that has one, which it names where others have none, or another
  std::string reason;              // the same without the rank
};

// Collective: runs work on this rank, and tells all what each rank's answered or threw. Throws what collectives throw.
Told tell_all(Communicator& communicator, const std::function<std::string()>& work);

}  // namespace onebit

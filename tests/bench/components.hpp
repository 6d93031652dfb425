// SPDX-License-Identifier: Apache-2.0
// The components under test, as a host gets them: from the plugins beside the core, through its registry.
#pragma once

#include <memory>
#include <string>

#include "onebit/registry.hpp"

namespace onebit::bench {

const Registry& registry();
// The compressor `onebit` with its default options.
std::unique_ptr<Compressor> make_onebit();
// The communicator `threads`: collective over the ranks of the rendezvous.
std::unique_ptr<Communicator> make_threads(const onebit_rendezvous& rendezvous);

}  // namespace onebit::bench

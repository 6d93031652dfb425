// SPDX-License-Identifier: Apache-2.0
// The communicator `mpi` of a test program that runs under mpirun.
#pragma once

#include <memory>
#include <string>

#include "onebit/configuration.hpp"
#include "onebit/registry.hpp"

namespace onebit::test {

inline std::unique_ptr<Communicator> mpi_communicator(Registry& registry, const std::string& timeout = "60") {
  registry.load(Registry::default_folder() / "onebit_plugin_mpi.so");
  const ComponentInfo& mpi = registry.find(Kind::communicator, "mpi");
  const Manifest manifest = Manifest::parse("[communicator]\nplugin = \"mpi\"\ntimeout = " + timeout, "test.toml", ".");
  onebit_rendezvous nobody = {};
  nobody.struct_size = sizeof nobody;
  return registry.make_communicator(mpi, ResolvedTable(manifest, "communicator", mpi.options, true), nobody);
}

}  // namespace onebit::test

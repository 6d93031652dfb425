// SPDX-License-Identifier: Apache-2.0
// Components for the runner, made by the registry of the core with the options of a manifest.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "onebit/manifest.hpp"
#include "onebit/registry.hpp"

namespace onebit::conformance {

using MakeCommunicator = std::function<std::unique_ptr<Communicator>(const onebit_rendezvous&)>;

// How results call a component: "optimizer adam"; "optimizer adam (cuda)".
inline std::string label_of(const ComponentInfo& component) {
  const std::string device =
      component.device == ONEBIT_DEVICE_CPU ? "" : " (" + std::string(device_name(component.device)) + ")";
  return std::string(name_of(component.kind)) + ' ' + component.name + device;
}

// What is to be made: a component, and the table of its kind in a manifest.
struct Subject {
  Subject(const Registry& in, const ComponentInfo& component, const Manifest& manifest)
      : registry(&in),
        info(&in.find(component.kind, component.name, component.device)),
        options(manifest, name_of(component.kind), component.options, true) {}

  std::unique_ptr<Optimizer> optimizer() const { return registry->make_optimizer(*info, options, true); }
  std::unique_ptr<Compressor> compressor() const { return registry->make_compressor(*info, options); }
  std::unique_ptr<Communicator> communicator(const onebit_rendezvous& rendezvous) const {
    return registry->make_communicator(*info, options, rendezvous);
  }

  const Registry* registry;
  const ComponentInfo* info;  // the registry's own
  ResolvedTable options;
};

}  // namespace onebit::conformance

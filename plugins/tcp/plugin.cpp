// SPDX-License-Identifier: Apache-2.0
// Communicator `tcp`: ranks that are processes, on machines that reach each other over TCP, without MPI. Collectives, sums,
// timeouts and failures are MeshCommunicator's.
#include "onebit/plugin.hpp"

#include <iterator>
#include <memory>

#include "mesh.hpp"
#include "onebit/mesh_communicator.hpp"

namespace {

using namespace onebit;

class Tcp final : public MeshCommunicator {
 public:
  Tcp(const Services& services, const Options& options, const Rendezvous& rendezvous)
      : MeshCommunicator("tcp", services, Limits::of(options),
                         std::make_unique<tcp::TcpMesh>(settings_of(options), rendezvous)) {}
  static Slice<const onebit_schema> options() {
    static const onebit_schema schema[] = {
        timeout_option(),
        stall_option(),
        tcp::interface_option(),
        tcp::port_option(),
        tcp::ports_option(),
        integer_option("streams", "1", 1, 16,
                       "connections of each pair of ranks; more than one where the window of one does not fill a long line")};
    return {schema, std::size(schema)};
  }

 private:
  static tcp::Settings settings_of(const Options& options) {
    tcp::Settings settings = tcp::Settings::of("tcp", options);
    settings.streams = static_cast<int>(options.integer("streams"));
    return settings;
  }
};

}  // namespace

ONEBIT_PLUGIN("tcp", "1.0.0", component<Tcp>("tcp"))

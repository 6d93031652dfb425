// Communicator `my_plugin`: ranks joined by TCP, one connection for each pair. Collectives, sums, timeouts and failures are
// MeshCommunicator's; onebit/tcp/meeting.hpp makes the connections; here is how bytes go over them.
#include <sys/eventfd.h>
#include <onebit/mesh_communicator.hpp>
#include <onebit/plugin.hpp>
#include <onebit/tcp/meeting.hpp>

#include <iterator>
#include <memory>
#include <vector>

namespace tcp = onebit::tcp;

namespace {

class MyPluginMesh final : public onebit::Mesh {
 public:
  // Returns when this rank is connected with all others.
  MyPluginMesh(const onebit::Options& options, const onebit::Rendezvous& rendezvous)
      : Mesh(rendezvous.rank(), rendezvous.size()),
        connections_(tcp::Meeting(tcp::Settings::of("my_plugin", options), rendezvous).take()) {
    for (const tcp::Descriptor& connection : connections_) polled_.push_back({connection.number(), 0, 0});
    polled_.push_back({wake_.number(), POLLIN, 0});
  }
  ~MyPluginMesh() override { tcp::part(connections_); }

  // ---- The lines to change: bytes go to a peer, and come from it, as many as can at once ...
  size_t send(int peer, const void* data, size_t bytes) override {
    return moved(::send(connection(peer), data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL));
  }
  size_t receive(int peer, void* data, size_t bytes) override {
    const ssize_t received = ::recv(connection(peer), data, bytes, MSG_DONTWAIT);
    if (received == 0) throw onebit::Error(onebit::Code::peer_failed, "it has closed its connection");
    return moved(received);
  }
  // ... and this waits until more can.
  void wait(const Watch* watches, int64_t timeout_ns) override {
    for (int peer = 0; peer < size(); ++peer) {
      const int events = (watches[peer].receive ? POLLIN : 0) | (watches[peer].send ? POLLOUT : 0);
      polled_[static_cast<size_t>(peer)] = {events == 0 ? -1 : connection(peer), static_cast<short>(events), 0};
    }
    tcp::wait_for(polled_, timeout_ns);
    uint64_t count = 0;
    if (polled_.back().revents != 0) (void)!::read(wake_.number(), &count, sizeof count);
  }
  void wake() noexcept override {
    const uint64_t one = 1;
    (void)!::write(wake_.number(), &one, sizeof one);
  }
  // ---- To here.

 private:
  static size_t moved(ssize_t bytes) {
    if (bytes >= 0) return static_cast<size_t>(bytes);
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return 0;
    throw onebit::Error(onebit::Code::peer_failed, std::string("its connection broke: ") + std::strerror(errno), errno);
  }
  int connection(int peer) const { return connections_[static_cast<size_t>(peer)].number(); }

  const tcp::Descriptor wake_{tcp::checked(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), "eventfd")};
  const std::vector<tcp::Descriptor> connections_;  // by rank; the own one is empty
  std::vector<pollfd> polled_;                      // the connections, and wake_
};

class MyPlugin final : public onebit::MeshCommunicator {
 public:
  // What [communicator] may say; the host checks it.
  static onebit::Slice<const onebit_schema> options() {
    static const onebit_schema schema[] = {onebit::timeout_option(), onebit::stall_option(), tcp::interface_option(),
                                           tcp::port_option(), tcp::ports_option()};
    return {schema, std::size(schema)};
  }
  MyPlugin(const onebit::Services& services, const onebit::Options& options, const onebit::Rendezvous& rendezvous)
      : onebit::MeshCommunicator("my_plugin", services, onebit::Limits::of(options),
                                 std::make_unique<MyPluginMesh>(options, rendezvous)) {}
};

}  // namespace

ONEBIT_PLUGIN("my_plugin", "0.1.0", onebit::component<MyPlugin>("my_plugin"))

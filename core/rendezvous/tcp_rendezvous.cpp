// SPDX-License-Identifier: Apache-2.0
// The rendezvous of processes: rank 0 serves a store, and every rank, rank 0 too, is its client.
#include <unistd.h>
#include <xxhash.h>

#include <exception>
#include <optional>

#include "onebit/rendezvous.hpp"
#include "rendezvous/address.hpp"
#include "rendezvous/rendezvous_rules.hpp"
#include "rendezvous/store_client.hpp"
#include "rendezvous/store_server.hpp"

namespace onebit {
namespace {

uint64_t number_of(const std::string& job) { return XXH3_64bits(job.data(), job.size()); }

[[noreturn]] void refuse(const std::string& text) { throw Error(Code::invalid_argument, text); }

LaunchedRank checked(LaunchedRank self, std::chrono::nanoseconds timeout) {
  if (self.size < 1 || self.size > store::kMostRanks)
    refuse("a rendezvous is for 1 to " + std::to_string(store::kMostRanks) + " ranks, not " + std::to_string(self.size));
  if (self.rank < 0 || self.rank >= self.size)
    refuse("there is no rank " + std::to_string(self.rank) + " of " + std::to_string(self.size) + ": ranks are counted from 0");
  if (self.rank > 0 && self.host.empty()) refuse("rank " + std::to_string(self.rank) + " was not told where rank 0 is");
  if (self.rank > 0 && self.port == 0) refuse("rank " + std::to_string(self.rank) + " was not told rank 0's port");
  if (self.ports < 1 || self.port + self.ports > 65536)
    refuse("there are no " + std::to_string(self.ports) + " ports from " + std::to_string(self.port) + " on");
  if (timeout.count() <= 0) refuse("the timeout of a rendezvous must be above 0");
  if (!self.host.empty()) self.host = host_in(self.host, "rank 0's host");
  return self;
}

}  // namespace

class TcpRendezvous::Impl {
 public:
  Impl(const LaunchedRank& self, std::chrono::nanoseconds timeout, std::chrono::nanoseconds farewell,
       const std::function<void(const std::string&)>& waiting)
      : timeout_ns_(timeout.count()),
        farewell_(farewell),
        server_(serve(self)),
        client_(store_of(self), self.rank, self.size, number_of(self.job)),
        view_{sizeof(onebit_rendezvous), self.rank, self.size, self.local_rank, self.local_size, this, &Impl::put, &Impl::get} {
    client_.join(timeout, waiting);
  }
  ~Impl() {
    client_.leave();
    if (server_ && std::uncaught_exceptions() == exceptions_) server_->close(farewell_.load());
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // Threads and connections are those of the process that made it, and not a fork's.
  bool is_of_this_process() const { return process_ == ::getpid(); }
  uint16_t port() const { return client_.place().port; }
  void no_farewell() { farewell_ = std::chrono::nanoseconds(0); }
  const onebit_rendezvous& view() const { return view_; }

 private:
  static std::unique_ptr<store::Server> serve(const LaunchedRank& self) {
    if (self.rank > 0) return nullptr;
    return std::make_unique<store::Server>(store::Place{self.host, self.port, self.ports}, self.size, number_of(self.job));
  }
  // Rank 0 knows its own way: from here its name may lead elsewhere, or nowhere.
  store::Place store_of(const LaunchedRank& self) const {
    if (!server_) return {self.host, self.port, self.ports};
    const auto& where = server_->where();
    return {where.address().is_unspecified() ? "" : where.address().to_string(), where.port(), 1};
  }
  static onebit_code put(void* self, onebit_str key, const void* value, size_t size, onebit_error* err) {
    return detail::guard(err, [&] {
      require_value(onebit::view(key), value, size);
      static_cast<Impl*>(self)->client_.put(onebit::view(key), {static_cast<const char*>(value), size});
    });
  }
  static onebit_code get(void* self, onebit_str key, void* value, size_t capacity, size_t* size, int64_t timeout_ns,
                         onebit_error* err) {
    return detail::guard(err, [&] {
      auto& meeting = *static_cast<Impl*>(self);
      const std::string found = meeting.client_.get(onebit::view(key), timeout_ns < 0 ? meeting.timeout_ns_ : timeout_ns);
      hand_over(onebit::view(key), found, value, capacity, size);
    });
  }

  const pid_t process_ = ::getpid();
  const int exceptions_ = std::uncaught_exceptions();
  const int64_t timeout_ns_;
  std::atomic<std::chrono::nanoseconds> farewell_;
  const std::unique_ptr<store::Server> server_;  // rank 0's
  store::Client client_;
  const onebit_rendezvous view_;
};

TcpRendezvous::TcpRendezvous(const LaunchedRank& self, std::chrono::nanoseconds timeout, std::chrono::nanoseconds farewell,
                             const std::function<void(const std::string& why)>& waiting)
    : impl_(std::make_unique<Impl>(checked(self, timeout), timeout, farewell, waiting)) {}
TcpRendezvous::~TcpRendezvous() {
  // Reachable, so no leak to a leak checker. A fork without memory may end here.
  static auto& left_alone = *new std::vector<Impl*>;  // NOLINT(bugprone-unhandled-exception-at-new)
  if (!impl_->is_of_this_process()) left_alone.push_back(impl_.release());
}
uint16_t TcpRendezvous::port() const { return impl_->port(); }
void TcpRendezvous::no_farewell() { impl_->no_farewell(); }
const onebit_rendezvous& TcpRendezvous::view() const { return impl_->view(); }

}  // namespace onebit

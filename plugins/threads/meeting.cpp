// SPDX-License-Identifier: Apache-2.0
// Rank 0 makes the world, lists it in this process under a number, and puts the number into the rendezvous; the others look it
// up. A rendezvous may be met at again once a group is complete: a number that leads nowhere, or to a taken seat, is then an
// old one, and its reader asks again until rank 0 has put the new one.
#include "meeting.hpp"

#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "world.hpp"

namespace onebit::threads {
namespace {

constexpr const char* kKey = "threads.world";
constexpr auto kAskAgain = std::chrono::milliseconds(1);

// What rank 0 puts into the rendezvous. process tells another process, or another copy of this library, apart.
struct Ticket {
  uint64_t process;
  uint64_t world;
  int64_t size;
};

class Directory {
 public:
  static Directory& of_process() {
    static Directory directory;
    return directory;
  }
  uint64_t process() const { return process_; }

  uint64_t add(std::shared_ptr<World> world) {
    const std::lock_guard lock(mutex_);
    worlds_.emplace(++last_, std::move(world));
    return last_;
  }
  void remove(uint64_t number) {
    const std::lock_guard lock(mutex_);
    worlds_.erase(number);
  }
  std::shared_ptr<World> find(uint64_t number) {
    const std::lock_guard lock(mutex_);
    const auto found = worlds_.find(number);
    return found == worlds_.end() ? nullptr : found->second;
  }

 private:
  Directory() {
    std::random_device device;
    process_ = (uint64_t{device()} << 32) | device();
  }
  std::mutex mutex_;
  std::map<uint64_t, std::shared_ptr<World>> worlds_;
  uint64_t last_ = 0;
  uint64_t process_ = 0;
};

// A world is listed only while its ranks gather.
class Listing {
 public:
  explicit Listing(std::shared_ptr<World> world) : number_(Directory::of_process().add(std::move(world))) {}
  ~Listing() { Directory::of_process().remove(number_); }
  Listing(const Listing&) = delete;
  Listing& operator=(const Listing&) = delete;
  uint64_t number() const { return number_; }

 private:
  uint64_t number_;
};

[[noreturn]] void refuse_processes(const Rendezvous& rendezvous, const std::string& why) {
  throw Error(Code::invalid_argument,
              "it joins threads of one process, but " + why +
                  ". Set communicator.plugin = \"tcp\", or, if mpirun starts the ranks or the program uses MPI itself "
                  "(onebit::MpiRendezvous), \"mpi\"; " +
                  std::to_string(rendezvous.size()) + " threads of one process take an onebit::LocalRendezvous");
}

// A rendezvous that has no place for it is of ranks that others have brought together.
template <class F>
void ask(const Rendezvous& rendezvous, F&& f) {
  try {
    f();
  } catch (const Error& e) {
    if (e.code() != Code::unsupported) throw;
    refuse_processes(rendezvous, "the ranks of this rendezvous are processes");
  }
}

Seat open_world(const Rendezvous& rendezvous, int64_t timeout_ns) {
  const auto world = std::make_shared<World>(rendezvous.size());
  Seat seat = world->join(0);
  const Listing listing(world);
  const Ticket ticket = {Directory::of_process().process(), listing.number(), rendezvous.size()};
  if (rendezvous.size() > 1) ask(rendezvous, [&] { rendezvous.put(kKey, &ticket, sizeof ticket); });
  world->gather(0, timeout_ns);
  return seat;
}

[[noreturn]] void miss_rank_zero(const Rendezvous& rendezvous, int64_t timeout_ns) {
  throw Error(Code::timeout, "create on rank " + std::to_string(rendezvous.rank()) + " of " +
                                 std::to_string(rendezvous.size()) + ": waited " + seconds_text(timeout_ns) +
                                 " for rank 0, which did not arrive" + raise_timeout);
}

Ticket read_ticket(const Rendezvous& rendezvous, int64_t left_ns, int64_t timeout_ns) {
  Ticket ticket{};
  try {
    ask(rendezvous, [&] { rendezvous.get(kKey, &ticket, sizeof ticket, left_ns); });
  } catch (const Error& e) {
    if (e.code() == Code::timeout) miss_rank_zero(rendezvous, timeout_ns);
    throw;
  }
  if (ticket.process != Directory::of_process().process())
    refuse_processes(rendezvous, "rank 0 is in another process (or uses another copy of this plugin)");
  if (ticket.size != rendezvous.size())
    throw Error(Code::state_mismatch, "create on rank " + std::to_string(rendezvous.rank()) + ": rank 0 expects " +
                                          std::to_string(ticket.size) + " ranks, this one " +
                                          std::to_string(rendezvous.size()));
  return ticket;
}

Seat find_seat(const Rendezvous& rendezvous, int64_t timeout_ns) {
  const auto end = Clock::now() + std::chrono::nanoseconds(timeout_ns);
  for (;;) {
    const int64_t left_ns = std::chrono::nanoseconds(end - Clock::now()).count();
    if (left_ns <= 0) miss_rank_zero(rendezvous, timeout_ns);
    const Ticket ticket = read_ticket(rendezvous, left_ns, timeout_ns);
    if (const auto world = Directory::of_process().find(ticket.world))
      if (Seat seat = world->join(rendezvous.rank())) return seat;
    std::this_thread::sleep_for(kAskAgain);
  }
}

}  // namespace

Seat meet(const Rendezvous& rendezvous, int64_t timeout_ns) {
  const int rank = rendezvous.rank();
  if (rank < 0 || rank >= rendezvous.size())
    throw Error(Code::invalid_argument, "the rendezvous gives rank " + std::to_string(rank) + " of " +
                                            std::to_string(rendezvous.size()) + ": ranks are counted from 0");
  if (rank == 0) return open_world(rendezvous, timeout_ns);
  Seat seat = find_seat(rendezvous, timeout_ns);
  seat.world().gather(rank, timeout_ns);
  return seat;
}

}  // namespace onebit::threads

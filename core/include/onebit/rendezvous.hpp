// Where the ranks of one process meet: a key/value store shared by N threads, for the communicator `threads`.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "onebit/abi.h"

namespace onebit {

// One for all ranks of a process; must outlive their sessions.
class LocalRendezvous {
 public:
  explicit LocalRendezvous(int ranks);
  LocalRendezvous(const LocalRendezvous&) = delete;
  LocalRendezvous& operator=(const LocalRendezvous&) = delete;

  int ranks() const { return static_cast<int>(views_.size()); }
  // What rank r gives to its Session.
  const onebit_rendezvous& at(int rank) const { return views_.at(static_cast<size_t>(rank)); }

 private:
  static onebit_code put(void* self, onebit_str key, const void* value, size_t size, onebit_error* err);
  static onebit_code get(void* self, onebit_str key, void* value, size_t capacity, size_t* size, int64_t timeout_ns,
                         onebit_error* err);

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::map<std::string, std::vector<char>, std::less<>> values_;
  std::vector<onebit_rendezvous> views_;
};

}  // namespace onebit

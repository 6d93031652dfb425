// SPDX-License-Identifier: Apache-2.0
#include "device/memory_claims.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <functional>
#include <iterator>
#include <map>
#include <mutex>

#include "onebit/error.hpp"

namespace onebit {
namespace {

struct Claim {
  const void* end;
  std::string name;
  const MemoryClaims* by;
};

// Of the process, by first address. Never freed: a session may outlive what is static.
struct Ledger {
  pid_t process = ::getpid();
  std::mutex mutex;
  std::map<const void*, Claim, std::less<>> claims;
};
Ledger& ledger() {
  static std::atomic<Ledger*> made{new Ledger};
  Ledger* found = made;
  if (found->process == ::getpid()) return *found;
  auto* const own = new Ledger;  // in a fork: what is claimed there is the parent's, who may hold the lock
  if (made.compare_exchange_strong(found, own)) return *own;
  delete own;
  return *found;
}

void erase(Ledger& all, const void* data, const MemoryClaims* by) {
  const auto found = all.claims.find(data);
  if (found != all.claims.end() && found->second.by == by) all.claims.erase(found);
}

[[noreturn]] void refuse_claim(const std::string& name, bool whole, const Claim& other, bool own) {
  const std::string memory = whole ? "the same memory as" : "a part of the memory of";
  if (own)
    throw Error(Code::invalid_argument, "parameters '" + other.name + "' and '" + name + "': the second is " + memory +
                                            " the first, and would be stepped twice: hand a tied tensor over once, give a "
                                            "view memory of its own");
  throw Error(Code::invalid_argument, "parameter '" + name + "' is " + memory + " '" + other.name +
                                          "' of another session of this process, and both would step it: end that session "
                                          "first, and give ranks that are threads a model each");
}

}  // namespace

void MemoryClaims::claim(const std::string& name, const void* data, int64_t bytes) {
  if (bytes <= 0) return;
  const void* const end = static_cast<const std::byte*>(data) + bytes;
  Ledger& all = ledger();
  const std::lock_guard lock(all.mutex);
  const auto behind = all.claims.lower_bound(end);  // the first that begins there; whoever overlaps begins before
  if (behind != all.claims.begin()) {
    const auto& [first, claim] = *std::prev(behind);
    if (std::less<>()(data, claim.end)) refuse_claim(name, first == data && claim.end == end, claim, claim.by == this);
  }
  all.claims.emplace(data, Claim{end, name, this});
  claimed_.push_back(data);
}

void MemoryClaims::release(const void* data) {
  const auto found = std::find(claimed_.begin(), claimed_.end(), data);
  if (found == claimed_.end()) return;
  claimed_.erase(found);
  Ledger& all = ledger();
  const std::lock_guard lock(all.mutex);
  erase(all, data, this);
}

void MemoryClaims::release() {
  if (claimed_.empty()) return;
  Ledger& all = ledger();
  const std::lock_guard lock(all.mutex);
  for (const void* data : claimed_) erase(all, data, this);
  claimed_.clear();
}

}  // namespace onebit

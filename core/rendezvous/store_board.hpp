// SPDX-License-Identifier: Apache-2.0
// What a store knows: values by key, who waits for them, which ranks are there. Used by the store's one thread alone.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace onebit::store {

using Value = std::shared_ptr<const std::string>;

class Board {
 public:
  Board(int size, uint64_t job) : size_(size), job_(job), ranks_(static_cast<size_t>(size)), absent_(size) {}
  int size() const { return size_; }
  uint64_t job() const { return job_; }

  // NULL: nobody has put it.
  Value find(std::string_view key) const;
  // Tells those who wait. Throws Error(out_of_memory) when all values together are too many bytes.
  void put(const std::string& key, std::string value);
  // Calls `tell` once, when the key is put; until then, or until forget, under the number that it answers.
  using Tell = std::function<void(const Value&)>;
  uint64_t wait(const std::string& key, Tell tell);
  void forget(uint64_t number) { waiting_.erase(number); }

  // A rank that has gone does not come again as another visitor: that one means another store, which rank 0 will open at the
  // same place when it has closed this one. The same visitor may: it has lost its connection, which this store may not know
  // yet.
  enum class Coming { welcome, taken, gone };
  Coming come(int rank, uint64_t visitor, const std::string& from);
  void leave(int rank);
  const std::string& caller(int rank) const { return ranks_[static_cast<size_t>(rank)].from; }
  // All ranks have come, and gone.
  bool done() const { return absent_ == 0 && present_ == 0; }
  void note_refusal(const std::string& caller, const std::string& why);

  // After a wait in vain: which ranks have not come, or have gone, and who was refused.
  std::string missing_text() const;

 private:
  struct Waiting {
    std::string key;
    Tell tell;
  };
  const int size_;
  const uint64_t job_;
  std::map<std::string, Value, std::less<>> values_;
  size_t stored_ = 0;  // bytes of keys and values
  std::map<uint64_t, Waiting> waiting_;
  uint64_t last_ = 0;
  struct Rank {
    bool came = false;
    int connections = 0;  // 0: it has gone, or never came
    uint64_t visitor = 0;
    std::string from;  // its address
  };
  std::vector<Rank> ranks_;
  int absent_, present_ = 0;  // ranks that never came; that are there
  int64_t refusals_ = 0;
  std::string last_refusal_;
};

}  // namespace onebit::store

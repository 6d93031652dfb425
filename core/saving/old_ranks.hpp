// SPDX-License-Identifier: Apache-2.0
// What the ranks that saved a checkpoint had, each for itself, as this session's ranks get it: the same number of ranks takes
// what it left; another number takes means, which each rank computes a part of.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "onebit/communicator.hpp"
#include "saving/rank_file.hpp"

namespace onebit {

class OldRanks {
 public:
  OldRanks(Communicator& communicator, std::filesystem::path folder, int count);

  int count() const { return static_cast<int>(files_.size()); }
  bool same_number() const { return count() == communicator_.size(); }
  void open_all();  // else they are opened when somebody asks for them
  const RankFile& file(int rank);
  const RankFile& own() { return file(communicator_.rank()); }
  // Of those that are open.
  bool has_errors() const;
  bool has_errors_of(const std::string& tensor) const;

  // Collective, once all are open: the elements of a tensor, added over all files and divided, in double, a piece at a time.
  using Take = std::function<void(int64_t first, int64_t count, const float* values)>;
  void mean(const std::string& name, int64_t elements, int divisor, const Take& take);

 private:
  void add_up(const std::string& name, int64_t first, int64_t count, int divisor, float* out);

  Communicator& communicator_;
  const std::filesystem::path folder_;
  std::vector<std::unique_ptr<RankFile>> files_;  // by old rank; NULL: not open
  std::vector<float> piece_, own_, all_;
  std::vector<double> sums_;
};

}  // namespace onebit

// SPDX-License-Identifier: Apache-2.0
// Elements that have no variance when an optimizer freezes it, for they have had no gradient that counts: none at all, or one
// whose square is 0 in fp32.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "exchange/layout.hpp"
#include "exchange/state_store.hpp"

namespace onebit {

class UnseenElements {
 public:
  explicit UnseenElements(const Layout& layout) : layout_(layout), of_tensors_(layout.elements.size()) {}

  // As the optimizer counts them, in a number of each tensor named "unseen_elements"; where it does not, those of tensors that
  // never had a gradient at all. Of tensors that are exempt from compression none count. Allocates nothing.
  void count(const StateStore& state, Device* device, const std::function<bool(size_t tensor)>& never_given);

  int64_t total() const { return total_; }
  void go_on(int64_t total) { total_ = total; }  // as a checkpoint has it
  bool has_whole_tensors() const;
  // Which tensors, the first few by name: "'t1' 40 of 40, 't5' 3 of 5000, and 2 tensors more".
  std::string text(const std::function<std::string(size_t tensor)>& name) const;

 private:
  const Layout& layout_;
  std::vector<double> of_tensors_;
  int64_t total_ = 0;
};

}  // namespace onebit

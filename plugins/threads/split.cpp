// SPDX-License-Identifier: Apache-2.0
// split: the ranks of one color become a world of their own, ordered by key, and by rank where keys are equal.
#include <algorithm>

#include "world.hpp"

namespace onebit::threads {
namespace {

std::vector<Post*> by_color_and_key(Operation& operation) {
  std::vector<Post*> members;
  for (int rank = 0; rank < operation.size; ++rank)
    if (operation.posts[rank].offer.color >= 0) members.push_back(&operation.posts[rank]);
  std::stable_sort(members.begin(), members.end(), [](const Post* a, const Post* b) {
    return a->offer.color != b->offer.color ? a->offer.color < b->offer.color : a->offer.key < b->offer.key;
  });
  return members;
}

}  // namespace

void divide(Operation& operation) {
  const std::vector<Post*> members = by_color_and_key(operation);
  for (auto first = members.begin(); first != members.end();) {
    const auto end = std::find_if(first, members.end(), [&](const Post* p) { return p->offer.color != (*first)->offer.color; });
    const auto world = std::make_shared<World>(static_cast<int>(end - first));
    for (int rank = 0; first != end; ++first, ++rank) (*first)->child = world->join(rank);
  }
}

}  // namespace onebit::threads

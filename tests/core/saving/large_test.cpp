// SPDX-License-Identifier: Apache-2.0
// What small models do not come to: copies of many pages, and tensors that are read and added up in several pieces.
#include <doctest/doctest.h>

#include "core/saving/saving_runs.hpp"
#include "saving/streamed_copy.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

constexpr size_t kLarge = 2'500'001;  // elements: pieces are 1 << 20, of which the last is not whole

std::vector<Tensors> large_models(int ranks, float value) {
  return std::vector<Tensors>(static_cast<size_t>(ranks), Tensors{std::vector<float>(kLarge, value)});
}

// Steps up to and with the last.
void train_on(Session& session, int64_t last) {
  for (int64_t step = session.next_step(); step <= last; ++step) {
    std::vector<float> gradient(kLarge);
    for (size_t i = 0; i < kLarge; ++i)
      gradient[i] = static_cast<float>((i * 7 + static_cast<size_t>(step * 31 + session.rank() * 5)) % 1009) / 1009 - 0.4F;
    session.step({gradient.data()});
  }
}

void on_ranks(std::vector<Tensors>& models, const std::function<void(Session&)>& body) {
  const auto ranks = static_cast<int>(models.size());
  LocalRendezvous rendezvous(ranks);
  host::run_ranks(ranks, [&](int rank) {
    const Configuration configuration = configure(frozen_at(2));
    Session session(plugins(), configuration, rendezvous.at(rank), parameters_of(models[static_cast<size_t>(rank)]));
    body(session);
  });
}

}  // namespace

TEST_CASE("saving: a streamed copy has all bytes and no more, of any size, from and to any address") {
  constexpr size_t room = 200'000, most_offset = 70;
  std::vector<std::byte> from(room), expected, to;
  for (size_t i = 0; i < room; ++i) from[i] = static_cast<std::byte>(i * 131 + i / 251);
  for (const size_t bytes : {0U, 1U, 63U, 64U, 65U, 4096U, 32767U, 32768U, 32769U, 32832U, 65600U, 131071U, 199'000U})
    for (const size_t in : {0U, 1U, 24U})
      for (const size_t out : {0U, 1U, 32U, 63U, 64U}) {
        CAPTURE(bytes);
        CAPTURE(in);
        CAPTURE(out);
        to.assign(bytes + 2 * most_offset, std::byte{0x5a});
        expected = to;
        std::copy_n(from.begin() + static_cast<ptrdiff_t>(in), bytes, expected.begin() + static_cast<ptrdiff_t>(out));
        copy_streamed(to.data() + out, from.data() + in, bytes);
        CHECK((to == expected));
      }
}

TEST_CASE("saving: a tensor of several pieces goes on to the bit, from a save that waits and from one that does not") {
  for (const bool wait : {true, false}) {
    CAPTURE(wait);
    const RunFolder root;
    std::vector<Tensors> whole = large_models(2, 0.5F), again = large_models(2, 1e6F);
    on_ranks(whole, [&](Session& session) {
      train_on(session, 4);
      SaveOptions options;
      options.wait = wait;
      session.save(root.path(), options);
      train_on(session, 6);
      session.finish_save();
    });
    on_ranks(again, [&](Session& session) {
      session.load(root.path());
      train_on(session, 6);
    });
    for (size_t rank = 0; rank < 2; ++rank) CHECK(same_bits(whole[rank], again[rank]));
  }
}

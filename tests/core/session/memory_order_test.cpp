// SPDX-License-Identifier: Apache-2.0
// Tensors that are not row by row in memory: dense ones are taken in the order of their memory, which ranks must share.
#include <doctest/doctest.h>

#include "configuration/dense_order.hpp"
#include "support/gradients.hpp"
#include "support/sessions.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

const std::string one_bit = onebit_adam("freeze_step = 2\n");
using Numbers = std::vector<int64_t>;

// Ends of four steps over a tensor of 4 x 3 x 5 x 2 in this order; or what a rank says.
std::vector<std::string> train_in_order(const std::function<Numbers(int rank)>& strides, std::vector<Tensors>& models) {
  const Tensors initial = {std::vector<float>(120, 0.5F)};
  models.assign(2, initial);
  std::vector<std::string> found(2);
  LocalRendezvous rendezvous(2);
  host::run_ranks(2, [&](int rank) {
    Tensors& own = models[static_cast<size_t>(rank)];
    try {
      std::vector<Parameter> parameters = {{"conv.weight", {4, 3, 5, 2}, own[0].data(), strides(rank)}};
      Session session(plugins(), configure(one_bit), rendezvous.at(rank), parameters);
      for (int64_t step = 1; step <= 4; ++step) {
        const Tensors gradient = noisy(initial, step, rank);
        session.step(ModelGradients({{gradient[0].data(), parameters[0]}}));
      }
    } catch (const Error& e) {
      found[static_cast<size_t>(rank)] = e.what();
    }
  });
  return found;
}

const Numbers channels_last = {30, 1, 6, 3}, by_rows = {30, 10, 2, 1};

}  // namespace

TEST_CASE("an order in memory is told by the strides of dimensions that have several elements") {
  CHECK(dense_order({4, 3, 5, 2}, {}) == Numbers());
  CHECK(dense_order({4, 3, 5, 2}, by_rows) == Numbers());
  CHECK(dense_order({4, 3, 5, 2}, channels_last) == channels_last);
  CHECK(dense_order({7, 5}, {1, 7}) == Numbers{1, 7});
  CHECK(dense_order({1, 5}, {99, 1}) == Numbers());
  CHECK(dense_order({4, 1, 3, 3}, {9, 1, 3, 1}) == Numbers());  // one channel: channels last is row by row
  CHECK(dense_order({3, 1, 2}, {1, 17, 3}) == dense_order({3, 1, 2}, {1, 1, 3}));
  CHECK(dense_order({0, 5}, {77, 3}) == Numbers());
  CHECK(dense_order({}, {}) == Numbers());
  for (const auto& [shape, strides] : {std::pair<Numbers, Numbers>{{7, 5}, {10, 1}},  // a slice
                                       {{7, 5}, {0, 1}},                              // expanded
                                       {{7, 5}, {-5, 1}},
                                       {{7, 5}, {1, 1}},
                                       {{4}, {2}},
                                       {{7, 5}, {5}}})
    CHECK(!dense_order(shape, strides).has_value());
}

TEST_CASE("a tensor that is channels last is trained in the order of its memory") {
  std::vector<Tensors> rows, channels;
  for (const std::string& text : train_in_order([](int) { return Numbers(); }, rows)) CHECK(text == "");
  for (const std::string& text : train_in_order([](int) { return channels_last; }, channels)) CHECK(text == "");
  CHECK(channels[0] == channels[1]);
  CHECK(channels == rows);  // the same numbers in memory
  CHECK(rows[0][0][5] != 0.5F);
}

TEST_CASE("ranks with another order in memory are told so before anything is sent") {
  std::vector<Tensors> models;
  for (const std::string& text : train_in_order([](int rank) { return rank == 1 ? channels_last : by_rows; }, models)) {
    CAPTURE(text);
    CHECK(text.find("or their order in memory") != std::string::npos);
    CHECK(text.find("[4, 3, 5, 2], in memory with strides 30, 1, 6, 3") != std::string::npos);
  }
  CHECK(models[1][0] == std::vector<float>(120, 0.5F));
}

TEST_CASE("a tensor with gaps is refused by name, and so is one whose order has changed") {
  std::vector<float> memory(100, 1.0F);
  const auto session = [&](const Numbers& strides) {
    LocalRendezvous rendezvous(1);
    return Session(plugins(), configure(one_bit), rendezvous.at(0), {{"sliced", {5, 4}, memory.data(), strides}});
  };
  CHECK_THROWS_WITH_AS(session({10, 1}), doctest::Contains("the elements of parameter 'sliced' overlap or leave gaps"), Error);
  LocalRendezvous rendezvous(1);
  Parameter parameter = {"turned", {5, 4}, memory.data(), {4, 1}};
  Session living(plugins(), configure(one_bit), rendezvous.at(0), {parameter});
  parameter.strides = {};  // the same
  living.step(ModelGradients({{nullptr, parameter}}));
  parameter.strides = {1, 5};
  CHECK_THROWS_WITH_AS(
      living.step(ModelGradients({{nullptr, parameter}})),
      doctest::Contains("parameter 'turned' has another order in memory (strides [1, 5]) than when the session "
                        "was made ([4, 1])"),
      Error);
}

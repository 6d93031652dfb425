// SPDX-License-Identifier: Apache-2.0
// exchange.topology = "hierarchical": what it equals to the bit, what it sends and holds, and that it trains.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "exchange/machines.hpp"
#include "support/gradients.hpp"
#include "support/sessions.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

const Tensors model = {std::vector<float>(30'000, 0.5F), std::vector<float>(17, -1.0F), std::vector<float>(),
                       std::vector<float>(9001, 2.0F)};

struct Trial {
  std::string optimizer, exchange, session{}, compressor = "plugin = \"onebit\"\n";
};
// clamp: one that does not depend on the number of ranks
const Trial compressed = {"plugin = \"onebit_adam\"\nfreeze_step = 3\nclamp = 30.0\n", "bucket_bytes = 20000\n"};
const Trial refreshed = {"plugin = \"onebit_lamb\"\nfreeze_step = 3\nbetas = [0.9, 0.9]\nrefresh = 0.5\n",
                         "bucket_bytes = 20000\n"};
const Trial dense = {"plugin = \"adam\"\n", "bucket_bytes = 20000\ndense_dtype = \"fp16\"\n"};

std::string manifest(const Trial& setting, int machines) {
  const std::string topology = machines == 0 ? "flat" : "hierarchical";
  return "[optimizer]\n" + setting.optimizer + "[compressor]\n" + setting.compressor +
         "[communicator]\nplugin = \"threads\"\ntimeout = 60\nmachines = " + std::to_string(std::max(machines, 1)) +
         "\n[exchange]\ntopology = \"" + topology + "\"\n" + setting.exchange + "[session]\n" + setting.session;
}

// The parameters of all ranks after 8 steps. machines: 0 for flat. source(rank): whose gradients a rank has.
std::vector<Tensors> train(const Trial& setting, int ranks, int machines, const std::function<int(int)>& source) {
  return run_sessions(ranks, manifest(setting, machines), model, [&](Rank rank) {
    for (int64_t step = 1; step <= 8; ++step) rank.session.step(pointers(noisy(model, step, source(rank.number))));
  });
}
int own(int rank) { return rank; }

struct Told {
  std::vector<Traffic> traffic;
  std::vector<Footprint> footprint;
};
Told told(const Trial& setting, int ranks, int machines) {
  Told result = {std::vector<Traffic>(static_cast<size_t>(ranks)), std::vector<Footprint>(static_cast<size_t>(ranks))};
  run_sessions(ranks, manifest(setting, machines), model, [&](Rank rank) {
    for (int64_t step = 1; step <= 5; ++step) rank.session.step(pointers(noisy(model, step, rank.number)));
    result.traffic[static_cast<size_t>(rank.number)] = rank.session.traffic();
    result.footprint[static_cast<size_t>(rank.number)] = rank.session.footprint();
  });
  return result;
}

template <class F>
uint64_t most(const std::vector<Traffic>& traffic, F&& of) {
  uint64_t result = 0;
  for (const Traffic& t : traffic) result = std::max<uint64_t>(result, of(t));
  return result;
}

}  // namespace

TEST_CASE("with one rank a machine, hierarchical is flat") {
  for (const Trial& setting : {compressed, refreshed, dense}) CHECK(train(setting, 3, 3, own) == train(setting, 3, 0, own));
}

TEST_CASE("where the ranks of a machine have the same gradients, it is flat on as many ranks as there are machines") {
  struct Grid {
    int machines, locals;
  };
  for (const Grid grid : {Grid{2, 2}, Grid{3, 2}, Grid{2, 4}})
    for (Trial setting : {compressed, refreshed, dense, Trial{compressed.optimizer, "dense_below = 100\n"},
                          Trial{compressed.optimizer, "", "threads = 2\nclip_norm = 20\n"}}) {
      CAPTURE(grid.machines);
      CAPTURE(grid.locals);
      CAPTURE(setting.exchange);
      const std::vector<Tensors> expected = train(setting, grid.machines, 0, own);
      const std::vector<Tensors> found =
          train(setting, grid.machines * grid.locals, grid.machines, [&](int r) { return r / grid.locals; });
      for (const Tensors& replica : found) CHECK(replica == expected[0]);
      const std::vector<Tensors> other = train(setting, grid.machines * grid.locals, grid.machines, own);
      CHECK(other[0] != expected[0]);  // the comparison can fail
      for (const Tensors& replica : other) CHECK(replica == other[0]);
    }
}

TEST_CASE("a model with fewer blocks than ranks: some have nothing to send, to serve or to share") {
  for (const Trial& setting : {compressed, dense})
    for (const Tensors& tiny : {Tensors{{1.0F, 2.0F, 3.0F}}, Tensors{std::vector<float>()}}) {
      const auto train_tiny = [&](int ranks, int machines, int sharing) {
        return run_sessions(ranks, manifest(setting, machines), tiny, [&](Rank rank) {
          for (int64_t step = 1; step <= 6; ++step) rank.session.step(pointers(noisy(tiny, step, rank.number / sharing)));
        });
      };
      const std::vector<Tensors> expected = train_tiny(2, 0, 1);
      for (const Tensors& replica : train_tiny(8, 2, 4)) CHECK(replica == expected[0]);
    }
}

TEST_CASE("on one machine every round is a dense mean in fp32, of messages, too") {
  const Trial fp32 = {"plugin = \"adam\"\n", ""};
  CHECK(train(dense, 3, 1, own) == train(fp32, 3, 0, own));
  const Trial uncompressed = {compressed.optimizer, "dense_below = 1000000\n"};
  CHECK(train(compressed, 4, 1, own) == train(uncompressed, 4, 0, own));
  const Trial tensor = {compressed.optimizer, "", "", "plugin = \"onebit\"\nscale = \"tensor\"\n"};
  CHECK(train(tensor, 4, 1, own) == train(uncompressed, 4, 0, own));
}

TEST_CASE("worker threads and bucket size change no bit") {
  const std::vector<Tensors> expected = train(compressed, 4, 2, own);
  for (const Trial& setting :
       {Trial{compressed.optimizer, ""}, Trial{compressed.optimizer, "bucket_bytes = 4096\n", "threads = 3\n"}})
    CHECK(train(setting, 4, 2, own) == expected);
}

TEST_CASE("a machine sends between machines what one rank sends in flat, however many ranks it has") {
  for (const Trial& setting : {Trial{compressed.optimizer, ""}, Trial{dense.optimizer, "dense_dtype = \"bf16\"\n"}}) {
    const Told flat = told(setting, 2, 0), grid = told(setting, 6, 2);
    const auto dense_of = [](const Traffic& t) { return t.dense_bytes; };
    const auto compressed_of = [](const Traffic& t) { return t.compressed_bytes; };
    uint64_t dense_bytes = 0, compressed_bytes = 0;
    for (const Traffic& t : flat.traffic) dense_bytes += t.dense_bytes, compressed_bytes += t.compressed_bytes;
    for (const Traffic& t : grid.traffic) dense_bytes -= t.dense_bytes, compressed_bytes -= t.compressed_bytes;
    CHECK(dense_bytes == 0);
    CHECK(compressed_bytes == 0);
    CHECK(most(flat.traffic, [](const Traffic& t) { return t.local_bytes; }) == 0);
    CHECK(most(grid.traffic, [](const Traffic& t) { return t.local_bytes; }) > 0);
    for (const Traffic& t : flat.traffic) CHECK(t.sharers == 1);
    for (const Traffic& t : grid.traffic) CHECK(t.sharers == 3);
    // and the ranks share it
    CHECK(most(grid.traffic, dense_of) < most(flat.traffic, dense_of) * 0.5);
    CHECK(most(grid.traffic, compressed_of) <= most(flat.traffic, compressed_of) * 0.5);
  }
  const Told single = told(compressed, 3, 1);
  CHECK(most(single.traffic, [](const Traffic& t) { return t.dense_bytes + t.compressed_bytes; }) == 0);
  CHECK(most(single.traffic, [](const Traffic& t) { return t.local_bytes; }) > 0);
}

TEST_CASE("a rank of a machine holds the worker error of its shard only, and check knows what all this costs") {
  std::vector<Parameter> parameters;
  for (size_t t = 0; t < model.size(); ++t)
    parameters.push_back({"t" + std::to_string(t), {static_cast<int64_t>(model[t].size())}, nullptr});
  uint64_t elements = 0;
  for (const auto& tensor : model) elements += tensor.size();
  for (const int machines : {2, 1}) {
    CAPTURE(machines);
    const Told found = told(compressed, 4, machines);
    const Cost cost = cost_of(plugins(), configure(manifest(compressed, 4)), parameters, 4, machines);
    uint64_t held = 0, worker = 0;
    for (const Footprint& f : found.footprint) held = std::max(held, f.held()), worker += f.worker_error;
    const double shards = machines == 1 ? 0 : 2.0 * 4 * static_cast<double>(elements);  // of two machines, in bytes
    CHECK(static_cast<double>(worker) == doctest::Approx(shards).epsilon(0.01));
    CHECK(cost.compressed_state * static_cast<double>(elements) == doctest::Approx(static_cast<double>(held)).epsilon(0.02));
    CHECK(3 * cost.dense_traffic == most(found.traffic, [](const Traffic& t) { return t.dense_bytes; }));
    CHECK(2 * cost.compressed_traffic == most(found.traffic, [](const Traffic& t) { return t.compressed_bytes; }));
    CHECK(3 * cost.dense_local_traffic + 2 * cost.compressed_local_traffic ==
          most(found.traffic, [](const Traffic& t) { return t.local_bytes; }));
  }
  CHECK_THROWS_WITH(cost_of(plugins(), configure(manifest(compressed, 4)), parameters, 4, 3),
                    "a cost is of equally many ranks on every machine, found 4 ranks on 3 machines");
}

TEST_CASE("a gradient that is not finite on one rank: all ranks of all machines skip, and nothing is changed") {
  const auto train_disturbed = [](bool disturb) {
    return run_sessions(4, manifest({compressed.optimizer, compressed.exchange, "verify_every = 1\n"}, 2), model,
                        [&](Rank rank) {
                          for (int64_t step = 1; step <= 6; ++step) {
                            if (disturb && step % 2 == 0) {
                              Tensors gradients = noisy(model, step + 50, rank.number);
                              if (rank.number == step / 2) gradients[3][100] = NAN;
                              if (!rank.session.step(pointers(gradients)).skipped)
                                throw std::runtime_error("the step was taken");
                            }
                            rank.session.step(pointers(noisy(model, step, rank.number)));
                          }
                        });
  };
  CHECK(train_disturbed(true) == train_disturbed(false));
}

TEST_CASE("a small problem converges as it does in flat") {
  // The ranks pull towards different targets, whose mean is the answer.
  const auto distance = [](int machines) {
    const Tensors start = {std::vector<float>(5000)};
    const Trial setting = {"plugin = \"onebit_adam\"\nfreeze_step = 60\nlr = 0.02\n", ""};
    const std::vector<Tensors> after = run_sessions(4, manifest(setting, machines), start, [&](Rank rank) {
      for (int64_t step = 1; step <= 400; ++step) {
        Tensors gradients = rank.parameters;
        for (size_t i = 0; i < 5000; ++i)
          gradients[0][i] -=
              noise(0, static_cast<uint64_t>(rank.number), 0, i) + 0.2F * noise(static_cast<uint64_t>(step), 9, 0, i);
        rank.session.set_learning_rate_factor(step <= 200 ? 1 : static_cast<double>(401 - step) / 200);
        rank.session.step(pointers(gradients));
      }
    });
    double squares = 0;
    for (size_t i = 0; i < 5000; ++i) {
      float target = 0;
      for (uint64_t rank = 0; rank < 4; ++rank) target += noise(0, rank, 0, i) / 4;
      squares += std::pow(static_cast<double>(after[0][0][i] - target), 2);
    }
    return std::sqrt(squares / 5000);
  };
  const double flat = distance(0), grid = distance(2);
  MESSAGE("distance to the optimum: flat " << flat << ", hierarchical " << grid);
  CHECK(grid < 0.02);
  CHECK(grid < 1.5 * flat);
}

namespace {

std::vector<std::string> refusals(int ranks, const std::string& toml) {
  std::vector<std::string> found(static_cast<size_t>(ranks));
  LocalRendezvous rendezvous(ranks);
  host::run_ranks(ranks, [&](int rank) {
    Tensors tensors = model;
    try {
      Session session(plugins(), configure(toml), rendezvous.at(rank), parameters_of(tensors));
    } catch (const Error& e) {
      found[static_cast<size_t>(rank)] = e.what();
    }
  });
  return found;
}

}  // namespace

TEST_CASE("machines with unequal numbers of ranks are refused on every rank, and told") {
  for (const std::string& text : refusals(3, manifest(compressed, 2)))
    CHECK(text ==
          "exchange.topology = \"hierarchical\" wants equally many ranks on every machine, but machine 0 has 2 (ranks 0, 1); "
          "machine 1 has 1 (rank 2): start as many on each, or set exchange.topology = \"flat\"");
}

TEST_CASE("scales wider than a block are refused, where ranks share machines and machines a network") {
  const Trial tensor = {compressed.optimizer, "", "", "plugin = \"onebit\"\nscale = \"tensor\"\n"};
  for (const std::string& text : refusals(4, manifest(tensor, 2)))
    CHECK(text.find("wants a compressor whose scales are of blocks") != std::string::npos);
  for (const std::string& text : refusals(2, manifest(tensor, 2))) CHECK(text.empty());
}

TEST_CASE("an error on one rank ends the waits of all, whatever machine they are on") {
  std::vector<std::string> found(4);
  LocalRendezvous rendezvous(4);
  host::run_ranks(4, [&](int rank) {
    Tensors tensors = model;
    Session session(plugins(), configure(manifest(compressed, 2)), rendezvous.at(rank), parameters_of(tensors));
    try {
      for (int64_t step = 1; step <= 100; ++step) {
        if (rank == 3 && step == 3) session.step({});
        session.step(pointers(noisy(model, step, rank)));
      }
    } catch (const Error& e) {
      found[static_cast<size_t>(rank)] = e.what();
    }
  });
  for (const std::string& text : found) CHECK(text.find("step() got 0 gradients for 4 parameters") != std::string::npos);
}

TEST_CASE("ranks of which one is flat and another hierarchical are told so, and not that their messages differ in size") {
  std::vector<std::string> found(2);
  LocalRendezvous rendezvous(2);
  host::run_ranks(2, [&](int rank) {
    Tensors tensors = model;
    try {
      Session session(plugins(), configure(manifest(compressed, rank)), rendezvous.at(rank), parameters_of(tensors));
    } catch (const Error& e) {
      found[static_cast<size_t>(rank)] = e.what();
    }
  });
  for (const std::string& text : found)
    CHECK(text.find("differs from rank 0 in its configuration or plugin versions") != std::string::npos);
}

TEST_CASE("an error inside a group says which ranks the group numbers") {
  LocalRendezvous rendezvous(4);
  std::vector<std::string> found(4);
  const Configuration configuration = configure(manifest(compressed, 2));
  host::run_ranks(4, [&](int rank) {
    MeteredCommunicator world(plugins().make_communicator(*configuration.communicator.component,
                                                          configuration.communicator.options, rendezvous.at(rank)));
    Machines machines(world, world, true);
    char byte = 0, bytes[2];
    const onebit_part parts[] = {{0, 1}, {1, 1}};
    try {
      if (rank != 3) {
        Request* request = machines.rounds().all_gather(&byte, bytes, parts, Call(0, 50'000'000));
        machines.rounds().wait(request, -1);
      }
    } catch (const Error& e) {
      found[static_cast<size_t>(rank)] = e.what();
    }
    world.barrier(Call());
    machines.close();
  });
  CHECK(found[1].find("for rank 1, which did not arrive (numbered within the group of ranks 1, 3)") != std::string::npos);
}

TEST_CASE("threads spreads its ranks over the machines it is asked to pretend, and a split keeps them") {
  LocalRendezvous rendezvous(5);
  std::vector<uint64_t> machines(5), after_split(5);
  const Configuration configuration = configure(manifest(compressed, 2));
  host::run_ranks(5, [&](int rank) {
    const auto world = plugins().make_communicator(*configuration.communicator.component, configuration.communicator.options,
                                                   rendezvous.at(rank));
    machines[static_cast<size_t>(rank)] = world->machine();
    after_split[static_cast<size_t>(rank)] = world->split(rank % 2, -rank)->machine();
  });
  CHECK(machines == std::vector<uint64_t>{0, 0, 0, 1, 1});
  CHECK(after_split == machines);
}

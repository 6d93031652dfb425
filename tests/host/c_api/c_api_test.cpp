// SPDX-License-Identifier: Apache-2.0
// The C API trains as the C++ one does, to the bit; and a program in C trains with it.
#include <cmath>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "c_session.hpp"
#include "support/gradients.hpp"
#include "support/held_port.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

const Tensors kInitial = {std::vector<float>(700, 0.5F), std::vector<float>(40, -1.0F), std::vector<float>(2000, 0.25F)};
const std::string kOneBitAdam = onebit_adam("freeze_step = 3\nlr = 0.01");

onebit_step_report c_step(onebit_session* session, int rank, int64_t step) {
  const Tensors gradients = noisy(kInitial, step, rank);
  const auto pointers = pointers_of(gradients);
  onebit_step_report report = {};
  report.struct_size = sizeof report;
  must(onebit_session_step(session, nullptr, pointers.data(), pointers.size(), nullptr, &report, nullptr));
  return report;
}

// The same steps by C++.
std::vector<Tensors> by_cpp(int ranks, int64_t steps) {
  return run_sessions(ranks, kOneBitAdam, kInitial, [steps](Rank rank) {
    for (int64_t step = 1; step <= steps; ++step) rank.session.step(pointers(noisy(kInitial, step, rank.number)));
  });
}

std::set<std::string> names_in_text(const std::string& text, const std::string& pattern) {
  std::set<std::string> names;
  const std::regex name(pattern);
  for (std::sregex_iterator found(text.begin(), text.end(), name), end; found != end; ++found) names.insert((*found)[1]);
  return names;
}

}  // namespace

TEST_CASE("C and C++ give the same bits, in whole steps and in parts, and reports tell the same") {
  const auto expected = by_cpp(2, 8);
  CHECK(run_c_sessions(2, kOneBitAdam, kInitial, [](onebit_session* session, int rank, Tensors&) {
          for (int64_t step = 1; step <= 8; ++step) {
            const onebit_step_report report = c_step(session, rank, step);
            CHECK(report.number == step);
            CHECK(report.flags == (step > 3 ? ONEBIT_STEP_COMPRESSED : 0));
            CHECK(report.frozen_at == (step > 2 ? 3 : 0));
          }
          onebit_traffic traffic = {};
          traffic.struct_size = sizeof traffic;
          must(onebit_session_traffic(session, &traffic, nullptr));
          CHECK(traffic.dense_steps == 3);
          CHECK(traffic.compressed_steps == 5);
          CHECK(traffic.compressed_parameters == 2740);
          char* text = nullptr;
          must(onebit_session_report(session, &text, nullptr));
          const auto report = nlohmann::json::parse(taken(text));
          CHECK(report["step"]["number"] == 8);
          CHECK(report["traffic"]["compressed_bytes"] == traffic.compressed_bytes);
          CHECK(report["memory"]["held"].get<int64_t>() > 2740 * 8);
          CHECK(report["metrics"]["session.steps"]["count"].get<int64_t>() >= 8);
        }) == expected);
  CHECK(run_c_sessions(2, kOneBitAdam, kInitial, [](onebit_session* session, int rank, Tensors&) {
          for (int64_t step = 1; step <= 8; ++step) {
            const Tensors gradients = noisy(kInitial, step, rank);
            must(onebit_session_begin(session, nullptr, 0, nullptr, nullptr));
            const int64_t last = 2, first[] = {1, 0};
            const void* const of_last = gradients[2].data();
            const void* const of_first[] = {gradients[1].data(), gradients[0].data()};
            std::thread([&] { must(onebit_session_ready(session, &last, &of_last, 1, nullptr, nullptr)); }).join();
            must(onebit_session_ready(session, first, of_first, 2, nullptr, nullptr));
            must(onebit_session_finish(session, nullptr, nullptr));
          }
        }) == expected);
}

TEST_CASE("steps with numbers that are exact in every language have one hash, which Python's test has, too") {
  const Tensors initial = {std::vector<float>(700, 0.5F), std::vector<float>(40, -1.0F)};
  run_c_sessions(2, kOneBitAdam, initial, [&](onebit_session* session, int rank, Tensors&) {
    for (int64_t step = 1; step <= 8; ++step) {
      Tensors gradients = initial;
      for (size_t t = 0; t < 2; ++t)
        for (size_t i = 0; i < gradients[t].size(); ++i)
          gradients[t][i] = static_cast<float>((static_cast<int64_t>(i * 7 + t * 3) + step * 13 + rank * 5) % 17 - 8) / 16;
      const auto pointers = pointers_of(gradients);
      must(onebit_session_step(session, nullptr, pointers.data(), 2, nullptr, nullptr, nullptr));
    }
    uint64_t hash = 0;
    must(onebit_session_parameter_hash(session, &hash, nullptr));
    CHECK(hash == 0x2e38583da8788627);  // tests/host/python/session_test.py
  });
}

TEST_CASE("what is saved by C goes on in C++, and back, to the bit, with the program's own bytes") {
  const ScratchFolder folder;
  const std::string root = folder.path().string();
  run_c_sessions(2, kOneBitAdam, kInitial, [&](onebit_session* session, int rank, Tensors&) {
    for (int64_t step = 1; step <= 5; ++step) c_step(session, rank, step);
    const std::string place = "place of rank " + std::to_string(rank);
    const onebit_blob own = {"data", place.data(), place.size()}, empty = {"empty", nullptr, 0};
    onebit_save_options options = {};
    options.struct_size = sizeof options;
    options.of_rank = &own;
    options.of_rank_count = 1;
    options.of_all = &empty;
    options.of_all_count = 1;
    char* report = nullptr;
    must(onebit_session_save(session, root.c_str(), &options, &report, nullptr));
    const auto told = nlohmann::json::parse(taken(report));
    CHECK(told["committed"] == true);
    CHECK(told["step"] == 5);
  });
  run_sessions(2, kOneBitAdam, kInitial, [&](Rank rank) {
    const LoadReport loaded = rank.session.load(root);
    CHECK(loaded.of_rank.at(0).bytes == "place of rank " + std::to_string(rank.number));
    rank.session.step(pointers(noisy(kInitial, 6, rank.number)));
    SaveOptions options;
    options.of_rank = {{"data", "from C++"}};
    rank.session.save(root, options);
  });
  CHECK(run_c_sessions(2, kOneBitAdam, kInitial, [&](onebit_session* session, int rank, Tensors&) {
          char* report = nullptr;
          must(onebit_session_load(session, root.c_str(), 0, &report, nullptr));
          CHECK(nlohmann::json::parse(taken(report))["step"] == 6);
          const void* bytes = nullptr;
          size_t size = 0;
          must(onebit_session_loaded(session, ONEBIT_OF_RANK, "data", &bytes, &size, nullptr));
          CHECK(std::string(static_cast<const char*>(bytes), size) == "from C++");
          must(onebit_session_loaded(session, ONEBIT_OF_ALL, "data", &bytes, &size, nullptr));
          CHECK(bytes == nullptr);
          int64_t next = 0;
          must(onebit_session_next_step(session, &next, nullptr));
          CHECK(next == 7);
          for (int64_t step = 7; step <= 8; ++step) c_step(session, rank, step);
        }) == by_cpp(2, 8));
}

TEST_CASE("learning rates by group, the gradient scale, the anchor, sums and broadcasts") {
  const std::string toml =
      "[optimizer]\nplugin = \"adam\"\nlr = 0.01\n[[optimizer.group]]\ntensors = [\"t1\"]\nlr = 0.5\n"
      "[communicator]\nplugin = \"threads\"\n";
  run_c_sessions(2, toml, kInitial, [](onebit_session* session, int rank, Tensors& parameters) {
    size_t count = 0;
    must(onebit_session_learning_rates(session, nullptr, &count, nullptr));
    REQUIRE(count == 2);
    double rates[2] = {};
    must(onebit_session_learning_rates(session, rates, &count, nullptr));
    CHECK(rates[0] == 0.01);
    CHECK(rates[1] == 0.5);
    const double other[2] = {0, 0.25};
    must(onebit_session_set_learning_rates(session, other, 2, nullptr));
    c_step(session, rank, 1);
    CHECK(parameters[0] == kInitial[0]);
    CHECK(std::fabs(std::fabs(parameters[1][0] - kInitial[1][0]) - 0.25F) < 1e-3F);  // Adam's first step is the rate
    must(onebit_session_set_gradient_scale(session, 0.5, nullptr));
    CHECK(c_step(session, rank, 2).gradient_scale == 0.5);

    double values[2] = {rank + 1.0, -rank * 1.0};
    must(onebit_session_all_reduce(session, values, 2, ONEBIT_SUM, nullptr));
    CHECK(values[0] == 3);
    must(onebit_session_all_reduce(session, values, 1, ONEBIT_MAX, nullptr));
    char bytes[6] = "rank0";
    if (rank == 0) std::snprintf(bytes, sizeof bytes, "hello");
    must(onebit_session_broadcast(session, bytes, sizeof bytes, 0, nullptr));
    CHECK(std::string(bytes) == "hello");
    must(onebit_session_at_anchor(session, 1, nullptr));
    refusal([&](onebit_error* err) { return onebit_session_at_anchor(session, 1, err); });
    must(onebit_session_at_anchor(session, 0, nullptr));
    must(onebit_session_request_sync(session, nullptr));
    must(onebit_session_set_next_step(session, 40, nullptr));
    CHECK(c_step(session, rank, 40).number == 40);
    must(onebit_session_settle(session, nullptr, nullptr));
    must(onebit_session_finish_save(session, nullptr, nullptr));
  });
}

TEST_CASE("parameters that moved are followed, as by step(ModelGradients) in C++") {
  run_c_sessions(1, kOneBitAdam, kInitial, [](onebit_session* session, int rank, Tensors& parameters) {
    c_step(session, rank, 1);
    Tensors moved = parameters;
    const CParameters there(moved);
    const Tensors gradients = noisy(kInitial, 2, rank);
    const auto pointers = pointers_of(gradients);
    must(onebit_session_step(session, there.pointers.data(), pointers.data(), 3, nullptr, nullptr, nullptr));
    CHECK(moved[0] != parameters[0]);
    must(onebit_session_begin(session, there.pointers.data(), 3, nullptr, nullptr));
    must(onebit_session_finish(session, nullptr, nullptr));
  });
}

TEST_CASE("the log waits to be taken, and one that nobody takes drops its oldest lines, and says so") {
  CSetting quiet(kOneBitAdam), talking(kOneBitAdam, ONEBIT_LOG_DEBUG);
  int32_t level = 0;
  char* line = nullptr;
  must(onebit_registry_take_log(quiet.registry, &level, &line, nullptr));
  CHECK(line == nullptr);
  CHECK(level == 0);
  onebit_registry* loud = nullptr;
  must(onebit_registry_create(ONEBIT_LOG_WARN, &loud, nullptr));
  const ScratchFolder folder;
  for (int i = 0; i < 1003; ++i) {
    const std::string missing = (folder / std::to_string(i)).string();
    const char* const folders[] = {missing.c_str()};
    must(onebit_registry_load(loud, nullptr, folders, 1, nullptr));
  }
  must(onebit_registry_take_log(loud, &level, &line, nullptr));
  CHECK(level == ONEBIT_LOG_WARN);
  CHECK(taken(line) == "3 older lines of the log were dropped, for nobody took them");
  int lines = 0;
  for (std::string text; must(onebit_registry_take_log(loud, &level, &line, nullptr)), !(text = taken(line)).empty(); ++lines)
    if (lines == 0) CHECK_MESSAGE(text.find((folder / "3").string()) != std::string::npos, text);
  CHECK(lines == 1000);
  char* text = nullptr;
  must(onebit_registry_describe(loud, &text, nullptr));
  const auto told = nlohmann::json::parse(taken(text));
  CHECK(told["failures"].size() == 1003);
  CHECK(told["plugins"].size() >= 7);
  onebit_registry_free(loud);
}

TEST_CASE("a trainer in C: two processes meet over TCP, learn, save, and go on to the same bits") {
  const ScratchFolder folder;
  const auto config = folder.file("c.toml",
                                  "[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = 60\nlr = 0.02\n"
                                  "[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"tcp\"\n");
  const auto run = [&](const std::string& arguments) {
    const HeldPort port;
    const std::string one = " MASTER_ADDR=127.0.0.1 WORLD_SIZE=2 MASTER_PORT=" + std::to_string(port.port()) + " " +
                            ONEBIT_BINARY_DIR "/bin/c_trainer " + in_quotes(config) + " " + arguments;
    const Outcome told = run_shell("RANK=1" + one + " & RANK=0" + one + " && wait $!");
    CHECK_MESSAGE(told.status == 0, told.text);
    return told.text;
  };
  const std::string whole = run("150"), checkpoints = in_quotes(folder / "checkpoints");
  const size_t end = whole.find('\n');
  REQUIRE(end != std::string::npos);
  CHECK(whole == whole.substr(0, end + 1) + whole.substr(0, end + 1));  // both ranks say the same
  CHECK_MESSAGE(std::stod(whole.substr(6)) < 0.1, whole);               // of weights between -1 and 1
  run("90 " + checkpoints);
  CHECK(run("150 " + checkpoints) == whole);
}

TEST_CASE("the library exports what the header declares, under a version, and no more") {
  const std::string header = contents_of(ONEBIT_SOURCE_DIR "/host/include/onebit/onebit.h");
  const auto declared = names_in_text(header, R"(ONEBIT_EXPORT [^;(]*?(onebit_\w+)\()");
  CHECK(declared.size() == 46);
  const Outcome told = run_shell(ONEBIT_NM " -D --defined-only --with-symbol-versions " ONEBIT_BINARY_DIR "/lib/libonebit.so");
  CHECK(told.status == 0);
  CHECK(names_in_text(told.text, R"( T (onebit_\w+)@@ONEBIT_1.0\b)") == declared);
  CHECK(names_in_text(told.text, R"( [A-Z] (?!onebit_\w+@@ONEBIT_1|ONEBIT_1)(\S+))").empty());
}

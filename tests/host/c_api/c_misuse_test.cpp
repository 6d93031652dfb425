// SPDX-License-Identifier: Apache-2.0
// The C API misused: NULL, wrong sizes, the wrong order, two threads. Each is refused in words, and the session goes on.
#include <atomic>
#include <chrono>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <thread>

#include "c_session.hpp"
#include "support/error_text.hpp"
#include "support/gradients.hpp"
#include "support/held_port.hpp"
#include "support/scratch_folder.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

const Tensors kSmall = {std::vector<float>(64, 0.5F), std::vector<float>(32, 1.0F)};
const std::string kAdam = "[optimizer]\nplugin = \"adam\"\n[communicator]\nplugin = \"threads\"\n";

using Refused = std::map<std::string, std::function<onebit_code(onebit_error*)>>;

void check_refused(const Refused& calls) {
  for (const auto& one : calls) {
    CAPTURE(one.first);
    CHECK(refusal(one.second).find("NULL") != std::string::npos);
    CHECK(one.second(nullptr) == ONEBIT_INVALID_ARGUMENT);  // nowhere to put the words
  }
}

void with_session(const std::function<void(onebit_session*)>& body) {
  run_c_sessions(1, kAdam, kSmall, [&](onebit_session* session, int, Tensors&) { body(session); });
}

void check_steps(onebit_session* session) {
  const auto gradients = pointers_of(kSmall);
  CHECK(onebit_session_step(session, nullptr, gradients.data(), 2, nullptr, nullptr, nullptr) == ONEBIT_OK);
}

// One parameter of 8 floats, changed by `spoil`; answers why it is refused.
std::string refused_parameter(const std::function<void(onebit_parameter&)>& spoil) {
  static const CSetting setting(kAdam);
  float values[8] = {};
  int64_t shape[2] = {4, 2};
  onebit_parameter one = {sizeof one, "weights", {values, {ONEBIT_DEVICE_CPU, 0}, 2, {2, 32, 1}, shape, nullptr, 0}, 0};
  spoil(one);
  const onebit_parameter* const all[] = {&one};
  onebit_rendezvous* alone = nullptr;
  must(onebit_rendezvous_local(1, &alone, nullptr));
  onebit_session* session = nullptr;
  const std::string words = refusal([&](onebit_error* err) {
    return onebit_session_create(setting.registry, setting.configuration, alone, all, 1, &session, err);
  });
  CHECK(session == nullptr);
  onebit_rendezvous_free(alone);
  return words;
}

}  // namespace

TEST_CASE("NULL for every argument of every call is refused, and freeing it is nothing") {
  check_refused({
      {"manifest_load", [](auto* e) { return onebit_manifest_load(nullptr, nullptr, 0, nullptr, e); }},
      {"manifest_parse", [](auto* e) { return onebit_manifest_parse(nullptr, nullptr, nullptr, nullptr, 0, nullptr, e); }},
      {"registry_create", [](auto* e) { return onebit_registry_create(0, nullptr, e); }},
      {"registry_load", [](auto* e) { return onebit_registry_load(nullptr, nullptr, nullptr, 0, e); }},
      {"registry_describe", [](auto* e) { return onebit_registry_describe(nullptr, nullptr, e); }},
      {"registry_take_log", [](auto* e) { return onebit_registry_take_log(nullptr, nullptr, nullptr, e); }},
      {"configuration_create", [](auto* e) { return onebit_configuration_create(nullptr, nullptr, nullptr, e); }},
      {"configuration_toml", [](auto* e) { return onebit_configuration_toml(nullptr, nullptr, e); }},
      {"rendezvous_local", [](auto* e) { return onebit_rendezvous_local(1, nullptr, e); }},
      {"rendezvous_tcp", [](auto* e) { return onebit_rendezvous_tcp(nullptr, 1, nullptr, e); }},
      {"rendezvous_environment", [](auto* e) { return onebit_rendezvous_environment(1, nullptr, e); }},
      {"rendezvous_mpi", [](auto* e) { return onebit_rendezvous_mpi(nullptr, nullptr, e); }},
      {"rendezvous_interrupt", [](auto* e) { return onebit_rendezvous_interrupt(nullptr, e); }},
      {"session_create", [](auto* e) { return onebit_session_create(nullptr, nullptr, nullptr, nullptr, 0, nullptr, e); }},
      {"session_abort", [](auto* e) { return onebit_session_abort(nullptr, nullptr, e); }},
      {"session_ranks", [](auto* e) { return onebit_session_ranks(nullptr, nullptr, nullptr, e); }},
      {"session_step", [](auto* e) { return onebit_session_step(nullptr, nullptr, nullptr, 0, nullptr, nullptr, e); }},
      {"session_begin", [](auto* e) { return onebit_session_begin(nullptr, nullptr, 0, nullptr, e); }},
      {"session_ready", [](auto* e) { return onebit_session_ready(nullptr, nullptr, nullptr, 0, nullptr, e); }},
      {"session_finish", [](auto* e) { return onebit_session_finish(nullptr, nullptr, e); }},
      {"session_settle", [](auto* e) { return onebit_session_settle(nullptr, nullptr, e); }},
      {"session_next_step", [](auto* e) { return onebit_session_next_step(nullptr, nullptr, e); }},
      {"session_set_next_step", [](auto* e) { return onebit_session_set_next_step(nullptr, 1, e); }},
      {"session_learning_rates", [](auto* e) { return onebit_session_learning_rates(nullptr, nullptr, nullptr, e); }},
      {"session_set_learning_rates", [](auto* e) { return onebit_session_set_learning_rates(nullptr, nullptr, 0, e); }},
      {"session_set_gradient_scale", [](auto* e) { return onebit_session_set_gradient_scale(nullptr, 1, e); }},
      {"session_request_sync", [](auto* e) { return onebit_session_request_sync(nullptr, e); }},
      {"session_at_anchor", [](auto* e) { return onebit_session_at_anchor(nullptr, 1, e); }},
      {"session_parameter_hash", [](auto* e) { return onebit_session_parameter_hash(nullptr, nullptr, e); }},
      {"session_traffic", [](auto* e) { return onebit_session_traffic(nullptr, nullptr, e); }},
      {"session_report", [](auto* e) { return onebit_session_report(nullptr, nullptr, e); }},
      {"session_broadcast", [](auto* e) { return onebit_session_broadcast(nullptr, nullptr, 0, 0, e); }},
      {"session_all_reduce", [](auto* e) { return onebit_session_all_reduce(nullptr, nullptr, 0, ONEBIT_SUM, e); }},
      {"session_save", [](auto* e) { return onebit_session_save(nullptr, nullptr, nullptr, nullptr, e); }},
      {"session_finish_save", [](auto* e) { return onebit_session_finish_save(nullptr, nullptr, e); }},
      {"session_load", [](auto* e) { return onebit_session_load(nullptr, nullptr, 0, nullptr, e); }},
      {"session_loaded", [](auto* e) { return onebit_session_loaded(nullptr, ONEBIT_OF_RANK, nullptr, nullptr, nullptr, e); }},
  });
  onebit_free(nullptr);
  onebit_manifest_free(nullptr);
  onebit_registry_free(nullptr);
  onebit_configuration_free(nullptr);
  onebit_rendezvous_free(nullptr);
  onebit_session_free(nullptr);
}

TEST_CASE("NULL for one argument alone is refused by its name") {
  const CSetting setting(kAdam);
  onebit_manifest* manifest = nullptr;
  char* text = nullptr;
  const char* const overrides[] = {"optimizer.lr=1", nullptr};
  const onebit_launched_rank nameless = {sizeof nameless, 0, 1, 0, 1, nullptr, nullptr, 0};
  onebit_rendezvous* place = nullptr;
  const std::map<std::string, std::function<onebit_code(onebit_error*)>> calls = {
      {"'file'", [&](auto* e) { return onebit_manifest_load(nullptr, nullptr, 0, &manifest, e); }},
      {"'text'", [&](auto* e) { return onebit_manifest_parse(nullptr, "a", ".", nullptr, 0, &manifest, e); }},
      {"'name'", [&](auto* e) { return onebit_manifest_parse("", nullptr, ".", nullptr, 0, &manifest, e); }},
      {"'folder'", [&](auto* e) { return onebit_manifest_parse("", "a", nullptr, nullptr, 0, &manifest, e); }},
      {"'overrides'", [&](auto* e) { return onebit_manifest_parse("", "a", ".", nullptr, 1, &manifest, e); }},
      {"'overrides[1]'", [&](auto* e) { return onebit_manifest_parse("", "a", ".", overrides, 2, &manifest, e); }},
      {"'folders'", [&](auto* e) { return onebit_registry_load(setting.registry, nullptr, nullptr, 1, e); }},
      {"'registry'", [&](auto* e) { return onebit_registry_describe(nullptr, &text, e); }},
      {"'out'", [&](auto* e) { return onebit_configuration_toml(setting.configuration, nullptr, e); }},
      {"'self.host'", [&](auto* e) { return onebit_rendezvous_tcp(&nameless, 1, &place, e); }},
  };
  for (const auto& [name, call] : calls) CHECK(refusal(call) == "the argument " + name + " is NULL");
  with_session([](onebit_session* session) {
    size_t one = 1, none = 0;
    int32_t rank = 0;
    const int64_t which = 0;
    const void* bytes = nullptr;
    const Refused of_session = {
        {"'reason'", [&](auto* e) { return onebit_session_abort(session, nullptr, e); }},
        {"'size'", [&](auto* e) { return onebit_session_ranks(session, &rank, nullptr, e); }},
        {"'gradients'", [&](auto* e) { return onebit_session_step(session, nullptr, nullptr, 2, nullptr, nullptr, e); }},
        {"'which'", [&](auto* e) { return onebit_session_ready(session, nullptr, &bytes, 1, nullptr, e); }},
        {"'gradients' ", [&](auto* e) { return onebit_session_ready(session, &which, nullptr, 1, nullptr, e); }},
        {"'rates'", [&](auto* e) { return onebit_session_learning_rates(session, nullptr, &one, e); }},
        {"'rates' ", [&](auto* e) { return onebit_session_set_learning_rates(session, nullptr, 1, e); }},
        {"'hash'", [&](auto* e) { return onebit_session_parameter_hash(session, nullptr, e); }},
        {"'bytes'", [&](auto* e) { return onebit_session_broadcast(session, nullptr, 1, 0, e); }},
        {"'values'", [&](auto* e) { return onebit_session_all_reduce(session, nullptr, 1, ONEBIT_SUM, e); }},
        {"'root'", [&](auto* e) { return onebit_session_save(session, nullptr, nullptr, nullptr, e); }},
        {"'folder'", [&](auto* e) { return onebit_session_load(session, nullptr, 0, nullptr, e); }},
        {"'name'", [&](auto* e) { return onebit_session_loaded(session, ONEBIT_OF_RANK, nullptr, &bytes, &none, e); }},
    };
    for (const auto& [name, call] : of_session)
      CHECK(refusal(call) == "the argument " + name.substr(0, name.find(' ')) + " is NULL");
    check_steps(session);
  });
}

TEST_CASE("sizes and numbers that are wrong are refused with what was expected, and the session goes on") {
  with_session([](onebit_session* session) {
    const auto gradients = pointers_of(kSmall);
    const auto says = [](const std::string& words, const std::string& part) {
      CHECK_MESSAGE(words.find(part) != std::string::npos, words);
    };
    says(refusal([&](auto* e) { return onebit_session_step(session, nullptr, gradients.data(), 1, nullptr, nullptr, e); }),
         "1 were given; expected 2");
    onebit_step_report old = {};
    old.struct_size = 8;
    says(refusal([&](auto* e) { return onebit_session_step(session, nullptr, gradients.data(), 2, nullptr, &old, e); }),
         "'report' has struct_size 8; expected");
    struct {
      onebit_step_report report;
      uint64_t later;
    } grown = {{}, 7};  // of a caller that knows a later version
    grown.report.struct_size = sizeof grown;
    must(onebit_session_step(session, nullptr, gradients.data(), 2, nullptr, &grown.report, nullptr));
    CHECK(grown.report.number == 1);
    CHECK(grown.report.struct_size == sizeof grown);
    CHECK(grown.later == 7);
    onebit_traffic traffic = {};
    says(refusal([&](auto* e) { return onebit_session_traffic(session, &traffic, e); }), "'traffic' has struct_size 0");
    const void* const odd[] = {reinterpret_cast<const char*>(gradients[0]) + 1, gradients[1]};
    says(refusal([&](auto* e) { return onebit_session_step(session, nullptr, odd, 2, nullptr, nullptr, e); }),
         "gradient 0 is not aligned");
    const double rates[2] = {1, 2};
    says(refusal([&](auto* e) { return onebit_session_set_learning_rates(session, rates, 2, e); }),
         "there are 2 learning rates; expected 1");
    const double infinite = std::numeric_limits<double>::infinity();
    says(refusal([&](auto* e) { return onebit_session_set_learning_rates(session, &infinite, 1, e); }), "not finite");
    double value = 0;
    says(refusal([&](auto* e) { return onebit_session_all_reduce(session, &value, 1, 9, e); }), "there is no operation 9");
    says(refusal([&](auto* e) { return onebit_session_broadcast(session, &value, 8, 1, e); }), "there is no rank 1");
    const void* bytes = nullptr;
    size_t size = 0;
    says(refusal([&](auto* e) { return onebit_session_loaded(session, 3, "a", &bytes, &size, e); }), "which is 3");
    const ScratchFolder folder;
    onebit_save_options options = {};
    says(refusal([&](auto* e) { return onebit_session_save(session, folder.path().c_str(), &options, nullptr, e); }),
         "'options' has struct_size 0");
    says(refusal([&](auto* e) { return onebit_session_load(session, folder.path().c_str(), 0, nullptr, e); },
                 ONEBIT_UNAVAILABLE),
         folder.path().string());
    check_steps(session);
  });
  onebit_registry* registry = nullptr;
  refusal([&](auto* e) { return onebit_registry_create(7, &registry, e); });
  onebit_rendezvous* place = nullptr;
  refusal([&](auto* e) { return onebit_rendezvous_local(0, &place, e); });
  refusal([&](auto* e) { return onebit_rendezvous_environment(0, &place, e); });
  const onebit_launched_rank far = {sizeof far, 0, 1, 0, 1, "localhost", nullptr, 70000};
  refusal([&](auto* e) { return onebit_rendezvous_tcp(&far, 1, &place, e); });
}

TEST_CASE("parameters that are none are refused by number and name") {
  const auto says = [](const std::function<void(onebit_parameter&)>& spoil, const std::string& part) {
    const std::string words = refused_parameter(spoil);
    CHECK_MESSAGE(words.find(part) != std::string::npos, words);
  };
  says([](auto& p) { p.struct_size = 0; }, "'parameter 0' has struct_size 0");
  says([](auto& p) { p.name = nullptr; }, "'parameter 0.name' is NULL");
  says([](auto& p) { p.tensor.ndim = -1; }, "parameter 0 ('weights') has -1 dimensions");
  says([](auto& p) { p.tensor.shape = nullptr; }, "has no shape");
  says([](auto& p) { p.tensor.shape[1] = -2; }, "has a dimension of -2 elements");
  says([](auto& p) { p.tensor.data = nullptr; }, "weights");
  says([](auto& p) { p.tensor.byte_offset = 1; }, "is not aligned");
  says([](auto& p) { p.tensor.dtype = {ONEBIT_DTYPE_FLOAT, 64, 1}; }, "code 2, 64 bits, 1 lanes; expected fp32");
  says([](auto& p) { p.tensor.dtype = {ONEBIT_DTYPE_INT, 32, 1}; }, "code 0, 32 bits");
  says([](auto& p) { p.tensor.dtype.lanes = 2; }, "2 lanes");
}

TEST_CASE("calls in the wrong order are refused, and the session goes on") {
  with_session([](onebit_session* session) {
    const auto gradients = pointers_of(kSmall);
    const int64_t both[] = {0, 1}, none = 2;
    refusal([&](auto* e) { return onebit_session_finish(session, nullptr, e); });
    refusal([&](auto* e) { return onebit_session_ready(session, both, gradients.data(), 2, nullptr, e); });
    refusal([&](auto* e) { return onebit_session_at_anchor(session, 0, e); });
    must(onebit_session_begin(session, nullptr, 0, nullptr, nullptr));
    refusal([&](auto* e) { return onebit_session_begin(session, nullptr, 0, nullptr, e); });
    refusal([&](auto* e) { return onebit_session_ready(session, &none, gradients.data(), 1, nullptr, e); });
    refusal([&](auto* e) { return onebit_session_set_gradient_scale(session, 2, e); });
    double value = 1;
    refusal([&](auto* e) { return onebit_session_all_reduce(session, &value, 1, ONEBIT_SUM, e); });
    refusal([&](auto* e) { return onebit_session_broadcast(session, &value, sizeof value, 0, e); });
    const void* const odd[] = {gradients[0], reinterpret_cast<const char*>(gradients[1]) + 1};
    refusal([&](auto* e) { return onebit_session_ready(session, both, odd, 2, nullptr, e); });
    refusal([&](auto* e) {
      uint64_t hash = 0;
      return onebit_session_parameter_hash(session, &hash, e);
    });
    must(onebit_session_ready(session, both, gradients.data(), 2, nullptr, nullptr));
    must(onebit_session_finish(session, nullptr, nullptr));
    check_steps(session);
  });
}

TEST_CASE("a second thread's call is refused while a first one waits, and abort ends that wait on both ranks") {
  std::atomic<bool> stepped{false};
  run_c_sessions(2, kAdam, kSmall, [&](onebit_session* session, int rank, Tensors&) {
    const auto gradients = pointers_of(kSmall);
    if (rank == 1) {
      while (!stepped) std::this_thread::yield();
      const std::string words =
          refusal([&](auto* e) { return onebit_session_step(session, nullptr, gradients.data(), 2, nullptr, nullptr, e); },
                  ONEBIT_ABORTED);
      CHECK_MESSAGE(words.find("somebody pressed a key") != std::string::npos, words);
      return;
    }
    std::thread waits([&] {
      const auto step = [&](onebit_error* e) {
        return onebit_session_step(session, nullptr, gradients.data(), 2, nullptr, nullptr, e);
      };
      while (step(nullptr) == ONEBIT_INVALID_ARGUMENT) std::this_thread::yield();  // it met the other thread's short call
      CHECK_MESSAGE(std::string(onebit_last_error()).find("somebody pressed a key") != std::string::npos, onebit_last_error());
    });
    std::string second;
    while (second.empty()) {  // until the first one has begun
      onebit_error err = no_error();
      int64_t number = 0;
      if (onebit_session_next_step(session, &number, &err) != ONEBIT_OK) second = err.message;
    }
    CHECK_MESSAGE(second.find("another thread is in a call of this session") != std::string::npos, second);
    int32_t own = -1, size = 0;
    must(onebit_session_ranks(session, &own, &size, nullptr));
    must(onebit_session_abort(session, "somebody pressed a key", nullptr));
    stepped = true;
    waits.join();
  });
}

TEST_CASE("a wait for ranks that do not come can be interrupted, and ends after its time otherwise") {
  const CSetting setting("[optimizer]\nplugin = \"adam\"\n[communicator]\nplugin = \"tcp\"\n");
  const HeldPort port;
  const onebit_launched_rank first = {sizeof first, 0, 2, 0, 2, "127.0.0.1", "job", port.port()};
  onebit_rendezvous* place = nullptr;
  must(onebit_rendezvous_tcp(&first, 60'000'000'000, &place, nullptr));
  Tensors tensors = kSmall;
  const CParameters given(tensors);
  const auto begin = std::chrono::steady_clock::now();
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    must(onebit_rendezvous_interrupt(place, nullptr));
  });
  onebit_session* session = nullptr;
  const std::string words = refusal(
      [&](auto* e) {
        return onebit_session_create(setting.registry, setting.configuration, place, given.pointers.data(), 2, &session, e);
      },
      ONEBIT_ABORTED);
  CHECK_MESSAGE(words.find("was interrupted") != std::string::npos, words);
  later.join();
  onebit_rendezvous_free(place);  // and no farewell to ranks that never came
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(9));

  LocalRendezvous group(2);
  InterruptibleRendezvous brief(group.at(0), std::chrono::milliseconds(250));
  const Rendezvous view(&brief.view());
  char value = 0;
  const std::string late = error_of([&] { view.get("a key", &value, 1); });
  CHECK(late == "no rank has put rendezvous key 'a key' within 0.250000 s");
  view.put("a key", "x", 1);
  view.get("a key", &value, 1);
  CHECK(value == 'x');
}

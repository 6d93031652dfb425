// SPDX-License-Identifier: Apache-2.0
// Parameters of 16 bits on the emulated CUDA device: the bits of a session on the CPU whose parameters are fp32, rounded.
#include <doctest/doctest.h>

#include <limits>
#include <string>

#include "device_cases.hpp"
#include "device_sessions.hpp"
#include "support/halves.hpp"

namespace onebit::test {
namespace {

// A model of 16 bits in device memory.
class DeviceHalves {
 public:
  DeviceHalves(const Halves& halves, HalfType type) : type_(type) {
    for (const std::vector<uint16_t>& tensor : halves) arrays_.push_back(std::make_unique<DeviceArray<uint16_t>>(tensor));
  }
  std::vector<Parameter> parameters() const {
    std::vector<Parameter> made;
    for (const auto& array : arrays_) {
      made.push_back({"t" + std::to_string(made.size()), {static_cast<int64_t>(array->size())}});
      made.back().half = array->data();
      made.back().half_type = type_;
    }
    return made;
  }
  Halves get() const {
    Halves made;
    for (const auto& array : arrays_) made.push_back(array->get());
    return made;
  }
  bool intact() const {
    for (const auto& array : arrays_)
      if (!array->intact()) return false;
    return true;
  }

 private:
  HalfType type_;
  std::vector<std::unique_ptr<DeviceArray<uint16_t>>> arrays_;
};

// Of each rank, at the end. moves: in the middle the model gets other memory, in which one element has another value.
std::vector<Halves> run_halves(const DeviceCase& run, const Halves& initial, HalfType type, bool moves) {
  LocalRendezvous rendezvous(run.ranks);
  std::vector<Halves> found(static_cast<size_t>(run.ranks));
  host::run_ranks(run.ranks, [&](int rank) {
    const TestStream stream;
    DeviceHalves before(initial, type);
    DeviceTensors gradients(initial_of(run));
    const Configuration configuration(device_plugins(), Manifest::parse(run.manifest("cuda"), "test.toml", "."));
    Session session(device_plugins(), configuration, rendezvous.at(rank), before.parameters());
    std::unique_ptr<DeviceHalves> after;
    for (int step = 0; step < run.steps; ++step) {
      gradients.set(gradients_of(run, step, rank));
      if (moves && step == 5) {
        session.settle();
        Halves values = before.get();
        values[1][3] ^= 0x0100U;
        after = std::make_unique<DeviceHalves>(values, type);
      }
      if (after) {
        std::vector<Gradient> handed;
        for (const Parameter& parameter : after->parameters())
          handed.push_back({gradients.pointers()[handed.size()], parameter});
        session.step(ModelGradients(std::move(handed)), stream);
      } else {
        session.step(gradients.pointers(), stream);
      }
      session.settle();
    }
    const DeviceHalves& last = after ? *after : before;
    CHECK(before.intact());
    CHECK(last.intact());
    found[static_cast<size_t>(rank)] = last.get();
  });
  return found;
}

// The same on the CPU, in fp32.
std::vector<Halves> run_floats(const DeviceCase& run, const Halves& initial, HalfType type, bool moves) {
  const auto all = run_sessions(run.ranks, run.manifest("cpu"), widened(initial, type), [&](Rank rank) {
    for (int step = 0; step < run.steps; ++step) {
      if (moves && step == 5) {
        Halves values = rounded(rank.parameters, type);
        values[1][3] ^= 0x0100U;
        rank.parameters[1][3] = widened(values, type)[1][3];
      }
      rank.session.step(pointers(gradients_of(run, step, rank.number)));
    }
  });
  std::vector<Halves> found;
  for (const Tensors& one : all) found.push_back(rounded(one, type));
  return found;
}

}  // namespace

TEST_CASE("cuda session: parameters of 16 bits, the bits of fp32 ones on the CPU, rounded") {
  for (const DeviceCase& run : device_cases())
    for (const HalfType type : {HalfType::fp16, HalfType::bf16}) {
      CAPTURE(run.name);
      CAPTURE(static_cast<int>(type));
      const Halves initial = rounded(initial_of(run), type);
      CHECK(run_halves(run, initial, type, false) == run_floats(run, initial, type, false));
    }
}

TEST_CASE("cuda session: parameters of 16 bits that moved keep their masters, but where they have other values now") {
  const DeviceCase run = {"", 2, "[optimizer]\nplugin = \"adam\"\nlr = 0.01\n", ""};
  for (const HalfType type : {HalfType::fp16, HalfType::bf16}) {
    const Halves initial = rounded(initial_of(run), type);
    const auto expected = run_floats(run, initial, type, true);
    CHECK(run_halves(run, initial, type, true) == expected);
    CHECK(expected != run_floats(run, initial, type, false));
  }
}

}  // namespace onebit::test

// SPDX-License-Identifier: Apache-2.0
// Components driven by hand, as a session drives them, and what they must do: numbers that are kept here, for the plugins made
// of descent.c and descent.cpp, whenever and by whatever compiler. In today's host and in one of a grown contract.
#pragma once

#include <doctest/doctest.h>

#include <cstring>
#include <deque>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "onebit/registry.hpp"
#include "onebit/rendezvous.hpp"

namespace onebit::abi {

// With the mean of 1 + 2^-8 and 2 in odd steps and, after compression, 1.5 in even ones: a parameter that was 1.
constexpr float means[] = {1.501953125F, 1.5F, 1.501953125F, 1.5F};
constexpr float parameter_after[] = {0.2490234375F, -0.87646484375F, -2.190185546875F, -3.5970458984375F};

inline std::filesystem::path built(const std::string& name) {
  return std::filesystem::path(ONEBIT_ABI_PLUGINS) / (name + ".so");
}
// Of a version of the contract that is past.
inline std::filesystem::path kept(const std::string& name) {
  return std::filesystem::path(ONEBIT_ABI_PLUGINS) / "v1.0" / (name + ".so");
}
inline bool runs_kept_binaries() {
#if defined(__x86_64__)
  return true;
#else
  MESSAGE("SKIPPED: the plugins that are kept of version 1.0 are for x86-64, and this is another machine");
  return false;
#endif
}

inline ResolvedTable options_of(const ComponentInfo& component, const std::string& lines = "") {
  const std::string table(name_of(component.kind));
  return {Manifest::parse("[" + table + "]\n" + lines, "abi.toml", "."), table, component.options};
}
inline std::unique_ptr<Optimizer> make_optimizer(const Registry& registry, const std::string& name,
                                                 const std::string& lines = "") {
  const ComponentInfo& component = registry.find(Kind::optimizer, name);
  return registry.make_optimizer(component, options_of(component, lines));
}
inline std::unique_ptr<Compressor> make_compressor(const Registry& registry, const std::string& name,
                                                   const std::string& lines = "") {
  const ComponentInfo& component = registry.find(Kind::compressor, name);
  return registry.make_compressor(component, options_of(component, lines));
}

template <class Struct>
Struct sized() {
  Struct made{};
  made.struct_size = sizeof made;
  return made;
}

// One tensor of one block, and what an optimizer declares for it.
class Model {
 public:
  explicit Model(Optimizer& optimizer) : optimizer_(optimizer) {
    const onebit_tensor tensor = {parameters.data(), {ONEBIT_DEVICE_CPU, 0}, 1, {ONEBIT_DTYPE_FLOAT, 32, 1}, &size_, &one_, 0};
    auto info = sized<TensorInfo>();
    info.name = str("t");
    info.tensor = &tensor;
    const TensorInfo* const infos[] = {&info};
    auto table = sized<onebit_state>();
    table.ctx = this;
    table.declare = declare;
    table.whole_tensors = [](void*) {};
    StateDeclarer declarer(&table);
    optimizer.declare({infos, 1}, declarer);
  }

  // Answers the plan; the mean of its round is that of every element.
  Plan step(float mean) {
    auto now = sized<Step>();
    now.number = ++number_;
    now.ranks = 1;
    now.groups = &group_;
    now.group_count = 1;
    auto totals = sized<Totals>();
    const int64_t first_block[] = {0, 1};
    const uint64_t flags = 0;
    totals.tensor_count = 1;
    totals.first_block = first_block;
    totals.elements = &size_;
    totals.flags = &flags;
    totals.slots = slots_.data();
    Plan plan;
    optimizer_.plan(now, totals, plan);
    work(now, plan, mean);
    optimizer_.combine(now, totals);
    return plan;
  }

  std::vector<float> parameters = std::vector<float>(count, 1.0F);

 private:
  static constexpr int64_t count = 5;

  static int32_t declare(void* ctx, const onebit_state_desc* desc) {
    Model& self = *static_cast<Model*>(ctx);
    self.memory_.emplace_back(static_cast<size_t>(desc->extent == ONEBIT_PER_ELEMENT ? count : desc->count), 0.0);
    self.slots_.push_back(self.memory_.back().data());
    return static_cast<int32_t>(self.slots_.size()) - 1;
  }

  void work(const Step& now, const Plan& plan, float mean) {
    const std::vector<float> gradient(count, 3.0F), means_of_all(count, mean);
    std::vector<float> message(count);
    const float scale = 0.5F;
    const Block block = {0, 0, 0, 0, 0, 0, count, parameters.data(), gradient.data(), 0};
    auto tile = sized<Tile>();
    tile.block_count = 1;
    tile.blocks = &block;
    tile.slots = slots_.data();
    tile.gradient_scale = &scale;
    for (size_t round = 0; round < plan.rounds().size; ++round) {
      tile.mean = nullptr;
      tile.message = message.data();
      if (plan.rounds()[round].of == Of::message) optimizer_.produce(now, static_cast<int>(round), tile);
      if (plan.rounds()[round].of == Of::message) CHECK(message == std::vector<float>(count, 1.5F));
      tile.message = nullptr;
      tile.mean = means_of_all.data();
      optimizer_.consume(now, static_cast<int>(round), tile);
    }
  }

  Optimizer& optimizer_;
  int64_t size_ = count, one_ = 1, number_ = 0;
  const onebit_group group_ = {0.5, 0.0};
  std::deque<std::vector<double>> memory_;
  std::vector<void*> slots_;
};

inline void drive_optimizer(const Registry& registry, const std::string& name) {
  const auto optimizer = make_optimizer(registry, name, "compressed = true\nlr = 0.5\n");
  Model model(*optimizer);
  for (size_t step = 0; step < std::size(means); ++step) {
    const Plan plan = model.step(means[step]);
    REQUIRE(plan.rounds().size == 1);
    CHECK(plan.rounds()[0].kind == (step % 2 == 0 ? RoundKind::dense : RoundKind::compressed));
    for (const float parameter : model.parameters) CHECK(parameter == parameter_after[step]);
  }
}

inline void drive_compressor(const Registry& registry, const std::string& name) {
  const auto compressor = make_compressor(registry, name);
  CHECK(compressor->describe().block == 32);
  CHECK(compressor->describe().feedback == 1);
  CHECK(compressor->payload_size(3) == 8);
  const float values[] = {1.00390625F, -2.0F, 3.5F};
  float errors[] = {0.0F, -0.0078125F, 0.0F}, out[] = {10, 10, 10};
  uint16_t payload[] = {7, 7, 7, 7};
  const Piece piece = {0, 3, 0, 0, 0};
  auto batch = sized<Batch>();
  batch.piece_count = 1;
  batch.pieces = &piece;
  compressor->measure(batch, values, errors, nullptr);
  compressor->encode(batch, values, errors, errors, nullptr, payload);
  for (const auto& [found, expected] :
       {std::pair(payload[0], 0x3F80), {payload[1], 0xC000}, {payload[2], 0x4060}, {payload[3], 0}})
    CHECK(found == expected);
  CHECK(errors[0] == 0.00390625F);
  CHECK(errors[1] == -0.0078125F);
  CHECK(errors[2] == 0);
  compressor->decode(batch, payload, 2, false, out);
  compressor->decode(batch, payload, 1, true, out);
  CHECK(out[0] == 3);
  CHECK(out[1] == -6);
  CHECK(out[2] == 10.5F);
}

// What a plugin fails with, whatever it throws, crosses as a code and words.
inline void drive_failures(const Registry& registry, const std::string& name) {
  const auto error = [](auto&& call) {
    try {
      call();
    } catch (const Error& e) {
      return std::to_string(static_cast<onebit_code>(e.code())) + " " + std::to_string(e.native()) + " " + e.what();
    }
    return std::string("no error");
  };
  const auto steps = [&](const char* fail) {
    return error([&] { Model(*make_optimizer(registry, name, "fail = \"" + std::string(fail) + "\"\n")).step(1); });
  };
  const std::string who = "optimizer '" + name + "': ";
  CHECK(steps("create") == "8 7 " + who + "failed on purpose");
  CHECK(steps("plan") == "10 0 " + who + "failed on purpose");
  CHECK(steps("consume") == "10 0 " + who + "an exception that is not a std::exception");
  CHECK(steps("nowhere") == "no error");
  CHECK(error([&] {
          const float value = 1;
          float rest = 0;
          uint32_t payload = 0;
          const Piece piece = {0, 1, 0, 0, 0};
          auto batch = sized<Batch>();
          batch.piece_count = 1;
          batch.pieces = &piece;
          make_compressor(registry, name, "fail = \"encode\"\n")->encode(batch, &value, &rest, &rest, nullptr, &payload);
        }) == "4 0 compressor '" + name + "': out of memory");
}

}  // namespace onebit::abi

// SPDX-License-Identifier: Apache-2.0
// Runs that save and load: a small model in several orders of memory, gradients that are missing here and there, and what tells
// two checkpoints apart.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "onebit/checkpoint.hpp"
#include "support/gradients.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"

namespace onebit::test {

namespace fs = std::filesystem;

// Gone afterwards. In memory where that can be: hundreds of saves on a busy disk would make these tests wait for it.
inline fs::path fast_folder() {
  const char* const memory = "/dev/shm";
  return ::access(memory, W_OK | X_OK) == 0 ? fs::path(memory) : fs::temp_directory_path();
}
struct RunFolder : ScratchFolder {
  RunFolder() : ScratchFolder(fast_folder()) {}
};

// Names, shapes and orders in memory; "c" is channels last, "e" has no elements.
inline std::vector<Parameter> shaped(Tensors& values) {
  return {{"a", {60, 50}, values[0].data()},
          {"b", {40}, values[1].data()},
          {"c", {4, 3, 5, 11}, values[2].data(), {165, 1, 33, 3}},
          {"e", {0, 7}, values[3].data()},
          {"d", {17}, values[4].data()}};
}
inline Tensors saved_model() {
  Tensors model = {std::vector<float>(3000), std::vector<float>(40), std::vector<float>(660), {}, std::vector<float>(17)};
  for (size_t t = 0; t < model.size(); ++t)
    for (size_t i = 0; i < model[t].size(); ++i) model[t][i] = noise(77, 0, t, i);
  return model;
}
inline Tensors garbage(int rank) {
  Tensors model = saved_model();
  for (std::vector<float>& tensor : model) std::fill(tensor.begin(), tensor.end(), 1e6F + static_cast<float>(rank));
  return model;
}

// "d" has no gradient in steps 2 and 9 on any rank; "b" none on rank 0 in every third.
inline std::vector<const float*> given(const Tensors& gradients, int64_t step, int rank) {
  std::vector<const float*> all = pointers(gradients);
  if (step == 2 || step == 9) all[4] = nullptr;
  if (step % 3 == 0 && rank == 0) all[1] = nullptr;
  return all;
}

inline StepReport take_step(Session& session, int64_t step) {
  session.set_learning_rate_factor(step < 4 ? 1.0 : 0.5);
  const Tensors gradients = noisy(saved_model(), step, session.rank());
  return session.step(given(gradients, step, session.rank()));
}

// body on every rank of sessions over these models, which it leaves behind.
inline void with_sessions(int ranks, const std::string& toml, std::vector<Tensors>& models,
                          const std::function<void(Session&, Tensors&)>& body, const Registry& registry = plugins()) {
  LocalRendezvous rendezvous(ranks);
  host::run_ranks(ranks, [&](int rank) {
    Tensors& own = models[static_cast<size_t>(rank)];
    const Configuration configuration(registry, Manifest::parse(toml, "test.toml", "."));
    Session session(registry, configuration, rendezvous.at(rank), shaped(own));
    body(session, own);
  });
}
inline std::vector<Tensors> garbage_of(int ranks) {
  std::vector<Tensors> models;
  for (int rank = 0; rank < ranks; ++rank) models.push_back(garbage(rank));
  return models;
}
inline std::vector<Tensors> model_of(int ranks) { return std::vector<Tensors>(static_cast<size_t>(ranks), saved_model()); }

// "" where the files of two checkpoints are the same to the byte, and what the session says of itself as well.
inline std::string difference(const fs::path& a, const fs::path& b) {
  const CheckpointInfo left = read_checkpoint_info(a), right = read_checkpoint_info(b);
  if (left.files.size() != right.files.size()) return "another number of files";
  for (const CheckpointInfo::File& file : left.files)
    if (contents_of(a / file.name) != contents_of(b / file.name)) return file.name + " differs";
  return left.session == right.session ? "" : "checkpoint.json differs:\n" + left.session + "\n" + right.session;
}
inline fs::path at_step(const fs::path& root, int64_t step) {
  const std::string digits = std::to_string(step);
  return root / ("step-" + std::string(8 - digits.size(), '0') + digits);
}
inline nlohmann::json session_of(const fs::path& folder) { return nlohmann::json::parse(read_checkpoint_info(folder).session); }
inline void require(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

inline bool same_bits(const Tensors& a, const Tensors& b) {
  for (size_t t = 0; t < a.size(); ++t)
    if (!a[t].empty() && std::memcmp(a[t].data(), b[t].data(), a[t].size() * sizeof(float)) != 0) return false;
  return true;
}

inline const std::string codec_table = "[compressor]\nplugin = \"onebit\"\nblock = 256\n";
inline std::string threads_table(int machines = 1) {
  return "[communicator]\nplugin = \"threads\"\ntimeout = 60\nmachines = " + std::to_string(machines) + "\n";
}
inline std::string frozen_at(int64_t step, const std::string& more = "") {
  return "[optimizer]\nplugin = \"onebit_adam\"\nlr = 0.01\nfreeze_step = " + std::to_string(step) + "\n" + more + codec_table +
         threads_table();
}
// Local steps begin after step 5; every 2nd, then every 4th step is a sync.
inline std::string with_local_steps(const std::string& more = "") {
  return "[optimizer]\nplugin = \"zeroone_adam\"\nlr = 0.01\nvar_freeze_step = 5\nvar_update_scaler = 1\nlocal_step_scaler = "
         "3\nlocal_step_clipper = 4\n" +
         more + codec_table + threads_table();
}

// Trains from the beginning and saves into root.
inline void train_and_save(int ranks, const std::string& toml, const fs::path& root, const std::vector<int64_t>& saves) {
  std::vector<Tensors> models = model_of(ranks);
  with_sessions(ranks, toml, models, [&](Session& session, Tensors&) {
    for (int64_t step = 1; step <= saves.back(); ++step) {
      take_step(session, step);
      if (std::count(saves.begin(), saves.end(), step) > 0) session.save(root);
    }
  });
}

}  // namespace onebit::test

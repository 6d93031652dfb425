// SPDX-License-Identifier: Apache-2.0
// Another number of ranks: what all have alike is the same to the bit; what compression had left out is still there, as the sum
// of worker errors divided by the number of those who have them; and training goes on.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <memory>

#include "core/saving/saving_runs.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

// By "NAME" and element: the sum over rank files of entries "STEM/NAME@FIRST", divided.
std::map<std::string, std::vector<double>> summed(const fs::path& folder, const std::string& stem, int divisor) {
  std::map<std::string, std::vector<double>> sums;
  for (const CheckpointInfo::File& file : read_checkpoint_info(folder).files) {
    const SafetensorsReader reader(folder / file.name);
    for (const auto& entry : reader.entries()) {
      if (entry.name.rfind(stem, 0) != 0) continue;
      const size_t at = entry.name.rfind('@');
      const std::string name = entry.name.substr(stem.size(), at == std::string::npos ? at : at - stem.size());
      const size_t first = at == std::string::npos ? 0 : std::stoul(entry.name.substr(at + 1));
      const std::vector<float> values = reader.read(entry.name);
      std::vector<double>& all = sums[name];
      if (all.size() < first + values.size()) all.resize(first + values.size());
      for (size_t i = 0; i < values.size(); ++i) all[first + i] += static_cast<double>(values[i]) / divisor;
    }
  }
  return sums;
}
using Sums = std::map<std::string, std::vector<double>>;

void add(Sums& all, const Sums& more) {
  for (const auto& [name, values] : more) {
    std::vector<double>& to = all[name];
    to.resize(std::max(to.size(), values.size()));
    for (size_t i = 0; i < values.size(); ++i) to[i] += values[i];
  }
}
// All that was left out, as it will come into a mean.
Sums left_out(const fs::path& folder, int holders) {
  Sums all = summed(folder, "worker_error/", holders);
  add(all, summed(folder, "server_error/", 1));
  add(all, summed(folder, "carried/", 1));
  return all;
}
double norm(const Sums& sums) {
  double squares = 0;
  for (const auto& entry : sums)
    for (const double value : entry.second) squares += value * value;
  return std::sqrt(squares);
}
Sums minus(Sums a, const Sums& b) {
  for (const auto& [name, values] : b) {
    a[name].resize(std::max(a[name].size(), values.size()));
    for (size_t i = 0; i < values.size(); ++i) a[name][i] -= values[i];
  }
  return a;
}

std::string bytes_in(const fs::path& file, const std::string& name) {
  const SafetensorsReader reader(file);
  std::string bytes(reader.at(name).bytes, '\0');
  reader.read_bytes(reader.at(name), 0, bytes.size(), bytes.data());
  return bytes;
}
// Replicated state, without means that are kept, which may take another form.
std::string replicated_difference(const fs::path& a, const fs::path& b) {
  for (const char* file : {"model.safetensors", "state.safetensors"})
    for (const auto& entry : SafetensorsReader(a / file).entries())
      if (entry.name.rfind("retained/", 0) != 0 && entry.name.rfind("carried/", 0) != 0)
        if (bytes_in(a / file, entry.name) != bytes_in(b / file, entry.name)) return entry.name + " differs";
  return "";
}

struct Grid {
  int ranks, machines;  // machines: 0: flat
  int holders() const { return machines == 0 ? ranks : machines; }
  std::string toml(const std::string& optimizer) const {
    return optimizer + threads_table(std::max(machines, 1)) + "[exchange]\nbucket_bytes = 8192\ntopology = \"" +
           (machines == 0 ? "flat" : "hierarchical") + "\"\n";
  }
};

// Loads what `from` left in root into `to`, saves it at once into root's neighbour, and takes some steps.
void reshard(const std::string& optimizer, const Grid& to, const fs::path& from, const fs::path& at_once,
             const fs::path& later) {
  std::vector<Tensors> models = garbage_of(to.ranks);
  with_sessions(to.ranks, to.toml(optimizer), models, [&](Session& session, Tensors& own) {
    session.load(from);
    session.save(at_once);
    const int64_t first = session.next_step();
    for (int64_t step = first; step < first + 4; ++step) take_step(session, step);
    for (const std::vector<float>& tensor : own)
      for (const float value : tensor) require(std::isfinite(value) && std::fabs(value) < 10, "training does not go on");
    session.save(later);
  });
}

}  // namespace

TEST_CASE("saving: 4 ranks, then 3, then 1, then 2, and machines that come and go") {
  const std::string optimizer = "[optimizer]\nplugin = \"onebit_adam\"\nlr = 0.01\nfreeze_step = 3\n" + codec_table;
  const std::string ratios = "[optimizer]\nplugin = \"onebit_lamb\"\nlr = 0.01\nfreeze_step = 3\n" + codec_table;
  for (const std::string& of : {optimizer, ratios})
    for (const std::vector<Grid>& grids :
         {std::vector<Grid>{{4, 0}, {3, 0}, {1, 0}, {2, 0}}, std::vector<Grid>{{4, 2}, {2, 0}, {6, 3}, {2, 1}, {4, 2}}}) {
      const ScratchFolder first;
      train_and_save(grids[0].ranks, grids[0].toml(of), first.path(), {6});
      fs::path from = first.path();
      std::vector<std::unique_ptr<ScratchFolder>> folders;
      for (size_t g = 1; g < grids.size(); ++g) {
        CAPTURE(g);
        folders.push_back(std::make_unique<ScratchFolder>());
        folders.push_back(std::make_unique<ScratchFolder>());
        const fs::path at_once = folders[folders.size() - 2]->path(), later = folders.back()->path();
        reshard(of, grids[g], from, at_once, later);
        const fs::path before = loadable_checkpoints(from).front(), after = loadable_checkpoints(at_once).front();
        CHECK(replicated_difference(before, after) == "");
        const Sums was = left_out(before, grids[g - 1].holders()), is = left_out(after, grids[g].holders());
        CHECK((norm(was) > 1e-4) == (grids[g - 1].holders() > 1));
        CHECK(norm(minus(was, is)) <= 1e-6 * norm(was));
        from = later;
      }
    }
}

TEST_CASE("saving: what a single rank carries is added to its next mean, once") {
  const std::string optimizer = "[optimizer]\nplugin = \"onebit_adam\"\nlr = 0.01\nfreeze_step = 3\n" + codec_table;
  const ScratchFolder root, one, later;
  train_and_save(2, Grid{2, 0}.toml(optimizer), root.path(), {6});
  reshard(optimizer, {1, 0}, root.path(), one.path(), later.path());
  CHECK(norm(left_out(at_step(one.path(), 6), 1)) > 1e-4);
  CHECK(norm(left_out(at_step(later.path(), 10), 1)) == 0);
}

TEST_CASE("saving: after local steps, other ranks begin at the mean of what each had") {
  const ScratchFolder root, at_once, later;
  const std::string optimizer = with_local_steps().substr(0, with_local_steps().find("[communicator]"));
  train_and_save(4, Grid{4, 0}.toml(optimizer), root.path(), {11});
  REQUIRE(session_of(at_step(root.path(), 11)).at("apart") == true);
  reshard(optimizer, {3, 0}, root.path(), at_once.path(), later.path());
  const fs::path before = at_step(root.path(), 11), after = at_step(at_once.path(), 11);
  CHECK(replicated_difference(before, after) == "");
  for (const char* stem : {"elements:momentum/", "elements:local_update/", "parameter/"}) {
    CAPTURE(stem);
    const Sums was = summed(before, stem, 4), is = summed(after, stem, 3);
    CHECK(norm(was) > 0);
    CHECK(norm(minus(was, is)) <= 1e-6 * norm(was));
  }
}

TEST_CASE("saving: scales of a tensor are cut by ranks, so a mean that is kept changes its form and not its values") {
  const std::string optimizer =
      "[optimizer]\nplugin = \"onebit_adam\"\nlr = 0.01\nfreeze_step = 3\n" + codec_table + "scale = \"tensor\"\n";
  const ScratchFolder root, at_once, later, again;
  train_and_save(3, Grid{3, 0}.toml(optimizer), root.path(), {6});
  reshard(optimizer, {2, 0}, root.path(), at_once.path(), later.path());
  CHECK(session_of(at_step(root.path(), 6)).at("retained") == "compressed");
  CHECK(session_of(at_step(at_once.path(), 6)).at("retained") == "fp32");
  CHECK(session_of(at_step(later.path(), 10)).at("retained") == "compressed");
  // as fp32 it is saved and loaded once more
  reshard(optimizer, {2, 0}, at_once.path(), again.path(), ScratchFolder().path());
  CHECK(difference(at_step(at_once.path(), 6), at_step(again.path(), 6)) == "");
}

TEST_CASE("saving: with other ranks, each gets the blobs of all that there were") {
  const ScratchFolder root;
  std::vector<Tensors> models = model_of(3);
  with_sessions(3, frozen_at(2), models, [&](Session& session, Tensors&) {
    SaveOptions options;
    options.of_rank = {{"place", std::to_string(session.rank())}};
    options.of_all = {{"random", "r"}};
    session.save(root.path(), options);
  });
  models = garbage_of(2);
  with_sessions(2, frozen_at(2), models, [&](Session& session, Tensors&) {
    const LoadReport report = session.load(root.path());
    require(report.ranks == 3 && report.of_rank.size() == 3 && report.of_all.size() == 1, "blobs are missing");
    for (size_t rank = 0; rank < 3; ++rank)
      require(
          report.of_rank[rank].name == "place@" + std::to_string(rank) && report.of_rank[rank].bytes == std::to_string(rank),
          "another order");
  });
}

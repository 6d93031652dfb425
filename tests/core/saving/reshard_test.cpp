// SPDX-License-Identifier: Apache-2.0
// Another number of ranks: what all have alike is the same to the bit; what compression had left out is still there, as the sum
// of worker errors divided by the number of those who have them; and training goes on.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <memory>
#include <utility>

#include "core/saving/saving_runs.hpp"
#include "onebit/safetensors.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

using Sums = std::map<std::string, std::vector<double>>;

// By "NAME" and element: the sum over all files of entries "STEM/NAME@FIRST", divided.
Sums summed(const fs::path& folder, const std::string& stem, int divisor) {
  Sums sums;
  for (const CheckpointInfo::File& file : read_checkpoint_info(folder).files) {
    const SafetensorsReader reader(folder / file.name);
    for (const SafetensorsReader::Entry& entry : reader.entries()) {
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
  for (const char* file : {"model.safetensors", "state.safetensors"}) {
    const SafetensorsReader reader(a / file);
    for (const SafetensorsReader::Entry& entry : reader.entries())
      if (entry.name.rfind("retained/", 0) != 0 && entry.name.rfind("carried/", 0) != 0 &&
          bytes_in(a / file, entry.name) != bytes_in(b / file, entry.name))
        return entry.name + " differs";
  }
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

// Loads `from`, saves it at once into a folder, and into another after some steps.
void reshard(const std::string& optimizer, const Grid& to, const fs::path& from, const fs::path& at_once, const fs::path& later,
             int64_t steps = 4) {
  std::vector<Tensors> models = garbage_of(to.ranks);
  with_sessions(to.ranks, to.toml(optimizer), models, [&](Session& session, Tensors& own) {
    session.load(from);
    session.save(at_once);
    const int64_t first = session.next_step();
    for (int64_t step = first; step < first + steps; ++step) take_step(session, step);
    for (const std::vector<float>& tensor : own)
      for (const float value : tensor) require(std::isfinite(value) && std::fabs(value) < 10, "training does not go on");
    session.save(later);
  });
}

const std::string one_bit_adam = "[optimizer]\nplugin = \"onebit_adam\"\nlr = 0.01\nfreeze_step = 3\n" + codec_table;

// Trains on the first grid; each other one goes on from where the one before it came to. All that was left out is there, and is
// a part of what there was before.
void check_chain(const std::string& optimizer, const std::vector<Grid>& grids) {
  std::vector<std::unique_ptr<RunFolder>> folders;
  const auto make = [&] { return folders.emplace_back(std::make_unique<RunFolder>())->path(); };
  fs::path from = make();
  train_and_save(grids[0].ranks, grids[0].toml(optimizer), from, {6});
  for (size_t g = 1; g < grids.size(); ++g) {
    CAPTURE(g);
    const fs::path at_once = make(), later = make();
    reshard(optimizer, grids[g], from, at_once, later);
    const fs::path before = loadable_checkpoints(from).front(), after = loadable_checkpoints(at_once).front();
    CHECK(replicated_difference(before, after) == "");
    const Sums was = left_out(before, grids[g - 1].holders()), is = left_out(after, grids[g].holders());
    CHECK((norm(was) > 1e-4) == (grids[g - 1].holders() > 1));
    CHECK(norm(minus(was, is)) <= 1e-6 * norm(was));
    from = later;
  }
}

// The mean squared distance from a target after 40 steps on gradients of it with noise, on so many ranks in turn.
double distance_after(const std::vector<int>& ranks_in_turn) {
  const Tensors target =
      noisy({std::vector<float>(3000), std::vector<float>(40), std::vector<float>(660), {}, std::vector<float>(17)}, 1000, 0);
  const std::string toml =
      "[optimizer]\nplugin = \"onebit_adam\"\nlr = 0.03\nfreeze_step = 10\n" + codec_table + threads_table();
  const RunFolder root;
  std::vector<Tensors> models;
  for (size_t turn = 0; turn < ranks_in_turn.size(); ++turn) {
    models = model_of(ranks_in_turn[turn]);
    with_sessions(ranks_in_turn[turn], toml, models, [&](Session& session, Tensors& own) {
      if (turn > 0) session.load(root.path());
      const auto last = static_cast<int64_t>(40 * (turn + 1) / ranks_in_turn.size());
      for (int64_t step = session.next_step(); step <= last; ++step) {
        Tensors gradients = noisy(target, step, session.rank());
        for (size_t t = 0; t < own.size(); ++t)
          for (size_t i = 0; i < own[t].size(); ++i) gradients[t][i] = own[t][i] - target[t][i] + 0.3F * gradients[t][i];
        session.step(pointers(gradients));
      }
      session.save(root.path());
    });
  }
  double sum = 0, count = 0;
  for (size_t t = 0; t < target.size(); ++t)
    for (size_t i = 0; i < target[t].size(); ++i, ++count)
      sum += std::pow(static_cast<double>(models[0][t][i]) - static_cast<double>(target[t][i]), 2);
  return sum / count;
}

}  // namespace

TEST_CASE("saving: 4 ranks, then 3, then 1, then 2, and machines that come and go") {
  const std::string ratios = "[optimizer]\nplugin = \"onebit_lamb\"\nlr = 0.01\nfreeze_step = 3\n" + codec_table;
  for (const std::string& of :
       {one_bit_adam, ratios, with_local_steps().substr(0, with_local_steps().find("[communicator]"))}) {
    CAPTURE(of);
    check_chain(of, {{4, 0}, {3, 0}, {1, 0}, {2, 0}});
    check_chain(of, {{4, 2}, {2, 0}, {6, 3}, {2, 1}, {4, 2}});
  }
}

TEST_CASE("saving: on 4, 3, 1 and 2 ranks in turn training comes as far as it does on 4 alone") {
  const double whole = distance_after({4}), in_turn = distance_after({4, 3, 1, 2});
  CAPTURE(whole);
  CAPTURE(in_turn);
  CHECK(whole < 0.35);  // of about 0.7 at first
  CHECK(in_turn < 1.5 * whole);
  CHECK(in_turn > whole / 1.5);
}

TEST_CASE("saving: what a single rank carries is added to its next mean, once") {
  const RunFolder root, one, later;
  train_and_save(2, Grid{2, 0}.toml(one_bit_adam), root.path(), {6});
  reshard(one_bit_adam, {1, 0}, root.path(), one.path(), later.path());
  CHECK(norm(left_out(at_step(one.path(), 6), 1)) > 1e-4);
  CHECK(norm(left_out(at_step(later.path(), 10), 1)) == 0);
}

TEST_CASE("saving: what a single rank carries of a tensor without a gradient waits for one") {
  // After the freeze every step is a round, in which no mean is kept; step 9 has no gradient of "b" and "d".
  const std::string optimizer =
      "[optimizer]\nplugin = \"zeroone_adam\"\nlr = 0.01\nvar_freeze_step = 4\nlocal_step_scaler = 1000\n" + codec_table;
  const RunFolder root, at_once, ninth, tenth;
  train_and_save(2, Grid{2, 0}.toml(optimizer), root.path(), {8});
  reshard(optimizer, {1, 0}, root.path(), at_once.path(), ninth.path(), 1);
  reshard(optimizer, {1, 0}, root.path(), at_once.path(), tenth.path(), 2);
  const Sums was = left_out(at_step(at_once.path(), 8), 1), is = left_out(at_step(ninth.path(), 9), 1);
  const Sums waiting = {{"b", was.at("b")}, {"d", was.at("d")}};
  CHECK(norm(waiting) > 1e-6);
  CHECK(norm(was) > norm(waiting));
  CHECK(norm(minus(waiting, is)) == 0);
  CHECK(norm(left_out(at_step(tenth.path(), 10), 1)) == 0);
}

TEST_CASE("saving: what was left out of tensors that are not compressed any more is carried, too") {
  const Grid grid = {3, 0};
  for (const int ranks : {3, 2}) {
    CAPTURE(ranks);
    const Grid to = {ranks, 0};
    const std::string below = "dense_below = 100\n";  // "b" and "d"; the table [exchange] is the last one
    const RunFolder root, at_once, later;
    train_and_save(3, grid.toml(one_bit_adam), root.path(), {6});
    std::vector<Tensors> models = garbage_of(ranks);
    with_sessions(ranks, to.toml(one_bit_adam) + below, models, [&](Session& session, Tensors&) {
      session.load(root.path());
      session.save(at_once.path());
      for (int64_t step = 7; step <= 8; ++step) take_step(session, step);
      session.save(later.path());
    });
    const Sums was = left_out(at_step(root.path(), 6), 3), is = left_out(at_step(at_once.path(), 6), ranks);
    const Sums carried = summed(at_step(at_once.path(), 6), "carried/", 1);
    CHECK(norm(Sums{{"b", carried.at("b")}, {"d", carried.at("d")}}) > 1e-6);
    CHECK(norm(Sums{{"a", carried.at("a")}, {"c", carried.at("c")}}) == 0);
    CHECK(norm(minus(was, is)) <= 1e-6 * norm(was));
    CHECK(summed(at_step(later.path(), 8), "carried/", 1).empty());
    // and become worker errors again, where they are compressed again
    const RunFolder back, after;
    reshard(one_bit_adam, grid, at_once.path(), back.path(), after.path());
    CHECK(norm(minus(was, left_out(at_step(back.path(), 6), 3))) <= 2e-6 * norm(was));
  }
}

TEST_CASE("saving: on as many ranks, other buckets and another topology lose nothing") {
  const RunFolder root;
  train_and_save(4, Grid{4, 0}.toml(one_bit_adam), root.path(), {6});
  const Sums was = left_out(at_step(root.path(), 6), 4);
  std::string buckets = Grid{4, 0}.toml(one_bit_adam);
  buckets.replace(buckets.find("bucket_bytes = 8192"), 19, "bucket_bytes = 4096");
  const std::pair<std::string, int> others[] = {{buckets, 4}, {Grid{4, 2}.toml(one_bit_adam), 2}};
  for (const std::pair<std::string, int>& other : others) {
    CAPTURE(other.first);
    const RunFolder at_once;
    std::vector<Tensors> models = garbage_of(4);
    with_sessions(4, other.first, models, [&](Session& session, Tensors&) {
      session.load(root.path());
      session.save(at_once.path());
      for (int64_t step = 7; step <= 9; ++step) take_step(session, step);
    });
    CHECK(replicated_difference(at_step(root.path(), 6), at_step(at_once.path(), 6)) == "");
    CHECK(norm(minus(was, left_out(at_step(at_once.path(), 6), other.second))) <= 1e-6 * norm(was));
  }
}

TEST_CASE("saving: errors are taken over into another type, rounded once, on as many ranks and on others") {
  const std::string halves = "error_dtype = \"bf16\"\n";
  for (const int ranks : {3, 2}) {
    CAPTURE(ranks);
    const RunFolder root, in_halves, back;
    train_and_save(3, Grid{3, 0}.toml(one_bit_adam), root.path(), {6});
    const std::pair<std::string, std::pair<fs::path, fs::path>> turns[] = {{halves, {root.path(), in_halves.path()}},
                                                                           {"", {in_halves.path(), back.path()}}};
    for (const auto& turn : turns) {
      std::vector<Tensors> models = garbage_of(ranks);
      with_sessions(ranks, Grid{ranks, 0}.toml(one_bit_adam) + turn.first, models, [&](Session& session, Tensors&) {
        session.load(turn.second.first);
        session.save(turn.second.second);
        for (int64_t step = 7; step <= 9; ++step) take_step(session, step);
      });
    }
    const Sums was = left_out(at_step(root.path(), 6), 3), is = left_out(at_step(in_halves.path(), 6), ranks);
    CHECK(norm(minus(was, is)) <= norm(was) / 256);
    CHECK(norm(minus(was, is)) > norm(was) / 100'000);
    CHECK(norm(minus(is, left_out(at_step(back.path(), 6), ranks))) == 0);
    uint64_t bytes = 0, halved = 0;
    for (const auto& [folder, sum] :
         {std::pair{at_step(back.path(), 6), &bytes}, std::pair{at_step(in_halves.path(), 6), &halved}})
      for (const CheckpointInfo::File& file : read_checkpoint_info(folder).files) {
        const SafetensorsReader reader(folder / file.name);
        for (const SafetensorsReader::Entry& entry : reader.entries())
          if (entry.name.find("_error/") != std::string::npos) *sum += entry.bytes;
      }
    CHECK(halved > 0);
    CHECK(bytes == 2 * halved);
  }
}

TEST_CASE("saving: after local steps, other ranks begin at the mean of what each had") {
  const RunFolder root, at_once, later;
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
  const Sums was = left_out(before, 4), is = left_out(after, 3);
  CHECK(norm(was) > 1e-4);
  CHECK(norm(minus(was, is)) <= 1e-6 * norm(was));
}

TEST_CASE("saving: scales of a tensor are cut by ranks, so a mean that is kept changes its form and not its values") {
  const std::string optimizer =
      "[optimizer]\nplugin = \"onebit_adam\"\nlr = 0.01\nfreeze_step = 3\n" + codec_table + "scale = \"tensor\"\n";
  const RunFolder root, at_once, later, again;
  train_and_save(3, Grid{3, 0}.toml(optimizer), root.path(), {6});
  reshard(optimizer, {2, 0}, root.path(), at_once.path(), later.path());
  CHECK(session_of(at_step(root.path(), 6)).at("retained") == "compressed");
  CHECK(session_of(at_step(at_once.path(), 6)).at("retained") == "fp32");
  CHECK(session_of(at_step(later.path(), 10)).at("retained") == "compressed");
  // as fp32 it is saved and loaded once more
  reshard(optimizer, {2, 0}, at_once.path(), again.path(), RunFolder().path());
  CHECK(difference(at_step(at_once.path(), 6), at_step(again.path(), 6)) == "");
}

TEST_CASE("saving: with other ranks, each gets the blobs of all that there were") {
  const RunFolder root;
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

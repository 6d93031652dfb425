// SPDX-License-Identifier: Apache-2.0
// A run that goes on from a checkpoint with as many ranks is, at every later step and to the bit, the run that was not
// interrupted: parameters, state, errors, means that are kept, and whatever else the next steps depend on.
#include <doctest/doctest.h>

#include <mutex>

#include "core/saving/saving_runs.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

std::string optimizer_table(const std::string& name) {
  const std::string plugin = "[optimizer]\nplugin = \"" + name + "\"\nlr = 0.01\nweight_decay = 0.01\n";
  if (name == "adam" || name == "lamb") return plugin;
  if (name == "zeroone_adam")
    return plugin +
           "var_freeze_step = 5\nvar_update_scaler = 1\nlocal_step_scaler = 3\nlocal_step_clipper = 4\ndense = [\"b\"]\n";
  return plugin + "freeze_step = 3\ndense = [\"b\"]\n";
}

std::vector<int64_t> stages_of(const std::string& name) {
  if (name == "zeroone_adam") return {2, 4, 5, 9, 11, 15};
  return name == "adam" || name == "lamb" ? std::vector<int64_t>{3, 6} : std::vector<int64_t>{2, 3, 4, 7, 9};
}

// Each pair of optimizer, number of ranks, topology and dtype of dense rounds is in one of these.
std::vector<SavedRun> paired_runs() {
  const char* const names[] = {"adam", "lamb", "onebit_adam", "onebit_lamb", "zeroone_adam"};
  const int ranks[] = {1, 2, 4};
  std::vector<SavedRun> runs;
  for (int i = 0; i < 5; ++i)
    for (int j = 0; j < 3; ++j) {
      const bool grid = (i + j) % 2 == 1, half = (i + 2 * j) / 2 % 2 == 1;
      const std::string exchange = std::string("[exchange]\nbucket_bytes = 8192\ntopology = \"") +
                                   (grid ? "hierarchical" : "flat") + "\"\ndense_dtype = \"" + (half ? "fp16" : "fp32") +
                                   "\"\n";
      runs.push_back({std::string(names[i]) + ", " + std::to_string(ranks[j]) + " ranks, " + (grid ? "hierarchical" : "flat") +
                          (half ? ", fp16" : ""),
                      ranks[j], optimizer_table(names[i]) + codec_table + threads_table(ranks[j] == 4 ? 2 : 1) + exchange,
                      stages_of(names[i])});
    }
  return runs;
}

using Course = std::vector<std::vector<Tensors>>;  // parameters by step and rank, from step 1 on

Course train_whole(const SavedRun& run, const fs::path& root) {
  Course course(static_cast<size_t>(run.saves.back()) + 1, std::vector<Tensors>(static_cast<size_t>(run.ranks)));
  std::vector<Tensors> models = model_of(run.ranks);
  with_sessions(run.ranks, run.toml, models, [&](Session& session, Tensors& own) {
    for (int64_t step = 1; step <= run.saves.back(); ++step) {
      take_step(session, step);
      course[static_cast<size_t>(step)][static_cast<size_t>(session.rank())] = own;
      if (std::count(run.saves.begin(), run.saves.end(), step) > 0) session.save(root);
    }
  });
  return course;
}

// Goes on from one of the checkpoints in new sessions, and saves where the whole run did.
void go_on_from(const SavedRun& run, int64_t from, const fs::path& root, const fs::path& again, const Course& course) {
  std::vector<Tensors> models = garbage_of(run.ranks);
  with_sessions(run.ranks, run.toml, models, [&](Session& session, Tensors& own) {
    const auto rank = static_cast<size_t>(session.rank());
    const LoadReport report = session.load(at_step(root, from));
    require(report.step == static_cast<uint64_t>(from) && report.ranks == run.ranks, "another checkpoint was loaded");
    require(report.afresh.empty() && report.changed.empty() && report.refused.empty(), "something was not restored");
    require(session.next_step() == from + 1, "the step number was not restored");
    require(same_bits(own, course[static_cast<size_t>(from)][rank]), "parameters were not restored");
    session.save(again);
    for (int64_t step = from + 1; step <= run.saves.back(); ++step) {
      take_step(session, step);
      require(same_bits(own, course[static_cast<size_t>(step)][rank]), "parameters differ at step " + std::to_string(step));
      if (std::count(run.saves.begin(), run.saves.end(), step) > 0) session.save(again);
    }
  });
  for (const int64_t step : run.saves)
    if (step >= from) CHECK(difference(at_step(root, step), at_step(again, step)) == "");
}

}  // namespace

TEST_CASE("saving: a run goes on to the bit, from each stage of each optimizer, and saves the same files") {
  int apart = 0, errors = 0, retained = 0;
  for (const SavedRun& run : paired_runs()) {
    CAPTURE(run.name);
    const ScratchFolder root;
    const Course course = train_whole(run, root.path());
    for (const int64_t step : run.saves) {
      const nlohmann::json session = session_of(at_step(root.path(), step));
      apart += session.at("apart").get<bool>() ? 1 : 0;
      errors += session.at("errors").get<bool>() ? 1 : 0;
      retained += session.at("retained").is_null() ? 0 : 1;
    }
    for (const int64_t from : run.saves) {
      CAPTURE(from);
      const ScratchFolder again;
      go_on_from(run, from, root.path(), again.path(), course);
    }
  }
  CHECK(apart >= 3);  // what is compared was there
  CHECK(errors >= 10);
  CHECK(retained >= 10);
}

TEST_CASE("saving: scales of a tensor or a bucket, whose blocks depend on the number of ranks, and small tensors as fp32") {
  for (const char* scale : {"tensor", "bucket"}) {
    CAPTURE(scale);
    const SavedRun run = {scale,
                          3,
                          "[optimizer]\nplugin = \"onebit_adam\"\nlr = 0.01\nfreeze_step = 2\n" + codec_table + "scale = \"" +
                              scale + "\"\n" + threads_table() + "[exchange]\nbucket_bytes = 8192\ndense_below = 20\n",
                          {2, 4, 6}};
    const ScratchFolder root, again;
    const Course course = train_whole(run, root.path());
    go_on_from(run, 4, root.path(), again.path(), course);
  }
}

TEST_CASE("saving: before the first step, and into a session that has trained beyond the checkpoint") {
  const ScratchFolder root, again;
  const SavedRun run = {"", 2, frozen_at(3, "dense = [\"b\"]\n"), {2, 6}};
  const Course course = train_whole(run, root.path());
  std::vector<Tensors> models = garbage_of(2);
  with_sessions(2, run.toml, models, [&](Session& session, Tensors& own) {
    session.save(again.path());
    for (int64_t step = 1; step <= 5; ++step) take_step(session, step);  // its momentum is released by now
    session.load(at_step(root.path(), 2));
    for (int64_t step = 3; step <= 6; ++step) take_step(session, step);
    require(same_bits(own, course[6][static_cast<size_t>(session.rank())]), "it went on otherwise");
    session.save(again.path());
  });
  CHECK(difference(at_step(root.path(), 6), at_step(again.path(), 6)) == "");
  with_sessions(2, run.toml, models, [&](Session& session, Tensors& own) {
    require(session.load(at_step(again.path(), 0)).step == 0 && session.next_step() == 1, "not the beginning");
    require(own[0][0] == 1e6F, "parameters were not restored");
  });
}

TEST_CASE("saving: while an AtAnchor lives the same is saved, and nothing is loaded") {
  const ScratchFolder root, again;
  std::vector<Tensors> models = model_of(2);
  std::string refusal;
  std::mutex mutex;
  with_sessions(2, with_local_steps(), models, [&](Session& session, Tensors&) {
    for (int64_t step = 1; step <= 9; ++step) take_step(session, step);
    session.save(root.path());
    const Session::AtAnchor anchor(session);
    session.save(again.path());
    try {
      session.load(root.path());
    } catch (const Error& e) {
      const std::lock_guard lock(mutex);
      refusal = e.what();
    }
  });
  CHECK(session_of(at_step(root.path(), 9)).at("apart") == true);
  CHECK(difference(at_step(root.path(), 9), at_step(again.path(), 9)) == "");
  CHECK(refusal == "load() was called while an AtAnchor lives; let it go out of scope");
}

TEST_CASE("saving: the parameters are a file that others read, row by row, whatever their order in memory") {
  const ScratchFolder root;
  train_and_save(2, with_local_steps(), root.path(), {9});
  std::vector<Tensors> models = garbage_of(1);
  const SafetensorsReader reader(at_step(root.path(), 9) / "model.safetensors");
  CHECK(reader.metadata().at("format") == "pt");
  CHECK(reader.entries().size() == 5);
  CHECK(reader.at("c").shape == std::vector<int64_t>{4, 3, 5, 11});
  std::vector<float> last;
  std::vector<Tensors> own = model_of(2);
  with_sessions(2, with_local_steps(), own, [&](Session& session, Tensors& values) {
    session.load(root.path());
    const Session::AtAnchor anchor(session);
    if (session.rank() == 0) last = values[2];
  });
  const std::vector<float> rows = reader.read("c");
  for (size_t n = 0, i = 0; n < 4; ++n)
    for (size_t c = 0; c < 3; ++c)
      for (size_t h = 0; h < 5; ++h)
        for (size_t w = 0; w < 11; ++w, ++i) REQUIRE(rows[i] == last[n * 165 + c + h * 33 + w * 3]);
}

TEST_CASE("saving: blobs come back, each rank's own and those of all; the last checkpoint is taken, older ones are pruned") {
  const ScratchFolder root;
  std::vector<Tensors> models = model_of(2);
  with_sessions(2, frozen_at(2), models, [&](Session& session, Tensors&) {
    for (int64_t step = 1; step <= 4; ++step) {
      take_step(session, step);
      SaveOptions options;
      options.keep = 2;
      options.hash = step == 4 ? "sha256" : "xxh3-128";
      options.of_rank = {{"place", std::string("\0rank", 5) + std::to_string(session.rank() + step)}, {"empty", ""}};
      options.of_all = {{"random", "of rank " + std::to_string(session.rank())}};
      const SaveReport report = session.save(root.path(), options);
      require(report.begun && report.committed && report.step == static_cast<uint64_t>(step), "the report is off");
      require(report.folder == at_step(root.path(), step) && report.left.empty(), "the folder is off");
    }
    const LoadReport report = session.load(root.path());
    require(report.folder == at_step(root.path(), 4), "not the last");
    require(report.of_rank.size() == 2 && report.of_rank[0].name == "place", "blobs are missing");
    require(report.of_rank[0].bytes == std::string("\0rank", 5) + std::to_string(session.rank() + 4), "another rank's blob");
    require(report.of_rank[1].name == "empty" && report.of_rank[1].bytes.empty(), "an empty blob is one");
    require(report.of_all.size() == 1 && report.of_all[0].bytes == "of rank 0", "of_all are rank 0's");
  });
  CHECK(list_checkpoints(root.path()).entries.size() == 2);
  CHECK(read_checkpoint_info(at_step(root.path(), 4)).hash == "sha256");
}

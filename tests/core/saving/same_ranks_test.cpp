// SPDX-License-Identifier: Apache-2.0
// A run that goes on from a checkpoint with as many ranks is, at every later step and to the bit, the run that was not
// interrupted: parameters, state, errors, means that are kept, and whatever else the next steps depend on.
#include <doctest/doctest.h>

#include <limits>
#include <mutex>

#include "core/saving/saved_cells.hpp"
#include "onebit/safetensors.hpp"
#include "support/text.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

// Each pair of optimizer, number of ranks, topology and dtype of dense rounds is in one of these; or all that there are.
std::vector<Cell> cells_of_runs() {
  const char* const names[] = {"adam", "lamb", "onebit_adam", "onebit_lamb", "zeroone_adam"};
  const int ranks[] = {1, 2, 4};
  std::vector<Cell> cells;
  for (int i = 0; i < 5; ++i)
    for (int j = 0; j < 3; ++j)
      for (const bool machines : {false, true})
        for (const bool half : {false, true}) {
          const bool in_pairs = machines == ((i + j) % 2 == 1) && half == ((i + 2 * j) / 2 % 2 == 1);
          if (in_pairs || all_are_wanted()) cells.push_back({names[i], ranks[j], machines, half});
        }
  return cells;
}

using Course = std::vector<std::vector<Tensors>>;  // parameters by step and rank, from step 1 on

// Saves after every step.
Course train_whole(const SavedRun& run, const fs::path& root) {
  Course course(static_cast<size_t>(run.last) + 1, std::vector<Tensors>(static_cast<size_t>(run.ranks)));
  std::vector<Tensors> models = model_of(run.ranks);
  with_sessions(run.ranks, run.toml, models, [&](Session& session, Tensors& own) {
    for (int64_t step = 1; step <= run.last; ++step) {
      take_step(session, step);
      course[static_cast<size_t>(step)][static_cast<size_t>(session.rank())] = own;
      session.save(root);
    }
  });
  return course;
}

// Goes on from one of the checkpoints in new sessions, and compares every byte of parameters and state after every step.
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
    for (int64_t step = from + 1; step <= run.last; ++step) {
      take_step(session, step);
      require(same_bits(own, course[static_cast<size_t>(step)][rank]), "parameters differ at step " + std::to_string(step));
      session.save(again);
    }
  });
  for (int64_t step = from; step <= run.last; ++step) CHECK(difference(at_step(root, step), at_step(again, step)) == "");
}

// What there is to compare, so that nothing is found equal for lack of it.
struct Seen {
  int apart = 0, errors = 0, retained = 0, frozen = 0;

  void add(const nlohmann::json& session) {
    apart += session.at("apart").get<bool>() ? 1 : 0;
    errors += session.at("errors").get<bool>() ? 1 : 0;
    retained += session.at("retained").is_null() ? 0 : 1;
    frozen += session.at("progress").at("frozen_at") != 0 ? 1 : 0;
  }
};

}  // namespace

TEST_CASE("saving: a run goes on to the bit from a random step of each stage, in each optimizer, and saves the same files") {
  Seen seen;
  RandomStep random;
  const std::vector<Cell> cells = cells_of_runs();
  for (const Cell& cell : cells) {
    const SavedRun run = run_of(cell, threads_table(cell.ranks == 4 ? 2 : 1));
    CAPTURE(run.name);
    const RunFolder root;
    const Course course = train_whole(run, root.path());
    for (const std::vector<int64_t>& stage : run.stages) {
      const int64_t from = random.of(stage);
      CAPTURE(from);
      seen.add(session_of(at_step(root.path(), from)));
      const RunFolder again;
      go_on_from(run, from, root.path(), again.path(), course);
    }
  }
  if (all_are_wanted()) MESSAGE("cells: ", cells.size());
  CHECK(cells.size() == (all_are_wanted() ? 60 : 15));
  CHECK(seen.apart >= 3);  // of 0/1 Adam on 1, 2 and 4 ranks
  CHECK(seen.errors >= 8);
  CHECK(seen.retained >= 12);
  CHECK(seen.frozen >= 27);
}

TEST_CASE("saving: scales of a tensor or a bucket, whose blocks depend on the number of ranks, and small tensors as fp32") {
  for (const char* scale : {"tensor", "bucket"}) {
    CAPTURE(scale);
    const SavedRun run = {scale, 3,
                          "[optimizer]\nplugin = \"onebit_adam\"\nlr = 0.01\nfreeze_step = 2\n" + codec_table + "scale = \"" +
                              scale + "\"\n" + threads_table() + "[exchange]\nbucket_bytes = 8192\ndense_below = 20\n",
                          6};
    const RunFolder root, again;
    const Course course = train_whole(run, root.path());
    go_on_from(run, 4, root.path(), again.path(), course);
  }
}

TEST_CASE("saving: with other buckets and worker threads, too, the steps that follow are the same to the bit") {
  const std::string exchange = "[exchange]\nbucket_bytes = ", threads = "\n[session]\nthreads = ";
  const SavedRun run = {"", 3, frozen_at(3) + exchange + "8192" + threads + "1\n", 8};
  const RunFolder root;
  const Course course = train_whole(run, root.path());
  std::vector<Tensors> models = garbage_of(3);
  with_sessions(3, frozen_at(3) + exchange + "4096" + threads + "3\n", models, [&](Session& session, Tensors& own) {
    const LoadReport report = session.load(at_step(root.path(), 5));
    require(report.changed == std::vector<std::string>{"exchange.bucket_bytes: 8192 when it was saved, 4096 now"},
            "something else is told to have changed");
    for (int64_t step = 6; step <= 8; ++step) {
      take_step(session, step);
      require(same_bits(own, course[static_cast<size_t>(step)][static_cast<size_t>(session.rank())]), "parameters differ");
    }
  });
}

TEST_CASE("saving: options of an optimizer that have state of their own, refreshes, clipping, and groups") {
  const std::string group = "[[optimizer.group]]\ntensors = [\"a\"]\nlr = 0.02\nweight_decay = 0.1\n";
  const std::string one_bit = "[optimizer]\nplugin = \"onebit_";
  // In steps that depend on when it was so before.
  const std::string refreshed = "lr = 0.01\nbetas = [0.9, 0.99]\nrefresh = 0.3\n";
  for (const std::string& optimizer :
       {one_bit + "adam\"\nfreeze_step = 3\n" + refreshed, one_bit + "lamb\"\nfreeze_step = 3\n" + refreshed,
        std::string("[optimizer]\nplugin = \"zeroone_adam\"\nvar_freeze_step = 3\n") + refreshed,
        one_bit + "adam\"\nlr = 0.01\nfreeze_step = \"auto\"\nfreeze_threshold = 0.6\nbetas = [0.9, 0.9]\n",
        one_bit + "adam\"\nlr = 0.01\nfreeze_step = 3\nmessage = \"momentum\"\n",
        one_bit + "lamb\"\nlr = 0.01\nfreeze_step = 3\nmessage = \"momentum\"\ntrust_ratio = \"frozen\"\n",
        std::string("[optimizer]\nplugin = \"zeroone_adam\"\nlr = 0.01\nvar_freeze_step = 5\nlocal_step_scaler = 2\n") +
            "local_step_clipper = 4\nvariance_stage = \"gradient\"\nmessage = \"momentum\"\n"}) {
    CAPTURE(optimizer);
    const SavedRun run = {"", 2, optimizer + group + codec_table + threads_table() + "[session]\nclip_norm = 0.3\n", 10};
    const RunFolder root;
    const Course course = train_whole(run, root.path());
    for (const int64_t from : {3, 6}) {
      const RunFolder again;
      go_on_from(run, from, root.path(), again.path(), course);
    }
  }
}

TEST_CASE("saving: steps that were skipped, a sync that was asked for and a local step that one rank missed") {
  const std::string toml = with_local_steps() + "[session]\nmax_skipped = 4\n";
  const auto step_with = [](Session& session, int64_t step, bool breaks) {
    Tensors gradients = noisy(saved_model(), step, session.rank());
    if (breaks) gradients[0][7] = std::numeric_limits<float>::infinity();
    return session.step(pointers(gradients));
  };
  const auto finish = [&](Session& session, const fs::path& folder) {
    for (int64_t step = 14; step <= 17; ++step) step_with(session, step, false);
    session.save(folder);
  };
  const RunFolder root;
  std::vector<Tensors> models = model_of(2);
  with_sessions(2, toml, models, [&](Session& session, Tensors&) {
    for (int64_t step = 1; step <= 8; ++step) step_with(session, step, false);
    session.request_sync();
    for (int i = 0; i < 3; ++i) require(step_with(session, 9, true).skipped, "a step was not skipped");
    session.save(root / "skipped");
    for (int64_t step = 9; step <= 12; ++step) step_with(session, step, false);
    require(step_with(session, 13, session.rank() == 1).local, "the step was not local");
    session.request_sync();  // else the next is local, too
    session.save(root / "missed");
    finish(session, root / "whole");
  });
  const nlohmann::json skipped = session_of(at_step(root / "skipped", 8)).at("progress");
  CHECK(skipped.at("skipped_in_a_row") == 3);
  CHECK(skipped.at("first_skipped").get<std::string>().find("step 9: the gradient of 'a'") == 0);
  CHECK(session_of(at_step(root / "missed", 13)).at("progress").at("sync_requested") == true);
  models = garbage_of(2);
  with_sessions(2, toml, models, [&](Session& session, Tensors&) {
    session.load(root / "missed");
    session.save(root / "again");
    finish(session, root / "again");
    session.load(root / "skipped");
    std::string text;
    try {
      step_with(session, 9, true);
    } catch (const Error& e) {
      text = e.what();
    }
    require(contains(text, "4 steps in a row were skipped"), "the count of skipped steps began anew: " + text);
  });
  CHECK(difference(at_step(root / "missed", 13), at_step(root / "again", 13)) == "");
  CHECK(difference(at_step(root / "whole", 17), at_step(root / "again", 17)) == "");
}

TEST_CASE("saving: before the first step, and into a session that has trained beyond the checkpoint") {
  const RunFolder root, again;
  const SavedRun run = {"", 2, frozen_at(3, "dense = [\"b\"]\n"), 6};
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
  const RunFolder root, again;
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
  const RunFolder root;
  train_and_save(2, with_local_steps(), root.path(), {9});
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

TEST_CASE("saving: blobs come back, each rank's own and those of all, the last checkpoint is taken, older ones are pruned") {
  const RunFolder root;
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

TEST_CASE("saving: the step of the freeze, and how many elements had no variance then, are told after a load, too") {
  const RunFolder root;
  std::vector<Tensors> models = model_of(2);
  const auto step = [](Session& session) {  // "b" never has a gradient
    const Tensors gradients = noisy(saved_model(), session.next_step(), session.rank());
    std::vector<const float*> all = pointers(gradients);
    all[1] = nullptr;
    return session.step(all);
  };
  const auto require_told = [](const StepReport& report, int64_t frozen, int64_t unseen) {
    require(report.frozen_at == frozen && report.unseen == unseen,
            "told were " + std::to_string(report.frozen_at) + " and " + std::to_string(report.unseen));
  };
  with_sessions(2, frozen_at(3), models, [&](Session& session, Tensors&) {
    for (int64_t number = 1; number <= 4; ++number) {
      require_told(step(session), number < 3 ? 0 : 3, number < 3 ? 0 : 40);
      session.save(root.path());
    }
    session.load(at_step(root.path(), 1));
    require_told(step(session), 0, 0);
  });
  models = garbage_of(2);
  with_sessions(2, frozen_at(3), models, [&](Session& session, Tensors&) {
    session.load(at_step(root.path(), 4));
    require_told(step(session), 3, 40);
  });
}

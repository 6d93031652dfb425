// SPDX-License-Identifier: Apache-2.0
// Saves that do not wait: training goes on to the same bits, one save at a time is under way, it is committed by a later step
// or call, and what went wrong is told by the next call.
#include <doctest/doctest.h>

#include "core/saving/saving_runs.hpp"
#include "support/text.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

SaveOptions in_background(bool skip_if_busy = false) {
  SaveOptions options;
  options.wait = false;
  options.skip_if_busy = skip_if_busy;
  return options;
}

}  // namespace

TEST_CASE("saving in the background changes no bit of what follows, and saves what a save that waits does") {
  for (const std::string& toml : {frozen_at(3), with_local_steps()}) {
    const RunFolder waiting, background;
    std::vector<Tensors> alone = model_of(3), expected = model_of(3), found = model_of(3);
    with_sessions(3, toml, alone, [&](Session& session, Tensors&) {
      for (int64_t step = 1; step <= 12; ++step) take_step(session, step);
    });
    with_sessions(3, toml, expected, [&](Session& session, Tensors&) {
      for (int64_t step = 1; step <= 12; ++step) {
        take_step(session, step);
        session.save(waiting.path());
      }
      require(session.footprint().snapshot == 0, "a save that waits takes no copy");
    });
    with_sessions(3, toml, found, [&](Session& session, Tensors&) {
      for (int64_t step = 1; step <= 12; ++step) {
        take_step(session, step);
        const SaveReport report = session.save(background.path(), in_background());
        require(report.begun && !report.committed && report.folder == at_step(background.path(), step), "the report is off");
      }
      require(session.finish_save().committed, "the last is not committed");
      require(!session.finish_save().begun, "there is none under way");
      require(session.footprint().snapshot > 0, "no copy was taken");
    });
    for (size_t rank = 0; rank < 3; ++rank) {
      CHECK(same_bits(alone[rank], expected[rank]));
      CHECK(same_bits(alone[rank], found[rank]));
    }
    for (int64_t step = 1; step <= 12; ++step)
      CHECK(difference(at_step(waiting.path(), step), at_step(background.path(), step)) == "");
  }
}

TEST_CASE("saving in the background is committed by a step soon after all ranks have written") {
  const RunFolder root;
  std::vector<Tensors> models = model_of(2);
  with_sessions(2, frozen_at(3), models, [&](Session& session, Tensors&) {
    take_step(session, 1);
    session.save(root.path(), in_background());
    int64_t step = 2;
    const auto committed = [&] {  // as rank 0 sees it, for both
      std::vector<char> all(2);
      const char own = list_checkpoints(root.path()).latest ? 1 : 0;
      const std::vector<onebit_part> parts = {{0, 1}, {1, 1}};
      session.communicator().wait(session.communicator().all_gather(&own, all.data(), parts.data(), Call()));
      return all[0] != 0;
    };
    for (; step < 2000 && !committed(); ++step) take_step(session, step);
    require(committed(), "it was never committed");
    const SaveReport report = session.finish_save();
    require(report.begun && report.committed && report.step == 1, "what was committed in between is told once");
    require(!session.finish_save().begun, "and not twice");
  });
}

TEST_CASE("saving in the background: one at a time, and another waits") {
  const RunFolder root;
  std::vector<Tensors> models = model_of(2);
  with_sessions(2, frozen_at(3), models, [&](Session& session, Tensors&) {
    for (int64_t step = 1; step <= 10; ++step) {
      take_step(session, step);
      const SaveReport report = session.save(root.path(), in_background(true));
      require(report.step == static_cast<uint64_t>(step), "of another step");
      require(report.begun == !report.folder.empty(), "a folder is told where there will be one");
      session.save(root.path(), in_background());  // waits, and replaces the one of this step
    }
    session.save(root.path());
  });
  const CheckpointList list = list_checkpoints(root.path());
  CHECK(list.entries.size() == 10);
  CHECK(list.latest == 10);
}

TEST_CASE("saving in the background: where that is asked for, another is left out, on all ranks, while one is being written") {
  const RunFolder root;
  std::vector<Tensors> models(2, Tensors(1, std::vector<float>(1'000'000, 0.5F)));
  int left_out = 0;
  LocalRendezvous rendezvous(2);
  host::run_ranks(2, [&](int rank) {
    Session session(plugins(), configure(frozen_at(1000)), rendezvous.at(rank),
                    parameters_of(models[static_cast<size_t>(rank)]));
    SaveOptions slow = in_background(true);
    slow.hash = "sha256";  // so that a rank writes for a while
    slow.keep = 1;
    SaveReport report;
    report.begun = true;
    for (int64_t step = 1; step <= 50 && report.begun; ++step) {  // on a busy machine the first may be over at once
      session.set_next_step(step);
      require(session.save(root.path(), slow).begun, "there was one under way");
      session.set_next_step(step + 1);
      report = session.save(root.path(), slow);
      require(report.folder.empty() == !report.begun && !report.committed, "the report is off");
      require(session.finish_save().step == static_cast<uint64_t>(report.begun ? step : step - 1), "another one was finished");
    }
    if (rank == 0) left_out = report.begun ? 0 : static_cast<int>(report.step);
  });
  REQUIRE(left_out > 0);
  CHECK(list_checkpoints(root.path()).latest == static_cast<uint64_t>(left_out - 1));
}

TEST_CASE("saving in the background: what goes wrong is told by the next call, on all ranks, and training goes on") {
  const RunFolder root;
  std::vector<Tensors> models = model_of(2);
  std::vector<std::string> texts(2);
  with_sessions(2, frozen_at(3), models, [&](Session& session, Tensors&) {
    std::string& text = texts[static_cast<size_t>(session.rank())];
    const auto told = [&](const std::function<void()>& f) {
      try {
        f();
      } catch (const Error& e) {
        text += std::string(e.what()) + "\n";
      }
    };
    // Rank 1 asks for another root than rank 0, which it does not find.
    const fs::path own = session.rank() == 1 ? root / "elsewhere" : root / "here";
    take_step(session, 1);
    session.save(own, in_background());
    take_step(session, 2);
    told([&] { session.save(root / "here"); });
    take_step(session, 3);
    require(session.save(root / "here").committed, "it can't save any more");
    session.save(own, in_background());
    told([&] { session.finish_save(); });
    require(!session.finish_save().begun, "there is none under way");
    take_step(session, 4);
    session.save(own, in_background());
    for (int64_t step = 5; step <= 200; ++step) take_step(session, step);  // one of these finds that all are done
    told([&] { session.finish_save(); });
  });
  CHECK(texts[0] == texts[1]);
  for (const char* step : {"step-00000001", "step-00000003", "step-00000004"})
    CHECK_MESSAGE(
        contains(texts[0], "rank 1: " + (root / "elsewhere" / step).string() +
                               ".unfinished/model.safetensors: is not there, though rank 0 has made it: checkpoints need "
                               "a folder that all machines share"),
        texts[0]);
  CHECK(list_checkpoints(root / "here").entries.size() == 1);
}

TEST_CASE("saving in the background: a session that ends leaves no checkpoint that was not committed") {
  const RunFolder root;
  std::vector<Tensors> models = model_of(2);
  with_sessions(2, frozen_at(3), models, [&](Session& session, Tensors&) { session.save(root.path(), in_background()); });
  CHECK(loadable_checkpoints(root.path()).empty());
}

// SPDX-License-Identifier: Apache-2.0
// What does not fit, or is damaged, is told in a sentence that names it, on every rank the same, before anything is changed:
// the session trains on as if nothing had been asked.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "core/saving/saving_runs.hpp"
#include "support/text.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

std::string message_of(const std::function<void()>& f, Code code = Code::invalid_argument) {
  try {
    f();
  } catch (const Error& e) {
    return e.code() == code ? e.what() : std::string("another code: ") + e.what();
  }
  return "";
}

// What two ranks of this configuration say of a folder; they then take two steps as if they had not asked.
std::string refusal(const std::string& toml, const fs::path& folder, Code code = Code::invalid_argument,
                    const std::function<std::vector<Parameter>(Tensors&)>& shape = shaped) {
  std::vector<Tensors> models = model_of(2), others = model_of(2);
  std::vector<std::string> texts(2);
  const auto run = [&](std::vector<Tensors>& trained, bool asks) {
    LocalRendezvous rendezvous(2);
    host::run_ranks(2, [&](int rank) {
      Session session(plugins(), configure(toml), rendezvous.at(rank), shape(trained[static_cast<size_t>(rank)]));
      const std::vector<Parameter> parameters = shape(trained[static_cast<size_t>(rank)]);
      const auto step = [&](int64_t number) {
        std::vector<std::vector<float>> gradients;
        for (const Parameter& parameter : parameters) {
          int64_t elements = 1;
          for (const int64_t extent : parameter.shape) elements *= extent;
          gradients.emplace_back(static_cast<size_t>(elements), noise(static_cast<uint64_t>(number), 1, 2, 3));
        }
        session.step(pointers(gradients));
      };
      step(1);
      if (asks) texts[static_cast<size_t>(rank)] = message_of([&] { session.load(folder); }, code);
      step(2);
    });
  };
  run(models, true);
  run(others, false);
  CHECK(same_bits(models[0], others[0]));
  CHECK(texts[0] == texts[1]);
  return texts[0];
}

void check_tells(const std::string& text, const std::string& expected) { CHECK_MESSAGE(contains(text, expected), text); }

const std::string compressed_run = frozen_at(2);

}  // namespace

TEST_CASE("loading: another model is refused, by the first tensor that differs") {
  const RunFolder root;
  train_and_save(2, compressed_run, root.path(), {4});
  const auto without_last = [](Tensors& values) {
    std::vector<Parameter> all = shaped(values);
    all.pop_back();
    return all;
  };
  const auto with_more = [](Tensors& values) {
    static thread_local std::vector<float> more(6);
    std::vector<Parameter> all = shaped(values);
    all.push_back({"bias", {2, 3}, more.data()});
    return all;
  };
  const auto other_shape = [](Tensors& values) {
    std::vector<Parameter> all = shaped(values);
    all[0].shape = {50, 60};
    return all;
  };
  const auto other_order = [](Tensors& values) {
    std::vector<Parameter> all = shaped(values);
    all[2].strides.clear();
    return all;
  };
  const auto other_place = [](Tensors& values) {
    std::vector<Parameter> all = shaped(values);
    std::swap(all[0], all[1]);
    return all;
  };
  check_tells(refusal(compressed_run, root.path(), Code::invalid_argument, without_last),
              "it has a parameter 'd' of shape [17], which the model does not have");
  check_tells(refusal(compressed_run, root.path(), Code::invalid_argument, with_more),
              "it has no parameter 'bias', which the model has, of shape [2, 3]");
  check_tells(refusal(compressed_run, root.path(), Code::invalid_argument, other_shape),
              "parameter 'a' had shape [60, 50] when it was saved and has [50, 60] here");
  check_tells(
      refusal(compressed_run, root.path(), Code::invalid_argument, other_order),
      "parameter 'c' was in memory with strides [165, 1, 33, 3] when it was saved and is row by row in memory here, and "
      "state is kept in the order of memory; load it with ignore_state to take its parameters alone");
  check_tells(refusal(compressed_run, root.path(), Code::invalid_argument, other_place),
              "parameter 0 was 'a' when it was saved and is 'b' here");
}

TEST_CASE("loading: another optimizer, codec, or freeze that contradicts the stage") {
  const RunFolder root, early;
  train_and_save(2, compressed_run, root.path(), {4});
  train_and_save(2, frozen_at(8), early.path(), {4});
  const std::string adam = "[optimizer]\nplugin = \"adam\"\n" + threads_table();
  check_tells(refusal(adam, root.path()),
              "the optimizer was \"onebit_adam\" when it was saved and is \"adam\" here; load it with ignore_state");
  check_tells(refusal("[optimizer]\nplugin = \"onebit_lamb\"\nfreeze_step = 2\n" + codec_table + threads_table(), root.path()),
              "the optimizer was \"onebit_adam\" when it was saved and is \"onebit_lamb\" here");
  check_tells(
      refusal(frozen_at(9), root.path()),
      "the optimizer froze its state at step 2, and 4 steps had been taken when it was saved; optimizer.freeze_step = 9 "
      "here would have it go on until then");
  check_tells(refusal(frozen_at(3), early.path()),
              "the optimizer had not frozen its state after 4 steps, when it was saved; optimizer.freeze_step = 3 here lies "
              "before that: set a later step");
  check_tells(
      refusal("[optimizer]\nplugin = \"onebit_adam\"\nfreeze_step = \"auto\"\n" + codec_table + threads_table(), root.path()),
      "when it was saved and is 'variance_norms'");
  check_tells(refusal(frozen_at(2, "dense = [\"b\"]\n"), root.path()),
              "parameter 'b' was compressed when it was saved and is exempt from compression here (optimizer.dense)");
  check_tells(refusal(frozen_at(2, "reciprocal_dtype = \"bf16\"\n"), root.path()),
              "'reciprocal' (1 per element) when it was saved and is 'reciprocal' (1 per element, bf16) here");
  std::vector<Tensors> models = garbage_of(2);
  with_sessions(2, frozen_at(9, "dense = [\"b\"]\n"), models, [&](Session& session, Tensors&) { session.load(early.path()); });
}

TEST_CASE("loading: options that have changed are told, each with both values, and parameters alone fit any optimizer") {
  const RunFolder root;
  train_and_save(2, frozen_at(2), root.path(), {4});
  std::vector<Tensors> models = garbage_of(2);
  std::string changed = frozen_at(2, "weight_decay = 0.5\n");
  changed.replace(changed.find("lr = 0.01"), 9, "lr = 0.02");
  changed.replace(changed.find("block = 256"), 11, "block = 128");
  with_sessions(2, changed, models, [&](Session& session, Tensors&) {
    const LoadReport report = session.load(root.path());
    const std::vector<std::string> expected = {"optimizer.lr: 0.01 when it was saved, 0.02 now",
                                               "optimizer.weight_decay: 0.0 when it was saved, 0.5 now",
                                               "compressor.block: 256 when it was saved, 128 now"};
    if (report.changed != expected) {
      std::string all;
      for (const std::string& line : report.changed) all += line + "\n";
      throw std::runtime_error(all);
    }
    require(report.afresh.empty(), "something was not restored");
    for (int64_t step = 5; step <= 8; ++step) take_step(session, step);
  });
  models = garbage_of(2);
  with_sessions(2, "[optimizer]\nplugin = \"lamb\"\n" + threads_table(), models, [&](Session& session, Tensors&) {
    LoadOptions options;
    options.ignore_state = true;
    const LoadReport report = session.load(root.path(), options);
    require(report.afresh.size() == 1 && contains(report.afresh[0], "(ignore_state)"), "nothing is told of what begins afresh");
    require(session.next_step() == 1, "the step number is not the checkpoint's");
    take_step(session, 1);
  });
}

TEST_CASE("loading: what is damaged is told and passed over, for an older one that is whole") {
  const RunFolder root;
  train_and_save(2, compressed_run, root.path(), {3, 4, 5});
  const fs::path last = at_step(root.path(), 5), middle = at_step(root.path(), 4);
  fs::resize_file(last / "state.safetensors", fs::file_size(last / "state.safetensors") - 8);
  {
    std::fstream file(middle / "rank-00001-of-00002.safetensors", std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(-100, std::ios::end);
    const char flipped = static_cast<char>(file.get() ^ 16);
    file.seekp(-100, std::ios::end);
    file.put(flipped);
  }
  std::vector<Tensors> models = garbage_of(2);
  with_sessions(2, compressed_run, models, [&](Session& session, Tensors&) {
    const LoadReport report = session.load(root.path());
    require(report.step == 3 && report.refused.size() == 2, "another one was taken");
    require(contains(report.refused[0], "state.safetensors: has ") && contains(report.refused[0], "it was cut short"),
            report.refused[0]);
    require(contains(report.refused[1], "rank-00001-of-00002.safetensors: bytes "), report.refused[1]);
  });
  check_tells(refusal(compressed_run, last), "no checkpoint here can be loaded:\n  ");
  fs::copy_file(at_step(root.path(), 3) / "model.safetensors", last / "model.safetensors",
                fs::copy_options::overwrite_existing);
  check_tells(refusal(compressed_run, last), "belongs to a checkpoint of step 3, the others here to one of step 5");
  fs::remove(middle / "model.safetensors");
  check_tells(refusal(compressed_run, middle), "model.safetensors: is missing");
  std::string text = contents_of(middle / "checkpoint.json");
  text.replace(text.find("\"format\":1"), 10, "\"format\":9");
  root.file("step-00000004/checkpoint.json", text);
  check_tells(refusal(compressed_run, middle), "the checkpoint has format version 9, this onebit");
}

TEST_CASE("saving and loading: ranks that ask for different things, or see different folders, are told so") {
  const RunFolder root;
  train_and_save(2, compressed_run, root.path(), {4});
  std::vector<Tensors> models = garbage_of(2);
  std::vector<std::string> texts(2);
  with_sessions(2, compressed_run, models, [&](Session& session, Tensors&) {
    const bool second = session.rank() == 1;
    std::string& text = texts[static_cast<size_t>(session.rank())];
    LoadOptions parameters_alone;
    parameters_alone.ignore_state = second;
    text = message_of([&] { session.load(root.path(), parameters_alone); }) + "\n";
    text += message_of([&] { session.load(second ? root / "elsewhere" : root.path()); }) + "\n";
    SaveOptions waits_not;
    waits_not.wait = !second;
    text += message_of([&] { session.save(root.path(), waits_not); }) + "\n";
    if (second) session.set_next_step(2);
    text += message_of([&] { session.save(root.path()); }) + "\n";
    session.set_next_step(1);
    session.load(root.path());
    take_step(session, 5);
  });
  CHECK(texts[0] == texts[1]);
  check_tells(texts[0], "rank 1 ignores state, rank 0 takes state: every rank must call load() with the same options");
  check_tells(texts[0], "rank 1 sees no checkpoint there: checkpoints need a folder that all machines share, under one name");
  check_tells(texts[0],
              "rank 1 saves step 0 with hashes xxh3-128, keeping all, without waiting, rank 0 step 0 with hashes xxh3-128, "
              "keeping all: every rank must call save() after the same step, with the same options");
  check_tells(texts[0], "rank 1 saves step 1 with ");
}

TEST_CASE("loading: where there is none, it is unavailable, so that training can begin") {
  const RunFolder root;
  CHECK(refusal(compressed_run, root.path(), Code::unavailable) == root.path().string() + ": there is no checkpoint here");
  CHECK(refusal(compressed_run, root / "nowhere", Code::unavailable) != "");
}

TEST_CASE("saving: what the system refuses is the same error on all ranks, and the session goes on and saves elsewhere") {
  const RunFolder root;
  root.file("file", "not a folder");
  std::vector<Tensors> models = model_of(2);
  std::vector<std::string> texts(2);
  with_sessions(2, compressed_run, models, [&](Session& session, Tensors&) {
    std::string& text = texts[static_cast<size_t>(session.rank())];
    for (int64_t step = 1; step <= 4; ++step) take_step(session, step);
    text = message_of([&] { session.save(root / "file"); }, Code::unavailable) + "\n";
    text += message_of([&] { session.save(root.path(), {0, "md5"}); }) + "\n";
    text += message_of([&] { session.save(root.path(), {-1}); }) + "\n";
    SaveOptions twice;
    twice.of_rank = {{"a", "1"}, {"a", "2"}};
    text += message_of([&] { session.save(root.path(), session.rank() == 1 ? twice : SaveOptions()); }) + "\n";
    take_step(session, 5);
    require(session.save(root / "good").committed, "it can't save any more");
  });
  CHECK(texts[0] == texts[1]);
  check_tells(texts[0], "rank 0: " + (root / "file").string() + ": is not a folder, and one is expected");
  check_tells(texts[0], "\na hash is xxh3-128 or sha256, found \"md5\"");
  check_tells(texts[0], "keep is how many checkpoints stay, 0 for all; found -1");
  check_tells(texts[0], "rank 1: a safetensors file cannot have two entries \"blob/a\"");
  CHECK(list_checkpoints(root.path()).entries.empty());
}

TEST_CASE("saving: a folder that may not be written") {
  if (::geteuid() == 0) {
    MESSAGE("SKIPPED: root may write everywhere");
    return;
  }
  const RunFolder root;
  ::chmod(root.path().c_str(), 0555);
  std::vector<Tensors> models = model_of(2);
  with_sessions(2, compressed_run, models, [&](Session& session, Tensors&) {
    const std::string text = message_of([&] { session.save(root.path()); }, Code::unavailable);
    require(contains(text, "rank 0: ") && contains(text, "Permission denied"), text);
    take_step(session, 1);
  });
  ::chmod(root.path().c_str(), 0755);
}

TEST_CASE("set_next_step beyond a freeze that the options fix needs a checkpoint, or the steps before it") {
  const RunFolder root;
  std::vector<Tensors> models = model_of(1);
  with_sessions(1, frozen_at(3), models, [&](Session& session, Tensors&) {
    session.set_next_step(3);
    CHECK(message_of([&] { session.set_next_step(5); }) ==
          "step 5 is beyond optimizer.freeze_step = 3, and this session has not come there: load a checkpoint (Session::load), "
          "or "
          "replay the steps from the start");
    CHECK(session.next_step() == 3);
    take_step(session, 3);
    session.set_next_step(7);
    take_step(session, 7);
    session.save(root.path());
  });
  with_sessions(1, frozen_at(3), models, [&](Session& session, Tensors&) {
    session.load(root.path());
    session.set_next_step(20);
  });
  for (const std::string optimizer : {"plugin = \"adam\"\n", "plugin = \"onebit_adam\"\nfreeze_step = \"auto\"\n"})
    with_sessions(1, "[optimizer]\n" + optimizer + codec_table + threads_table(), models,
                  [&](Session& session, Tensors&) { session.set_next_step(5000); });
}

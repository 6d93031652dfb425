// SPDX-License-Identifier: Apache-2.0
// Saving, listing and verifying.
#include <doctest/doctest.h>

#include <fstream>

#include "onebit/checkpoint.hpp"
#include "saving.hpp"
#include "support/scratch_folder.hpp"

namespace fs = std::filesystem;
using namespace onebit::test;
using onebit::CheckpointState;

namespace {

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

void copy_checkpoint(const fs::path& from, const fs::path& to) { fs::copy(from, to, fs::copy_options::recursive); }

}  // namespace

TEST_CASE("what ranks save is listed, verified and read again") {
  const ScratchFolder scratch;
  const fs::path root = scratch / "runs/one/checkpoints";
  for (const int ranks : {1, 2, 3}) {
    const Saving saving = {1000u + ranks, 7, ranks, onebit::HashKind::xxh3_128, true};
    const onebit::CommittedCheckpoint saved = save(root, saving);
    CHECK(saved.folder == root / onebit::folder_name(saving.step));
    CHECK(saved.left.empty());
    CHECK(difference(saved.folder, saving) == "");
    CHECK(error_text(saved.folder) == "");
  }
  CHECK(names_in(root) == std::vector<std::string>{"latest", "step-00001001", "step-00001002", "step-00001003"});
  CHECK(contents_of(root / "latest") == "step-00001003\n");
  const onebit::CheckpointList list = onebit::list_checkpoints(root);
  REQUIRE(list.entries.size() == 3);
  CHECK(list.entries[0].step == 1003);
  CHECK(list.entries[0].state == CheckpointState::complete);
  CHECK(list.latest == 1003);

  const onebit::CheckpointInfo info = onebit::read_checkpoint_info(list.entries[0].folder);
  CHECK(info.step == 1003);
  CHECK(info.ranks == 3);
  CHECK(info.hash == "xxh3-128");
  CHECK(info.session == R"({"seed":7})");
  REQUIRE(info.files.size() == 5);
  CHECK(info.files[2].name == "rank-00000-of-00003.safetensors");
  uint64_t bytes = 0;
  for (const auto& file : info.files) bytes += fs::file_size(list.entries[0].folder / file.name);
  CHECK(info.bytes == bytes);
}

TEST_CASE("with sha256") {
  const ScratchFolder scratch;
  const Saving saving = {5, 1, 2, onebit::HashKind::sha256};
  const fs::path folder = save(scratch.path(), saving).folder;
  CHECK(difference(folder, saving) == "");
  CHECK(onebit::read_record(folder).files[0].pieces[0].hash.size() == 64);
}

TEST_CASE("the same step again replaces the former one, which was whole until then") {
  const ScratchFolder scratch;
  save(scratch.path(), {5, 1});
  CHECK(save(scratch.path(), {5, 2}).left.empty());
  CHECK(difference(scratch / "step-00000005", {5, 2}) == "");
  CHECK(names_in(scratch.path()) == std::vector<std::string>{"latest", "step-00000005"});
}

TEST_CASE("a former one that was being replaced is loaded, and is put back by the next save") {
  const ScratchFolder scratch;
  save(scratch.path(), {5, 1});
  fs::rename(scratch / "step-00000005", scratch / "step-00000005.replaced");
  CHECK(onebit::loadable_checkpoints(scratch.path()) == std::vector<fs::path>{scratch / "step-00000005.replaced"});
  CHECK(difference(scratch / "step-00000005.replaced", {5, 1}) == "");
  save(scratch.path(), {6, 1});
  CHECK(names_in(scratch.path()) == std::vector<std::string>{"latest", "step-00000005", "step-00000006"});
  CHECK(difference(scratch / "step-00000005", {5, 1}) == "");

  copy_checkpoint(scratch / "step-00000005", scratch / "step-00000006.replaced");
  save(scratch.path(), {7, 1});
  CHECK(difference(scratch / "step-00000006", {6, 1}) == "");
  CHECK_FALSE(fs::exists(scratch / "step-00000006.replaced"));
}

TEST_CASE("what is unfinished or half deleted is named so, refused, and gone with the next save") {
  const ScratchFolder scratch;
  save(scratch.path(), {5, 1});
  copy_checkpoint(scratch / "step-00000005", scratch / "step-00000009.unfinished");  // complete but for its name
  copy_checkpoint(scratch / "step-00000005", scratch / "step-00000004.removed");
  scratch.file("latest.unfinished", "step-0");
  const onebit::CheckpointList list = onebit::list_checkpoints(scratch.path());
  REQUIRE(list.entries.size() == 3);
  CHECK(list.entries[0].state == CheckpointState::unfinished);
  CHECK(list.entries[2].state == CheckpointState::removed);
  CHECK(error_text(list.entries[0].folder).find("is no checkpoint: the save was not finished") != std::string::npos);
  CHECK(error_text(list.entries[0].folder / "").find("was not finished") != std::string::npos);
  CHECK(error_text(list.entries[2].folder).find("is no checkpoint: it is being deleted") != std::string::npos);
  CHECK(onebit::loadable_checkpoints(scratch.path()) == std::vector<fs::path>{scratch / "step-00000005"});
  CHECK(save(scratch.path(), {6, 1}).left.empty());
  CHECK(names_in(scratch.path()) == std::vector<std::string>{"latest", "step-00000005", "step-00000006"});
}

TEST_CASE("the order in which to load: what latest names, then from the newest on") {
  const ScratchFolder scratch;
  const auto numbers = [&] {
    std::vector<std::string> names;
    for (const fs::path& folder : onebit::loadable_checkpoints(scratch.path())) names.push_back(folder.filename().string());
    return names;
  };
  CHECK(numbers().empty());
  CHECK(onebit::loadable_checkpoints(scratch / "nothing").empty());
  for (const uint64_t step : {1, 3, 100'000'000, 2}) save(scratch.path(), {step, 1});
  CHECK(numbers() == std::vector<std::string>{"step-00000002", "step-100000000", "step-00000003", "step-00000001"});
  for (const char* latest : {"", "step-00000002", "step-2\n", "step-00000077\n", "../step-00000002\n"}) {
    scratch.file("latest", latest);
    CHECK(numbers() == std::vector<std::string>{"step-100000000", "step-00000003", "step-00000002", "step-00000001"});
  }
  CHECK(onebit::loadable_checkpoints(scratch / "step-00000003") == std::vector<fs::path>{scratch / "step-00000003"});
  fs::remove(scratch / "step-00000003/checkpoint.json");  // it stays what was asked for, and is no root without checkpoints
  CHECK(onebit::loadable_checkpoints(scratch / "step-00000003") == std::vector<fs::path>{scratch / "step-00000003"});
}

TEST_CASE("names that are not of checkpoints, links and files are not touched") {
  const ScratchFolder scratch, elsewhere;
  const std::vector<std::string> others = {"step-1",
                                           "step-000000001",
                                           "step-00000001x",
                                           "step-00000001.removed.old",
                                           "step-",
                                           "step--0000001",
                                           "step-99999999999999999999",
                                           "logs"};
  for (const std::string& name : others) fs::create_directory(scratch / name);
  scratch.file("step-00000002", "a file");
  elsewhere.file("file", "stays");
  fs::create_directory_symlink(elsewhere.path(), scratch / "step-00000003.unfinished");
  CHECK(onebit::list_checkpoints(scratch.path()).entries.empty());
  save(scratch.path(), {1, 1});
  CHECK(names_in(scratch.path()).size() == others.size() + 4);
  CHECK(contents_of(elsewhere / "file") == "stays");
  CHECK_THROWS_WITH_AS(save(scratch.path(), {2, 1}),
                       doctest::Contains("step-00000002: a checkpoint needs this name: move away what has it"), onebit::Error);
  CHECK_THROWS_WITH_AS(save(scratch.path(), {3, 1}), doctest::Contains("step-00000003.unfinished: cannot be made: File exists"),
                       onebit::Error);
  CHECK(contents_of(scratch / "step-00000002") == "a file");
  CHECK(contents_of(elsewhere / "file") == "stays");
}

TEST_CASE("each fault of a file has its own sentence") {
  const ScratchFolder scratch;
  save(scratch.path(), {5, 1});
  save(scratch.path(), {6, 2});
  const fs::path folder = scratch / "step-00000005", model = folder / "model.safetensors";
  const std::string whole = contents_of(model);
  const auto fault_with = [&](const std::string& bytes) {
    std::ofstream(model, std::ios::binary) << bytes;
    return error_text(folder);
  };
  CHECK(fault_with(whole).empty());
  const std::string size = std::to_string(whole.size());
  CHECK(fault_with(whole.substr(1)) ==
        model.string() + ": has " + std::to_string(whole.size() - 1) + " bytes, " + size + " were saved; it was cut short");
  CHECK(fault_with(whole + "x").find("; something was added to it") != std::string::npos);
  std::string changed = whole;
  changed.back() ^= 1;
  CHECK(fault_with(changed) == model.string() + ": bytes 8192 to " + std::to_string(whole.size() - 1) +
                                   " are not those that were saved; it is damaged, or of another checkpoint");
  CHECK(fault_with(contents_of(scratch / "step-00000006/model.safetensors")) ==
        model.string() +
            ": belongs to a checkpoint of step 6, the others here to one of step 5; files of two checkpoints are mixed");
  fs::remove(model);
  CHECK(error_text(folder) == model.string() + ": is missing, so the checkpoint is incomplete");
  fs::create_directory(model);
  CHECK(error_text(folder) == model.string() + ": is not a regular file");
  fs::remove(folder / "checkpoint.json");
  CHECK(error_text(folder) == folder.string() + ": is no checkpoint: there is no checkpoint.json in it");
  CHECK(error_text(scratch / "none").find("is no checkpoint") != std::string::npos);
}

TEST_CASE("ranks that share the work of verifying find every fault") {
  const ScratchFolder scratch;
  const fs::path folder = save(scratch.path(), {5, 1, 3}).folder;
  const onebit::CheckpointRecord record = onebit::read_record(folder);
  for (const onebit::RecordedFile& file : record.files) {
    const std::string whole = contents_of(folder / file.name);
    for (const onebit::HashedPiece& piece : file.pieces) {
      std::string changed = whole;
      changed[piece.begin] ^= 0x40;
      std::ofstream(folder / file.name, std::ios::binary) << changed;
      for (const uint64_t parts : {1, 2, 5, 50}) {
        int found = 0;
        for (uint64_t part = 0; part < parts; ++part) found += onebit::find_fault(folder, record, part, parts).empty() ? 0 : 1;
        CHECK_MESSAGE(found == 1, file.name, " from ", piece.begin, " in ", parts, " parts");
      }
    }
    std::ofstream(folder / file.name, std::ios::binary) << whole;
  }
  CHECK(onebit::find_fault(folder, record).empty());
}

TEST_CASE("a root that cannot be written is an error in words, and what is there stays") {
  const ScratchFolder scratch;
  scratch.file("file", "");
  CHECK_THROWS_WITH_AS(save(scratch / "file", {1, 1}), doctest::Contains("file: is not a folder, and one is expected"),
                       onebit::Error);
  CHECK_THROWS_WITH_AS(save(scratch / "file/below", {1, 1}), doctest::Contains("Not a directory"), onebit::Error);
  CHECK_THROWS_WITH_AS(save("", {1, 1}), doctest::Contains("cannot be examined: No such file"), onebit::Error);
  CHECK_THROWS_WITH_AS(save("/proc/checkpoints", {1, 1}), doctest::Contains("/proc/checkpoints: cannot be made: "),
                       onebit::Error);
  CHECK_THROWS_WITH_AS(onebit::list_checkpoints(scratch / "file"), doctest::Contains("cannot be searched for checkpoints"),
                       onebit::Error);
}

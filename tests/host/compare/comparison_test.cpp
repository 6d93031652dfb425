// SPDX-License-Identifier: Apache-2.0
// Summaries and their comparison: the figures, and files that are no summaries.
#include "compare/comparison.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "onebit/error.hpp"
#include "support/scratch_folder.hpp"
#include "training/run_folder.hpp"
#include "training/summary.hpp"

using onebit::host::aligned_text;
using onebit::host::comparison_of;
using onebit::host::Ending;
using onebit::host::markdown_text;
using onebit::host::read_summary;
using onebit::host::RunFigures;
using onebit::host::Summary;
using onebit::host::wire_bits;

namespace {

Summary example() {
  Summary s;
  s.config = "one";
  s.optimizer = "onebit_adam";
  s.communicator = "threads";
  s.final_test_accuracy = 0.89;
  s.final_test_loss = 0.35;
  s.final_train_loss = 0.3;
  s.train_seconds = 12.5;
  s.steps = 30;
  s.parameters = 1000;
  s.ranks = 4;
  s.traffic.dense_bytes = 10 * 6000;       // 32 bits: 4 bytes x 1000 x 2 x 3 / 4
  s.traffic.compressed_bytes = 20 * 1500;  // 8 bits
  s.traffic.agreement_bytes = 100;
  s.traffic.other_bytes = 7;
  s.traffic.dense_steps = 10;
  s.traffic.compressed_steps = 20;
  s.traffic.skipped_steps = 2;
  s.timings.dense = {10, 0.5, {0.01, 0.02, 0.03, 0.04, 2.0}, 2.7};
  s.timings.compressed = {20, 1.0, {0.02, 0.2, 0.1, 0.08, 0.05}, 1.5};
  return s;
}

// Runs of spaces as one: the figures count, not the width of the columns.
std::string squeezed(const std::string& text) {
  std::string out;
  for (const char c : text)
    if (c != ' ' || out.empty() || out.back() != ' ') out += c;
  return out;
}

}  // namespace

TEST_CASE("wire bits a parameter and direction") {
  CHECK(wire_bits(8000, 1, 1000, 2) == doctest::Approx(64));  // one direction is (n - 1) / n of the parameters
  CHECK(wire_bits(6000, 1, 1000, 4) == doctest::Approx(32));
  CHECK(wire_bits(3000, 1, 1000, 8, 2) == doctest::Approx(32));  // four machines of two ranks, which share the sending
  CHECK(!wire_bits(3000, 1, 1000, 4, 4));                        // and one machine, which sends nothing
  CHECK(!wire_bits(0, 0, 1000, 2));
  CHECK(!wire_bits(0, 5, 1000, 1));
}

TEST_CASE("a summary has the promised keys and figures") {
  const auto json = nlohmann::json::parse(to_json(example()));
  CHECK(json["final_test_accuracy"] == 0.89);
  CHECK(json["final_test_loss"] == 0.35);
  CHECK(json["final_train_loss"] == 0.3);
  CHECK(json["train_seconds"] == 12.5);
  CHECK(json["steps"] == 30);
  CHECK(json["skipped_steps"] == 2);
  CHECK(json["ranks"] == 4);
  CHECK(json["parameters"] == 1000);
  CHECK(json["bytes_sent_per_rank"] == 60000 + 30000 + 107);
  CHECK(json["wire_bits_per_parameter"]["dense"].get<double>() == doctest::Approx(32));
  CHECK(json["wire_bits_per_parameter"]["compressed"].get<double>() == doctest::Approx(8));
  CHECK(json["compressor"].is_null());
  CHECK(json["status"] == "completed");
  CHECK(json["reason"].is_null());
  Summary interrupted = example();
  interrupted.ending = Ending::interrupted;
  interrupted.reason = "SIGINT";
  interrupted.final_test_accuracy.reset();
  interrupted.final_test_loss.reset();
  interrupted.traffic.compressed_steps = 0;
  const auto other = nlohmann::json::parse(to_json(interrupted));
  CHECK(other["status"] == "interrupted");
  CHECK(other["reason"] == "SIGINT");
  CHECK(other["final_test_accuracy"].is_null());
  CHECK(other["final_test_loss"].is_null());
  CHECK(other["wire_bits_per_parameter"]["compressed"].is_null());
}

TEST_CASE("what is written is compared") {
  const ScratchFolder folder;
  onebit::host::write_whole(folder / "summary.json", to_json(example()));
  const RunFigures one = read_summary(folder / "summary.json");
  RunFigures dense = one;
  dense.name = "dense";
  dense.bytes_sent = 1.25e9;
  dense.compressed_bits.reset();
  dense.compressed_step.reset();
  const auto table = comparison_of({dense, one});
  const std::string text = squeezed(aligned_text(table)), markdown = markdown_text(table);
  for (const char* row :
       {" dense one\n", "test accuracy 89.00 % 89.00 %\n", "test loss 0.3500 0.3500\n", "bytes sent a rank 1.25 GB 90.1 kB\n",
        " fewer than dense - 13872.4x\n", " in the dense stage 32.000 32.000\n", " in the compressed stage - 8.000\n",
        " fewer than fp32 in that stage - 4.0x\n", "those bytes at 100 Mbit/s * 100.0 s 7.2 ms\n",
        "those bytes at 1 Gbit/s * 10.0 s 0.7 ms\n", "those bytes at 10 Gbit/s * 1.0 s 0.1 ms\n",
        " in the dense stage 50.0 + 10.0 + 200.0 50.0 + 10.0 + 200.0\n", " in the compressed stage - 50.0 + 20.0 + 2.5\n",
        "* arithmetic: bytes x 8 / rate, not a measurement\n"})
    CHECK_MESSAGE(text.find(row) != std::string::npos, std::string(row), "\n", text);
  CHECK(markdown.find("| test accuracy ") != std::string::npos);
  CHECK(markdown.find("-:|") != std::string::npos);
  CHECK(text.find("in local steps") == std::string::npos);
}

TEST_CASE("what no run has is left out of the comparison, what one has is not") {
  const ScratchFolder folder;
  Summary text = example();
  text.final_test_accuracy.reset();
  text.timings.local = {5, 0.5, {0.005, 0.005, 0, 0.01, 0}, 0.55};
  onebit::host::write_whole(folder / "text.json", to_json(text));
  auto old = nlohmann::json::parse(to_json(example()));  // as before there was a test loss, and local steps
  old.erase("final_test_loss");
  old["timings"].erase("local");
  folder.file("old.json", old.dump());
  const RunFigures a = read_summary(folder / "text.json"), b = read_summary(folder / "old.json");
  CHECK(aligned_text(comparison_of({a, a})).find("test accuracy") == std::string::npos);
  CHECK(aligned_text(comparison_of({b, b})).find("test loss") == std::string::npos);
  const std::string both = squeezed(aligned_text(comparison_of({a, b})));
  for (const char* row : {"test accuracy - 89.00 %\n", "test loss 0.3500 -\n", " in local steps 100.0 + 4.0 + 0.0 -\n"})
    CHECK_MESSAGE(both.find(row) != std::string::npos, std::string(row), "\n", both);
}

TEST_CASE("runs that failed are refused, those that were interrupted are marked") {
  const ScratchFolder folder;
  Summary failed = example();
  failed.ending = Ending::failed;
  failed.reason = "99 of 100 steps were skipped";
  const auto file = folder.file("failed.json", to_json(failed));
  CHECK_THROWS_WITH_AS(
      read_summary(file),
      (file.string() + ": this run failed, so there is nothing to compare: 99 of 100 steps were skipped").c_str(),
      onebit::Error);
  auto old = nlohmann::json::parse(to_json(example()));  // as before there was a status
  old.erase("status");
  CHECK(read_summary(folder.file("old.json", old.dump())).status == "completed");
  old["skipped_steps"] = 99;
  old["steps"] = 1;
  CHECK_THROWS_WITH_AS(read_summary(folder.file("old.json", old.dump())),
                       doctest::Contains("this run failed, so there is nothing to compare: more than half"), onebit::Error);
  Summary interrupted = example();
  interrupted.ending = Ending::interrupted;
  const RunFigures whole = read_summary(folder.file("whole.json", to_json(example())));
  const RunFigures part = read_summary(folder.file("part.json", to_json(interrupted)));
  const std::string text = squeezed(aligned_text(comparison_of({whole, part})));
  CHECK_MESSAGE(text.find("status completed interrupted\n") != std::string::npos, text);
  CHECK_MESSAGE(text.find(" fewer than one - -\n") != std::string::npos, text);
  CHECK(squeezed(aligned_text(comparison_of({whole, whole}))).find("status") == std::string::npos);
}

TEST_CASE("files that are not summaries") {
  const ScratchFolder folder;
  const auto refused = [&](const std::string& content, const char* part) {
    const auto file = folder.file("summary.json", content);
    CHECK_THROWS_WITH_AS(read_summary(file), doctest::Contains(part), onebit::Error);
  };
  CHECK_THROWS_WITH_AS(read_summary(folder / "none"), doctest::Contains("cannot be opened"), onebit::Error);
  refused("hello", "is not a JSON object");
  refused("[]", "is not a JSON object");
  refused("{}", "has no 'config'");
  refused(R"({"config":3})", "'config' is not text");
  auto json = nlohmann::json::parse(to_json(example()));
  auto timings = json;
  timings["timings"]["dense"].erase("wait");
  refused(timings.dump(), "has no 'wait'");
  timings.erase("timings");  // as in summaries of old
  CHECK(!read_summary(folder.file("old.json", timings.dump())).dense_step);
  json["steps"] = "many";
  refused(json.dump(), "'steps' is not a number");
  json["steps"] = nullptr;
  refused(json.dump(), "'steps' is null");
  json["steps"] = 3;
  json["wire_bits_per_parameter"] = 3;
  refused(json.dump(), "has no 'dense'");
}

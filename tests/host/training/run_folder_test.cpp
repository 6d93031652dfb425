// SPDX-License-Identifier: Apache-2.0
// The lines of metrics.jsonl of a run that goes on; what an earlier run left.
#include "training/run_folder.hpp"

#include <doctest/doctest.h>

#include "onebit/error.hpp"
#include "support/scratch_folder.hpp"

using onebit::host::MetricsMark;
using onebit::host::RunFolder;

TEST_CASE("metrics go on from a mark: what stood behind it is taken away") {
  const ScratchFolder folder;
  MetricsMark mark;
  {
    RunFolder first(folder.path());
    first.claim();
    first.add_metrics("one");
    first.add_metrics("two");
    mark = first.mark_metrics();
    first.add_metrics("three, which is after the checkpoint");
  }
  {
    RunFolder second(folder.path());
    second.claim(true);
    CHECK(second.cut_metrics(mark));
    second.add_metrics("four");
    CHECK(contents_of(folder / "metrics.jsonl") == "one\ntwo\nfour\n");
    mark = second.mark_metrics();
  }
  RunFolder third(folder.path());
  third.claim(true);
  CHECK(third.cut_metrics(mark));
  CHECK(contents_of(folder / "metrics.jsonl") == "one\ntwo\nfour\n");
}

TEST_CASE("metrics of another run, or less than there was, begin anew") {
  MetricsMark mark;
  mark.add("one\n");
  for (const char* found : {"", "on", "two\n", "One\nmore\n"}) {
    CAPTURE(found);
    const ScratchFolder folder;
    folder.file("metrics.jsonl", found);
    RunFolder run(folder.path());
    run.claim(true);
    CHECK(!run.cut_metrics(mark));
    run.add_metrics("three");
    CHECK(contents_of(folder / "metrics.jsonl") == "three\n");
  }
}

TEST_CASE("from the beginning there is nothing to keep") {
  const ScratchFolder folder;
  folder.file("metrics.jsonl", "one\n");
  RunFolder run(folder.path());
  run.claim(true);
  CHECK(contents_of(folder / "metrics.jsonl") == "one\n");
  CHECK(run.cut_metrics({}));
  CHECK(contents_of(folder / "metrics.jsonl").empty());
}

TEST_CASE("an earlier run's model is put aside as its summary is") {
  const ScratchFolder folder;
  folder.file("summary.json", "{}");
  folder.file("model.safetensors", "a model");
  RunFolder(folder.path()).put_aside();
  CHECK(!std::filesystem::exists(folder / "model.safetensors"));
  CHECK(contents_of(folder / "model.previous.safetensors") == "a model");
  CHECK(contents_of(folder / "summary.previous.json") == "{}");
}

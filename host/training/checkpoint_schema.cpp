// SPDX-License-Identifier: Apache-2.0
// What [checkpoint] may say.
#include "training/checkpoint_schema.hpp"

#include "onebit/options.hpp"

namespace onebit::host {

std::vector<const onebit_schema*> checkpoint_schema() {
  static const onebit_schema schemas[] = {
      text_option("folder", "\"\"", "",
                  "folder for the checkpoints of the run, which every machine must see, relative to the folder of its results "
                  "(--out); \"\": no checkpoints"),
      integer_option("every", "0", 0, 1e9, "steps between two checkpoints; 0: only at the end of the run, and on a signal"),
      integer_option("keep", "2", 1, 1e6, "number of checkpoints that stay; older ones are removed once a new one is complete"),
      boolean_option("async", "true",
                     "go on training while a checkpoint is written, from a copy that each rank makes of what it writes"),
      text_option("hash", "\"xxh3-128\"", "xxh3-128|sha256",
                  "what a checkpoint's files are verified with; sha256 is slower, and withstands forgery"),
      text_option("when_busy", "\"wait\"", "wait|skip",
                  "with async, when a checkpoint is due and the last one is still being written. wait: for that one; skip: "
                  "leave the new one out"),
      boolean_option("on_signal", "true", "save when the run is told to stop (SIGINT, SIGTERM), within train.grace"),
      text_option("on_error", "\"continue\"", "continue|end",
                  "when a checkpoint can't be saved. continue: warn and go on training; end: end the run with the error"),
  };
  std::vector<const onebit_schema*> pointers;
  for (const onebit_schema& schema : schemas) pointers.push_back(&schema);
  return pointers;
}

CheckpointSettings::CheckpointSettings(const ResolvedTable& table) {
  const Options options = table.options();
  folder = options.text("folder");
  every = options.integer("every");
  keep = static_cast<int>(options.integer("keep"));
  async = options.boolean("async");
  hash = options.text("hash");
  skip_if_busy = options.text("when_busy") == "skip";
  on_signal = options.boolean("on_signal");
  end_on_error = options.text("on_error") == "end";
  common = std::string("saves = ") + (folder.empty() ? "false" : "true") + "\n" + table.to_toml_without({"folder"});
}

}  // namespace onebit::host

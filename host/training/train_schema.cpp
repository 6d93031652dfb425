// SPDX-License-Identifier: Apache-2.0
// What [train] may say.
#include "training/train_schema.hpp"

#include <map>
#include <string_view>

#include "launch/ranks.hpp"
#include "onebit/options.hpp"
#include "training/models.hpp"

namespace onebit::host {
namespace {

Schedule schedule_of(const Options& options) {
  static const std::map<std::string_view, Schedule::Kind> kinds = {{"constant", Schedule::Kind::constant},
                                                                   {"linear", Schedule::Kind::linear},
                                                                   {"cosine", Schedule::Kind::cosine},
                                                                   {"exponential", Schedule::Kind::exponential}};
  return {kinds.at(options.text("schedule")), options.integer("warmup_steps"), options.integer("decay_steps"),
          options.real("decay_factor"), options.real("final_share")};
}

}  // namespace

std::vector<const onebit_schema*> train_schema() {
  static const onebit_schema schemas[] = {
      text_option("model", "\"cnn\"", "cnn|mlp|gpt",
                  "the model; cnn: two 3x3 convolutions (16, 32), two linear layers (64, 10); mlp: 784-4096-5200-10 with ReLU, "
                  "24.6 million parameters; gpt: a transformer on characters, 4 layers of width 256, 3.2 million"),
      text_option("data", "\"fashion_mnist\"", "fashion_mnist|fortunes",
                  "the data set: fashion_mnist for cnn and mlp, or fortunes, English text, for gpt"),
      text_option("data_folder", "\"\"", "",
                  "the folder with the data set's files, relative to this file; \"\": where Debian's package puts them"),
      integer_option("ranks", "2", 1, kMostProcesses,
                     "ranks: threads of this process (up to 64) or, with communicator mpi, processes; --ranks overrides it"),
      integer_option("epochs", "4", 1, 10000, "passes over the training set"),
      integer_option("batch", "64", 1, 65536,
                     "samples of a micro-batch, which a rank takes at once: images, or runs of 64 characters"),
      integer_option("accumulate", "1", 1, 65536, "micro-batches of a rank's step, whose gradients are averaged"),
      integer_option("samples", "0", 0, 1e9, "how many of the training set's samples to use; 0: all"),
      text_option("schedule", "\"linear\"", "constant|linear|cosine|exponential",
                  "how optimizer.lr goes after the warm-up: constant; linear or cosine, falling from the first step to "
                  "final_share of it after the last; exponential, times decay_factor every decay_steps steps"),
      integer_option("warmup_steps", "0", 0, 1e9, "steps in which the learning rate rises from optimizer.lr / warmup_steps"),
      real_option("final_share", "0.0", 0, 1, "of optimizer.lr, what linear and cosine fall to"),
      integer_option("decay_steps", "1000", 1, 1e9, "of schedule exponential"),
      real_option("decay_factor", "0.5", 0, 1, "of schedule exponential"),
      integer_option("evaluate_every", "0", 0, 1e9,
                     "steps from one evaluation on the test set to the next; 0: after each epoch alone"),
      integer_option("seed", "1", 0, 4294967295.0, "of the initial model and of the order of the data"),
      integer_option("log_every", "100", 1, 1e6, "steps from one line of the log to the next"),
  };
  std::vector<const onebit_schema*> pointers;
  for (const onebit_schema& schema : schemas) pointers.push_back(&schema);
  return pointers;
}

TrainSettings::TrainSettings(const Configuration& configuration) {
  const Options options = configuration.train.options();
  model = options.text("model");
  data = options.text("data");
  data_folder = options.text("data_folder");
  ranks = static_cast<int>(options.integer("ranks"));
  epochs = options.integer("epochs");
  batch = options.integer("batch");
  accumulate = options.integer("accumulate");
  samples = options.integer("samples");
  schedule = schedule_of(options);
  evaluate_every = options.integer("evaluate_every");
  seed = static_cast<uint64_t>(options.integer("seed"));
  log_every = options.integer("log_every");
  common = configuration.train.to_toml_without({"data_folder", "ranks"});
  require_fit(model, data);
}

}  // namespace onebit::host

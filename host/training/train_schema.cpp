// SPDX-License-Identifier: Apache-2.0
// What [train] may say.
#include "training/train_schema.hpp"

#include <map>
#include <string_view>

#include "launch/ranks.hpp"
#include "models/models.hpp"
#include "onebit/error.hpp"
#include "onebit/options.hpp"

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
      text_option(
          "model", "\"cnn\"", "cnn|mlp|mlp_deep|resnet|gpt|lstm",
          "model. cnn: two 3x3 convolutions (16 and 32 channels), two linear layers (64 and 10 outputs); mlp: multilayer "
          "perceptron, 784-4096-5200-10 with ReLU, 24.6 million parameters; mlp_deep: 784, 13 layers of 1408, 10, 24.9 million "
          "parameters; resnet: residual network with batch normalisation, "
          "9 convolutions, 78 thousand parameters; gpt: character-level transformer, 4 layers of width 256, 3.2 million "
          "parameters; lstm: word-level recurrent network, 16,384 words, 2.1 million parameters"),
      text_option(
          "data", "\"fashion_mnist\"", "fashion_mnist|fortunes|fortunes_late",
          "data set: fashion_mnist, images, for cnn, mlp, mlp_deep and resnet; fortunes, English text, for gpt and lstm; "
          "fortunes_late, the same with capital letters in the second half of the epochs alone, for gpt"),
      text_option("data_folder", "\"\"", "",
                  "folder with the files of the data set, relative to this file; \"\": that of the Debian package"),
      integer_option("ranks", "2", 1, kMostProcesses,
                     "number of ranks: threads of this process (up to 64) or, with communicator tcp or mpi, processes; --ranks "
                     "overrides it"),
      integer_option("epochs", "4", 1, 10000, "number of passes over the training set"),
      integer_option(
          "batch", "64", 1, 65536,
          "samples in a micro-batch, which each rank processes at once: images, or sequences of 64 characters or 32 words"),
      integer_option("accumulate", "1", 1, 65536,
                     "gradient accumulation: micro-batches of each rank per step, whose gradients are averaged"),
      real_option(
          "label_smoothing", "0.0", 0, 0.999999,
          "label smoothing: share of what is trained for that all classes have alike, instead of the right one; the training "
          "loss that is told has it, the test loss has not; 0: none"),
      integer_option("samples", "0", 0, 1e9, "number of samples of the training set to use; 0: all"),
      text_option(
          "schedule", "\"linear\"", "constant|linear|cosine|exponential",
          "learning rate schedule after the warm-up. constant: stays at optimizer.lr; linear, cosine: falls from optimizer.lr "
          "to final_share * optimizer.lr; exponential: is multiplied by decay_factor every decay_steps steps"),
      integer_option("warmup_steps", "0", 0, 1e9,
                     "warm-up: steps in which the learning rate rises linearly to optimizer.lr; 0: none"),
      real_option("final_share", "0.0", 0, 1,
                  "schedules linear and cosine: learning rate after the last step, as a fraction of optimizer.lr"),
      integer_option("decay_steps", "1000", 1, 1e9, "schedule exponential: steps between two decays of the learning rate"),
      real_option("decay_factor", "0.5", 0, 1, "schedule exponential: what each decay multiplies the learning rate by"),
      integer_option(
          "evaluate_every", "0", 0, 1e9,
          "steps between two evaluations on the test set, besides the one after each epoch; 0: only after each epoch"),
      integer_option("seed", "1", 0, 4294967295.0, "random seed of the initial model and of the order of the data"),
      integer_option("log_every", "100", 1, 1e6, "steps between two lines of the log"),
      real_option("grace", "20", 0, 1e6,
                  "seconds that a run told to stop (SIGINT, SIGTERM) has to come to the end of a step, before its process ends "
                  "at once, without a summary; 0: no limit"),
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
  label_smoothing = options.real("label_smoothing");
  samples = options.integer("samples");
  schedule = schedule_of(options);
  evaluate_every = options.integer("evaluate_every");
  seed = static_cast<uint64_t>(options.integer("seed"));
  log_every = options.integer("log_every");
  grace = options.real("grace");
  common = configuration.train.to_toml_without({"data_folder", "ranks", "grace"});
  require_fit(model, data);
  if (data == "fortunes_late" && epochs < 2)
    throw Error(Code::invalid_argument, "train.data = \"fortunes_late\" has two halves: set train.epochs to 2 or more");
}

}  // namespace onebit::host

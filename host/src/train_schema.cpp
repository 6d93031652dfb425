// What [train] may say.
#include "train_schema.hpp"

#include "onebit/options.hpp"

namespace onebit::host {

std::vector<const onebit_schema*> train_schema() {
  static const onebit_schema schemas[] = {
      text_option("model", "\"cnn\"", "cnn|mlp",
                  "the model; cnn: two 3x3 convolutions (16, 32), two linear layers (64, 10); mlp: 784-4096-5200-10 with ReLU, "
                  "24.6 million parameters"),
      text_option("data", "\"fashion_mnist\"", "fashion_mnist", "the data set"),
      text_option("data_folder", "\"/usr/share/datasets/fashion-mnist\"", "",
                  "the folder with the data set's files, relative to this file"),
      integer_option("ranks", "2", 1, kMostProcesses,
                     "ranks: threads of this process (up to 64) or, with communicator mpi, processes; --ranks overrides it"),
      integer_option("epochs", "4", 1, 10000, "passes over the training set"),
      integer_option("batch", "64", 1, 65536, "samples a rank takes in one step"),
      integer_option("samples", "0", 0, 1e9, "how many of the training set's samples to use; 0: all"),
      text_option("schedule", "\"linear\"", "constant|linear",
                  "how optimizer.lr goes: constant, or linear, falling from the first step to 0 after the last"),
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
  samples = options.integer("samples");
  schedule = options.text("schedule");
  seed = static_cast<uint64_t>(options.integer("seed"));
  log_every = options.integer("log_every");
  common = configuration.train.to_toml_without({"data_folder", "ranks"});
}

}  // namespace onebit::host

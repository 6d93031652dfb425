// SPDX-License-Identifier: Apache-2.0
// What training and evaluation see of a data set, of images or of text: samples by number, dealt as batches.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data_sets/random.hpp"

namespace onebit::host {

// Samples as a model takes them, with the answers that they ask for; in memory of the feed it comes from.
struct Batch {
  int64_t count = 0;                 // samples
  int64_t answers = 1;               // of a sample
  const int64_t* targets = nullptr;  // count x answers, each a class
  // One of the two:
  const float* pixels = nullptr;     // images: count x rows x columns
  const int64_t* symbols = nullptr;  // text: count x answers, for every symbol is to foretell the next
  int64_t rows = 0, columns = 0;     // of an image
};

// One rank's way into samples that all ranks of a process share.
class Feed {
 public:
  virtual ~Feed() = default;
  // The samples of these numbers, from 0 to Samples::count() - 1; good until the next call.
  virtual Batch take(const std::vector<int64_t>& samples) = 0;
  // Before each epoch of training, with random numbers of that epoch, the same on every rank: what a number means may change.
  // early: it is of the first half of the epochs.
  virtual void begin_epoch(Random, bool early) { static_cast<void>(early); }
};

// Immutable; read by several threads at once.
class Samples {
 public:
  virtual ~Samples() = default;
  virtual int64_t count() const = 0;
  // How many answers a sample asks for.
  virtual int64_t answers() const = 0;
  // These samples outlive it.
  virtual std::unique_ptr<Feed> feed() const = 0;
};

// What samples are, and what a model takes.
enum class SampleKind { images, characters, words };

// Classes in bands, by how often the training set has them, so that the loss on the test set can be told of each.
struct Bands {
  std::vector<std::string> names;
  std::vector<uint8_t> of_class;  // the band of each class
};

struct DataSet {
  std::unique_ptr<const Samples> train, test;
  bool labelled = true;  // each sample has one right answer, so that the share of right ones, the accuracy, says something
  Bands bands = {};      // of text; without names where there are none
};

}  // namespace onebit::host

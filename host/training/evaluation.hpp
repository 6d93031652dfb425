// SPDX-License-Identifier: Apache-2.0
// How good the model is on the data held out, the ranks sharing the work.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "data_sets/data_set.hpp"
#include "models/models.hpp"
#include "onebit/session.hpp"

namespace onebit::host {

using LossByBand = std::map<std::string, double>;  // mean; of a band without answers none

struct TestResult {
  double loss = 0;                 // mean cross entropy in nats of an answer: an image's label, a character, a word
  std::optional<double> accuracy;  // share of right answers; none where samples are not labelled
  // Of text with bands: the loss by the band of the target, and by that of the symbol after which it comes.
  LossByBand by_target = {}, by_input = {};
};

// By the parameters that the model has now, without a session.
TestResult evaluate_alone(const DataSet& data, Model& model);

class Evaluation {
 public:
  // All three outlive it.
  Evaluation(const DataSet& data, Model& model, Session& session);

  // Collective, between steps. Looks at the parameters that all ranks share, and leaves the run as it was.
  TestResult run();

 private:
  const DataSet& data_;
  Model& model_;
  Session& session_;
  const std::unique_ptr<Feed> feed_;
};

}  // namespace onebit::host

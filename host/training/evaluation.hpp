// SPDX-License-Identifier: Apache-2.0
// How good the model is on the data held out, the ranks sharing the work.
#pragma once

#include <memory>
#include <optional>

#include "data_sets/data_set.hpp"
#include "onebit/session.hpp"
#include "training/models.hpp"

namespace onebit::host {

struct TestResult {
  double loss = 0;                 // mean cross entropy in nats of an answer: an image's label, a character
  std::optional<double> accuracy;  // share of right answers; none where samples are not labelled
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
  Model& model_;
  Session& session_;
  const bool labelled_;
  const int64_t count_, answers_;
  const std::unique_ptr<Feed> feed_;
};

}  // namespace onebit::host

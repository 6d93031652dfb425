// SPDX-License-Identifier: Apache-2.0
// Models in files: the same values again, and files of other models.
#include "training/model_file.hpp"

#include <doctest/doctest.h>

#include "onebit/error.hpp"
#include "onebit/safetensors.hpp"
#include "regression.hpp"
#include "support/scratch_folder.hpp"

using onebit::SafetensorsReader;
using onebit::SafetensorsWriter;
using onebit::test::Regression;

namespace {

using onebit::host::read_model;
using onebit::host::write_model;

std::vector<float> counting(size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 1.0f);
  return values;
}

}  // namespace

TEST_CASE("a model is written and read again, by name and row by row") {
  const ScratchFolder folder;
  Regression model{Regression::Hook()}, other{Regression::Hook()};
  model.write(0, counting(Regression::kElements).data());
  write_model(folder / "m", model);
  const SafetensorsReader reader(folder / "m");
  CHECK(reader.metadata().at("format") == "pt");
  CHECK(reader.at("weights").shape == std::vector<int64_t>{10, 784});
  CHECK(reader.read("weights") == counting(Regression::kElements));
  read_model(folder / "m", other);
  CHECK(other.weights() == counting(Regression::kElements));
}

TEST_CASE("a file of another model is refused by the first tensor that differs, and changes nothing") {
  const ScratchFolder folder;
  const auto refused = [&](const std::vector<SafetensorsWriter::Tensor>& tensors, const char* part) {
    SafetensorsWriter writer(folder / "m", tensors);
    for (size_t i = 0; i < tensors.size(); ++i) writer.write(i, counting(Regression::kElements).data());
    writer.commit();
    Regression model{Regression::Hook()};
    CHECK_THROWS_WITH_AS(read_model(folder / "m", model), doctest::Contains(part), onebit::Error);
    CHECK(model.weights() == std::vector<float>(Regression::kElements));
  };
  refused({{"bias", {10}}}, "is of another model: it lacks the tensor 'weights'");
  refused({{"weights", {784, 10}}}, "its tensor 'weights' has the shape [784, 10], expected [10, 784]");
  refused({{"weights", {10, 784}}, {"bias", {10}}}, "it has a tensor 'bias', which the model has not");
  Regression model{Regression::Hook()};
  CHECK_THROWS_AS(read_model(folder / "none", model), onebit::Error);
}

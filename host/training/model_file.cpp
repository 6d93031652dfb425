// SPDX-License-Identifier: Apache-2.0
// Models in files.
#include "training/model_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "onebit/error.hpp"
#include "onebit/safetensors.hpp"

namespace onebit::host {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t extent : shape) text += (text.empty() ? "" : ", ") + std::to_string(extent);
  return "[" + text + "]";
}

[[noreturn]] void refuse_file(const std::filesystem::path& file, const std::string& why) {
  throw Error(Code::invalid_argument, file.string() + " is of another model: " + why);
}

void require_tensor(const std::filesystem::path& file, const SafetensorsReader& reader, const Parameter& parameter) {
  const SafetensorsReader::Entry* entry = reader.find(parameter.name);
  if (entry == nullptr) refuse_file(file, "it lacks the tensor '" + parameter.name + "'");
  if (entry->shape != parameter.shape)
    refuse_file(file, fmt::format("its tensor '{}' has the shape {}, expected {}", parameter.name, shape_text(entry->shape),
                                  shape_text(parameter.shape)));
  if (!SafetensorsReader::reads(entry->dtype))
    refuse_file(file, fmt::format("its tensor '{}' is {}, expected F32", parameter.name, entry->dtype));
}

void require_no_more(const std::filesystem::path& file, const SafetensorsReader& reader,
                     const std::vector<Parameter>& parameters) {
  for (const SafetensorsReader::Entry& entry : reader.entries())
    if (std::none_of(parameters.begin(), parameters.end(), [&](const Parameter& p) { return p.name == entry.name; }))
      refuse_file(file, "it has a tensor '" + entry.name + "', which the model has not");
}

}  // namespace

void write_model(const std::filesystem::path& file, Model& model) {
  const std::vector<Parameter> parameters = model.parameters();
  std::vector<SafetensorsWriter::Tensor> tensors;
  for (const Parameter& parameter : parameters) tensors.push_back({parameter.name, parameter.shape});
  SafetensorsWriter writer(file, tensors, {{"format", "pt"}});  // which transformers asks for
  std::vector<float> values;
  for (size_t i = 0; i < parameters.size(); ++i) {
    values.resize(static_cast<size_t>(elements_of(parameters[i])));
    model.read(i, values.data());
    writer.write(i, values.data());
  }
  writer.commit();
}

void read_model(const std::filesystem::path& file, Model& model) {
  const std::vector<Parameter> parameters = model.parameters();
  const SafetensorsReader reader(file);
  for (const Parameter& parameter : parameters) require_tensor(file, reader, parameter);
  require_no_more(file, reader, parameters);
  for (size_t i = 0; i < parameters.size(); ++i) model.write(i, reader.read(parameters[i].name).data());
}

}  // namespace onebit::host

// SPDX-License-Identifier: Apache-2.0
// Key by key, by the tables of deepspeed_keys.hpp.
#include "convert/deepspeed.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <nlohmann/json.hpp>

#include "convert/deepspeed_keys.hpp"
#include "onebit/error.hpp"

namespace onebit::host {
namespace {

using Json = nlohmann::ordered_json;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// A value as a comment shows it: one line, not too long, control characters escaped by JSON.
std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  constexpr size_t most = 80;
  if (text.size() > most) text = text.substr(0, most) + "...";
  return text;
}

bool fits(const Json& value, Takes takes) {
  switch (takes) {
    case Takes::number:
      return value.is_number();
    case Takes::whole:
      return value.is_number() && std::fabs(value.get<double>()) < 1e15 &&
             std::floor(value.get<double>()) == value.get<double>();
    case Takes::pair:
      return value.is_array() && value.size() == 2 && value[0].is_number() && value[1].is_number();
    case Takes::truth:
      return value.is_boolean();
    case Takes::nothing:
      return true;
  }
  return false;
}
const char* expected(Takes takes) {
  return takes == Takes::number  ? "a number"
         : takes == Takes::whole ? "a whole number"
         : takes == Takes::pair  ? "two numbers"
                                 : "true or false";
}
std::string toml(const Json& value, Takes takes) {
  return takes == Takes::whole ? std::to_string(value.get<int64_t>()) : value.dump();
}

bool has_word(std::string_view words, std::string_view word) {
  for (size_t begin = 0; begin < words.size();) {
    const size_t end = std::min(words.find(' ', begin), words.size());
    if (words.substr(begin, end - begin) == word) return true;
    begin = end + 1;
  }
  return words.empty();
}

class Conversion {
 public:
  Conversion(const Json& config, std::string name) : config_(config), name_(std::move(name)) {}

  std::string text() {
    const Json& optimizer = object_at(config_, "optimizer");
    const OptimizerName& chosen = optimizer_named(optimizer);
    const Json parameters = optimizer.contains("params") ? object_at(optimizer, "params") : Json::object();
    text_ = "# From " + shown(name_) +
            ", a configuration of DeepSpeed. Keys that have no counterpart are comments, with the reason.\n";
    text_ += "\n[optimizer]\nplugin = \"" + std::string(chosen.ours) + "\"\n";
    if (chosen.theirs == "adam" && parameters.contains("adam_w_mode") && parameters["adam_w_mode"] == false) l2_ = true;
    for (const auto& [key, value] : parameters.items()) add_parameter(chosen, key, value);
    if (chosen.compressed) {
      text_ += "# As in the papers and in DeepSpeed: message = \"momentum\", variance_floor = 0, clamp = 0, refresh = 0,\n";
      text_ += "# bias_correction = false; plugins/algorithms.md shows how that learns.\n";
      text_ += "\n[compressor]\nplugin = \"onebit\"\n";
    }
    add_communicator(parameters);
    add_session();
    add_rest();
    return text_;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const { throw Error(Code::invalid_argument, name_ + ": " + what); }

  const Json& object_at(const Json& in, const char* key) const {
    if (!in.contains(key)) refuse("expected a key \"" + std::string(key) + "\" with an object, found none");
    const Json& found = in[key];
    if (!found.is_object()) refuse("expected an object for \"" + std::string(key) + "\", found " + shown(found));
    return found;
  }

  const OptimizerName& optimizer_named(const Json& optimizer) const {
    const Json type = optimizer.contains("type") ? optimizer["type"] : Json();
    for (const OptimizerName& known : kOptimizerNames)
      if (type.is_string() && lower(type.get<std::string>()) == known.theirs) return known;
    refuse("expected one of " + deepspeed_optimizers() + " for optimizer.type, found " + shown(type));
  }

  void comment(const std::string& key, const Json& value, std::string_view why) {
    text_ += "# " + shown(key) + ": " + shown(value) + ": " + std::string(why) + "\n";
  }

  void add_parameter(const OptimizerName& chosen, const std::string& key, const Json& value) {
    const auto known = std::find_if(kParameterKeys.begin(), kParameterKeys.end(), [&](const ParameterKey& one) {
      return one.theirs == key && has_word(one.of, chosen.ours);
    });
    if (known == kParameterKeys.end())
      return comment("optimizer.params." + key, value, std::string(chosen.ours) + " has nothing like it");
    if (key == "weight_decay" && l2_)
      return comment("optimizer.params." + key, value,
                     "with adam_w_mode = false it is added to gradients, which is not here: decoupled is");
    if (known->ours.empty()) return comment("optimizer.params." + key, value, known->note);
    if (value == "auto") return comment("optimizer.params." + key, value, "filled in by Hugging Face's Trainer: set it here");
    if (!fits(value, known->takes))
      refuse("expected " + std::string(expected(known->takes)) + " for optimizer.params." + key + ", found " + shown(value));
    text_ += std::string(known->ours) + " = " + toml(value, known->takes) + "\n";
  }

  void add_communicator(const Json& parameters) {
    const Json backend = parameters.contains("comm_backend_name") ? parameters["comm_backend_name"] : Json("nccl");
    text_ += "\n[communicator]\n";
    if (backend == "mpi") {
      text_ += "plugin = \"mpi\"             # under mpirun; \"tcp\" needs no MPI\n";
    } else {
      text_ += "plugin = \"nccl\"            # on CPUs \"tcp\"\n";
      if (backend != "nccl") comment("optimizer.params.comm_backend_name", backend, "there are tcp, nccl and mpi");
      on_gpus_ = true;
    }
  }

  void add_session() {
    std::string options;
    if (on_gpus_) options += "device = \"cuda\"            # on CPUs \"cpu\"\n";
    if (config_.contains("gradient_clipping")) {
      const Json& clip = config_["gradient_clipping"];
      if (clip == "auto")
        options += "# \"gradient_clipping\": \"auto\": filled in by Hugging Face's Trainer: set clip_norm\n";
      else if (!clip.is_number())
        refuse("expected a number for gradient_clipping, found " + shown(clip));
      else
        options += "clip_norm = " + clip.dump() +
                   "            # by the norm over all ranks; with 1 bit DeepSpeed clips by each rank's own\n";
    }
    if (!options.empty()) text_ += "\n[session]\n" + options;
    add_data_type();
  }

  void add_data_type() {
    if (!config_.contains("communication_data_type")) return;
    const Json& type = config_["communication_data_type"];
    const bool known = type == "fp32" || type == "fp16" || type == "bf16";
    if (known)
      text_ += "\n[exchange]\ndense_dtype = " + type.dump() + "        # of dense rounds\n";
    else
      comment("communication_data_type", type, "exchange.dense_dtype is \"fp32\", \"fp16\" or \"bf16\"");
  }

  void add_rest() {
    text_ += '\n';
    for (const auto& [key, value] : config_.items())
      if (key != "optimizer" && key != "gradient_clipping" && key != "communication_data_type") add_other(key, value);
  }
  void add_other(const std::string& key, const Json& value) {
    const auto known =
        std::find_if(kOtherKeys.begin(), kOtherKeys.end(), [&](const OtherKey& one) { return one.theirs == key; });
    comment(key, value, known == kOtherKeys.end() ? "onebit has nothing like it" : known->note);
  }

  const Json& config_;
  const std::string name_;
  std::string text_;
  bool on_gpus_ = false, l2_ = false;
};

// Where in a text a byte is, for people.
std::string place_of(const std::string& text, size_t byte) {
  const auto end = text.begin() + static_cast<std::ptrdiff_t>(std::min(byte, text.size()));
  const auto line = std::count(text.begin(), end, '\n') + 1;
  const auto begin = std::find(std::make_reverse_iterator(end), text.rend(), '\n').base();
  return std::to_string(line) + ":" + std::to_string(std::max<std::ptrdiff_t>(end - begin, 1));
}

}  // namespace

std::string deepspeed_optimizers() {
  std::string names;
  for (const OptimizerName& one : kOptimizerNames) names += (names.empty() ? "" : ", ") + std::string(one.shown);
  return names;
}

std::string manifest_of_deepspeed(const std::string& json, const std::string& name) {
  constexpr int deepest = 64;  // what is in a comment is written by recursion
  const auto limit = [&](int depth, Json::parse_event_t, const Json&) {
    if (depth > deepest)
      throw Error(Code::invalid_argument,
                  name + ": expected objects and arrays in at most " + std::to_string(deepest) + " others, found more");
    return true;
  };
  Json config;
  try {
    config = Json::parse(json, limit);
  } catch (const Json::parse_error& e) {
    throw Error(Code::invalid_argument, name + ":" + place_of(json, e.byte) + ": not valid JSON: " + e.what());
  } catch (const Json::exception& e) {
    throw Error(Code::invalid_argument, name + ": not valid JSON: " + e.what());
  }
  if (!config.is_object()) throw Error(Code::invalid_argument, name + ": expected an object, found " + shown(config));
  return Conversion(config, name).text();
}

}  // namespace onebit::host

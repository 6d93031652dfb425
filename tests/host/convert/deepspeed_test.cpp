// SPDX-License-Identifier: Apache-2.0
// Configurations of DeepSpeed, in the forms in which they occur in public: each becomes a manifest that is valid.
#include "convert/deepspeed.hpp"

#include <doctest/doctest.h>

#include <sstream>
#include <string>

#include "support/error_text.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"

using onebit::host::manifest_of_deepspeed;
using namespace onebit::test;

namespace {

// Of the options that a manifest sets, all lines that are no comment; the manifest must be valid here, without a GPU.
std::string options_of(const std::string& json) {
  std::string text = manifest_of_deepspeed(json, "ds_config.json"), options;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    line = line.substr(0, line.find(" #"));
    while (!line.empty() && line.back() == ' ') line.pop_back();
    if (!line.empty() && line[0] != '#') options += line + "\n";
  }
  const onebit::Manifest manifest =
      onebit::Manifest::parse(text, "converted", ".", {"communicator.plugin=threads", "session.device=cpu"});
  CHECK(onebit::Configuration(plugins(), manifest).to_toml() != "");
  return options;
}
std::string refused(const std::string& json) {
  return error_of([&] { manifest_of_deepspeed(json, "ds_config.json"); });
}
void check_says(const std::string& json, const std::string& line) {
  const std::string text = manifest_of_deepspeed(json, "ds_config.json");
  CHECK_MESSAGE(text.find(line) != std::string::npos, text);
}

}  // namespace

TEST_CASE("1-bit Adam, as for BERT: fp16, clipping, batches") {
  CHECK(options_of(R"({
    "train_batch_size": 4096, "train_micro_batch_size_per_gpu": 64, "steps_per_print": 1000,
    "optimizer": {"type": "OneBitAdam", "params": {"lr": 4e-4, "freeze_step": 23000, "cuda_aware": false,
      "comm_backend_name": "nccl", "weight_decay": 0.01, "bias_correction": false, "betas": [0.9, 0.999], "eps": 1e-8}},
    "gradient_clipping": 1.0, "fp16": {"enabled": true, "loss_scale": 0, "initial_scale_power": 16}})") ==
        "[optimizer]\nplugin = \"onebit_adam\"\nlr = 0.0004\nfreeze_step = 23000\nweight_decay = 0.01\nbetas = [0.9,0.999]\n"
        "eps = 1e-08\n[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"nccl\"\n[session]\ndevice = \"cuda\"\n"
        "clip_norm = 1.0\n");
}

TEST_CASE("0/1 Adam and 1-bit LAMB with all their parameters, over MPI") {
  CHECK(
      options_of(R"({"optimizer": {"type": "ZeroOneAdam", "params": {"lr": 1e-3, "var_freeze_step": 1000, "var_update_scaler":
    16, "local_step_scaler": 1000, "local_step_clipper": 16, "cuda_aware": true, "comm_backend_name": "mpi"}}})") ==
      "[optimizer]\nplugin = \"zeroone_adam\"\nlr = 0.001\nvar_freeze_step = 1000\nvar_update_scaler = 16\nlocal_step_scaler = "
      "1000\nlocal_step_clipper = 16\n[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"mpi\"\n");
  CHECK(
      options_of(R"({"optimizer": {"type": "OneBitLamb", "params": {"lr": 11e-3, "max_coeff": 0.3, "min_coeff": 0.01,
    "freeze_step": 1e3, "cuda_aware": false, "comm_backend_name": "mpi", "coeff_beta": 0.9, "factor_max": 4.0,
    "factor_min": 0.5,
    "factor_threshold": 0.1}}, "communication_data_type": "fp16"})") ==
      "[optimizer]\nplugin = \"onebit_lamb\"\nlr = 0.011\nmax_coeff = 0.3\nmin_coeff = 0.01\nfreeze_step = 1000\ncoeff_beta = "
      "0.9\nfactor_max = 4.0\nfactor_min = 0.5\nfactor_threshold = 0.1\n[compressor]\nplugin = \"onebit\"\n[communicator]\n"
      "plugin = \"mpi\"\n[exchange]\ndense_dtype = \"fp16\"\n");
}

TEST_CASE("Adam, AdamW and LAMB in any letters, and what ZeRO and Hugging Face's auto become") {
  const std::string adam =
      R"({"optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": "auto", "bias_correction": true}},
    "zero_optimization": {"stage": 2}, "gradient_clipping": "auto", "scheduler": {"type": "WarmupLR"}})";
  CHECK(options_of(adam) ==
        "[optimizer]\nplugin = \"adam\"\nbias_correction = true\n[communicator]\nplugin = \"nccl\"\n[session]\ndevice = "
        "\"cuda\"\n");
  check_says(adam, "# \"optimizer.params.lr\": \"auto\": filled in by Hugging Face's Trainer: set it here\n");
  check_says(adam, "# \"zero_optimization\": {\"stage\":2}: parameters and state are replicated here: there is no ZeRO\n");
  check_says(adam, "# \"scheduler\": {\"type\":\"WarmupLR\"}: the loop's");
  const std::string l2 = R"({"optimizer": {"type": "adam", "params": {"adam_w_mode": false, "weight_decay": 0.1}}})";
  CHECK(options_of(l2).find("weight_decay") == std::string::npos);
  check_says(l2, "with adam_w_mode = false it is added to gradients");
  CHECK(options_of(R"({"optimizer": {"type": "LAMB", "params": {"lr": 1, "max_coeff": 10}}})").find("max_coeff = 10\n") !=
        std::string::npos);
  CHECK(options_of(R"({"optimizer": {"type": "Adam"}})").find("plugin = \"adam\"") != std::string::npos);
}

TEST_CASE("every key of the configuration is an option or a comment, whatever it is called") {
  const std::string odd = R"({"optimizer": {"type": "OneBitAdam", "params": {"freeze_step": 5,
    "bias_correction": true, "max_coeff": 3, "exp_avg_mask": null, "new\n[session]": 1}}, "a\nb = 1": "line\nof text",
    "data_efficiency": {"x": [1, 2]}})";
  const std::string options = options_of(odd);
  CHECK(options.find("b = 1") == std::string::npos);
  CHECK(options.find("max_coeff") == std::string::npos);
  check_says(odd, "# \"optimizer.params.max_coeff\": 3: onebit_adam has nothing like it\n");
  check_says(odd, "# \"optimizer.params.bias_correction\": true: DeepSpeed reads it and never corrects");
  check_says(odd, "# \"a\\nb = 1\": \"line\\nof text\": onebit has nothing like it\n");
  check_says(odd, "# \"optimizer.params.new\\n[session]\": 1: ");
  check_says(odd, "# \"data_efficiency\": {\"x\":[1,2]}: onebit has nothing like it\n");
}

TEST_CASE("what is no such configuration is refused with the place and what was expected") {
  CHECK(refused("{\n  \"optimizer\": {,}}").find("ds_config.json:2:17: not valid JSON: ") == 0);
  CHECK(refused("").find("ds_config.json:1:1: not valid JSON") == 0);
  CHECK(refused("{\"a\": 1e400}").find("ds_config.json: not valid JSON: ") == 0);
  CHECK(refused(std::string(100'000, '[')).find("expected objects and arrays in at most 64 others") != std::string::npos);
  CHECK(refused("[1]") == "ds_config.json: expected an object, found [1]");
  CHECK(refused("{}") == "ds_config.json: expected a key \"optimizer\" with an object, found none");
  CHECK(refused(R"({"optimizer": 3})") == "ds_config.json: expected an object for \"optimizer\", found 3");
  CHECK(refused(R"({"optimizer": {"type": "Lion"}})") ==
        "ds_config.json: expected one of OneBitAdam, ZeroOneAdam, OneBitLamb, Adam, AdamW, Lamb for optimizer.type, found "
        "\"Lion\"");
  CHECK(refused(R"({"optimizer": {"type": 3}})").find("found 3") != std::string::npos);
  const auto parameter = [](const std::string& text) {
    return refused(R"({"optimizer": {"type": "OneBitAdam", "params": {)" + text + "}}}");
  };
  CHECK(parameter(R"("lr": "fast")") == "ds_config.json: expected a number for optimizer.params.lr, found \"fast\"");
  CHECK(parameter(R"("freeze_step": 2.5)") ==
        "ds_config.json: expected a whole number for optimizer.params.freeze_step, found 2.5");
  CHECK(parameter(R"("freeze_step": 1e300)").find("expected a whole number") != std::string::npos);
  CHECK(parameter(R"("betas": [1])").find("expected two numbers") != std::string::npos);
  CHECK(refused(R"({"optimizer": {"type": "Adam", "params": {}}, "gradient_clipping": {}})").find("expected a number") !=
        std::string::npos);
}

TEST_CASE("the command prints the manifest, which `onebit check` takes") {
  const ScratchFolder folder;
  const auto json = folder.file("ds_config.json", R"({"optimizer": {"type": "OneBitAdam", "params": {"freeze_step": 10}}})");
  const auto manifest = folder / "onebit.toml";
  CHECK(run_onebit("convert " + in_quotes(json) + " > " + in_quotes(manifest)).status == 0);
  const Outcome checked =
      run_onebit("check " + in_quotes(manifest) + " --set communicator.plugin=tcp --set session.device=cpu");
  CHECK_MESSAGE(checked.status == 0, checked.text);
  CHECK_SAYS(checked, "freeze_step = 10");
  const Outcome missing = run_onebit("convert " + in_quotes(folder / "none.json"));
  CHECK(missing.status == 1);
  CHECK_SAYS(missing, "none.json: cannot be read; expected a configuration of DeepSpeed");
}

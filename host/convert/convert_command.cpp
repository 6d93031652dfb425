// SPDX-License-Identifier: Apache-2.0
// `onebit convert ds_config.json`: a configuration of DeepSpeed as a manifest, on standard output.
#include "convert/convert_command.hpp"

#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "command/output.hpp"
#include "convert/deepspeed.hpp"
#include "onebit/error.hpp"

namespace onebit::host {
namespace {

std::string contents(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (!in) throw Error(Code::unavailable, file + ": cannot be read; expected a configuration of DeepSpeed, a file of JSON");
  return text;
}

}  // namespace

void add_convert(CLI::App& app, Run& run) {
  CLI::App* command = app.add_subcommand("convert",
                                         "Turn a configuration of DeepSpeed (JSON) into a manifest: onebit convert "
                                         "ds_config.json > onebit.toml");
  const auto file = std::make_shared<std::string>();
  command->add_option("CONFIG", *file, "DeepSpeed's configuration, with one of the optimizers " + deepspeed_optimizers())
      ->required();
  command->callback([&run, file] { run.chosen = [file] { print(manifest_of_deepspeed(contents(*file), *file)); }; });
}

}  // namespace onebit::host

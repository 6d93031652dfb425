// SPDX-License-Identifier: Apache-2.0
// What only the component itself can refuse is told at the option's place in the manifest, as what its schema refuses is.
#include <doctest/doctest.h>

#include "support/running.hpp"
#include "support/scratch_folder.hpp"

using namespace onebit::test;

namespace {

const std::string kAfter = "[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"threads\"\n";

// What `onebit check` says of these lines, without the path of the file.
std::string refused(const std::string& lines, const std::string& arguments = "") {
  const ScratchFolder folder;
  const std::string file = folder.file("c.toml", lines).string();
  Outcome outcome = run_onebit("check " + file + " " + arguments);
  CHECK(outcome.status == 1);
  const size_t at = outcome.text.find(file);
  if (at != std::string::npos) outcome.text.replace(at, file.size(), "c.toml");
  return outcome.text;
}

#define CHECK_REFUSED(text, part)                              \
  do {                                                         \
    const std::string said = (text);                           \
    CHECK_MESSAGE(said.find(part) != std::string::npos, said); \
  } while (false)

}  // namespace

TEST_CASE("options that a built-in component refuses are told with line and column") {
  const std::string adam = "[optimizer]\nplugin = \"adam\"\n", lamb = "[optimizer]\nplugin = \"lamb\"\n";
  CHECK_REFUSED(refused(adam + "betas = [0.9, 1.0]\n" + kAfter), "c.toml:3:9: optimizer 'adam': betas[1] is 1");
  CHECK_REFUSED(refused(adam + "lr = 1\nbetas = [0.9]\n" + kAfter), "c.toml:4:9: optimizer 'adam': betas has 1 number");
  CHECK_REFUSED(refused(adam + "betas = [\n  0.9,\n  1.0,\n]\n" + kAfter), "c.toml:5:3: optimizer 'adam': betas[1] is 1");
  CHECK_REFUSED(refused(lamb + "min_coeff = 5.0\n  max_coeff = 1.0\n" + kAfter),
                "c.toml:3:13: optimizer 'lamb': min_coeff is 5");
  CHECK_REFUSED(refused(lamb + "max_coeff = 0.001\n" + kAfter), "c.toml:3:13: optimizer 'lamb': min_coeff is 0.01");
  CHECK_REFUSED(refused(adam + "[communicator]\nplugin = 'threads'\n[compressor]\nblock = 100\nplugin = 'onebit'\n"),
                "c.toml:6:9: compressor 'onebit': block is 100");
}

TEST_CASE("options of the command line that a component refuses are told as they were given") {
  const std::string whole = "[optimizer]\nplugin = \"onebit_adam\"\n" + kAfter;
  CHECK_REFUSED(refused(whole, "--set 'optimizer.betas=[0.9, 1.0]'"),
                "--set optimizer.betas=[0.9, 1.0]: optimizer 'onebit_adam': betas");
  CHECK_REFUSED(refused(whole, "--set compressor.block=100"), "--set compressor.block=100: compressor 'onebit': block is 100");
}

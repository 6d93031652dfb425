// SPDX-License-Identifier: Apache-2.0
// The configuration: selection, defaults, what the hash covers, and a printed form that means the same.
#include "onebit/configuration.hpp"

#include <doctest/doctest.h>

#include "onebit/session.hpp"
#include "support/scratch_folder.hpp"

namespace {

using onebit::Configuration;
using onebit::Kind;
using onebit::Manifest;
using onebit::Registry;

const char* const kWhole =
    "[session]\n"
    "threads = 2\n"
    "[optimizer]\n"
    "plugin = \"onebit_adam\"\n"
    "lr = 2e-3\n"
    "freeze_step = 100\n"
    "[compressor]\n"
    "plugin = \"onebit\"\n"
    "[communicator]\n"
    "plugin = \"threads\"\n";

const Registry& registry_with_none() {
  static Registry* const loaded = [] {
    auto* made = new Registry;
    made->load(Manifest::parse("", "a.toml", "."));
    made->load(std::filesystem::path(ONEBIT_BAD_PLUGINS) / "none.so");
    return made;
  }();
  return *loaded;
}

std::vector<const onebit_schema*> train_schema() {
  static const onebit_schema schemas[] = {onebit::integer_option("epochs", "3", 1, 100, "Passes over the data")};
  return {&schemas[0]};
}

Configuration train_configuration(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return Configuration(registry_with_none(), Manifest::parse(text, "a.toml", "/configs", overrides), train_schema());
}

std::string train_refusal(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    train_configuration(text, overrides);
  } catch (const onebit::Error& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("components are selected, options resolved") {
  const Configuration configuration = train_configuration(kWhole);
  CHECK(configuration.optimizer.component->name == "onebit_adam");
  CHECK(configuration.optimizer.plugin->name == "onebit_adam");
  CHECK(configuration.optimizer.options.options().real("lr") == 2e-3);
  CHECK(configuration.compressor.component->kind == Kind::compressor);
  CHECK(configuration.communicator.component->name == "threads");
  CHECK(configuration.session.options().integer("threads") == 2);
  CHECK(configuration.exchange.options().integer("bucket_bytes") == 25000000);
  CHECK(configuration.train.options().integer("epochs") == 3);
  const Configuration copy = configuration;  // NOLINT(performance-unnecessary-copy-initialization): what is asked
  CHECK(copy.hash() == configuration.hash());
}

TEST_CASE("without a compressor") {
  const Configuration configuration = train_configuration("[optimizer]\nplugin='adam'\n[communicator]\nplugin='threads'");
  CHECK(configuration.compressor.component == nullptr);
  CHECK(configuration.compressor.plugin == nullptr);
  CHECK(configuration.to_toml().find("[compressor]") == std::string::npos);
}

TEST_CASE("what is missing or wrong in a manifest") {
  CHECK(train_refusal("[communicator]\nplugin = 'threads'") ==
        "a.toml: the table [optimizer] is missing; expected one with plugin = \"name\"");
  CHECK(train_refusal("[optimizer]\nplugin = 'adam'") ==
        "a.toml: the table [communicator] is missing; expected one with plugin = \"name\"");
  CHECK(train_refusal(std::string("[optimizer]\nlr = 1\n")) ==
        "a.toml:1:1: [optimizer] lacks the key 'plugin': expected the name of its plugin, such as plugin = \"adam\"");
  CHECK(train_refusal(kWhole, {"optimizer.plugin=adma"}).find("--set optimizer.plugin=adma: no optimizer 'adma' for cpu in ") ==
        0);
  CHECK(train_refusal(kWhole, {"optimizer.plugin=adma"}).find("; did you mean 'adam'?") != std::string::npos);
  CHECK(train_refusal("[optimizer]\nplugin = 'onebit'\n").find("a.toml:2:10: no optimizer 'onebit' for cpu") == 0);
  CHECK(train_refusal("[optimizer]\nplugin = 'adam'\nlrr = 1\n[communicator]\nplugin='threads'") ==
        "a.toml:3:1: unknown key 'lrr' in [optimizer] with plugin 'adam'; did you mean 'lr'?");
  CHECK(train_refusal(kWhole, {"session.thread=2"}) ==
        "--set session.thread=2: unknown key 'thread' in [session]; did you mean 'threads'?");
  CHECK(train_refusal(kWhole, {"train.epochs=0"}) ==
        "--set train.epochs=0: train.epochs: expected an integer from 1 to 100, found the integer 0");
  CHECK(train_refusal(kWhole, {"session.device=cdua"}).find("expected one of \"cpu\", \"cuda\", found the string \"cdua\"") !=
        std::string::npos);
}

TEST_CASE("a program without a [train] of its own does not read the command's") {
  const Manifest manifest = Manifest::parse(std::string(kWhole) + "[train]\nepochs = -1\n", "a.toml", ".");
  const Configuration configuration(registry_with_none(), manifest);
  CHECK(configuration.hash() == train_configuration(kWhole).hash());
  CHECK(configuration.train.to_toml().empty());
  CHECK(configuration.to_toml().find("train") == std::string::npos);
}

TEST_CASE("the hash covers what ranks must agree on, and nothing else") {
  const uint64_t hash = train_configuration(kWhole).hash();
  const auto with = [](const char* override) { return train_configuration(kWhole, {override}).hash(); };
  CHECK(with("optimizer.lr=0.002") == hash);  // the same value, written otherwise
  CHECK(with("session.threads=7") == hash);
  CHECK(with("communicator.timeout=7") == hash);
  CHECK(with("train.epochs=7") == hash);
  CHECK(with("plugins.path=[]") == hash);
  CHECK(with("optimizer.lr=3e-3") != hash);
  CHECK(with("compressor.scale=tensor") != hash);
  CHECK(with("exchange.bucket_bytes=1000000") != hash);
  CHECK(with("session.clip_norm=1") != hash);
  CHECK(with("compressor.plugin=plain") != hash);
}

TEST_CASE("an integer is as good as the number it means") {
  CHECK(train_configuration(kWhole, {"session.clip_norm=1"}).hash() ==
        train_configuration(kWhole, {"session.clip_norm=1.0"}).hash());
}

TEST_CASE("the printed configuration is a manifest that means the same") {
  const Configuration first = train_configuration(kWhole, {"plugins.path=[\"more\", \"/abs/x.so\"]", "train.epochs=7"});
  for (const bool help : {false, true}) {
    const std::string text = first.to_toml(help);
    CAPTURE(text);
    const Configuration second(registry_with_none(), Manifest::parse(text, "b.toml", "/elsewhere"), train_schema());
    CHECK(second.hash() == first.hash());
    CHECK(second.to_toml(help) == text);
    CHECK(text.find("path = [\"/configs/more\", \"/abs/x.so\"]") != std::string::npos);
    CHECK(text.find("epochs = 7") != std::string::npos);
  }
  CHECK(first.to_toml(true).find("# Passes over the data (an integer from 1 to 100; default 3)\nepochs = 7\n") !=
        std::string::npos);
}

TEST_CASE("the manifests of configs/ are valid and complete") {
  size_t seen = 0;
  const std::filesystem::path folder = std::filesystem::path(ONEBIT_SOURCE_DIR) / "configs";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".toml" || entry.path().stem() == "nccl") continue;  // nccl is not on every machine
    CAPTURE(entry.path());
    CHECK_NOTHROW(Configuration(registry_with_none(),
                                Manifest::load(entry.path())));  // as an embedder reads it: [train] has its own tests
    ++seen;
  }
  CHECK(seen >= 2);
}

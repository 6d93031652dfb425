// SPDX-License-Identifier: Apache-2.0
// What documents, comments and help show of manifests can be pasted: it is read, and its patterns fit the models that are
// shipped.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "manifest/name_pattern.hpp"
#include "manifest/toml_reader.hpp"
#include "models/models.hpp"
#include "onebit/configuration.hpp"
#include "onebit/session.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"
#include "training/checkpoint_schema.hpp"
#include "training/train_schema.hpp"

namespace {

namespace fs = std::filesystem;
using onebit::test::Outcome;
using onebit::test::run_onebit;

const fs::path root = ONEBIT_SOURCE_DIR;

// Those of the sources: by extension, without what is built or downloaded.
std::vector<fs::path> files_of(const std::string& extension) {
  static const std::set<std::string> left_out = {".git", "build", "out", ".cache", ".deps"};
  std::vector<fs::path> files;
  for (auto entry = fs::recursive_directory_iterator(root); entry != fs::recursive_directory_iterator(); ++entry) {
    if (entry.depth() == 0 && left_out.count(entry->path().filename().string()) > 0)
      entry.disable_recursion_pending();
    else if (entry->path().extension() == extension)
      files.push_back(entry->path());
  }
  return files;
}

template <class Found>
int each_match(const std::string& text, const std::string& pattern, Found found) {
  const std::regex regex(pattern);
  int count = 0;
  for (std::sregex_iterator match(text.begin(), text.end(), regex), end; match != end; ++match, ++count) found(*match);
  return count;
}

// The keys of all tables and components.
std::set<std::string> known_keys() {
  std::set<std::string> keys = {"plugin", "dense", "tensors", "group", "pin", "file", "sha256"};
  const auto add = [&](const std::vector<const onebit_schema*>& schema) {
    for (const onebit_schema* option : schema) keys.emplace(onebit::view(option->key));
  };
  add(onebit::plugins_schema());
  add(onebit::session_schema());
  add(onebit::exchange_schema());
  add(onebit::host::train_schema());
  add(onebit::host::checkpoint_schema());
  for (const onebit::PluginInfo& plugin : onebit::test::plugins().plugins())
    for (const onebit::ComponentInfo& component : plugin.components) add(component.options);
  return keys;
}

}  // namespace

TEST_CASE("every TOML block of the documents is read") {
  int blocks = 0;
  for (const fs::path& file : files_of(".md"))
    blocks += each_match(contents_of(file), "```toml\n([^`]*)```", [&](const std::smatch& match) {
      CAPTURE(file.string());
      CHECK_NOTHROW(onebit::Manifest::parse(match[1].str(), file.string(), "."));
    });
  CHECK(blocks >= 3);
}

TEST_CASE("the manifests of templates and examples are read") {
  int manifests = 0;
  for (const fs::path& file : files_of(".toml"))
    if (file.filename() == "demo.toml" || file.parent_path() == root / "configs") {
      CHECK_NOTHROW(onebit::Manifest::load(file));
      ++manifests;
    }
  CHECK(manifests >= 9);
}

TEST_CASE("every setting that the documents name in a sentence is one") {
  const std::set<std::string> keys = known_keys();
  int settings = 0;
  for (const fs::path& file : files_of(".md"))
    settings += each_match(contents_of(file), "`(?:([a-z]+)\\.)?([a-z0-9_]+) = ([^`;]+)`", [&](const std::smatch& match) {
      CAPTURE(file.string());
      CAPTURE(match[0].str());
      CHECK(keys.count(match[2]) == 1);
      CHECK(onebit::read_value(match[3].str()).has_value());
      if (match[1].matched) CHECK_NOTHROW(onebit::Manifest::parse(match[0].str().substr(1, match.length() - 2), "doc", "."));
    });
  CHECK(settings >= 15);
}

TEST_CASE("every override that documents and help show is one") {
  std::string shown;
  for (const fs::path& file : files_of(".md")) shown += contents_of(file);
  for (const char* command : {"train", "evaluate", "check", "replay", "plugins verify"})
    shown += run_onebit(std::string(command) + " --help").text;
  const std::set<std::string> keys = known_keys();
  const int overrides = each_match(shown, "--set '?([a-z]+\\.([a-z_]+)=[^\\s'`]*[^\\s'`.,;)])", [&](const std::smatch& match) {
    CAPTURE(match[0].str());
    if (match[1].str().rfind("table.", 0) == 0) return;
    CHECK((keys.count(match[2]) == 1 || match[2] == "bits"));  // that of a compressor of the guide for authors
    CHECK_NOTHROW(onebit::Manifest::parse("", "none", ".", {match[1].str()}));
  });
  CHECK(overrides >= 10);
}

// As examples of `dense` and of groups' `tensors`: in documents, manifests and the templates of projects.
TEST_CASE("patterns that are shown as examples match tensors of every model that can be trained") {
  const auto is_matched = [](const std::string& pattern, const char* model) {
    const std::vector<onebit::Parameter> tensors = onebit::host::tensors_of(model);
    return std::any_of(tensors.begin(), tensors.end(),
                       [&](const auto& tensor) { return onebit::matches(pattern, tensor.name); });
  };
  int examples = 0;
  for (const char* extension : {".md", ".toml"})
    for (const fs::path& file : files_of(extension)) {
      if (file.string().find((root / "tests").string()) == 0) continue;
      const std::string list = "(?:dense = |tensors = |such as )(\\[\"[^\\]]*\\])";
      examples += each_match(contents_of(file), list, [&](const std::smatch& match) {
        const auto value = onebit::read_value(match[1].str());
        REQUIRE(value.has_value());
        for (const std::string& pattern : std::get<std::vector<std::string>>(*value))
          for (const char* model : {"cnn", "mlp", "gpt"})
            CHECK_MESSAGE(is_matched(pattern, model), file.string() << ": " << pattern << ", " << model);
      });
    }
  CHECK(examples >= 8);
}

TEST_CASE("what configs/ have as comments may be uncommented") {
  for (const fs::path& file : files_of(".toml")) {
    if (file.parent_path() != root / "configs") continue;
    CAPTURE(file.string());
    std::string text = contents_of(file);
    text = std::regex_replace(text, std::regex("sha256 = \"\\.\\.\\.\""), "sha256 = \"" + std::string(64, '0') + "\"");
    const std::string whole = std::regex_replace(text, std::regex("\n# (\\[\\[|[a-z0-9_]+ += )"), "\n$1");
    CHECK(whole.find("\n[[optimizer.group]]") != std::string::npos);
    const auto manifest = onebit::Manifest::parse(whole, file.string(), ".");
    CHECK(manifest.groups().size() == 1);
    CHECK(manifest.pins().size() == 1);
    if (file.stem() == "nccl") continue;  // which is not on every machine
    const onebit::Configuration configuration(onebit::test::plugins(), manifest, onebit::host::train_schema(),
                                              onebit::host::checkpoint_schema());
    CHECK(onebit::roles_of(configuration, onebit::host::tensors_of("cnn")).size() > 4);
  }
}

TEST_CASE("defaults as `onebit plugins inspect` and `onebit check` print them are TOML") {
  int defaults = 0;
  for (const onebit::PluginInfo& plugin : onebit::test::plugins().plugins()) {
    const Outcome outcome = run_onebit("plugins inspect " + plugin.file.string());
    defaults += each_match(outcome.text, ", default (.*)\\)\n", [](const std::smatch& match) {
      CAPTURE(match[0].str());
      CHECK(onebit::read_value(match[1].str()).has_value());
    });
  }
  CHECK(defaults > 50);
}

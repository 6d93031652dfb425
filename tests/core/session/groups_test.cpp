// SPDX-License-Identifier: Apache-2.0
// The host's own keys of [optimizer]: tensors exempt from compression, and parameter groups, from the manifest to the step.
#include <doctest/doctest.h>

#include <algorithm>

#include "loading/validate.hpp"
#include "manifest/name_pattern.hpp"
#include "onebit/plugin.hpp"
#include "small_models.hpp"
#include "support/gradients.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"
#include "support/sessions.hpp"

using namespace onebit;
using namespace onebit::test;

namespace {

const std::string rest = "[compressor]\nplugin = \"onebit\"\n[communicator]\nplugin = \"threads\"\ntimeout = 60\n";
std::string adam_with_groups(const std::string& lines) { return "[optimizer]\nplugin = \"adam\"\n" + lines + rest; }
Configuration overridden(const std::string& toml, const std::vector<std::string>& overrides = {}) {
  return Configuration(plugins(), Manifest::parse(toml, "a.toml", ".", overrides));
}

const std::vector<Parameter> layers = {{"conv.weight", {8, 3}, nullptr},
                                       {"conv.bias", {8}, nullptr},
                                       {"fc.weight", {2, 8}, nullptr},
                                       {"fc.bias", {2}, nullptr},
                                       {"norm[0]", {2}, nullptr}};

// "0 1d ...": the group of each layer, d where it is exempt.
std::string roles(const std::string& toml, const std::vector<std::string>& overrides = {}) {
  std::string text;
  for (const TensorRole& role : roles_of(overridden(toml, overrides), layers))
    text += (text.empty() ? "" : " ") + std::to_string(role.group) + (role.exempt ? "d" : "");
  return text;
}

std::string roles_refusal(const std::string& toml, const std::vector<std::string>& overrides = {}) {
  try {
    roles(toml, overrides);
  } catch (const Error& e) {
    CHECK(e.code() == Code::invalid_argument);
    return e.what();
  }
  return "no error";
}

// The parameters of rank 1 of 2 after 5 steps; tensors are named t0, t1, ...
Tensors trained(const std::string& toml) {
  return run_sessions(2, toml, uneven, [](Rank rank) {
    for (int step = 1; step <= 5; ++step) rank.session.step(pointers(noisy(uneven, step, rank.number)));
  })[1];
}

}  // namespace

TEST_CASE("patterns: a star is any run of characters, a question mark one, all else itself") {
  CHECK(matches("*.bias", "conv.bias"));
  CHECK(matches("*.bias", ".bias"));
  CHECK_FALSE(matches("*.bias", "conv.bias2"));
  CHECK_FALSE(matches("bias", "conv.bias"));
  CHECK(matches("", ""));
  CHECK_FALSE(matches("", "a"));
  CHECK(matches("**", ""));
  CHECK(matches("fc?.*", "fc1.weight"));
  CHECK_FALSE(matches("fc?.*", "fc.weight"));
  CHECK(matches("a*b*c", "a1b2b3c"));
  CHECK_FALSE(matches("a*b*c", "a1c2b"));
  CHECK(matches("norm[0]", "norm[0]"));
  CHECK_FALSE(matches("norm[0]", "norm0"));
  CHECK_FALSE(matches("a?", "a"));
  std::string hostile;
  for (int i = 0; i < 500; ++i) hostile += "a*";
  CHECK_FALSE(matches(hostile + "b", std::string(5000, 'a')));  // in no time
}

TEST_CASE("how far a pattern is from a name") {
  CHECK(distance("*.bias", "conv.bias") == 0);
  CHECK(distance("*.bais", "conv.bias") == 2);
  CHECK(distance("?.bias", "conv.bias") == 3);
  CHECK(distance("", "abc") == 3);
  CHECK(distance("abc", "") == 3);
  CHECK(nearest_names("conv.wieght", {"conv.weight", "fc.weight"}) == "; the nearest is 'conv.weight'");
  CHECK(nearest_names("*", {}) == "; the model has no tensors");
}

TEST_CASE("exempt tensors and groups are found by name, and the first group that matches counts") {
  CHECK(roles(adam_with_groups("")) == "0 0 0 0 0");
  CHECK(roles(adam_with_groups("dense = []\n")) == "0 0 0 0 0");
  CHECK(roles(adam_with_groups("dense = ['*.bias', 'norm[0]']\n")) == "0 0d 0 0d 0d");
  const std::string two =
      "[[optimizer.group]]\ntensors = ['*.bias', 'norm*']\nweight_decay = 0\n[[optimizer.group]]\ntensors = ['fc.*']\nlr = 1\n";
  CHECK(roles(adam_with_groups(two)) == "0 1 2 1 1");
  CHECK(roles(adam_with_groups("dense = ['fc.*']\n" + two)) == "0 1 2d 1d 1");
  CHECK(roles(adam_with_groups("group = [{ tensors = ['fc.*'] }]\n")) == "0 0 1 1 0");
  CHECK(roles(adam_with_groups(two), {"optimizer.dense=[\"*.weight\"]"}) == "0d 1 2d 1 1");
  CHECK(roles(adam_with_groups(two), {"optimizer.group=[]"}) == "0 0 0 0 0");
  CHECK(roles(adam_with_groups(two), {"optimizer.group=[{tensors=[\"*\"]}]"}) == "1 1 1 1 1");
}

TEST_CASE("a pattern without a match is an error that names it, its place and the nearest tensors") {
  CHECK(roles_refusal(adam_with_groups("dense = ['*.bias',\n  '*.bais']\n")) ==
        "a.toml:4:3: optimizer.dense: the pattern \"*.bais\" matches no tensor of the model; the nearest are 'conv.bias', "
        "'fc.bias'");
  CHECK(roles_refusal(adam_with_groups("[[optimizer.group]]\ntensors = ['fc.wieght']\n")) ==
        "a.toml:4:12: optimizer.group.tensors: the pattern \"fc.wieght\" matches no tensor of the model; the nearest is "
        "'fc.weight'");
  CHECK(roles_refusal(adam_with_groups(""), {"optimizer.dense=[\"norm0\"]"}) ==
        "--set optimizer.dense=[\"norm0\"]: optimizer.dense: the pattern \"norm0\" matches no tensor of the model; the nearest "
        "is "
        "'norm[0]'");
  LocalRendezvous rendezvous(1);
  Tensors own = uneven;
  CHECK_THROWS_WITH(
      Session(plugins(), overridden(adam_with_groups("dense = ['x*']\n")), rendezvous.at(0), parameters_of(own)),
      "a.toml:3:10: optimizer.dense: the pattern \"x*\" matches no tensor of the model; the nearest are 't0', 't1', 't2'");
}

TEST_CASE("a group that gets no tensor, because earlier ones have them, is an error that names it and its place") {
  const std::string first = "[[optimizer.group]]\ntensors = ['*']\n";
  CHECK(roles_refusal(adam_with_groups(first + "[[optimizer.group]]\ntensors = ['*.bias', 'norm*']\nweight_decay = 0\n")) ==
        "a.toml:6:12: optimizer.group.tensors: group 2 gets no tensor: those that it matches belong to earlier groups, such as "
        "group 1; move this group before them, or leave it out");
  CHECK(roles(adam_with_groups("[[optimizer.group]]\ntensors = ['*.bias', 'norm*']\n" + first)) == "2 1 2 1 1");
}

TEST_CASE("what is wrong with exempt tensors and groups in a manifest") {
  const std::string group = "[[optimizer.group]]\n";
  CHECK(roles_refusal(adam_with_groups("dense = '*.bias'\n")) ==
        "a.toml:3:9: optimizer.dense: expected an array of at most 1024 strings, found the string \"*.bias\"");
  CHECK(roles_refusal(adam_with_groups("dense = [1]\n")) ==
        "a.toml:3:10: optimizer.dense: expected an array of at most 1024 strings, found the array [1.0]");
  CHECK(roles_refusal(adam_with_groups("dnese = ['*']\n")) ==
        "a.toml:3:1: unknown key 'dnese' in [optimizer] with plugin 'adam'; did you mean 'dense'?");
  CHECK(roles_refusal(adam_with_groups(group + "lr = 1\n"))
            .find("a.toml:3:1: [[optimizer.group]] lacks the required key 'tensors': expected") == 0);
  CHECK(roles_refusal(adam_with_groups(group + "tensors = []\n")) ==
        "a.toml:4:11: optimizer.group.tensors: expected at least one pattern of tensor names, found []");
  CHECK(roles_refusal(adam_with_groups(group + "tensors = ['*']\nlr = -1\n")) ==
        "a.toml:5:6: optimizer.group.lr: expected a number from 0 to 1000000, found the integer -1");
  CHECK(roles_refusal(adam_with_groups(group + "tensors = ['*']\nlrr = 1\n")) ==
        "a.toml:5:1: unknown key 'lrr' in [[optimizer.group]]; did you mean 'lr'?");
  CHECK(roles_refusal(adam_with_groups(group + "tensors = ['*']\nbetas = [0, 0]\n")) ==
        "a.toml:5:1: unknown key 'betas' in [[optimizer.group]]; known keys: 'tensors', 'lr', 'weight_decay'");
  CHECK(roles_refusal(adam_with_groups("group = 3\n")) ==
        "a.toml:3:9: optimizer.group: expected tables [[optimizer.group]], found the integer 3");
  CHECK(roles_refusal(adam_with_groups("[optimizer.group]\ntensors = ['*']\n")) ==
        "a.toml:3:1: expected a value, found a table; tables are not nested, but for [[optimizer.group]] and [[plugins.pin]]");
  CHECK(roles_refusal(adam_with_groups("[[optimizer.groups]]\ntensors = ['*']\n")) ==
        "a.toml:3:1: unknown array of tables [[optimizer.groups]]; there are [[optimizer.group]] and [[plugins.pin]]");
  CHECK(roles_refusal(adam_with_groups("") + "[[session.group]]\n") ==
        "a.toml:8:1: unknown array of tables [[session.group]]; there are [[optimizer.group]] and [[plugins.pin]]");
  CHECK(roles_refusal(adam_with_groups(""), {"optimizer.group=[{tensors"}) ==
        "--set optimizer.group=[{tensors: expected an array of tables, such as [{tensors = [\"*.bias\"], weight_decay = 0}], "
        "found '[{tensors'");
  CHECK(roles_refusal(adam_with_groups(""), {"optimizer.group=[]\n[[optimizer.other]]\nx=1"})
            .find("expected an array of tables") != std::string::npos);
  CHECK(roles_refusal(adam_with_groups(""), {"optimizer.lr=1\n[[optimizer.group]]\ntensors=['*']"})
            .find("expected a TOML value") != std::string::npos);
}

namespace {

class Plain : public Optimizer {
 public:
  Plain(const Services&, const Options&) {}
  void declare(Slice<const TensorInfo* const>, StateDeclarer&) override {}
  void plan(const Step&, const Totals&, Plan&) override {}
  void consume(const Step&, int, const Tile&) const override {}
};
template <int index>
struct Reserving final : Plain {
  using Plain::Plain;
  static Slice<const onebit_schema> options() {
    static const char* const keys[] = {"plugin", "dense", "group", "densely"};
    static const onebit_schema schema[] = {real_option(keys[index], "0", 0, 1, "")};
    return {schema, 1};
  }
};
template <int index>
std::string defect() {
  const PluginTables tables("p", "1", {component<Reserving<index>>("o")});
  try {
    checked_plugin(tables.get());
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a plugin's optimizer has no option of the host's names") {
  CHECK(defect<0>() == "optimizer 'o': option 'plugin': the key 'plugin' belongs to the host");
  CHECK(defect<1>() == "optimizer 'o': option 'dense': the key 'dense' belongs to the host");
  CHECK(defect<2>() == "optimizer 'o': option 'group': the key 'group' belongs to the host");
  CHECK(defect<3>() == "");
}

TEST_CASE("a group may change what the optimizer has, and nothing else") {
  const std::string toml = "[optimizer]\nplugin = \"plain\"\n[[optimizer.group]]\ntensors = ['*']\nweight_decay = 1\n" + rest;
  const Manifest manifest = Manifest::parse(toml, "a.toml", ".");
  Registry with_plain;
  with_plain.load_folder(Registry::default_folder());
  with_plain.load(std::filesystem::path(ONEBIT_BAD_PLUGINS) / "none.so");
  CHECK_THROWS_WITH(
      Configuration(with_plain, manifest),
      "a.toml:5:1: optimizer.group.weight_decay: optimizer 'plain' has no option 'weight_decay' that a group could change");
}

TEST_CASE("exempt tensors and groups are printed, read back the same and part of the hash") {
  const std::string toml = adam_with_groups(
      "lr = 0.5\ndense = ['*.bias', 'a \"b\"']\n[[optimizer.group]]\ntensors = ['*']\nweight_decay = "
      "0.25\n[[optimizer.group]]\n"
      "tensors = ['x', 'y']\nlr = 0.125\n");
  const Configuration first = overridden(toml);
  for (const bool help : {false, true}) {
    const std::string text = first.to_toml(help);
    CAPTURE(text);
    const Configuration second = overridden(text);
    CHECK(second.to_toml(help) == text);
    CHECK(second.hash() == first.hash());
    CHECK(second.groups.size() == 2);
  }
  CHECK(first.to_toml().find("\ndense = [\"*.bias\", \"a \\\"b\\\"\"]\n\n[[optimizer.group]]\ntensors = [\"*\"]\nlr = 0.5\n"
                             "weight_decay = 0.25\n\n[[optimizer.group]]\ntensors = [\"x\", \"y\"]\nlr = 0.125\n"
                             "weight_decay = 0.0\n") != std::string::npos);
  CHECK(overridden(adam_with_groups("")).to_toml().find("group") == std::string::npos);
  const auto with = [&](const std::string& override) { return overridden(toml, {override}).hash(); };
  CHECK(with("optimizer.dense=[\"*.bias\"]") != first.hash());
  CHECK(with("optimizer.group=[]") != first.hash());
  CHECK(with("optimizer.group=[{tensors=[\"*\"],weight_decay=0.25},{tensors=[\"x\"],lr=0.125}]") != first.hash());
  CHECK(with("optimizer.group=[{tensors=[\"*\"],weight_decay=0.25},{tensors=[\"x\",\"y\"],lr=0.125}]") == first.hash());
}

TEST_CASE("check tells which tensors are exempt and in which group, and knows a pattern that matches none") {
  const ScratchFolder folder;
  const std::string toml =
      adam_with_groups("dense = ['*.bias']\n[[optimizer.group]]\ntensors = ['conv?.*', 'fc2.bias']\nlr = 0.5\n");
  const std::string file = folder.file("groups.toml", toml + "[train]\nmodel = \"cnn\"\n").string();
  const Outcome valid = run_onebit("check " + file);
  CHECK(valid.status == 0);
  CHECK_SAYS(valid,
             "#   exempt:            conv1.bias, conv2.bias, fc1.bias, fc2.bias\n"
             "#   group 1:           conv1.weight, conv1.bias, conv2.weight, conv2.bias, fc2.bias\n\n");
  const Outcome printed = run_onebit("check " + folder.file("printed.toml", valid.text).string());
  CHECK(printed.text.substr(printed.text.find('\n')) == valid.text.substr(valid.text.find('\n')));
  const Outcome unknown = run_onebit("check " + file + " --set 'optimizer.dense=[\"*.bais\"]'");
  CHECK(unknown.status != 0);
  CHECK_SAYS(unknown, "the pattern \"*.bais\" matches no tensor of the model; the nearest are 'conv1.bias'");
}

TEST_CASE("a group's learning rate and weight decay are what an optimizer of those tensors alone would have") {
  const std::string head = "lr = 0.01\nweight_decay = 0.125\n";
  const std::vector<std::string> lines = {"lr = 0\n", "weight_decay = 0\n", "lr = 0.5\nweight_decay = 0.25\n"};
  std::string groups;
  for (size_t g = 0; g < lines.size(); ++g)
    groups += "[[optimizer.group]]\ntensors = ['t" + std::to_string(g == 2 ? 4 : g) + "']\n" + lines[g];
  const Tensors found = trained(adam_with_groups(head + groups));
  CHECK(found[0] == uneven[0]);  // lr 0
  CHECK(found[1] == trained(adam_with_groups("lr = 0.01\nweight_decay = 0\n"))[1]);
  CHECK(found[3] == trained(adam_with_groups(head))[3]);
  CHECK(found[4] == trained(adam_with_groups(lines[2]))[4]);
  CHECK(found[1] != trained(adam_with_groups(head))[1]);
}

TEST_CASE("the factor of the learning rates is every group's") {
  const auto run = [](const std::string& lr, const std::string& group_lr, double factor) {
    Tensors own = uneven;
    LocalRendezvous rendezvous(1);
    Session session(
        plugins(),
        overridden(adam_with_groups("lr = " + lr + "\n[[optimizer.group]]\ntensors = ['t1']\nlr = " + group_lr + "\n")),
        rendezvous.at(0), parameters_of(own));
    session.set_learning_rate_factor(factor);
    for (int step = 1; step <= 3; ++step) session.step(pointers(noisy(uneven, step, 0)));
    return own;
  };
  CHECK(run("0.5", "0.125", 0.25) == run("0.125", "0.03125", 1));
}

TEST_CASE("ranks with other groups or exempt tensors are told that their configuration differs") {
  for (const char* other : {"[[optimizer.group]]\ntensors = ['t1']\nlr = 0.5\n", "dense = ['t1']\n"}) {
    std::vector<std::string> found(2);
    LocalRendezvous rendezvous(2);
    host::run_ranks(2, [&](int rank) {
      Tensors own = uneven;
      try {
        Session(plugins(), overridden(adam_with_groups(rank == 1 ? other : "")), rendezvous.at(rank), parameters_of(own));
      } catch (const Error& e) {
        found[static_cast<size_t>(rank)] = e.what();
      }
    });
    for (const std::string& text : found)
      CHECK(text.find("differs from rank 0 in its configuration or plugin versions") != std::string::npos);
  }
}

TEST_CASE("a list that is printed over several lines is told whole, and in one, where ranks differ in it") {
  const auto dense = [](int rank) {
    std::string list = "dense = [";
    for (int stars = 1; stars <= 40; ++stars) list += "'" + std::string(static_cast<size_t>(stars), '*') + "t1', ";
    return list + (rank == 0 ? "'t0']\n" : "'t1']\n");
  };
  std::vector<std::string> found(2);
  LocalRendezvous rendezvous(2);
  host::run_ranks(2, [&](int rank) {
    Tensors own = uneven;
    try {
      Session(plugins(), overridden(adam_with_groups(dense(rank))), rendezvous.at(rank), parameters_of(own));
    } catch (const Error& e) {
      found[static_cast<size_t>(rank)] = e.what();
    }
  });
  for (const std::string& text : found) {
    CHECK_MESSAGE(text.find("[optimizer] dense is [  \"*t1\", \"**t1\"") != std::string::npos, text);
    CHECK_MESSAGE(text.find("\"t1\",], rank 0 has [") != std::string::npos, text);
    CHECK(text.find('\n') == std::string::npos);
  }
}

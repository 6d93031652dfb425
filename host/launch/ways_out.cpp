// SPDX-License-Identifier: Apache-2.0
// Sentences with commands in them.
#include "launch/ways_out.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "launch/ranks.hpp"

namespace onebit::host {
namespace {

// A word as a shell takes it.
std::string quoted(const std::string& word) {
  const char* plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-";
  if (!word.empty() && word.find_first_not_of(plain) == std::string::npos) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

constexpr std::string_view kOverride = "communicator.plugin=";

// The command without what the launcher decides and, for another communicator, without the choice of one.
std::vector<std::string> essence(const std::vector<std::string>& arguments, bool choose) {
  std::vector<std::string> words;
  const std::vector<std::string> rest = without_options(arguments, {"--ranks", "--local_rank", "--local-rank"});
  for (size_t i = 0; i < rest.size(); ++i) {
    const bool next_chooses = rest[i] == "--set" && i + 1 < rest.size() && rest[i + 1].starts_with(kOverride);
    if (choose && next_chooses)
      ++i;
    else if (!choose || !rest[i].starts_with("--set=" + std::string(kOverride)))
      words.push_back(rest[i]);
  }
  return words;
}

// Another one if the selected is not among them.
std::string command_of(const Misfit& misfit, const std::vector<std::string>& names) {
  const bool chosen = std::find(names.begin(), names.end(), misfit.communicator) != names.end();
  std::vector<std::string> words = {"onebit"};
  for (std::string& word : essence(misfit.arguments, !chosen)) words.push_back(std::move(word));
  if (!chosen) {
    words.emplace_back("--set");
    words.push_back(std::string(kOverride) + names.front());
  }
  words.emplace_back("--ranks");
  words.push_back(std::to_string(misfit.ranks));
  return '`' + line_of(words) + '`';
}

std::string any_of(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : " or ") + ("--set " + (std::string(kOverride) + name));
  return text;
}

std::string without_launcher(const Misfit& misfit, const CommunicatorsThere& there) {
  std::string text;
  const auto add = [&](const std::string& way) { text += (text.empty() ? "" : ", or ") + way; };
  if (!there.threads.empty() && misfit.ranks <= kMostThreads)
    add(command_of(misfit, there.threads) + " for threads of one process");
  if (!there.processes.empty())
    add(command_of(misfit, there.processes) + " for processes, which it lets mpirun start (on several machines: mpirun -n " +
        std::to_string(misfit.ranks) + " --host A:2,B:2 before it, without --ranks)");
  return text;
}

}  // namespace

std::vector<std::string> without_options(const std::vector<std::string>& arguments,
                                         std::initializer_list<std::string_view> options) {
  std::vector<std::string> words;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view word = arguments[i], option = word.substr(0, word.find('='));
    if (std::find(options.begin(), options.end(), option) == options.end())
      words.push_back(arguments[i]);
    else if (option == word)
      ++i;  // its value is the next word
  }
  return words;
}

std::string line_of(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : " ") + quoted(word);
  return line;
}

CommunicatorsThere communicators_there(const Registry& registry, int64_t device) {
  CommunicatorsThere there;
  for (const PluginInfo& plugin : registry.plugins())
    for (const ComponentInfo& component : plugin.components) {
      if (component.kind != Kind::communicator || component.device != device || !plugin.unavailable.empty()) continue;
      const bool threads = (component.capabilities & ONEBIT_CAPABILITY_THREADS) != 0;
      const bool processes = (component.capabilities & ONEBIT_CAPABILITY_PROCESSES) != 0;
      (processes ? there.processes : threads ? there.threads : there.meeting).push_back(component.name);
    }
  return there;
}

std::string ways_out(const Misfit& misfit, const CommunicatorsThere& there) {
  const std::vector<std::string>& under = misfit.by.mpi ? there.processes : there.meeting;
  const bool same = std::find(under.begin(), under.end(), misfit.communicator) != under.end();
  const std::string apart = without_launcher(misfit, there);
  std::string text;
  if (!under.empty() && !same) text = "add " + any_of(under);
  if (apart.empty()) return text.empty() ? "start one process" : text;
  const std::string names = misfit.by.said.substr(0, misfit.by.said.find('='));
  return text + (text.empty() ? "" : "; or ") + "without that launcher (" + names + " not set) type " + apart;
}

}  // namespace onebit::host

// SPDX-License-Identifier: Apache-2.0
// Starting mpirun.
#include "launch/mpirun.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>

#include "launch/ways_out.hpp"
#include "onebit/error.hpp"

namespace onebit::host {
namespace {

constexpr const char* kMark = "ONEBIT_STARTED_MPIRUN";  // in the environment of whatever this starts

std::string in_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(':'), rest.size());
    const std::filesystem::path file = std::filesystem::path(rest.substr(0, end)) / program;
    std::error_code ignored;
    if (end > 0 && std::filesystem::is_regular_file(file, ignored) && ::access(file.c_str(), X_OK) == 0) return file.string();
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return "";
}

// What a rank on this machine needs and a user has no reason to know: ranks have threads of their own, so they are bound to no
// core; more ranks than cores are slow, not wrong; a container's only user is root. Open MPI 4 and 5 read these; others do not
// care. What the user has set stands.
void smooth_the_way() {
  const std::pair<const char*, const char*> settings[] = {{"OMPI_ALLOW_RUN_AS_ROOT", "1"},
                                                          {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
                                                          {"OMPI_MCA_rmaps_base_oversubscribe", "1"},
                                                          {"OMPI_MCA_hwloc_base_binding_policy", "none"},
                                                          {"PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"},
                                                          {"PRTE_MCA_hwloc_default_binding_policy", "none"},
                                                          {kMark, "1"}};
  for (const auto& [name, value] : settings) ::setenv(name, value, 0);
}

// What a launcher said that started this process alone, and the way to its daemons: an mpirun that has these takes itself for
// one of its ranks. What a user has chosen for MPI stands.
void forget_launcher() {
  const std::string_view starts[] = {"OMPI_COMM_WORLD_", "OMPI_UNIVERSE_",     "OMPI_MCA_ess",   "OMPI_MCA_orte_",
                                     "OMPI_MCA_pmix",    "OMPI_FILE_LOCATION", "PMIX_",          "PMI_",
                                     "MPI_LOCAL",        "MV2_COMM_WORLD_",    "PRTE_MCA_prte_", "PALS_"};
  std::vector<std::string> names;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view name = std::string_view(*entry).substr(0, std::string_view(*entry).find('='));
    for (const std::string_view start : starts)
      if (name.starts_with(start)) names.emplace_back(name);
  }
  for (const std::string& name : names) ::unsetenv(name.c_str());
}

}  // namespace

void become_mpirun(int ranks, const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {"mpirun", "-n", std::to_string(ranks),
                                    std::filesystem::read_symlink("/proc/self/exe").string()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  const std::string line = line_of(words);
  if (std::getenv(kMark) != nullptr)
    throw Error(Code::unavailable,
                "mpirun was started, but what it started finds no rank in its environment (OMPI_COMM_WORLD_RANK, PMI_RANK, "
                "PMIX_RANK or SLURM_PROCID); start the ranks with the launcher of the MPI that the plugin was built with: " +
                    line);
  words[0] = in_path("mpirun");
  if (words[0].empty())
    throw Error(Code::unavailable,
                fmt::format("{} ranks are to be processes, but there is no mpirun in PATH that could start them; install it "
                            "(Debian: apt-get install openmpi-bin), or start them with your launcher, as in: {}",
                            ranks, line));
  std::fprintf(stderr, "onebit: starting %s\n", line.c_str());
  std::fflush(nullptr);
  forget_launcher();
  smooth_the_way();
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  ::execv(pointers[0], pointers.data());
  throw Error(Code::unavailable, words[0] + " cannot be started: " + std::strerror(errno), errno);
}

}  // namespace onebit::host

// SPDX-License-Identifier: Apache-2.0
// What loading costs: a hundred libraries with every check and a pin each, against as many bare calls of dlopen. Each sample is
// a process of its own, for what a process has once mapped it does not load again.
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <vector>

#include "clock.hpp"
#include "disk.hpp"
#include "loading/library_file.hpp"
#include "onebit/registry.hpp"
#include "row.hpp"

namespace onebit::bench {
namespace {

namespace fs = std::filesystem;
constexpr int libraries = 100;
constexpr double most_milliseconds = 100;
constexpr int samples = 9;

// Copies of one plugin, each with a name of its own in the place of "mirror"; and a manifest that pins them all.
class Copies {
 public:
  Copies() {
    std::ifstream in(ONEBIT_BENCH_MIRROR, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    manifest_ = "[plugins]\nrequire_pins = true\npath = [\".\"]\n";
    for (int i = 0; i < libraries; ++i) add(i, bytes);
  }

  const std::vector<fs::path>& files() const { return files_; }
  Manifest manifest() const { return Manifest::parse(manifest_, "bench.toml", folder_.path()); }

 private:
  void add(int number, std::string bytes) {
    const std::string from("mirror\0", 7);
    char name[8];
    std::snprintf(name, sizeof name, "mir%03d", number);
    for (size_t at = bytes.find(from); at != std::string::npos; at = bytes.find(from, at)) bytes.replace(at, 6, name, 6);
    files_.push_back(folder_.path() / (std::string(name) + ".so"));
    std::ofstream(files_.back(), std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    manifest_ += "[[plugins.pin]]\nfile = \"" + files_.back().filename().string() + "\"\nsha256 = \"" +
                 LibraryFile(files_.back()).sha256() + "\"\n";
  }

  TemporaryFolder folder_{fs::temp_directory_path()};
  std::vector<fs::path> files_;
  std::string manifest_;
};

// The seconds that the work takes in a child of this process; the work answers whether all went well.
double seconds_in_child(const std::function<bool()>& work) {
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("no pipe");
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("no process");
  if (child == 0) {
    const auto start = Clock::now();
    const bool well = work();
    const double seconds = seconds_since(start);
    _exit(well && write(ends[1], &seconds, sizeof seconds) == sizeof seconds ? 0 : 1);
  }
  close(ends[1]);
  double seconds = 0;
  const ssize_t got = read(ends[0], &seconds, sizeof seconds);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (got != sizeof seconds || status != 0) throw std::runtime_error("the libraries did not load");
  return seconds;
}

bool load_bare(const Copies& copies) {
  return std::all_of(copies.files().begin(), copies.files().end(), [](const fs::path& file) {
    void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    return library != nullptr && dlsym(library, "onebit_plugin_entry_v1") != nullptr;
  });
}

bool load_checked(const Copies& copies, const Manifest& manifest) {
  Registry registry;
  registry.load(manifest);
  return registry.failures().empty() && registry.plugins().size() > copies.files().size();  // the built-in ones as well
}

void measure(benchmark::State& state) {
  const Copies copies;
  const Manifest manifest = copies.manifest();
  std::vector<double> seconds, ratios;
  while (state.KeepRunning()) {
    const double bare = seconds_in_child([&] { return load_bare(copies); });
    seconds.push_back(seconds_in_child([&] { return load_checked(copies, manifest); }));
    ratios.push_back(seconds.back() / bare);
    state.SetIterationTime(seconds.back());
  }
  std::sort(seconds.begin(), seconds.end());
  std::sort(ratios.begin(), ratios.end());
  state.counters[counter::libraries] = libraries;
  state.counters[counter::milliseconds] = seconds[seconds.size() / 2] * 1e3;
  state.counters[counter::of_dlopen] = ratios[ratios.size() / 2];
  state.counters[counter::goal] = most_milliseconds;
}

}  // namespace

void add_loading_rows() {
  benchmark::RegisterBenchmark("load plugins: all checks, all pinned", measure)
      ->UseManualTime()
      ->Iterations(samples)
      ->Unit(benchmark::kMillisecond);
}

}  // namespace onebit::bench

// SPDX-License-Identifier: Apache-2.0
// What keeps plugins loading for years (tests/abi/README.md): the contract only grows, what was built for 1.0 runs, what is
// built for a later version runs, and whoever compiled it.
#include <algorithm>
#include <cstdio>
#include <functional>

#include "driving.hpp"
#include "driving_ranks.hpp"
#include "header_layout.hpp"
#include "launch/ranks.hpp"
#include "loading/first_sizes.hpp"
#include "onebit/configuration.hpp"
#include "onebit/session.hpp"
#include "support/scratch_folder.hpp"
#if __has_include(<dlpack/dlpack.h>)
#include <dlpack/dlpack.h>
#define ONEBIT_HAS_DLPACK
#endif

using namespace onebit;

namespace {

const std::string kept_header = abi::text_of(ONEBIT_ABI_KEPT "/v1.0/abi.h");

abi::Layout layout_of(const std::string& header) {
  const ScratchFolder folder;
  return abi::layout_of(header, folder.path());
}
abi::Layout kept_layout() {
  std::ifstream lines(ONEBIT_ABI_KEPT "/v1.0/layout.txt");
  return abi::layout_from(lines);
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  REQUIRE_MESSAGE(at != std::string::npos, from);
  return text.replace(at, from.size(), to);
}

std::string breaches_of(const std::string& header) {
  std::string text;
  for (const std::string& breach : abi::breaches(kept_layout(), layout_of(header))) text += breach + "\n";
  return text;
}

// What is done before the first step, and, answered by it, after the last.
using Around = std::function<std::function<void()>(Session&)>;

// Two ranks, and two tensors, of one block and of several.
std::vector<float> run_session(const Registry& registry, const std::string& plugin, const std::string& communicator, int steps,
                               const Around& around = {}) {
  const std::string toml = "[optimizer]\nplugin = \"" + plugin + "\"\nlr = 0.5\ncompressed = true\n[compressor]\nplugin = \"" +
                           plugin + "\"\n[communicator]\nplugin = \"" + communicator + "\"\n";
  LocalRendezvous rendezvous(2);
  std::vector<float> parameters(2 * 75, 1);
  host::run_ranks(2, [&](int rank) {
    const Configuration configuration(registry, Manifest::parse(toml, "abi.toml", "."));
    float* const own = parameters.data() + rank * 75;
    Session session(registry, configuration, rendezvous.at(rank), {{"a", {5}, own}, {"b", {7, 10}, own + 5}});
    const std::vector<float> gradient(70, rank == 0 ? 1.00390625F : 2.0F);
    const std::function<void()> after = around ? around(session) : nullptr;
    for (int step = 0; step < steps; ++step) session.step({gradient.data(), gradient.data()});
    if (after) after();
  });
  return parameters;
}

void check_session(const Registry& registry, const std::string& plugin, const std::string& communicator) {
  CAPTURE(plugin);
  for (const int steps : {1, 4})
    for (const float parameter : run_session(registry, plugin, communicator, steps))
      CHECK(parameter == abi::parameter_after[steps - 1]);
}

void drive(const Registry& registry, const std::string& name) {
  CAPTURE(name);
  abi::drive_optimizer(registry, name);
  abi::drive_compressor(registry, name);
  abi::drive_failures(registry, name);
  check_session(registry, name, "threads");
}

void load_threads(Registry& registry) { registry.load(Registry::default_folder() / "onebit_plugin_threads.so"); }

std::vector<std::string> toolchains() {
  std::vector<std::string> names;
  std::istringstream all(ONEBIT_ABI_TOOLCHAINS);
  for (std::string name; std::getline(all, name, ',');) names.push_back(name);
  return names;
}

std::vector<std::string> exports_of(const std::filesystem::path& file) {
  std::vector<std::string> names;
  std::FILE* const nm = ::popen((ONEBIT_NM " -D --defined-only '" + file.string() + "'").c_str(), "r");
  REQUIRE(nm != nullptr);
  char line[1024];
  while (std::fgets(line, sizeof line, nm) != nullptr) {
    const std::string text = abi::squeezed(line);
    names.push_back(text.substr(text.rfind(' ') + 1));
  }
  CHECK(::pclose(nm) == 0);
  return names;
}

}  // namespace

TEST_CASE("today's contract is that of 1.0, or has only grown") {
  CHECK(breaches_of(abi::text_of(ONEBIT_SOURCE_DIR "/sdk/include/onebit/abi.h")) == "");
  CHECK(breaches_of(abi::text_of(ONEBIT_GROWN_HEADER)) == "");
}

TEST_CASE("the golden layout is that of the frozen header") {
  const abi::Layout golden = kept_layout(), frozen = layout_of(kept_header);
  CHECK(abi::breaches(frozen, golden).empty());
  REQUIRE(golden.size() == frozen.size());
  CHECK(golden.size() > 300);
  for (size_t i = 0; i < golden.size(); ++i) {
    CHECK(golden[i].what == frozen[i].what);
    CHECK(golden[i].how == frozen[i].how);
  }
}

TEST_CASE("whoever changes what is frozen is told") {
  const auto told = [](const std::string& from, const std::string& to) { return breaches_of(replaced(kept_header, from, to)); };
  const auto tells = [](const std::string& text, const std::string& words) { return text.find(words) != std::string::npos; };
  // a field in between
  const std::string between = told("  uint64_t tag;", "  uint64_t color;\n  uint64_t tag;");
  CHECK(tells(between, "field onebit_call tag was `offset 8 size 8: uint64_t tag` and is `offset 16 size 8: uint64_t tag`"));
  CHECK(!tells(between, "struct onebit_call"));
  // two fields that change places
  CHECK(tells(told("  double learning_rate;\n  double weight_decay;", "  double weight_decay;\n  double learning_rate;"),
              "field onebit_group learning_rate was `offset 0 size 8: double learning_rate` and is `offset 8"));
  // a field that goes, another name, another type of the same size
  CHECK(tells(told("  int64_t group;              /* its", "  /* its"), "field onebit_block group is gone"));
  CHECK(tells(told("void* ctx;\n  int32_t (*log_enabled)", "void* self;\n  int32_t (*log_enabled)"),
              "field onebit_host ctx is gone"));
  CHECK(tells(told("  int64_t device;        /*", "  double device;        /*"),
              "field onebit_component device was `offset 24 size 8: int64_t device` and is `offset 24 size 8: double device`"));
  // a function that is called in another way
  CHECK(tells(told("void (*destroy)(onebit_compressor* self)", "void (*destroy)(onebit_compressor* self, int32_t why)"),
              "field onebit_compressor_api destroy was"));
  // a frozen struct that grows, and one that no longer says its size
  CHECK(told("  int64_t bytes;\n} onebit_part;", "  int64_t bytes;\n  int64_t stride;\n} onebit_part;") ==
        "struct onebit_part was `frozen align 8 size 16` and is `frozen align 8 size 24`\n");
  CHECK(tells(told("  uint64_t struct_size;\n  int64_t block; ", "  uint64_t bytes;\n  int64_t block; "),
              "field onebit_codec struct_size is gone"));
  // values, macros, declarations
  CHECK(told("ONEBIT_TIMEOUT = 5", "ONEBIT_TIMEOUT = 50") == "value ONEBIT_TIMEOUT was `5` and is `50`\n");
  CHECK(told("ONEBIT_TIMEOUT = 5,", "") == "value ONEBIT_TIMEOUT is gone\n");
  CHECK(tells(told("ONEBIT_CAPABILITY_THREADS 2u", "ONEBIT_CAPABILITY_THREADS 4u"), "macro ONEBIT_CAPABILITY_THREADS was"));
  CHECK(tells(told("typedef int32_t onebit_code", "typedef int64_t onebit_code"),
              "declaration typedef int32_t onebit_code is gone"));
  CHECK(tells(told("onebit_plugin_entry_v1(const onebit_host* host, ", "onebit_plugin_entry_v1(onebit_host* host, "),
              "declaration ONEBIT_EXPORT const onebit_plugin* onebit_plugin_entry_v1"));
  // what only grows is let pass
  CHECK(told("ONEBIT_INTERNAL = 10", "ONEBIT_INTERNAL = 10, ONEBIT_LATER = 11") == "");
  CHECK(told("  const onebit_stream* stream;\n} onebit_call;",
             "  const onebit_stream* stream;\n  uint64_t p;\n} onebit_call;") == "");
  // what hides padding does not compile, and what can't be read is no reason to be silent
  CHECK_THROWS(told("} onebit_call;", "  int32_t priority;\n} onebit_call;"));
  CHECK_THROWS(told("uint64_t key; /* with", "uint64_t key, other; /* with"));
  CHECK_THROWS(told("typedef struct onebit_part {", "static inline int f(void) { return 1; };\ntypedef struct onebit_part {"));
}

TEST_CASE("the least sizes that the host asks for are those of 1.0") {
  const abi::Layout layout = kept_layout();
  const auto size = [&](const std::string& name) {
    for (const abi::Line& line : layout)
      if (line.what == "struct " + name) return std::stoul(line.how.substr(line.how.rfind(' ') + 1));
    return 0UL;
  };
  CHECK(FirstSize<onebit_plugin>::value == size("onebit_plugin"));
  CHECK(FirstSize<onebit_component>::value == size("onebit_component"));
  CHECK(FirstSize<onebit_schema>::value == size("onebit_schema"));
  CHECK(FirstSize<onebit_optimizer_api>::value == size("onebit_optimizer_api"));
  CHECK(FirstSize<onebit_compressor_api>::value == size("onebit_compressor_api"));
  CHECK(FirstSize<onebit_communicator_api>::value == size("onebit_communicator_api"));
  CHECK(FirstSize<onebit_state_desc>::value == size("onebit_state_desc"));
  CHECK(FirstSize<onebit_round>::value == size("onebit_round"));
}

TEST_CASE("a tensor is DLPack's") {
#if defined(ONEBIT_HAS_DLPACK)
#define ONEBIT_SAME(field, theirs)                                              \
  static_assert(offsetof(onebit_tensor, field) == offsetof(DLTensor, theirs) && \
                sizeof(onebit_tensor::field) == sizeof(DLTensor::theirs))
  ONEBIT_SAME(data, data);
  ONEBIT_SAME(device, device);
  ONEBIT_SAME(ndim, ndim);
  ONEBIT_SAME(dtype, dtype);
  ONEBIT_SAME(shape, shape);
  ONEBIT_SAME(strides, strides);
  ONEBIT_SAME(byte_offset, byte_offset);
#undef ONEBIT_SAME
  static_assert(sizeof(onebit_tensor) == sizeof(DLTensor) && alignof(onebit_tensor) == alignof(DLTensor));
  static_assert(offsetof(onebit_device, id) == offsetof(DLDevice, device_id) &&
                offsetof(onebit_dtype, bits) == offsetof(DLDataType, bits) &&
                offsetof(onebit_dtype, lanes) == offsetof(DLDataType, lanes));
  static_assert(int{ONEBIT_DEVICE_CPU} == int{kDLCPU} && int{ONEBIT_DTYPE_INT} == int{kDLInt} &&
                int{ONEBIT_DTYPE_UINT} == int{kDLUInt} && int{ONEBIT_DTYPE_FLOAT} == int{kDLFloat} &&
                int{ONEBIT_DTYPE_BFLOAT} == int{kDLBfloat});
#else
  MESSAGE("SKIPPED: dlpack/dlpack.h is not installed (Debian: libdlpack-dev)");
#endif
}

TEST_CASE("plugins that were built for 1.0 load, and do what they did") {
  if (!abi::runs_kept_binaries()) return;
  Registry registry;
  load_threads(registry);
  const PluginInfo& c = registry.load(abi::kept("kept_c"));
  CHECK(c.toolchain == "C99");
  CHECK(c.version == "1.0-kept_c");
  CHECK(c.abi_minor == 0);
  REQUIRE(c.components.size() == 2);
  CHECK(c.components[0].kind == Kind::optimizer);
  CHECK(c.components[0].options.size() == 3);
  CHECK(c.components[1].kind == Kind::compressor);
  CHECK(c.components[1].options.size() == 1);
  CHECK(registry.load(abi::kept("kept_cpp")).version == "1.0-kept_cpp");
  CHECK(registry.load(abi::kept("kept_meeting")).components.size() == 1);
  drive(registry, "kept_c");
  drive(registry, "kept_cpp");
  abi::drive_ranks(registry, "meeting");
  check_session(registry, "kept_cpp", "meeting");
  for (const char* name : {"kept_c", "kept_cpp", "kept_meeting"})
    CHECK(exports_of(abi::kept(name)) == std::vector<std::string>{"onebit_plugin_entry_v1"});
}

TEST_CASE("plugins that were built for 1.0, before there were checkpoints, are saved and go on") {
  if (!abi::runs_kept_binaries()) return;
  for (const char* name : {"kept_c", "kept_cpp"}) {
    CAPTURE(name);
    Registry registry;
    load_threads(registry);
    registry.load(abi::kept(name));
    const ScratchFolder root;
    for (const bool loads : {false, true}) {
      const std::vector<float> after = run_session(registry, name, "threads", 2, [&](Session& session) {
        if (loads) session.load(root.path());
        return [&] {
          if (!loads) session.save(root.path());
        };
      });
      for (const float parameter : after) CHECK(parameter == abi::parameter_after[loads ? 3 : 1]);
    }
  }
}

TEST_CASE("a plugin built for 1.0 is spared a tensor that no rank has a gradient of: its momentum does not move it") {
  if (!abi::runs_kept_binaries()) return;
  Registry registry;
  load_threads(registry);
  for (const char* name : {"kept_c", "kept_cpp"}) {
    CAPTURE(name);
    registry.load(abi::kept(name));
    const std::string toml = std::string("[optimizer]\nplugin = \"") + name + "\"\n[communicator]\nplugin = \"threads\"\n";
    const Configuration configuration(registry, Manifest::parse(toml, "test.toml", "."));
    std::vector<float> values(10, 1.0F);
    const std::vector<float> gradients(10, 0.25F);
    LocalRendezvous rendezvous(1);
    Session session(registry, configuration, rendezvous.at(0), {{"a", {5}, values.data()}, {"b", {5}, values.data() + 5}});
    session.step({gradients.data(), gradients.data()});
    const float before = values[0];
    CHECK(session.step({nullptr, gradients.data()}).absent == 1);
    CHECK(values[0] == before);
    CHECK(values[5] < before);
    session.step({gradients.data(), gradients.data()});
    CHECK(values[0] < before);
  }
}

TEST_CASE("plugins of a later version load in today's host, which gives them what they may count on") {
  Registry registry;
  load_threads(registry);
  for (const char* name : {"grown_c", "grown_cpp"}) {
    const PluginInfo& info = registry.load(abi::built(name));
    CHECK(info.abi_minor == 99);
    CHECK(info.components.size() == 2);  // the one of a later kind is left out
    drive(registry, name);
  }
  CHECK(registry.find(Kind::optimizer, "grown_c").capabilities == uint64_t{1} << 40);
}

TEST_CASE("plugins of every compiler, side by side in one process") {
  Registry registry;
  load_threads(registry);
  for (const std::string& name : toolchains()) {
    CHECK(registry.load(abi::built(name)).version == "1.0-" + name);  // each has its own of a global of that name
    CHECK(exports_of(abi::built(name)) == std::vector<std::string>{"onebit_plugin_entry_v1"});
  }
  for (const std::string& name : toolchains()) drive(registry, name);
  for (const PluginInfo& info : registry.plugins())
    if (info.name.find("by_") == 0) CHECK(info.version == "1.0-" + info.name);
}

TEST_CASE("every compiler is there: gcc for C99 and C++, with its library linked in, clang, and clang with libc++") {
  const std::vector<std::string> there = toolchains();
  for (const char* name : {"by_gcc_c99", "by_gcc", "by_gcc_static", "by_clang", "by_clang_libcxx"})
    if (std::find(there.begin(), there.end(), name) == there.end()) {
#if defined(ONEBIT_SANITIZED)
      MESSAGE("SKIPPED: ", name, ": under a sanitizer, which knows of one C++ runtime in a process");
#else
      MESSAGE("SKIPPED: ", name, ": this compiler, or its library, is not installed (./dev test installs all)");
#endif
    }
}

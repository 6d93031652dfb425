// SPDX-License-Identifier: Apache-2.0
// What `cmake --install` and the Debian packages give, tried as strangers use them: from folders outside of the tree, with the
// installed command, and nothing of the build folder.
#include <doctest/doctest.h>

#include <filesystem>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "source_tree.hpp"
#include "support/running.hpp"
#include "support/scratch_folder.hpp"
#include "support/search_paths.hpp"

namespace {

namespace fs = std::filesystem;
using onebit::test::in_quotes;
using onebit::test::kUnavailable;
using onebit::test::Outcome;
using onebit::test::run_shell;

const std::string kSource = ONEBIT_SOURCE_DIR, kBuild = ONEBIT_BINARY_DIR, kCMake = ONEBIT_CMAKE;
#ifdef ONEBIT_SANITIZED
constexpr bool kSanitized = true;  // then no program of an author's can be linked with the core, and nothing is packed
#else
constexpr bool kSanitized = false;
#endif

void must(const Outcome& outcome) { REQUIRE_MESSAGE(outcome.status == 0, outcome.text); }

// A prefix that was installed to and then moved, so that nothing in it can rely on where it was.
class Installed {
 public:
  Installed() {
    must(run_shell(kCMake + " --install " + in_quotes(kBuild) + " --prefix " + in_quotes(folder / "first/usr")));
    fs::rename(folder / "first", folder / "moved");
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(prefix))
      if (entry.path().filename() == "libonebit_core.so.1") libraries = entry.path().parent_path();
    REQUIRE_FALSE(libraries.empty());
  }
  Outcome command(const std::string& arguments) const { return run_shell(in_quotes(prefix / "bin/onebit") + " " + arguments); }

  ScratchFolder folder;
  const fs::path prefix = folder / "moved/usr";
  fs::path libraries;  // its lib, or lib/x86_64-linux-gnu
};

// A project of somebody else's.
struct Project {
  explicit Project(const fs::path& sources) : sources(sources) {}
  Project(const std::string& lists, const std::string& languages) : sources(folder / "sources") {
    fs::create_directory(sources);
    folder.file("sources/CMakeLists.txt",
                "cmake_minimum_required(VERSION 3.20)\nproject(strange LANGUAGES " + languages + ")\n" + lists);
  }
  Outcome configure(const std::string& arguments) const {
    return run_shell(kCMake + " -G '" ONEBIT_GENERATOR "' -S " + in_quotes(sources) + " -B " + in_quotes(folder / "build") +
                     " -DCMAKE_CXX_COMPILER='" ONEBIT_CXX_COMPILER "' -DCMAKE_C_COMPILER='" ONEBIT_C_COMPILER "' " + arguments);
  }
  Outcome build(const std::string& target) const {
    return run_shell(kCMake + " --build " + in_quotes(folder / "build") + " --target " + target);
  }

  ScratchFolder folder;
  fs::path sources;
};
const std::string kBuildTree = "-Donebit_DIR='" + kBuild + "/cmake'";

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename());
  return names;
}

void check_runpath(const fs::path& binary) {
  const Outcome told = run_shell("LC_ALL=C readelf -d " + in_quotes(binary));
  must(told);
  CHECK_SAYS(told, "Library runpath: [$ORIGIN");
  CHECK_MESSAGE(told.text.find(kBuild) == std::string::npos, told.text);
}

bool is_text(const fs::path& file) {
  static const std::set<std::string> kinds = {".cmake", ".pc", ".map", ".h", ".hpp", ".toml", ".md"};
  return kinds.count(file.extension()) > 0;
}

}  // namespace

TEST_CASE("what is installed is the command, the core, the plugins, headers and what finds them, and nothing else") {
  const Installed installed;
  CHECK(names_in(installed.prefix) == std::set<std::string>{"bin", "include", "lib", "share"});
  CHECK(names_in(installed.prefix / "bin") == std::set<std::string>{"onebit"});
  CHECK(names_in(installed.prefix / "include") == std::set<std::string>{"onebit"});
  CHECK(names_in(installed.libraries) ==
        std::set<std::string>{"cmake", "libonebit.so", "libonebit.so.1", ("libonebit.so." ONEBIT_VERSION), "libonebit_core.so",
                              "libonebit_core.so.1", ("libonebit_core.so." ONEBIT_VERSION), "onebit", "pkgconfig"});
  CHECK(names_in(installed.prefix / "share") == std::set<std::string>{"doc", "onebit"});
  CHECK(names_in(installed.prefix / "share/onebit/configs") == names_in(kSource + "/configs"));
  for (const std::string header :
       {"abi.h", "plugin.hpp", "session.hpp", "torch.hpp", "mpi.hpp", "onebit.h", "conformance/doctest.hpp"})
    CHECK_MESSAGE(fs::exists(installed.prefix / "include/onebit" / header), header);

  const std::set<std::string> plugins = names_in(installed.libraries / "onebit/plugins");
  for (const std::string name : {"threads", "adam", "onebit_adam", "zeroone_adam", "lamb", "onebit_lamb", "onebit"})
    CHECK_MESSAGE(plugins.count("onebit_plugin_" + name + ".so") == 1, name);
  CHECK(fs::exists(installed.libraries / "onebit/onebit_models.so") == bool(ONEBIT_WITH_TORCH));
  for (const std::string& name : plugins) {
    CHECK_MESSAGE(name.rfind("onebit_plugin_", 0) == 0, name);
    check_runpath(installed.libraries / "onebit/plugins" / name);
  }
}

TEST_CASE("what the installed README sends its reader to is installed, too, but for what is about the sources") {
  const Installed installed;
  const fs::path documents = installed.prefix / "share/doc/onebit";
  const std::string text = contents_of(documents / "README.md");
  const std::regex link(R"(\]\(([a-z_/]+\.md)\))");  // those in lower case: README.md of a folder tells of its sources
  int links = 0;
  for (std::sregex_iterator found(text.begin(), text.end(), link), end; found != end; ++found, ++links)
    CHECK_MESSAGE(fs::exists(documents / (*found)[1].str()), (*found)[1].str());
  CHECK(links >= 5);
}

TEST_CASE("without its library of models the command does all but train, and says what it lacks") {
  if (!ONEBIT_WITH_TORCH) {
    MESSAGE("SKIPPED: built without libtorch");
    return;
  }
  const Installed installed;
  const fs::path library = installed.libraries / "onebit/onebit_models.so";
  REQUIRE(fs::remove(library));
  must(installed.command("plugins list"));
  const fs::path manifest = installed.prefix / "share/onebit/configs/adam.toml";
  must(installed.command("check " + in_quotes(manifest)));
  const Outcome told = installed.command("train " + in_quotes(manifest) + " --out " + in_quotes(installed.folder / "out"));
  CHECK(told.status == 1);
  CHECK_SAYS(told, "libtorch, which trains, can't be loaded: ");
  CHECK_SAYS(told, library.string());
}

TEST_CASE("nothing that is installed knows the folder that it was built in") {
  const Installed installed;
  check_runpath(installed.prefix / "bin/onebit");
  check_runpath(installed.libraries / "libonebit_core.so.1");
  check_runpath(installed.libraries / "libonebit.so.1");
  if (ONEBIT_WITH_TORCH) check_runpath(installed.libraries / "onebit/onebit_models.so");
  const std::string faults =
      onebit::test::search_path_faults(onebit::test::linked_files_in(installed.prefix), installed.prefix);
  CHECK_MESSAGE(faults.empty(), faults);
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(installed.prefix)) {
    if (!entry.is_regular_file() || !is_text(entry.path())) continue;
    const std::string text = contents_of(entry.path());
    CHECK_MESSAGE(text.find(kBuild) == std::string::npos, entry.path().string());
    CHECK_MESSAGE(text.find(kSource) == std::string::npos, entry.path().string());
  }
  const Outcome told = installed.command("plugins list");
  CHECK_MESSAGE(told.status == 0, told.text);
  CHECK_SAYS(told, (installed.libraries / "onebit/plugins/onebit_plugin_onebit_adam.so").string());
  CHECK_MESSAGE(told.text.find(kBuild) == std::string::npos, told.text);
}

// Debian's /lib is a link to /usr/lib: what is found through it must find the rest all the same.
TEST_CASE("a plugin's project finds what was installed and moved, also through a link, and builds a plugin that passes") {
  const Installed installed;
  fs::create_directory_symlink("usr/lib", installed.folder / "moved/lib");
  const fs::path linked = installed.folder / "moved/lib" / installed.libraries.lexically_relative(installed.prefix / "lib");
  const Project project(fs::path(kSource + "/tests/package/project"));
  const Outcome configured = project.configure("-Donebit_DIR=" + in_quotes(linked / "cmake/onebit"));
  must(configured);
  CHECK_SAYS(configured, "ONEBIT_COMMAND: " + (installed.prefix / "bin/onebit").string() + ";");
  CHECK_SAYS(configured, "ONEBIT_PLUGIN_FOLDER: " + (installed.libraries / "onebit/plugins").string() + ";");

  must(project.build("plain"));
  const fs::path plugin = project.folder / "build/plain.so";  // in the author's own build folder
  CHECK_SAYS(installed.command("plugins inspect " + in_quotes(plugin)), "optimizer 'plain' for cpu");
  const Outcome exported = run_shell("nm -D --defined-only " + in_quotes(plugin));
  CHECK_MESSAGE(exported.text.substr(exported.text.find(' ')) == " T onebit_plugin_entry_v1\n", exported.text);
  if (kSanitized) {
    MESSAGE("SKIPPED: the author's test program: a core with sanitizers can't be linked without them");
    return;
  }
  must(project.build("conformance"));
  must(run_shell(in_quotes(project.folder / "build/conformance")));
}

TEST_CASE("find_package finds what was installed by its prefix alone, and what trainers embed as components") {
  const Installed installed;
  const std::string lists = R"(
    find_package(onebit 1.0 REQUIRED COMPONENTS ${PARTS})
    message(STATUS "found in ${onebit_DIR};")
    foreach(part ${PARTS})
      get_target_property(folder onebit::${part} INTERFACE_INCLUDE_DIRECTORIES)
      if(EXISTS "${folder}/onebit/${part}.hpp")
        message(STATUS "onebit/${part}.hpp: there")
      endif()
    endforeach())";
  std::vector<std::string> parts;
  if (!std::string_view(ONEBIT_MPIRUN).empty()) parts.emplace_back("mpi");
  if (ONEBIT_WITH_TORCH) parts.emplace_back("torch");
  std::string listed;
  for (const std::string& part : parts) listed += part + ";";
  const Outcome found =
      Project(lists, "C CXX")
          .configure("-Wno-dev -DCMAKE_PREFIX_PATH=" + in_quotes(installed.prefix) + " -DPARTS='" + listed + "'");
  must(found);
  CHECK_SAYS(found, "found in " + (installed.libraries / "cmake/onebit").string() + ";");
  for (const std::string& part : parts) CHECK_SAYS(found, "onebit/" + part + ".hpp: there");
}

TEST_CASE("who links a component without asking for it is told how to ask, and may ask later") {
  const std::string program =
      "file(WRITE ${CMAKE_BINARY_DIR}/t.cpp \"int main() {}\")\nadd_executable(t ${CMAKE_BINARY_DIR}/t.cpp)\n";
  const auto lists = [&](const std::string& part, const std::string& again) {
    return "find_package(onebit 1.0 REQUIRED)\n" + program + "target_link_libraries(t PRIVATE onebit::" + part + ")\n" + again;
  };
  for (const std::string part : {"torch", "mpi"}) {
    const Outcome told = Project(lists(part, ""), "C CXX").configure(kBuildTree);
    CHECK_MESSAGE(told.status != 0, told.text);
    CHECK_SAYS(told, "find_package(onebit 1.0 REQUIRED COMPONENTS " + part + ")");
    const bool is_built = part == "torch" ? bool(ONEBIT_WITH_TORCH) : !std::string_view(ONEBIT_MPIRUN).empty();
    if (is_built)
      must(Project(lists(part, "find_package(onebit 1.0 REQUIRED COMPONENTS " + part + ")\n"), "C CXX")
               .configure("-Wno-dev " + kBuildTree));
  }
}

TEST_CASE("the build folder is a package as well") {
  const Project project(fs::path(kSource + "/tests/package/project"));
  const Outcome configured = project.configure(kBuildTree);
  must(configured);
  CHECK_SAYS(configured, "ONEBIT_COMMAND: " + kBuild + "/bin/onebit;");
  CHECK_SAYS(configured, "ONEBIT_PLUGIN_FOLDER: " + kBuild + "/lib/onebit/plugins;");
  must(project.build("plain"));
  CHECK_SAYS(onebit::test::run_onebit("plugins inspect " + in_quotes(project.folder / "build/plain.so")), "optimizer 'plain'");
}

TEST_CASE("a plugin that its own project installs looks beside itself, before and after") {
  const Project project(
      "find_package(onebit 1.0 REQUIRED)\n"
      "onebit_add_plugin(in_c \"" ONEBIT_SOURCE_DIR
      "/tests/bad_plugins/bad.c\")\n"
      "target_compile_definitions(in_c PRIVATE DEFECT=NONE)\n"
      "install(TARGETS in_c DESTINATION lib)\n",
      "C");
  must(project.configure(kBuildTree));
  must(project.build("in_c"));
  must(run_shell(kCMake + " --install " + in_quotes(project.folder / "build") + " --prefix " +
                 in_quotes(project.folder / "to")));
  for (const char* file : {"build/in_c.so", "to/lib/in_c.so"})
    CHECK(onebit::test::linked_file(project.folder / file).entries == std::vector<std::string>{"$ORIGIN"});
}

TEST_CASE("a plugin in C needs a C compiler, and no more") {
  const Project project(
      "find_package(onebit 1.0 REQUIRED)\n"
      "onebit_add_plugin(in_c \"" ONEBIT_SOURCE_DIR
      "/tests/bad_plugins/bad.c\")\n"
      "target_compile_definitions(in_c PRIVATE DEFECT=NONE)\n",
      "C");
  must(project.configure(kBuildTree + " -DCMAKE_DISABLE_FIND_PACKAGE_spdlog=ON -DCMAKE_DISABLE_FIND_PACKAGE_doctest=ON"));
  must(project.build("in_c"));
  must(onebit::test::run_onebit("plugins inspect " + in_quotes(project.folder / "build/in_c.so")));
}

TEST_CASE("another major version, unknown components and missing libraries are told") {
  const auto said = [](const std::string& lists, const std::string& languages = "NONE", const std::string& arguments = "") {
    Outcome outcome = Project(lists, languages).configure(kBuildTree + " " + arguments);
    CHECK_MESSAGE(outcome.status != 0, outcome.text);
    std::string text;  // in one line, for CMake breaks its own
    for (const char letter : outcome.text)
      if (letter != '\n' && letter != ' ')
        text += letter;
      else if (!text.empty() && text.back() != ' ')
        text += ' ';
    return Outcome{outcome.status, text};
  };
  CHECK_SAYS(said("find_package(onebit 2.0 REQUIRED)"), "requested version \"2.0\"");
  CHECK_SAYS(said("find_package(onebit 1.0 REQUIRED COMPONENTS sdk cuda)"),
             "No component cuda: there are sdk, core, c, conformance, mpi and torch.");
  const std::string without = "-DCMAKE_DISABLE_FIND_PACKAGE_doctest=ON -DCMAKE_DISABLE_FIND_PACKAGE_MPI=ON";
  CHECK_SAYS(said("find_package(onebit 1.0 REQUIRED COMPONENTS conformance mpi)", "CXX", without),
             "No component conformance: it needs doctest (Debian: apt-get install doctest-dev). No component mpi: it needs an "
             "MPI library (Debian: apt-get install libopenmpi-dev).");
  CHECK_SAYS(said("find_package(onebit 1.0 REQUIRED)\nfile(WRITE ${CMAKE_BINARY_DIR}/t.cpp \"\")\n"
                  "add_executable(t ${CMAKE_BINARY_DIR}/t.cpp)\ntarget_link_libraries(t onebit::conformance)",
                  "CXX", without),
             "onebit::conformance without doctest: it needs doctest (Debian: apt-get install doctest-dev)");
}

TEST_CASE("pkg-config is enough for a plugin of one file, and for a program with the core in it") {
  if (run_shell("pkg-config --version").status != 0) {
    MESSAGE("SKIPPED: there is no pkg-config");
    return;
  }
  const Installed installed;
  const std::string package = "PKG_CONFIG_PATH=" + in_quotes(installed.libraries / "pkgconfig") + " pkg-config ";
  const std::string compiler = "'" ONEBIT_CXX_COMPILER "' -std=c++17 ";
  const fs::path plugin = installed.folder / "by_hand.so";
  must(run_shell(compiler + "-shared -fPIC -fvisibility=hidden $(" + package + "--cflags onebit-sdk) $(" + package +
                 "--variable=ldflags onebit-sdk) -o " + in_quotes(plugin) + " '" + kSource +
                 "/tests/package/project/plugin.cpp'"));
  CHECK_SAYS(installed.command("plugins inspect " + in_quotes(plugin)), "optimizer 'plain' for cpu");
  const Outcome exported = run_shell("nm -D --defined-only " + in_quotes(plugin));
  CHECK_MESSAGE(exported.text.substr(exported.text.find(' ')) == " T onebit_plugin_entry_v1\n", exported.text);
  const auto real = [&](const std::string& name) {
    const std::string told = run_shell(package + "--variable=" + name + " onebit-sdk").text;
    return fs::weakly_canonical(told.substr(0, told.find('\n')));
  };
  CHECK(real("plugindir") == fs::canonical(installed.libraries / "onebit/plugins"));
  CHECK(real("command") == fs::canonical(installed.prefix / "bin/onebit"));

  if (kSanitized) {
    MESSAGE("SKIPPED: the program: a core with sanitizers can't be linked without them");
    return;
  }
  const fs::path source = installed.folder.file(
      "embed.cpp",
      "#include <onebit/registry.hpp>\nint main() { return onebit::Registry::default_folder() == WHERE ? 0 : 1; }\n");
  must(run_shell(compiler + "-DWHERE=" + in_quotes("\"" + fs::canonical(installed.libraries).string() + "/onebit/plugins\"") +
                 " " + in_quotes(source) + " $(" + package + "--cflags --libs onebit) -o " +
                 in_quotes(installed.folder / "embed")));
  must(run_shell("LD_LIBRARY_PATH=" + in_quotes(installed.libraries) + " " + in_quotes(installed.folder / "embed")));
}

// README, "Embed it". Nothing of onebit is built here, and nothing of it is installed by the project around it.
TEST_CASE("a project may have onebit as a subdirectory, and add plugins of its own") {
  const Project project(
      "set(CMAKE_CXX_STANDARD 17)\n"
      "add_subdirectory(\"" ONEBIT_SOURCE_DIR
      "\" onebit)\n"
      "onebit_add_plugin(plain \"" ONEBIT_SOURCE_DIR
      "/tests/package/project/plugin.cpp\")\n"
      "file(WRITE ${CMAKE_BINARY_DIR}/trainer.cpp \"int main() {}\")\n"
      "add_executable(trainer ${CMAKE_BINARY_DIR}/trainer.cpp)\n"
      "target_link_libraries(trainer PRIVATE onebit::core)\n",
      "C CXX");
  must(project.configure("-DONEBIT_TORCH=OFF -DONEBIT_MPI=OFF -DONEBIT_CUDA=OFF"));
  CHECK(contents_of(project.folder / "build/CMakeCache.txt").find("ONEBIT_WERROR:BOOL=OFF") != std::string::npos);
  must(project.build("plain"));
  CHECK_SAYS(onebit::test::run_onebit("plugins inspect " + in_quotes(project.folder / "build/plain.so")), "optimizer 'plain'");
  CHECK(contents_of(project.folder / "build/onebit/cmake_install.cmake").find("libonebit_core") == std::string::npos);
}

TEST_CASE("the Debian packages install, work without a word about the tree, and leave nothing behind") {
  if (kSanitized) {
    MESSAGE("SKIPPED: what has sanitizers in it is not packed");
    return;
  }
  if (run_shell("dpkg-shlibdeps --version").status != 0) {
    MESSAGE("SKIPPED: there is no dpkg-shlibdeps to tell what packages depend on");
    return;
  }
  const ScratchFolder given, scratch;
  const std::string before = run_shell("dpkg-query --list 'onebit*'").text;
  must(run_shell("'" ONEBIT_CPACK "' --config '" + kBuild + "/CPackConfig.cmake' -G DEB -B " + in_quotes(given.path())));
  for (const fs::path& file : onebit::test::linked_files_in(given / "_CPack_Packages"))
    for (const std::string& entry : onebit::test::linked_file(file).entries)
      CHECK_MESSAGE(entry.rfind("$ORIGIN", 0) == 0, file.string() << ": " << entry);
  fs::remove_all(given / "_CPack_Packages");
  fs::copy(kSource + "/tests/package/run.sh", given / "run.sh");
  const Outcome outcome = run_shell("'" + kSource + "/tests/package/overlay.sh' " + in_quotes(scratch.path()) + " " +
                                    in_quotes(given.path()) + " '" + kSource + "' '" + kBuild + "'");
  CHECK(run_shell("dpkg-query --list 'onebit*'").text == before);  // the system itself has not changed
  if (outcome.status == kUnavailable) {
    MESSAGE("SKIPPED: " << outcome.text);
    return;
  }
  must(outcome);
  CHECK_SAYS(outcome, "/given/mine/build/mine.so: good: ");
  CHECK_SAYS(outcome, "/given/mine/by_hand.so\n");
  if (outcome.text.find("onebit train is left out") != std::string::npos)
    MESSAGE("SKIPPED: onebit train, of all that was tried: this build has none, or there are no data to train on");
  CHECK_MESSAGE(outcome.text.find(kBuild) == std::string::npos, outcome.text);
  const std::string after_mpi = outcome.text.substr(outcome.text.find("--- without an MPI library"));
  CHECK_MESSAGE(after_mpi.find("communicator  threads") != std::string::npos, outcome.text);
  const std::string left = "--- left behind:\n";
  CHECK_MESSAGE(outcome.text.substr(outcome.text.find(left) + left.size()).empty(), outcome.text);
}

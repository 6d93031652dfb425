// SPDX-License-Identifier: Apache-2.0
// What host/cmake/Libtorch.cmake makes of a libtorch that it finds: which can't be used, and how one with CUDA is linked
// without running its own CMake files. The libtorch here are folders with as much in them as is looked at.
#include <doctest/doctest.h>

#include <filesystem>
#include <regex>
#include <string>

#include "support/running.hpp"
#include "support/scratch_folder.hpp"

namespace {

// A project that finds the libtorch in `site`, laid out as pip does, and says what it would link.
const char* const kProject = R"(
cmake_minimum_required(VERSION 3.25)
project(finding LANGUAGES CXX)
add_library(core INTERFACE)
add_library(onebit::core ALIAS core)
include(${ONEBIT_SOURCE_DIR}/host/cmake/Libtorch.cmake)
foreach(property LINK_OPTIONS LINK_LIBRARIES COMPILE_DEFINITIONS COMPILE_FEATURES SYSTEM_INCLUDE_DIRECTORIES)
  get_target_property(value onebit_torch INTERFACE_${property})
  message(STATUS "${property}: ${value};")
endforeach()
)";

struct Site {
  Site(const std::string& version, const std::string& config) {
    write("project/CMakeLists.txt", kProject);
    add("torch", version, config);
  }
  void add(const std::string& name, const std::string& version, const std::string& config) const {
    write(name + "/share/cmake/Torch/TorchConfig.cmake", config);
    write(name + "/share/cmake/Torch/TorchConfigVersion.cmake",
          "set(PACKAGE_VERSION \"" + version + "\")\nset(PACKAGE_VERSION_COMPATIBLE FALSE)\n" +
              "if(PACKAGE_FIND_VERSION VERSION_LESS_EQUAL PACKAGE_VERSION)\nset(PACKAGE_VERSION_COMPATIBLE TRUE)\nendif()\n");
  }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((folder / name).parent_path());
    folder.file(name, text);
  }
  void add_cuda_13() const {
    write("torch/lib/libc10_cuda.so",
          std::string("\x7f") + "ELF" + '\0' + "cudaFree@libcudart.so.13" + '\0' + "libcudart.so.13" + '\0');
    write("torch/include/torch/csrc/api/include/torch/torch.h", "");
    write("nvidia/nccl/lib/libnccl.so.2", "");
  }
  void add_headers(bool complete) const {
    write("nvidia/cu13/include/cuda_runtime_api.h", "");
    if (complete) write("nvidia/cu13/include/crt/host_defines.h", "");
  }
  // What CMake says, its lines joined, for it breaks what it warns of.
  onebit::test::Outcome configure(const std::string& arguments = "") const {
    onebit::test::Outcome outcome = onebit::test::run_shell(
        ONEBIT_CMAKE " -S '" + path("project") + "' -B '" + path("build") +
        "' -DONEBIT_SOURCE_DIR=" ONEBIT_SOURCE_DIR " -DCMAKE_PREFIX_PATH='" + path("torch/share/cmake") + "' " + arguments);
    outcome.text = std::regex_replace(outcome.text, std::regex("\\s+"), " ");
    return outcome;
  }
  std::string path(const std::string& name) const { return (folder / name).string(); }

  ScratchFolder folder;
};

// What pip's says, as one that must not be run; the rest is what is read of it.
const std::string kNotToBeRun =
    "message(FATAL_ERROR \"the config was run\")\ntarget_compile_features(torch INTERFACE cxx_std_20)\n";

}  // namespace

TEST_CASE("a libtorch that is too old, or of the old C++ ABI, is refused before it is run") {
  const onebit::test::Outcome old = Site("1.7.1", kNotToBeRun).configure();
  CHECK(old.status != 0);
  CHECK_SAYS(old, "has version 1.7.1; expected 1.8 or later");
  CHECK(old.text.find("the config was run") == std::string::npos);
  const onebit::test::Outcome other_abi =
      Site("2.4.0", kNotToBeRun + "set(TORCH_CXX_FLAGS \"-D_GLIBCXX_USE_CXX11_ABI=0\")\n").configure();
  CHECK(other_abi.status != 0);
  CHECK_SAYS(other_abi, "old C++ ABI");
}

TEST_CASE("a libtorch without CUDA is asked by its own CMake files what to link") {
  const onebit::test::Outcome found = Site("1.8.0", "set(TORCH_LIBRARIES what_it_says)\nset(Torch_FOUND TRUE)\n").configure();
  CHECK_MESSAGE(found.status == 0, found.text);
  CHECK_SAYS(found, "libtorch 1.8.0: ");
  CHECK_SAYS(found, "(without CUDA)");
  CHECK_SAYS(found, "what_it_says;");
  CHECK_SAYS(found, "COMPILE_DEFINITIONS: value-NOTFOUND;");
}

TEST_CASE("a libtorch with CUDA is linked as it lies there, with NVIDIA's libraries that came with it") {
  const Site site("2.15.0", kNotToBeRun);
  site.add_cuda_13();
  site.add_headers(true);
  const onebit::test::Outcome found = site.configure();
  CHECK_MESSAGE(found.status == 0, found.text);
  CHECK_SAYS(found, "(CUDA 13, headers from " + site.path("nvidia/cu13/include") + ")");
  CHECK_SAYS(found, "LINKER:-rpath-link," + site.path("nvidia/nccl/lib") + ";");
  CHECK_SAYS(found, "LINKER:-rpath," + site.path("nvidia/nccl/lib") + ";");
  CHECK_SAYS(found, "LINKER:-rpath," + site.path("torch/lib") + ";");
  CHECK_SAYS(found, "--no-as-needed," + site.path("torch/lib/libtorch.so"));
  CHECK_SAYS(found, site.path("torch/lib/libc10_cuda.so") + ";");
  CHECK_SAYS(found, "COMPILE_DEFINITIONS: ONEBIT_TORCH_CUDA;");
  CHECK_SAYS(found, "COMPILE_FEATURES: cxx_std_20;");
  CHECK_SAYS(found, site.path("nvidia/cu13/include") + ";");
}

TEST_CASE("without complete headers of libtorch's release of CUDA it is used on the CPU") {
  const Site site("2.15.0", kNotToBeRun);
  site.add_cuda_13();
  site.add_headers(false);
  const onebit::test::Outcome found = site.configure();
  CHECK_MESSAGE(found.status == 0, found.text);
  CHECK_SAYS(found, "(its CUDA 13 left out, for no headers of that release were found)");
  CHECK_SAYS(found, "COMPILE_DEFINITIONS: value-NOTFOUND;");
  CHECK_SAYS(found, site.path("torch/lib/libc10_cuda.so") + ";");
}

TEST_CASE("a toolkit of another release than libtorch's is told, and its headers are not taken") {
  const Site site("2.15.0", kNotToBeRun);
  site.add_cuda_13();
  site.write("toolkit/include/cuda_runtime_api.h", "");
  site.write("toolkit/include/crt/host_defines.h", "");
  const auto with_toolkit = [&](const std::string& major) {
    return site.configure("-DONEBIT_CUDA=ON -DCUDAToolkit_FOUND=TRUE -DCUDAToolkit_VERSION=" + major +
                          ".4 -DCUDAToolkit_VERSION_MAJOR=" + major +
                          " -DCUDAToolkit_BIN_DIR=/toolkit/bin -DCUDAToolkit_INCLUDE_DIRS=" + site.path("toolkit/include"));
  };
  const onebit::test::Outcome other = with_toolkit("12");
  CHECK_MESSAGE(other.status == 0, other.text);
  CHECK_SAYS(other, "CMake Warning");
  CHECK_SAYS(other, "was built for CUDA 13, but the toolkit in /toolkit/bin is 12.4");
  CHECK_SAYS(other, "CUDA 13 left out");
  const onebit::test::Outcome same = with_toolkit("13");
  CHECK(same.text.find("was built for CUDA 13") == std::string::npos);
  CHECK_SAYS(same, "(CUDA 13, headers from " + site.path("toolkit/include") + ")");
}

TEST_CASE("another libtorch is taken when one is asked for, and one that was named stays") {
  const Site site("1.8.0", "set(TORCH_LIBRARIES first)\nset(Torch_FOUND TRUE)\n");
  site.add("other", "1.9.0", "set(TORCH_LIBRARIES second)\nset(Torch_FOUND TRUE)\n");
  CHECK_SAYS(site.configure(), "libtorch 1.8.0: ");
  CHECK_SAYS(site.configure("-DCMAKE_PREFIX_PATH='" + site.path("other/share/cmake") + "'"), "libtorch 1.9.0: ");
  CHECK_SAYS(site.configure(), "libtorch 1.8.0: ");
  CHECK_SAYS(site.configure("-DTorch_DIR='" + site.path("other/share/cmake/Torch") + "'"), "libtorch 1.9.0: ");
  CHECK_SAYS(site.configure(), "libtorch 1.9.0: ");
}

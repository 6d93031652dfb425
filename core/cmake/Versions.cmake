# SPDX-License-Identifier: Apache-2.0
# What a build needs, told at once and in a sentence; without it, pages of other errors would come later.
set(onebit_other_compiler "Choose another compiler, as in -DCMAKE_C_COMPILER=gcc-12 -DCMAKE_CXX_COMPILER=g++-12.")
if((CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 11)
    OR (CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14))
  message(FATAL_ERROR "onebit needs gcc 11 or clang 14, or a later one; ${CMAKE_CXX_COMPILER} is ${CMAKE_CXX_COMPILER_ID} "
    "${CMAKE_CXX_COMPILER_VERSION}. ${onebit_other_compiler}")
endif()

# A clang takes the standard library of whichever gcc it finds.
include(CheckCXXSourceCompiles)
block(SCOPE_FOR VARIABLES)
  set(CMAKE_REQUIRED_FLAGS -std=c++20)
  set(CMAKE_REQUIRED_QUIET ON)
  set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
  check_cxx_source_compiles("
    #include <barrier>
    #include <charconv>
    #include <thread>
    std::jthread thread;
    std::barrier<> barrier(1);
    auto read(const char* begin, const char* end, double& number) { return std::from_chars(begin, end, number); }"
    ONEBIT_HAS_CXX20_LIBRARY)
endblock()
if(NOT ONEBIT_HAS_CXX20_LIBRARY)
  message(FATAL_ERROR "onebit needs a C++20 standard library with std::jthread, std::barrier and std::from_chars of double: gcc 11's "
    "libstdc++ or a later one. ${CMAKE_CXX_COMPILER} has none. ${onebit_other_compiler}")
endif()

# onebit_check_toml11(): to be called after find_package(toml11)
function(onebit_check_toml11)
  if(toml11_VERSION AND (toml11_VERSION VERSION_LESS 3.7 OR toml11_VERSION VERSION_GREATER_EQUAL 5))
    message(FATAL_ERROR "onebit needs toml11 3.7 or 4, found ${toml11_VERSION} in ${toml11_DIR}. Name the folder of another one's "
      "toml11Config.cmake: -Dtoml11_DIR=FOLDER (Debian: apt-get install libtoml11-dev).")
  endif()
endfunction()

# SPDX-License-Identifier: Apache-2.0
# Finds libtorch >= 1.8: what the user passes (Torch_DIR, CMAKE_PREFIX_PATH), else the active Python's torch, else the system's. Makes
# the target onebit::torch; libtorch's flags go to what links it, and nowhere else.
include(${CMAKE_CURRENT_LIST_DIR}/LibtorchCuda.cmake)
if(NOT DEFINED onebit_without_torch) # how to do without
  set(onebit_without_torch "-DONEBIT_TORCH=OFF, which leaves out what trains")
endif()

# Sets Torch_DIR and onebit_torch_version to those of the first libtorch that find_package comes by, without running its
# TorchConfig.cmake: that of one with CUDA ends CMake wherever it misses something. No libtorch has a version as high as this.
macro(onebit_look_for_torch)
  find_package(Torch 1000000 QUIET CONFIG ${ARGN})
  set(onebit_torch_version "")
  if(Torch_CONSIDERED_CONFIGS)
    list(GET Torch_CONSIDERED_CONFIGS 0 onebit_torch_config)
    list(GET Torch_CONSIDERED_VERSIONS 0 onebit_torch_version)
    cmake_path(GET onebit_torch_config PARENT_PATH onebit_torch_folder)
    set(Torch_DIR "${onebit_torch_folder}" CACHE PATH "The folder with libtorch's TorchConfig.cmake" FORCE)
  endif()
endmacro()

# What an earlier run came by is looked for again, for meanwhile there may be another, or another CMAKE_PREFIX_PATH; what the user
# gave stays.
macro(onebit_find_torch)
  set(onebit_torch_before "${Torch_DIR}")
  if("${Torch_DIR}" STREQUAL "${ONEBIT_TORCH_DIR}")
    unset(Torch_DIR CACHE)
  endif()
  set(onebit_torch_given "${Torch_DIR}")
  onebit_look_for_torch(NO_CMAKE_SYSTEM_PATH NO_SYSTEM_ENVIRONMENT_PATH NO_CMAKE_INSTALL_PREFIX NO_CMAKE_PACKAGE_REGISTRY)
  if(NOT onebit_torch_version)
    execute_process(COMMAND python3 -c "import os, importlib.util as i; print(os.path.dirname(i.find_spec('torch').origin) + '/share/cmake')"
      OUTPUT_VARIABLE onebit_python_torch OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET TIMEOUT 120)
    onebit_look_for_torch(PATHS ${onebit_python_torch} NO_DEFAULT_PATH)
  endif()
  if(NOT onebit_torch_version)
    onebit_look_for_torch()
  endif()
  if(NOT onebit_torch_version)
    message(FATAL_ERROR "libtorch was not found. One of these brings it:\n"
      "  apt-get install libtorch-dev\n"
      "  python3 -m pip install torch   (in the Python that is active here)\n"
      "  -DTorch_DIR=FOLDER/share/cmake/Torch   (of a libtorch that was unpacked anywhere)\n"
      "Or do without it: ${onebit_without_torch}")
  endif()
  if(onebit_torch_given)
    unset(ONEBIT_TORCH_DIR CACHE)
  else()
    set(ONEBIT_TORCH_DIR "${Torch_DIR}" CACHE INTERNAL "The libtorch that a search came by")
  endif()
  if(NOT Torch_DIR STREQUAL onebit_torch_before) # what its CMake files have found
    unset(Caffe2_DIR CACHE)
    unset(C10_LIBRARY CACHE)
    unset(TORCH_LIBRARY CACHE)
  endif()
endmacro()

# Ends CMake where this libtorch can't be used, whatever would come of running its TorchConfig.cmake.
function(onebit_check_torch)
  if(NOT onebit_torch_version VERSION_GREATER_EQUAL 1.8)
    message(FATAL_ERROR "The libtorch in ${Torch_DIR} has version ${onebit_torch_version}; expected 1.8 or later. Take another: "
      "`apt-get install libtorch-dev` or `python3 -m pip install torch`, and -DTorch_DIR=FOLDER/share/cmake/Torch; or "
      "${onebit_without_torch}.")
  endif()
  file(STRINGS ${Torch_DIR}/TorchConfig.cmake old_abi REGEX "_GLIBCXX_USE_CXX11_ABI=0")
  if(old_abi)
    message(FATAL_ERROR "The libtorch in ${Torch_DIR} was built with the old C++ ABI (_GLIBCXX_USE_CXX11_ABI=0) and can't be linked "
      "with the other libraries here. Take another: `apt-get install libtorch-dev` and -DTorch_DIR=/usr/lib/<machine>/cmake/Torch, "
      "the \"cxx11 ABI\" download, or torch >= 2.6 from pip; or ${onebit_without_torch}.")
  endif()
endfunction()

add_library(onebit_torch INTERFACE)
if(TARGET onebit::torch) # the package's, from before its component was asked for
  set_property(TARGET onebit::torch PROPERTY INTERFACE_LINK_LIBRARIES onebit_torch)
else()
  add_library(onebit::torch ALIAS onebit_torch)
endif()
target_link_libraries(onebit_torch INTERFACE onebit::core)
if(TARGET torch) # that of the project that this one is part of: there can't be two
  set(onebit_torch_version ${Torch_VERSION})
  onebit_check_torch()
  target_link_libraries(onebit_torch INTERFACE ${TORCH_LIBRARIES})
  if(TARGET c10_cuda)
    onebit_find_cuda_torch()
    onebit_use_cuda_of_torch()
  endif()
else()
  onebit_find_torch()
  onebit_check_torch()
  onebit_find_cuda_torch()
  if(onebit_torch_cuda)
    onebit_import_cuda_torch()
    onebit_use_cuda_of_torch()
  else()
    find_package(Torch QUIET REQUIRED)
    target_link_libraries(onebit_torch INTERFACE ${TORCH_LIBRARIES})
  endif()
endif()

if(NOT onebit_torch_cuda)
  set(onebit_torch_summary "without CUDA")
elseif(onebit_torch_cuda_headers)
  set(onebit_torch_summary "CUDA ${onebit_torch_cuda}, headers from ${onebit_torch_cuda_headers}")
else()
  set(onebit_torch_summary "its CUDA ${onebit_torch_cuda} left out, for no headers of that release were found")
endif()
message(STATUS "libtorch ${onebit_torch_version}: ${Torch_DIR} (${onebit_torch_summary})")

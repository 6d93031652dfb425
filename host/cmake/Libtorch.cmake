# Finds libtorch: what the user passes (Torch_DIR, CMAKE_PREFIX_PATH), else the active Python's torch, else the system's. Makes the
# target onebit::torch; libtorch's flags go to what links it, and nowhere else.
macro(onebit_find_torch)
  find_package(Torch QUIET NO_CMAKE_SYSTEM_PATH NO_SYSTEM_ENVIRONMENT_PATH NO_CMAKE_INSTALL_PREFIX NO_CMAKE_PACKAGE_REGISTRY)
  if(NOT Torch_FOUND)
    execute_process(COMMAND python3 -c "import torch; print(torch.utils.cmake_prefix_path)"
      OUTPUT_VARIABLE onebit_python_torch OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET TIMEOUT 120)
    find_package(Torch QUIET PATHS ${onebit_python_torch} NO_DEFAULT_PATH)
  endif()
  if(NOT Torch_FOUND)
    find_package(Torch QUIET)
  endif()
  if(NOT Torch_FOUND)
    message(FATAL_ERROR "libtorch was not found. One of these brings it:\n"
      "  apt-get install libtorch-dev\n"
      "  python3 -m pip install torch   (in the Python that is active here)\n"
      "  -DTorch_DIR=FOLDER/share/cmake/Torch   (of a libtorch that was unpacked anywhere)\n"
      "Or build without what trains: -DONEBIT_TORCH=OFF")
  endif()
endmacro()

onebit_find_torch()
message(STATUS "libtorch: ${Torch_DIR}")
if(TORCH_CXX_FLAGS MATCHES "_GLIBCXX_USE_CXX11_ABI=0")
  message(FATAL_ERROR "The libtorch in ${Torch_DIR} was built with the old C++ ABI (_GLIBCXX_USE_CXX11_ABI=0) and can't be linked "
    "with the other libraries here. Take another: `apt-get install libtorch-dev` and -DTorch_DIR=/usr/lib/<machine>/cmake/Torch, "
    "the \"cxx11 ABI\" download, or torch >= 2.6 from pip; or -DONEBIT_TORCH=OFF.")
endif()

add_library(onebit_torch INTERFACE)
add_library(onebit::torch ALIAS onebit_torch)
target_include_directories(onebit_torch INTERFACE ${CMAKE_CURRENT_SOURCE_DIR}/include)
target_link_libraries(onebit_torch INTERFACE onebit::core ${TORCH_LIBRARIES})

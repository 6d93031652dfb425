# SPDX-License-Identifier: Apache-2.0
# libtorch with CUDA, such as pip's, used without running its own CMake files. Those end CMake without nvcc, without a toolkit or
# without TORCH_CUDA_ARCH_LIST, put torch's flags for kernels into CMAKE_CUDA_FLAGS, forbid CMAKE_CUDA_ARCHITECTURES, and link the
# toolkit's libcudart where libtorch has one of its own. What links libtorch compiles none of its kernels: it needs headers and
# libraries.

# Sets what is known of the libtorch in Torch_DIR: onebit_torch_cuda, the release of CUDA that it was built for, such as 13; or "".
# With it: onebit_torch_lib, the folder of its libraries; onebit_torch_site, where pip puts NVIDIA's beside it;
# onebit_torch_cuda_headers, the folder of headers of that release, or "".
function(onebit_find_cuda_torch)
  find_library(c10_cuda c10_cuda PATHS ${Torch_DIR}/../../../lib ${Torch_DIR}/../.. NO_DEFAULT_PATH NO_CACHE)
  if(NOT c10_cuda)
    set(onebit_torch_cuda "" PARENT_SCOPE)
    return()
  endif()
  file(STRINGS ${c10_cuda} needed REGEX "^libcudart[^/@]*\\.so\\.[0-9]+")
  string(REGEX MATCH "\\.so\\.([0-9]+)" release "${needed}")
  set(release ${CMAKE_MATCH_1})
  cmake_path(GET c10_cuda PARENT_PATH lib)
  cmake_path(SET site NORMALIZE "${lib}/../../")
  set(onebit_torch_cuda "${release}" PARENT_SCOPE)
  set(onebit_torch_lib "${lib}" PARENT_SCOPE)
  set(onebit_torch_site "${site}" PARENT_SCOPE)
  onebit_find_cuda_headers("${release}" "${lib}" "${site}")
  set(onebit_torch_cuda_headers "${headers}" PARENT_SCOPE)
endfunction()

# pip's headers belong to libtorch, but its package nvidia-cuda-crt, without which they are incomplete, is seldom there.
function(onebit_find_cuda_headers release lib site)
  file(GLOB folders "${site}nvidia/cu${release}/include" "${lib}/../targets/*/include")
  if(release LESS 13)
    list(APPEND folders "${site}nvidia/cuda_runtime/include")
  endif()
  if(CUDAToolkit_FOUND AND CUDAToolkit_VERSION_MAJOR EQUAL release)
    list(APPEND folders ${CUDAToolkit_INCLUDE_DIRS})
  endif()
  foreach(folder ${folders})
    if(EXISTS "${folder}/cuda_runtime_api.h" AND EXISTS "${folder}/crt/host_defines.h")
      set(headers "${folder}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  set(headers "" PARENT_SCOPE)
endfunction()

# Links the libtorch that was found to onebit_torch. Only what is named must be kept although nothing refers to it: libtorch, which
# needs all others.
function(onebit_import_cuda_torch)
  find_path(include torch/csrc/api/include/torch/torch.h PATHS ${onebit_torch_lib}/../include ${onebit_torch_lib}/../../include
    NO_DEFAULT_PATH NO_CACHE REQUIRED)
  target_include_directories(onebit_torch SYSTEM INTERFACE ${include} ${include}/torch/csrc/api/include)
  file(STRINGS ${Torch_DIR}/TorchConfig.cmake standard REGEX "(cxx_std_|CXX_STANDARD )[0-9]+")
  if(standard MATCHES "(cxx_std_|CXX_STANDARD )([0-9]+)")
    target_compile_features(onebit_torch INTERFACE cxx_std_${CMAKE_MATCH_2})
  endif()
  target_link_options(onebit_torch INTERFACE "LINKER:--push-state,--no-as-needed,${onebit_torch_lib}/libtorch.so,--pop-state")
  foreach(name torch torch_cpu torch_cuda c10 c10_cuda)
    target_link_libraries(onebit_torch INTERFACE ${onebit_torch_lib}/lib${name}.so)
  endforeach()
endfunction()

# NVIDIA's libraries beside libtorch go before the system's, which may be older: when linking, and when running. Their libcudart is
# there for who calls CUDA in headers of libtorch.
function(onebit_use_cuda_of_torch)
  file(GLOB folders "${onebit_torch_site}nvidia/*/lib")
  foreach(folder ${onebit_torch_lib} ${folders})
    target_link_options(onebit_torch INTERFACE "LINKER:-rpath-link,${folder}" "LINKER:-rpath,${folder}")
  endforeach()
  file(GLOB cudart "${onebit_torch_site}nvidia/*/lib/libcudart.so.${onebit_torch_cuda}")
  if(cudart)
    target_link_options(onebit_torch INTERFACE "LINKER:--push-state,--as-needed,${cudart},--pop-state")
  endif()
  if(ONEBIT_CUDA AND NOT CUDAToolkit_VERSION_MAJOR EQUAL onebit_torch_cuda)
    message(WARNING "The libtorch in ${Torch_DIR} was built for CUDA ${onebit_torch_cuda}, but the toolkit in "
      "${CUDAToolkit_BIN_DIR} is ${CUDAToolkit_VERSION}: a process would have both, and each wants its own driver. Take a torch for "
      "CUDA ${CUDAToolkit_VERSION_MAJOR}, or a toolkit ${onebit_torch_cuda} (-DCUDAToolkit_ROOT=FOLDER), or leave kernels out "
      "(-DONEBIT_CUDA=OFF).")
  endif()
  if(onebit_torch_cuda_headers)
    target_include_directories(onebit_torch SYSTEM INTERFACE ${onebit_torch_cuda_headers})
    target_compile_definitions(onebit_torch INTERFACE ONEBIT_TORCH_CUDA)
  endif()
endfunction()

# SPDX-License-Identifier: Apache-2.0
# onebit_cuda_on_cpu(TARGET source.cu ...): adds CUDA sources to a target, compiled as C++ and run by the emulated runtime.
# Not for a target of a folder in which nvcc compiles the same sources, too: the language of a source is its folder's.
function(onebit_cuda_on_cpu target)
  foreach(source ${ARGN})
    get_filename_component(source ${source} ABSOLUTE)
    set_source_files_properties(${source} TARGET_DIRECTORY ${target} PROPERTIES LANGUAGE CXX)
    target_sources(${target} PRIVATE ${source})
  endforeach()
  # `#pragma unroll` is nvcc's and clang's
  target_compile_options(${target} PRIVATE -ffp-contract=off $<$<CXX_COMPILER_ID:GNU>:-Wno-unknown-pragmas>)
  target_link_libraries(${target} PRIVATE onebit_cuda_on_cpu)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "EXECUTABLE" AND ONEBIT_SANITIZE MATCHES "address")
    target_sources(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests/cuda_on_cpu/leaks.cpp)
  endif()
endfunction()

# onebit_plugin_on_cpu(NAME source...): the plugin of that name with what it has for CUDA on the CPU, as target NAME_on_cpu, in a
# folder where no host looks by itself. All its sources see ONEBIT_FOR_CUDA, as onebit_for_cuda() has it.
function(onebit_plugin_on_cpu name)
  set(cuda_sources ${ARGN})
  list(FILTER cuda_sources INCLUDE REGEX "\\.cu$")
  list(FILTER ARGN EXCLUDE REGEX "\\.cu$")
  onebit_add_plugin(${name}_on_cpu ${ARGN})
  onebit_cuda_on_cpu(${name}_on_cpu ${cuda_sources})
  target_compile_definitions(${name}_on_cpu PRIVATE ONEBIT_FOR_CUDA)
  target_link_libraries(${name}_on_cpu PRIVATE onebit_flags)
  set_target_properties(${name}_on_cpu PROPERTIES BUILD_WITH_INSTALL_RPATH OFF
    OUTPUT_NAME ${name} LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/onebit/plugins_on_cpu)
  add_dependencies(onebit_plugins_on_cpu ${name}_on_cpu)
endfunction()

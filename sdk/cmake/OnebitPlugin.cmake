# SPDX-License-Identifier: Apache-2.0
# onebit_add_plugin(NAME source...): a plugin library as the host expects it. Loaded, never linked; exports its entry alone;
# resolves every symbol at load; finds its own neighbours beside it. NAME.so comes where the project's libraries do: into its
# build folder, unless CMAKE_LIBRARY_OUTPUT_DIRECTORY says otherwise. With a sanitizer set ONEBIT_SANITIZE, to what is true.
function(onebit_add_plugin name)
  set(exports ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/plugin.map)
  add_library(${name} MODULE ${ARGN})
  target_link_libraries(${name} PRIVATE onebit::sdk)
  set_target_properties(${name} PROPERTIES
    PREFIX ""
    C_VISIBILITY_PRESET hidden
    CXX_VISIBILITY_PRESET hidden
    CUDA_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON
    INSTALL_RPATH "$ORIGIN"
    INSTALL_RPATH_USE_LINK_PATH ON # what it was linked with outside of the project, such as an MPI in /opt, is looked for there
    BUILD_WITH_INSTALL_RPATH ON # else CMake fills up the one of the build tree with ':', which means the working directory
    LINK_DEPENDS ${exports})
  target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:C,CXX>:-ffp-contract=off>)
  target_link_options(${name} PRIVATE -Wl,-z,now -Wl,--version-script=${exports})
  if(NOT ONEBIT_SANITIZE) # sanitizer runtimes are resolved by the host process
    target_link_options(${name} PRIVATE -Wl,-z,defs)
  endif()
endfunction()

# onebit_add_program_plugin(NAME plugin.cpp kernels.cpp): an optimizer made of programs (onebit/program.hpp), as two plugins:
# NAME for the CPU, by Highway for every SIMD target, and NAME_cuda, where ONEBIT_CUDA is on and CUDA is one of the project's
# languages: the same sources for CUDA.
function(onebit_add_program_plugin name plugin kernels)
  find_package(hwy QUIET)
  if(NOT TARGET hwy::hwy)
    message(FATAL_ERROR "onebit_add_program_plugin(${name}) needs Highway, which was not found (Debian: apt-get install "
                        "libhwy-dev)")
  endif()
  onebit_add_plugin(${name} ${plugin} ${kernels})
  target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}) # Highway includes the kernels again, by name
  target_link_libraries(${name} PRIVATE hwy::hwy)
  # What lets plain loops be vectorised: no errno from sqrt, no trapping operations. The bits do not change.
  set_source_files_properties(${kernels} PROPERTIES COMPILE_OPTIONS "-O3;-fno-math-errno;-fno-trapping-math")
  if(ONEBIT_CUDA)
    onebit_cuda_source(cuda_kernels ${kernels})
    onebit_add_plugin(${name}_cuda ${plugin} ${cuda_kernels})
    onebit_for_cuda(${name}_cuda)
  endif()
endfunction()

# Sets OUT to a source for nvcc that includes SOURCE.
function(onebit_cuda_source out source)
  get_filename_component(stem ${source} NAME_WE)
  set(file ${CMAKE_CURRENT_BINARY_DIR}/${stem}.cu)
  file(CONFIGURE OUTPUT ${file} CONTENT "#include \"${CMAKE_CURRENT_SOURCE_DIR}/${source}\"\n" @ONLY)
  set(${out} ${file} PARENT_SCOPE)
endfunction()

# A target that is built for CUDA: its components say so. The arithmetic is that of the CPU to the bit: no fma, IEEE division
# and square root, denormals as they are. The CUDA runtime is linked in: it finds the driver, or that there is none, at run time.
function(onebit_for_cuda name)
  if(NOT CMAKE_CUDA_COMPILER OR NOT TARGET CUDA::cudart_static)
    message(FATAL_ERROR "${name} is to be built for CUDA, as ONEBIT_CUDA says, and CUDA is not there yet. Before it, call "
                        "find_package(CUDAToolkit REQUIRED) and enable_language(CUDA).")
  endif()
  target_compile_definitions(${name} PRIVATE ONEBIT_FOR_CUDA)
  target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE CUDA::cudart_static)
  target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-fmad=false -prec-div=true -prec-sqrt=true -ftz=false
    -Xcompiler=-ffp-contract=off,-Wall,-Wextra$<$<BOOL:${ONEBIT_WERROR}>:$<COMMA>-Werror>
    $<$<BOOL:${ONEBIT_WERROR}>:--Werror=all-warnings>>)
endfunction()

# SPDX-License-Identifier: Apache-2.0
# `cpack -G DEB`: onebit, with all that runs, and onebit-dev, with all that is built against. What they depend on is asked for
# when they are made: DebianDepends.cmake.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME onebit)
set(CPACK_PACKAGE_VENDOR onebit)
set(CPACK_PACKAGE_CONTACT "onebit developers <developers@onebit.invalid>" CACHE STRING "The maintainer of packages")
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_PROJECT_CONFIG_FILE ${PROJECT_SOURCE_DIR}/sdk/packaging/DebianDepends.cmake)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_COMPONENTS_ALL onebit_runtime onebit_development)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_ONEBIT_RUNTIME_PACKAGE_NAME onebit)
set(CPACK_DEBIAN_ONEBIT_RUNTIME_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_ONEBIT_RUNTIME_PACKAGE_SECTION science)
set(CPACK_ONEBIT_FOLDER ${PROJECT_BINARY_DIR}/cmake/debian)
set(CPACK_DEBIAN_ONEBIT_RUNTIME_PACKAGE_CONTROL_EXTRA ${CPACK_ONEBIT_FOLDER}/shlibs ${CPACK_ONEBIT_FOLDER}/triggers)
file(WRITE ${CPACK_ONEBIT_FOLDER}/shlibs 
  "libonebit_core ${PROJECT_VERSION_MAJOR} onebit (>= ${PROJECT_VERSION})\nlibonebit ${PROJECT_VERSION_MAJOR} onebit (>= ${PROJECT_VERSION})\n")
file(WRITE ${CPACK_ONEBIT_FOLDER}/triggers "activate-noawait ldconfig\n")
set(CPACK_COMPONENT_ONEBIT_RUNTIME_DESCRIPTION
"A small host that trains any model over slow networks, with optimizer, compressor
and communicator chosen in a TOML file and loaded at run time as plugins.

This package has the command, the core library and the built-in plugins.")

set(CPACK_DEBIAN_ONEBIT_DEVELOPMENT_PACKAGE_NAME onebit-dev)
set(CPACK_DEBIAN_ONEBIT_DEVELOPMENT_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_ONEBIT_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_ONEBIT_DEVELOPMENT_PACKAGE_DEPENDS "onebit (= ${PROJECT_VERSION}), libspdlog-dev, doctest-dev")
set(CPACK_DEBIAN_ONEBIT_DEVELOPMENT_PACKAGE_RECOMMENDS "g++ | clang, cmake, make | ninja-build, pkg-config")
set(CPACK_DEBIAN_ONEBIT_DEVELOPMENT_PACKAGE_SUGGESTS "libhwy-dev, libtorch-dev, libopenmpi-dev")
set(CPACK_COMPONENT_ONEBIT_DEVELOPMENT_DESCRIPTION
"A small host that trains any model over slow networks, with optimizer, compressor
and communicator chosen in a TOML file and loaded at run time as plugins.

This package has what plugins of your own are written against and tested with, and
what trainers embed.")

# For DebianDepends.cmake: what depends on what must be there, and what on what may be missing.
set(CPACK_ONEBIT_BINARIES ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/onebit ${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/libonebit_core.so
  ${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/libonebit.so)
set(CPACK_ONEBIT_OPTIONAL_BINARIES)
foreach(name ${plugins})
  set(file ${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/onebit/plugins/${name}.so)
  if(name MATCHES "_mpi")
    list(APPEND CPACK_ONEBIT_OPTIONAL_BINARIES ${file})
  else()
    list(APPEND CPACK_ONEBIT_BINARIES ${file})
  endif()
endforeach()
set(CPACK_ONEBIT_MPIEXEC ${MPIEXEC_EXECUTABLE})
set(CPACK_ONEBIT_TORCH ${ONEBIT_TORCH})
set(CPACK_ONEBIT_CUDA ${ONEBIT_CUDA})
include(CPack)

# SPDX-License-Identifier: Apache-2.0
# cpack reads this before it packs. The package depends on the libraries of all binaries but those of the communicator `mpi`,
# which are recommended: on a machine without MPI that plugin says why it can't be used, and all others can.
if(NOT CPACK_GENERATOR STREQUAL "DEB")
  return()
endif()
find_program(dpkg_shlibdeps dpkg-shlibdeps NO_CACHE)
if(NOT dpkg_shlibdeps)
  message(FATAL_ERROR "dpkg-shlibdeps, which tells what a package depends on, was not found: apt-get install dpkg-dev")
endif()

# A source package as dpkg-shlibdeps expects one, which says that the core library is in the package itself.
file(WRITE ${CPACK_ONEBIT_FOLDER}/debian/control "Source: onebit\n\nPackage: onebit\nArchitecture: any\n")
file(WRITE ${CPACK_ONEBIT_FOLDER}/debian/shlibs.local 
  "libonebit_core ${CPACK_PACKAGE_VERSION_MAJOR} onebit\nlibonebit ${CPACK_PACKAGE_VERSION_MAJOR} onebit\n")
list(GET CPACK_ONEBIT_BINARIES 1 core)
cmake_path(GET core PARENT_PATH core_folder) # a package has no $ORIGIN yet, by which the command finds it
set(arguments -O -xonebit -l${core_folder} -dDepends)
foreach(file ${CPACK_ONEBIT_BINARIES})
  list(APPEND arguments -e${file})
endforeach()
list(APPEND arguments -dRecommends)
foreach(file ${CPACK_ONEBIT_OPTIONAL_BINARIES})
  list(APPEND arguments -e${file})
endforeach()
execute_process(COMMAND ${dpkg_shlibdeps} ${arguments} WORKING_DIRECTORY ${CPACK_ONEBIT_FOLDER}
  OUTPUT_VARIABLE told ERROR_VARIABLE reason RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "What the package depends on can't be told: every library must come from a Debian package (a libtorch of "
                      "pip's does not; -DONEBIT_TORCH=OFF packs without what trains). dpkg-shlibdeps says:\n${reason}")
endif()

set(recommended)
if(told MATCHES "shlibs:Recommends=([^\n]+)")
  list(APPEND recommended ${CMAKE_MATCH_1})
endif()
# mpirun, which `onebit train` starts
if(CPACK_ONEBIT_MPIEXEC)
  file(REAL_PATH ${CPACK_ONEBIT_MPIEXEC} mpiexec)
  execute_process(COMMAND dpkg-query --search ${mpiexec} OUTPUT_VARIABLE owner ERROR_QUIET)
  if(owner MATCHES "^([^:]+): ")
    list(APPEND recommended ${CMAKE_MATCH_1})
  endif()
endif()
if(CPACK_ONEBIT_TORCH)
  list(APPEND recommended libopenblas0-pthread dataset-fashion-mnist fortunes)
endif()
list(JOIN recommended ", " CPACK_DEBIAN_ONEBIT_RUNTIME_PACKAGE_RECOMMENDS)
if(told MATCHES "shlibs:Depends=([^\n]+)")
  set(CPACK_DEBIAN_ONEBIT_RUNTIME_PACKAGE_DEPENDS ${CMAKE_MATCH_1})
endif()
if(CPACK_ONEBIT_CUDA)
  set(CPACK_DEBIAN_ONEBIT_RUNTIME_PACKAGE_SUGGESTS libnccl2)
endif()

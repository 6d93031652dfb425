# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` installs, and where: what runs in the component onebit_runtime, what is built against in
# onebit_development. Every path in it is relative, so the prefix may be moved.
if(EXISTS /etc/debian_version)
  set(onebit_on_debian TRUE)
endif()
if(onebit_on_debian AND PROJECT_IS_TOP_LEVEL AND CMAKE_LIBRARY_ARCHITECTURE)
  set(CMAKE_INSTALL_LIBDIR lib/${CMAKE_LIBRARY_ARCHITECTURE} CACHE PATH "Object code libraries, below the prefix")
endif()
if(SKBUILD) # a wheel looks the same from every system
  set(CMAKE_INSTALL_LIBDIR lib)
endif()
include(GNUInstallDirs)
set(onebit_plugin_place ${CMAKE_INSTALL_LIBDIR}/onebit/plugins) # where the core looks, beside it
set(onebit_package_place ${CMAKE_INSTALL_LIBDIR}/cmake/onebit)
get_target_property(plugins onebit_all_plugins MANUALLY_ADDED_DEPENDENCIES)

# Libraries outside of the system's folders, such as an MPI in /opt, are looked for where they were linked; all others beside the
# file that needs them ($ORIGIN). What lies in the build tree as it does where it is installed has one path for both.
set_target_properties(onebit_core onebit_c ${plugins} PROPERTIES INSTALL_RPATH "$ORIGIN" INSTALL_RPATH_USE_LINK_PATH ON
  BUILD_WITH_INSTALL_RPATH ON)
# The command finds the core in the build tree, too: its folder is another there. One path for both, again, for where CMake exchanges
# them, it fills up or ends the one of the build tree with ':', and an empty entry means the working directory.
file(RELATIVE_PATH command_to_core ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
file(RELATIVE_PATH command_to_built_core ${CMAKE_RUNTIME_OUTPUT_DIRECTORY} ${CMAKE_LIBRARY_OUTPUT_DIRECTORY})
set(command_paths "$ORIGIN/${command_to_core}" "$ORIGIN/${command_to_built_core}")
list(REMOVE_DUPLICATES command_paths)
set_target_properties(onebit_command PROPERTIES INSTALL_RPATH "${command_paths}" INSTALL_RPATH_USE_LINK_PATH ON
  BUILD_WITH_INSTALL_RPATH ON)
if(TARGET onebit_models)
  set_target_properties(onebit_models PROPERTIES INSTALL_RPATH $ORIGIN/.. INSTALL_RPATH_USE_LINK_PATH ON BUILD_WITH_INSTALL_RPATH ON)
  install(TARGETS onebit_models DESTINATION ${CMAKE_INSTALL_LIBDIR}/onebit COMPONENT onebit_runtime)
endif()
foreach(name onebit_plugin_mpi onebit_plugin_mpi_cuda)
  if(TARGET ${name} AND onebit_on_debian AND "${MPI_C_LIBRARIES}" MATCHES "^/usr/lib") # /usr/lib has links to its folder
    set_target_properties(${name} PROPERTIES INSTALL_RPATH_USE_LINK_PATH OFF)
  endif()
endforeach()

if(SKBUILD) # a wheel has no links, and would have each library twice
  set_target_properties(onebit_core onebit_c PROPERTIES VERSION ${PROJECT_VERSION_MAJOR})
  foreach(package libboost-filesystem1.74.0 libfmt9 libspdlog1.10 libhwy1 libnettle8) # of which auditwheel adds the libraries
    if(EXISTS /usr/share/doc/${package}/copyright)
      install(FILES /usr/share/doc/${package}/copyright DESTINATION licenses RENAME ${package} COMPONENT onebit_runtime)
    else()
      message(WARNING "the wheel is without the licence of ${package}: there is no /usr/share/doc/${package}/copyright")
    endif()
  endforeach()
endif()
install(TARGETS onebit_core onebit_c EXPORT onebit
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT onebit_runtime NAMELINK_COMPONENT onebit_development)
install(TARGETS onebit_command DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT onebit_runtime)
install(TARGETS ${plugins} DESTINATION ${onebit_plugin_place} COMPONENT onebit_runtime)
install(DIRECTORY configs DESTINATION ${CMAKE_INSTALL_DATADIR}/onebit COMPONENT onebit_runtime)
install(FILES README.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT onebit_runtime)
foreach(document core/semantics.md host/embedding.md host/from-deepspeed.md host/launching.md host/what-happens-when.md plugins/algorithms.md
    plugins/nccl/gpus.md tests/slownet/results.md) # which README.md and --help name
  get_filename_component(folder ${document} DIRECTORY)
  install(FILES ${document} DESTINATION ${CMAKE_INSTALL_DOCDIR}/${folder} COMPONENT onebit_runtime)
endforeach()
# where Debian's policy wants them
install(FILES sdk/packaging/copyright DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/onebit COMPONENT onebit_runtime)
install(FILES sdk/packaging/copyright DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/onebit-dev COMPONENT onebit_development)

install(TARGETS onebit_sdk EXPORT onebit INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY sdk/include/ core/include/ host/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT onebit_development
  PATTERN README.md EXCLUDE)
install(FILES sdk/cmake/OnebitPlugin.cmake sdk/cmake/plugin.map host/cmake/Libtorch.cmake host/cmake/LibtorchCuda.cmake
  DESTINATION ${onebit_package_place} COMPONENT onebit_development)
install(FILES sdk/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR}/sdk COMPONENT onebit_development OPTIONAL)
install(DIRECTORY sdk/examples DESTINATION ${CMAKE_INSTALL_DOCDIR}/sdk COMPONENT onebit_development OPTIONAL)

include(${CMAKE_CURRENT_LIST_DIR}/Package.cmake)
if(PROJECT_IS_TOP_LEVEL)
  include(${CMAKE_CURRENT_LIST_DIR}/Debian.cmake)
endif()

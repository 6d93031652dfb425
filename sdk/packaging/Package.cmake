# SPDX-License-Identifier: Apache-2.0
# How others find onebit: find_package(onebit), from an install prefix and from our build folder (-Donebit_DIR=<build>/cmake);
# and pkg-config, for onebit-sdk (plugins) and onebit (trainers). Paths are told relative to the file that tells them.
include(CMakePackageConfigHelpers)

# Writes onebitConfig.cmake into FOLDER, of a package that will be at PLACE and find things at: onebit_command,
# onebit_plugin_folder, onebit_cmake_folder, onebit_torch_folder, onebit_host_headers.
function(onebit_write_config folder place)
  foreach(name onebit_command onebit_plugin_folder onebit_cmake_folder onebit_torch_folder onebit_host_headers)
    file(RELATIVE_PATH ${name} ${place} ${${name}})
    if("${${name}}" STREQUAL "")
      set(${name} .)
    endif()
  endforeach()
  configure_file(sdk/cmake/onebitConfig.cmake.in ${folder}/onebitConfig.cmake @ONLY)
  write_basic_package_version_file(${folder}/onebitConfigVersion.cmake COMPATIBILITY SameMajorVersion)
endfunction()

set(onebit_command ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/onebit)
set(onebit_plugin_folder ${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/onebit/plugins)
set(onebit_cmake_folder ${PROJECT_SOURCE_DIR}/sdk/cmake)
set(onebit_torch_folder ${PROJECT_SOURCE_DIR}/host/cmake)
set(onebit_host_headers ${PROJECT_SOURCE_DIR}/host/include)
onebit_write_config(${PROJECT_BINARY_DIR}/cmake ${PROJECT_BINARY_DIR}/cmake)
export(EXPORT onebit NAMESPACE onebit:: FILE ${PROJECT_BINARY_DIR}/cmake/onebitTargets.cmake)

set(package ${CMAKE_INSTALL_FULL_LIBDIR}/cmake/onebit)
set(onebit_command ${CMAKE_INSTALL_FULL_BINDIR}/onebit)
set(onebit_plugin_folder ${CMAKE_INSTALL_FULL_LIBDIR}/onebit/plugins)
set(onebit_cmake_folder ${package})
set(onebit_torch_folder ${package})
set(onebit_host_headers ${CMAKE_INSTALL_FULL_INCLUDEDIR})
onebit_write_config(${PROJECT_BINARY_DIR}/cmake/installed ${package})
install(EXPORT onebit NAMESPACE onebit:: FILE onebitTargets.cmake
  DESTINATION ${onebit_package_place} COMPONENT onebit_development)
foreach(name onebitConfig.cmake onebitConfigVersion.cmake)
  install(FILES ${PROJECT_BINARY_DIR}/cmake/installed/${name}
    DESTINATION ${onebit_package_place} COMPONENT onebit_development)
endforeach()

file(RELATIVE_PATH onebit_up ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" onebit_up ${onebit_up})
foreach(name onebit-sdk onebit)
  configure_file(sdk/packaging/${name}.pc.in ${PROJECT_BINARY_DIR}/cmake/installed/${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/cmake/installed/${name}.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT onebit_development)
endforeach()

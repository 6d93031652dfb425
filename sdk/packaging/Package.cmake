# The CMake package: find_package(onebit), from an install prefix and from our build folder (-Donebit_DIR=<build>/cmake).
include(CMakePackageConfigHelpers)

set(onebit_command ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/onebit)
set(onebit_plugin_folder ${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/onebit/plugins)
set(onebit_cmake_folder ${PROJECT_SOURCE_DIR}/sdk/cmake)
set(onebit_torch_folder ${PROJECT_SOURCE_DIR}/host/cmake)
set(onebit_host_headers ${PROJECT_SOURCE_DIR}/host/include)
set(onebit_package ${PROJECT_BINARY_DIR}/cmake)
configure_package_config_file(sdk/cmake/onebitConfig.cmake.in ${onebit_package}/onebitConfig.cmake
  INSTALL_DESTINATION ${onebit_package} INSTALL_PREFIX ${PROJECT_BINARY_DIR} NO_SET_AND_CHECK_MACRO
  PATH_VARS onebit_command onebit_plugin_folder onebit_cmake_folder onebit_torch_folder onebit_host_headers)
write_basic_package_version_file(${onebit_package}/onebitConfigVersion.cmake COMPATIBILITY SameMajorVersion)
set_target_properties(onebit_sdk PROPERTIES EXPORT_NAME sdk)
set_target_properties(onebit_core PROPERTIES EXPORT_NAME core)
export(TARGETS onebit_sdk onebit_core NAMESPACE onebit:: FILE ${onebit_package}/onebitTargets.cmake)

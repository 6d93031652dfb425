# onebit_add_plugin(NAME source...): a plugin library as the host expects it. Loaded, never linked; exports its entry alone;
# resolves every symbol at load; finds its own neighbours beside it.
function(onebit_add_plugin name)
  set(exports ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/plugin.map)
  add_library(${name} MODULE ${ARGN})
  target_link_libraries(${name} PRIVATE onebit::sdk)
  set_target_properties(${name} PROPERTIES
    PREFIX ""
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/onebit/plugins
    C_VISIBILITY_PRESET hidden
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON
    BUILD_RPATH "$ORIGIN"
    INSTALL_RPATH "$ORIGIN"
    LINK_DEPENDS ${exports})
  target_compile_options(${name} PRIVATE -ffp-contract=off)
  target_link_options(${name} PRIVATE -Wl,-z,now -Wl,--version-script=${exports})
  if(NOT ONEBIT_SANITIZE) # sanitizer runtimes are resolved by the host process
    target_link_options(${name} PRIVATE -Wl,-z,defs)
  endif()
endfunction()

# SPDX-License-Identifier: Apache-2.0
# onebit_embed_templates(FOLDER OUT): sets OUT to a C++ source that holds the files of FOLDER's subfolders, so that the command
# `onebit plugins new` needs nothing beside it. They are read again when they change.
function(onebit_embed_templates folder out)
  file(GLOB files CONFIGURE_DEPENDS RELATIVE ${folder} ${folder}/*/*)
  set(ONEBIT_TEMPLATES "")
  foreach(file ${files})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${folder}/${file})
    file(READ ${folder}/${file} text)
    get_filename_component(kind ${file} DIRECTORY)
    get_filename_component(name ${file} NAME)
    string(APPEND ONEBIT_TEMPLATES "      {\"${kind}\", \"${name}\", R\"onebit(${text})onebit\"},\n")
  endforeach()
  set(source ${CMAKE_CURRENT_BINARY_DIR}/template_files.cpp)
  configure_file(${CMAKE_CURRENT_FUNCTION_LIST_DIR}/template_files.cpp.in ${source} @ONLY)
  set(${out} ${source} PARENT_SCOPE)
endfunction()

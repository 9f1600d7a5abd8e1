# `ninja arranged`: amlc once more, its machine code arranged by how often it runs, in place of the one that was linked.
#
# Nearly all time of a build is LLVM's, whose archives were compiled without knowing what runs. llvm-bolt counts that while
# programs are built, and puts what runs together: a sixth less processor time. It takes a minute, so it is no
# part of an ordinary build; linking amlc again undoes it.
find_program(AML_BOLT NAMES llvm-bolt-${llvm_major} llvm-bolt HINTS ${llvm_libraries}/../bin NO_DEFAULT_PATH)
find_program(AML_BOLT_MERGE NAMES merge-fdata-${llvm_major} merge-fdata HINTS ${llvm_libraries}/../bin NO_DEFAULT_PATH)
if(AML_BOLT AND AML_BOLT_MERGE AND AML_LLVM_STATIC)
  add_executable(amlc_movable EXCLUDE_FROM_ALL $<TARGET_OBJECTS:amlc>)      # amlc with what is needed to move its functions
  target_link_libraries(amlc_movable PRIVATE aml_link)
  target_link_options(amlc_movable PRIVATE LINKER:--gc-sections LINKER:--emit-relocs ${amlc_fixed})
  set_target_properties(amlc_movable PROPERTIES LINKER_LANGUAGE C AML_LLVM_INSIDE TRUE RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/arranged)
  add_custom_target(arranged
    COMMAND ${CMAKE_SOURCE_DIR}/cmake/arrange.sh ${AML_BOLT} ${AML_BOLT_MERGE} ${CMAKE_BINARY_DIR} ${CMAKE_SOURCE_DIR}
    DEPENDS amlc amlc_movable aml_runtime aml_small USES_TERMINAL VERBATIM)
endif()

# The front end: scanner and parser from grammar/, name resolution, and the standard library as embedded files.
find_library(AML_JANSSON NAMES libjansson.a REQUIRED)
target_link_libraries(aml_base PUBLIC ${AML_JANSSON})      # diag/machine.c: JSON and SARIF
aml_module(aml_front compiler/sema)
if(EXISTS ${CMAKE_SOURCE_DIR}/grammar/aml.y)
  find_package(FLEX REQUIRED)
  find_package(BISON 3.8 REQUIRED)
  set(generated ${CMAKE_BINARY_DIR}/generated)
  add_custom_command(OUTPUT ${generated}/aml.tab.c ${generated}/aml.tab.h
    COMMAND ${BISON_EXECUTABLE} -Wall -Wcounterexamples -Werror --defines=${generated}/aml.tab.h -o ${generated}/aml.tab.c
            ${CMAKE_SOURCE_DIR}/grammar/aml.y
    DEPENDS grammar/aml.y grammar/keywords.def VERBATIM)
  add_custom_command(OUTPUT ${generated}/aml.lex.c
    COMMAND ${FLEX_EXECUTABLE} -o ${generated}/aml.lex.c ${CMAKE_SOURCE_DIR}/grammar/aml.l
    DEPENDS grammar/aml.l grammar/keywords.def ${generated}/aml.tab.h VERBATIM)
  file(GLOB grammar_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/grammar/*.c)
  add_library(aml_grammar STATIC ${grammar_sources} ${generated}/aml.tab.c ${generated}/aml.lex.c)
  set_source_files_properties(${generated}/aml.tab.c ${generated}/aml.lex.c PROPERTIES COMPILE_OPTIONS "-w")
  target_compile_options(aml_grammar PRIVATE ${AML_WARNINGS})
  target_include_directories(aml_grammar PUBLIC ${CMAKE_SOURCE_DIR}/grammar ${generated})
  target_link_libraries(aml_grammar PUBLIC aml_base)
  target_link_libraries(aml_front PUBLIC aml_grammar)
  file(GLOB_RECURSE stdlib_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/stdlib/*.aml)
  file(GLOB error_pages CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/docs/errors/*.md)
  aml_embed(aml_front aml_error_pages ${CMAKE_SOURCE_DIR}/docs/errors ${error_pages})
  aml_embed(aml_front aml_stdlib ${CMAKE_SOURCE_DIR}/stdlib ${stdlib_files})
endif()

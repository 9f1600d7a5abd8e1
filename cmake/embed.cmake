# aml_embed(TARGET SYMBOL ROOT FILES...): puts files into TARGET as read-only data.
#
# Defines `const AmlEmbedded SYMBOL[]` (see compiler/base/embedded.h): one entry a file, name relative to ROOT, closed by
# an entry whose name is NULL. The assembler's .incbin does the work, so large files cost nothing to compile.
function(aml_embed target symbol root)
  set(assembly "${CMAKE_BINARY_DIR}/generated/${symbol}.S")
  set(data "    .section .rodata\n")
  set(table "    .section .data.rel.ro,\"aw\"\n    .globl ${symbol}\n    .balign 8\n${symbol}:\n")
  set(index 0)
  foreach(file IN LISTS ARGN)
    file(RELATIVE_PATH name "${root}" "${file}")
    string(APPEND data "    .balign 64\nbegin_${index}: .incbin \"${file}\"\nend_${index}: .byte 0\nname_${index}: .asciz \"${name}\"\n")
    string(APPEND table "    .quad name_${index}, begin_${index}, end_${index} - begin_${index}\n")
    math(EXPR index "${index} + 1")
  endforeach()
  string(APPEND table "    .quad 0, 0, 0\n    .section .note.GNU-stack,\"\",@progbits\n")
  file(CONFIGURE OUTPUT "${assembly}" CONTENT "${data}${table}" @ONLY)
  set_source_files_properties("${assembly}" PROPERTIES OBJECT_DEPENDS "${ARGN}")
  target_sources(${target} PRIVATE "${assembly}")
endfunction()

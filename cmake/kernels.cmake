# kernels/cpu to bitcode, once per vector width, put into aml_codegen as `aml_kernel_bitcode` (v16.bc, v8.bc, v4.bc), and
# once more with the products of bytes (v16q.bc, ...), for processors with VNNI as well (v16n.bc, v8n.bc). The tiles of
# products are files of their own (v16t.bc, ...), which all of a width read. What exists once whatever the sizes is there
# compiled as well (`aml_kernel_objects`: v16.o, v8.o, v4.o).
find_program(AML_CLANG NAMES clang-${AML_LLVM_VERSION} clang REQUIRED)
set(AML_KERNEL_FLAGS -std=c11 -O2 -fno-vectorize -fno-slp-vectorize -fno-unroll-loops -fno-strict-aliasing -fwrapv -ffp-contract=on
                     -fno-math-errno -fno-asynchronous-unwind-tables -fno-stack-protector -Wall -Wextra -Wno-psabi -Werror)
# The order of uses is a sixth of a file, and nothing follows from it.
set(AML_BITCODE_FLAGS -DAML_KERNEL_BITCODE -DAML_TILES_APART -emit-llvm -Xclang -no-emit-llvm-uselists -c)
set(AML_TILES -mamx-tile -mamx-bf16 -mamx-int8)
set(aml_kernel_levels 16:x86-64-v4 8:x86-64-v3 4:x86-64-v2)
set(aml_quad_levels 16:x86-64-v4:q: 8:x86-64-v3:q: 4:x86-64-v2:q: 16:x86-64-v4:n:-mavx512vnni 8:x86-64-v3:n:-mavxvnni)

file(GLOB kernel_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/cpu/*.[ch])
set(kernel_folder ${CMAKE_BINARY_DIR}/generated/kernels)
file(MAKE_DIRECTORY ${kernel_folder})
set(kernel_bitcode "")
set(kernel_objects "")
foreach(entry IN LISTS aml_kernel_levels)
  string(REPLACE ":" ";" entry ${entry})
  list(GET entry 0 width)
  list(GET entry 1 level)
  # The widest file has products of bf16 pairs, one by one and in tiles, as well; only a target that has the instructions
  # calls them.
  set(extra "")
  if(width EQUAL 16)
    set(extra -mavx512bf16 ${AML_TILES})
  endif()
  add_custom_command(OUTPUT ${kernel_folder}/v${width}.bc
    COMMAND ${AML_CLANG} ${AML_KERNEL_FLAGS} -march=${level} ${extra} -DAML_WIDTH=${width} ${AML_BITCODE_FLAGS}
            ${CMAKE_SOURCE_DIR}/kernels/cpu/kernels.c -o ${kernel_folder}/v${width}.bc
    DEPENDS ${kernel_sources} VERBATIM)
  add_custom_command(OUTPUT ${kernel_folder}/v${width}t.bc
    COMMAND ${AML_CLANG} ${AML_KERNEL_FLAGS} -march=${level} ${extra} -DAML_WIDTH=${width} ${AML_BITCODE_FLAGS}
            ${CMAKE_SOURCE_DIR}/kernels/cpu/dot_tile.c -o ${kernel_folder}/v${width}t.bc
    DEPENDS ${kernel_sources} VERBATIM)
  list(APPEND kernel_bitcode ${kernel_folder}/v${width}.bc ${kernel_folder}/v${width}t.bc)
  # What exists once, compiled.
  set(wide "")
  if(width EQUAL 16)
    set(wide -mprefer-vector-width=512)
  endif()
  add_custom_command(OUTPUT ${kernel_folder}/v${width}.o
    COMMAND ${AML_CLANG} ${AML_KERNEL_FLAGS} -march=${level} ${extra} ${wide} -DAML_WIDTH=${width} -DAML_SHARED_OBJECT -Wno-unused-function
            -fPIC -ffunction-sections -fdata-sections -fno-ident -c ${CMAKE_SOURCE_DIR}/kernels/cpu/kernels.c -o ${kernel_folder}/v${width}.o
    DEPENDS ${kernel_sources} VERBATIM)
  list(APPEND kernel_objects ${kernel_folder}/v${width}.o)
endforeach()

foreach(entry IN LISTS aml_quad_levels)
  string(REPLACE ":" ";" entry ${entry})
  list(GET entry 0 width)
  list(GET entry 1 level)
  list(GET entry 2 letter)
  list(GET entry 3 flag)
  if(width EQUAL 16 AND letter STREQUAL n)
    list(APPEND flag ${AML_TILES})
  endif()
  set(file ${kernel_folder}/v${width}${letter}.bc)
  add_custom_command(OUTPUT ${file}
    COMMAND ${AML_CLANG} ${AML_KERNEL_FLAGS} -march=${level} ${flag} -DAML_WIDTH=${width} -DAML_QUADS ${AML_BITCODE_FLAGS}
            ${CMAKE_SOURCE_DIR}/kernels/cpu/kernels.c -o ${file}
    DEPENDS ${kernel_sources} VERBATIM)
  list(APPEND kernel_bitcode ${file})
endforeach()

# For aarch64, whose registers hold four floats, where there is a cross compiler, whose headers this needs.
find_program(AML_AARCH64_CC NAMES aarch64-linux-gnu-gcc)
if(AML_AARCH64_CC)
  foreach(entry a4 a4q:-DAML_QUADS)
    string(REPLACE ":" ";" entry ${entry})
    list(POP_FRONT entry name)
    add_custom_command(OUTPUT ${kernel_folder}/${name}.bc
      COMMAND ${AML_CLANG} --target=aarch64-linux-gnu ${AML_KERNEL_FLAGS} -march=armv8-a -DAML_WIDTH=4 ${entry} ${AML_BITCODE_FLAGS}
              ${CMAKE_SOURCE_DIR}/kernels/cpu/kernels.c -o ${kernel_folder}/${name}.bc
      DEPENDS ${kernel_sources} VERBATIM)
    list(APPEND kernel_bitcode ${kernel_folder}/${name}.bc)
  endforeach()
  add_custom_command(OUTPUT ${kernel_folder}/a4t.bc
    COMMAND ${AML_CLANG} --target=aarch64-linux-gnu ${AML_KERNEL_FLAGS} -march=armv8-a -DAML_WIDTH=4 ${AML_BITCODE_FLAGS}
            ${CMAKE_SOURCE_DIR}/kernels/cpu/dot_tile.c -o ${kernel_folder}/a4t.bc
    DEPENDS ${kernel_sources} VERBATIM)
  list(APPEND kernel_bitcode ${kernel_folder}/a4t.bc)
endif()

get_target_property(kind aml_codegen TYPE)
if(NOT kind STREQUAL "INTERFACE_LIBRARY")
  aml_embed(aml_codegen aml_kernel_bitcode ${kernel_folder} ${kernel_bitcode})
  aml_embed(aml_codegen aml_kernel_objects ${kernel_folder} ${kernel_objects})
endif()

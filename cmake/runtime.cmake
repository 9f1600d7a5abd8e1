# libaml_runtime.a: what compiled programs are linked with, and what amlc reads checkpoints with.
#
# One archive: a program pulls in only the objects that it reaches, so a deployed program (runtime/artifact) carries
# neither JSON nor hashing. link.conf tells amlc how to link a program; the same is in generated/aml_link.h as macros.
set(runtime_sources "")
foreach(folder base pool device data checkpoint log job artifact)
  file(GLOB found CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/runtime/${folder}/*.c")
  list(APPEND runtime_sources ${found})
endforeach()
add_library(aml_runtime STATIC ${runtime_sources})
find_library(AML_JANSSON NAMES libjansson.a REQUIRED)
find_library(AML_NETTLE NAMES libnettle.a REQUIRED)
find_library(AML_ZLIB NAMES libz.a REQUIRED)
find_library(AML_JPEG NAMES libjpeg.a REQUIRED)
find_library(AML_PNG NAMES libpng16.a REQUIRED)
find_path(AML_JPEG_INCLUDE jpeglib.h REQUIRED)
find_path(AML_PNG_INCLUDE png.h REQUIRED)
find_library(AML_PCRE2 NAMES libpcre2-8.a REQUIRED)
find_library(AML_UTF8PROC NAMES libutf8proc.a REQUIRED)
find_library(AML_SNDFILE NAMES sndfile REQUIRED)     # not in the list below: only what reads sounds needs it
find_path(AML_PCRE2_INCLUDE pcre2.h REQUIRED)
find_path(AML_UTF8PROC_INCLUDE utf8proc.h REQUIRED)
find_path(AML_JANSSON_INCLUDE jansson.h REQUIRED)
find_path(AML_NETTLE_INCLUDE nettle/sha2.h REQUIRED)
find_path(AML_ZLIB_INCLUDE zlib.h REQUIRED)
target_compile_options(aml_runtime PRIVATE ${AML_WARNINGS} -O2 -ffunction-sections -fdata-sections -fno-strict-aliasing)
if(NOT AML_SANITIZE)    # C code is never unwound through; the tables would be a tenth of a deployed program
  target_compile_options(aml_runtime PRIVATE -fno-asynchronous-unwind-tables -fno-unwind-tables)
endif()
target_include_directories(aml_runtime PUBLIC ${CMAKE_SOURCE_DIR}/runtime/include
                         PRIVATE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/kernels ${AML_JANSSON_INCLUDE} ${AML_NETTLE_INCLUDE}
                         ${AML_ZLIB_INCLUDE} ${AML_PCRE2_INCLUDE} ${AML_UTF8PROC_INCLUDE} ${AML_JPEG_INCLUDE} ${AML_PNG_INCLUDE})
target_compile_definitions(aml_runtime PRIVATE UTF8PROC_STATIC)
target_link_libraries(aml_runtime PUBLIC ${AML_JANSSON} ${AML_NETTLE} ${AML_JPEG} ${AML_PNG} ${AML_ZLIB} ${AML_PCRE2} ${AML_UTF8PROC} m Threads::Threads)
# libaml_small.a: what an executable of a deployed model needs beside its kernels, compiled for size: it reads a few rows, not data
# sets. It stands before libaml_runtime.a when such a program is linked.
set(small_sources artifact/main.c artifact/library.c artifact/bench.c artifact/predict.c artifact/picture.c artifact/sound.c artifact/npy.c
    artifact/values.c artifact/packed.c artifact/packed_program.c data/csv.c data/columns.c data/decode.c data/cell_rule.c data/element.c data/names.c data/npy.c data/time.c base/files.c base/words.c
    base/fail.c base/features.c base/numbers.c data/real.c)
list(TRANSFORM small_sources PREPEND ${CMAKE_SOURCE_DIR}/runtime/)
set(AML_SHORTEST -Os)
if(CMAKE_C_COMPILER_ID STREQUAL GNU)    # what these passes of GCC do makes code longer, by 1 KB of 30
  set(AML_SHORTEST -Oz -fno-thread-jumps -fno-tree-dominator-opts -fno-caller-saves -fipa-pta)
endif()
add_library(aml_small STATIC ${small_sources})
target_compile_options(aml_small PRIVATE ${AML_WARNINGS} -Wno-format-truncation ${AML_SHORTEST} -fvisibility=hidden -fno-plt
                       -ffunction-sections -fdata-sections -fno-strict-aliasing)
if(NOT AML_SANITIZE)
  target_compile_options(aml_small PRIVATE -fno-asynchronous-unwind-tables -fno-unwind-tables)
endif()
target_compile_definitions(aml_small PRIVATE AMLI_SMALL)
target_include_directories(aml_small PRIVATE $<TARGET_PROPERTY:aml_runtime,INCLUDE_DIRECTORIES>)
# aml_training.o: what every training program reaches of the runtime and of its libraries, linked beforehand into few sections, so
# that linking a program is not reading a hundred objects. It stands before libaml_runtime.a, which has the rest: so an object is here
# as a whole or not at all.
if(NOT AML_SANITIZE)
  set(training ${CMAKE_BINARY_DIR}/aml_training.o)
  add_custom_command(OUTPUT ${training}
    COMMAND ${CMAKE_C_COMPILER} -r -nostdlib -Wl,--strip-debug -Wl,--build-id=none -Wl,-u,main
            -Wl,-T,${CMAKE_SOURCE_DIR}/cmake/training.ld -o ${training} $<TARGET_FILE:aml_runtime> ${AML_JANSSON} ${AML_NETTLE}
    DEPENDS aml_runtime ${CMAKE_SOURCE_DIR}/cmake/training.ld VERBATIM)
  add_custom_target(aml_training ALL DEPENDS ${training})
  add_dependencies(aml_small aml_training)
  install(FILES ${training} DESTINATION lib/aml)
endif()
# libaml_runtime_aarch64.a: what deployed libraries need, and executables that read numbers, for aarch64. Where the two libraries of
# every program are there for aarch64 as well (packages of the foreign architecture arm64), it is the whole runtime: executables
# write and read texts then, and weights may be in a file. What reads JPEG stays out: it has a header for each architecture.
set(AML_CROSS_LIBRARIES "")
find_program(AML_AARCH64_CC NAMES aarch64-linux-gnu-gcc)
if(AML_AARCH64_CC)
  find_program(AML_AARCH64_AR NAMES aarch64-linux-gnu-ar REQUIRED)
  set(cross_objects "")
  file(GLOB cross_headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/runtime/include/aml/* ${CMAKE_SOURCE_DIR}/runtime/base/*.h
       ${CMAKE_SOURCE_DIR}/runtime/data/*.h ${CMAKE_SOURCE_DIR}/runtime/artifact/*.h)
  set(cross_sources artifact/library artifact/values artifact/arrays artifact/stored base/features base/fail artifact/main artifact/bench
      artifact/predict artifact/npy data/csv data/decode data/cell_rule data/names data/npy data/real data/time base/numbers base/words)
  find_library(AML_AARCH64_JANSSON NAMES libjansson.a PATHS /usr/lib/aarch64-linux-gnu NO_DEFAULT_PATH)
  find_library(AML_AARCH64_NETTLE NAMES libnettle.a PATHS /usr/lib/aarch64-linux-gnu NO_DEFAULT_PATH)
  if(AML_AARCH64_JANSSON AND AML_AARCH64_NETTLE)
    set(AML_CROSS_LIBRARIES "-l:libjansson.a -l:libnettle.a")
    file(GLOB cross_headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/runtime/include/aml/* ${CMAKE_SOURCE_DIR}/runtime/*/*.h
         ${CMAKE_SOURCE_DIR}/runtime/*/*.def)
    list(TRANSFORM runtime_sources REPLACE "^${CMAKE_SOURCE_DIR}/runtime/(.*)[.]c$" "\\1" OUTPUT_VARIABLE cross_sources)
    list(REMOVE_ITEM cross_sources data/picture_jpeg)
  endif()
  foreach(source ${cross_sources})
    string(REPLACE "/" "_" object ${source})
    set(object ${CMAKE_BINARY_DIR}/generated/aarch64_${object}.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_C_COMPILER_LAUNCHER} ${AML_AARCH64_CC} -std=gnu11 -D_GNU_SOURCE -DUTF8PROC_STATIC -O2 -fPIC -ffunction-sections -fdata-sections -fno-strict-aliasing
              -fno-asynchronous-unwind-tables -I${CMAKE_SOURCE_DIR}/runtime/include -I${CMAKE_SOURCE_DIR} -I${CMAKE_SOURCE_DIR}/kernels
              -c ${CMAKE_SOURCE_DIR}/runtime/${source}.c -o ${object}
      DEPENDS ${CMAKE_SOURCE_DIR}/runtime/${source}.c ${cross_headers} VERBATIM)
    list(APPEND cross_objects ${object})
  endforeach()
  set(cross_archive ${CMAKE_BINARY_DIR}/libaml_runtime_aarch64.a)
  add_custom_command(OUTPUT ${cross_archive} COMMAND ${CMAKE_COMMAND} -E rm -f ${cross_archive}
    COMMAND ${AML_AARCH64_AR} rcsD ${cross_archive} ${cross_objects} DEPENDS ${cross_objects} VERBATIM)
  add_custom_target(aml_runtime_aarch64 ALL DEPENDS ${cross_archive})
  add_dependencies(aml_small aml_runtime_aarch64)
  install(FILES ${cross_archive} DESTINATION lib/aml)
endif()
set(AML_LINK_FLAGS "")
if(AML_SANITIZE)
  set(AML_LINK_FLAGS "-fsanitize=${AML_SANITIZE}")
endif()
file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/link.conf CONTENT
"runtime=$<TARGET_FILE:aml_runtime>
include=${CMAKE_SOURCE_DIR}/runtime/include
libs=${AML_JANSSON} ${AML_NETTLE} ${AML_JPEG} ${AML_PNG} ${AML_ZLIB} -lm
flags=${AML_LINK_FLAGS}
")
file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/generated/aml_link.h CONTENT
"// How a compiled program is linked: cc PROGRAM.c PROGRAM.o AML_LINK_RUNTIME AML_LINK_LIBS.
#define AML_LINK_RUNTIME \"$<TARGET_FILE:aml_runtime>\"
#define AML_LINK_INCLUDE \"${CMAKE_SOURCE_DIR}/runtime/include\"
#define AML_LINK_LIBS    \"${AML_JANSSON} ${AML_NETTLE} ${AML_JPEG} ${AML_PNG} ${AML_ZLIB} -lm\"
#define AML_LINK_FLAGS   \"${AML_LINK_FLAGS}\"
#define AML_CROSS_LIBRARIES \"${AML_CROSS_LIBRARIES}\" // of programs for aarch64; empty: its runtime is not whole
")

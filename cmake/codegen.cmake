# Native code: LLVM's C API, and the C templates of kernels/cpu compiled to bitcode that amlc carries.
aml_module(aml_codegen compiler/codegen)
find_program(AML_LLVM_CONFIG NAMES llvm-config-${AML_LLVM_VERSION} llvm-config REQUIRED)
execute_process(COMMAND ${AML_LLVM_CONFIG} --includedir OUTPUT_VARIABLE llvm_include OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${AML_LLVM_CONFIG} --libdir OUTPUT_VARIABLE llvm_libraries OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${AML_LLVM_CONFIG} --version OUTPUT_VARIABLE llvm_version OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
if(llvm_version VERSION_LESS 19)
  message(FATAL_ERROR "LLVM 19 or newer is needed, ${AML_LLVM_CONFIG} is ${llvm_version}")
endif()
string(REGEX MATCH "^[0-9]+" llvm_major ${llvm_version})
find_library(AML_LLVM_LIBRARY NAMES LLVM-${llvm_major} LLVM HINTS ${llvm_libraries} NO_DEFAULT_PATH REQUIRED)

# amlc has LLVM inside where its archives are installed with what they need: the shared library, with all of its targets, takes
# 10 ms and 30 MB to load, each time. The tests' programs share the library, or each of them would have 50 MB.
set(AML_LLVM_STATIC "")
execute_process(COMMAND ${AML_LLVM_CONFIG} --link-static --libfiles core passes linker bitreader bitwriter x86 aarch64
  OUTPUT_VARIABLE llvm_archives OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE llvm_lacks ERROR_QUIET)
execute_process(COMMAND ${CMAKE_C_COMPILER} -print-file-name=libstdc++.a OUTPUT_VARIABLE AML_LIBSTDCXX OUTPUT_STRIP_TRAILING_WHITESPACE)
find_library(AML_ZSTD NAMES libzstd.a)
find_library(AML_ZLIB NAMES libz.a)
if(llvm_lacks EQUAL 0 AND EXISTS "${AML_LIBSTDCXX}" AND AML_ZSTD AND AML_ZLIB AND NOT AML_SANITIZE)
  separate_arguments(llvm_archives UNIX_COMMAND "${llvm_archives}")
  set(AML_LLVM_STATIC ${llvm_archives} ${AML_ZSTD} ${AML_ZLIB} ${AML_LIBSTDCXX} -static-libgcc)
endif()

target_include_directories(aml_codegen SYSTEM PRIVATE ${llvm_include})
target_compile_definitions(aml_codegen PRIVATE LLVM_VERSION_MAJOR=${llvm_major})
set(inside "$<AND:$<BOOL:${AML_LLVM_STATIC}>,$<BOOL:$<TARGET_PROPERTY:AML_LLVM_INSIDE>>>")     # of the program that is linked
find_library(AML_NETTLE NAMES libnettle.a REQUIRED)     # objects.c: hashes
target_link_libraries(aml_codegen PUBLIC aml_passes aml_runtime ${AML_NETTLE} "$<IF:${inside},${AML_LLVM_STATIC},${AML_LLVM_LIBRARY}>")
include(cmake/kernels.cmake)

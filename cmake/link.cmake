# Linking of programs, and amlc itself. amlc carries the headers that a program's tables include; it finds
# libaml_runtime.a beside itself (build folder) or in ../lib/aml (installation).
find_library(AML_LAPACK NAMES lapack/liblapack.a REQUIRED)     # quant/cholesky.c, quant/matrix.c
find_library(AML_BLAS NAMES blas/libblas.a REQUIRED)
aml_module(aml_link compiler/link compiler/report compiler/plot compiler/quant)
target_link_libraries(aml_link PUBLIC aml_elab aml_passes aml_codegen aml_runtime ${AML_LAPACK} ${AML_BLAS} ${CMAKE_DL_LIBS})
target_link_options(aml_link INTERFACE LINKER:-u,xerbla_)     # of runtime/data/fortran.c, before LAPACK's own is found
target_compile_definitions(aml_link PUBLIC AML_VERSION_TEXT="${PROJECT_VERSION}" AML_LLVM_TEXT="${AML_LLVM_VERSION}")
if(AML_SANITIZE)        # the sanitizers' libraries belong to one compiler
  target_compile_definitions(aml_link PRIVATE AML_DEFAULT_CC="${CMAKE_C_COMPILER}")
endif()
set(program_headers ${CMAKE_SOURCE_DIR}/runtime/include/aml/program.h ${CMAKE_SOURCE_DIR}/runtime/include/aml/status.def
                    ${CMAKE_SOURCE_DIR}/runtime/include/aml/artifact.h ${CMAKE_SOURCE_DIR}/runtime/include/aml/library_status.def
                    ${CMAKE_SOURCE_DIR}/runtime/include/aml/source.def)
aml_embed(aml_link aml_program_headers ${CMAKE_SOURCE_DIR}/runtime/include ${program_headers})
aml_embed(aml_link aml_layout ${CMAKE_SOURCE_DIR}/compiler/link ${CMAKE_SOURCE_DIR}/compiler/link/executable.ld)

file(GLOB AMLC_SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/compiler/*.c)
add_executable(amlc ${AMLC_SOURCES})
target_compile_options(amlc PRIVATE ${AML_WARNINGS})
target_link_libraries(amlc PRIVATE aml_link)
set(amlc_fixed "")      # LLVM's 67,000 addresses need not be relocated at each start if amlc is where it was linked for
if(AML_LLVM_STATIC)
  set(amlc_fixed -no-pie)
endif()
target_link_options(amlc PRIVATE LINKER:--gc-sections ${amlc_fixed})
add_dependencies(amlc aml_small)
set_target_properties(amlc PROPERTIES AML_LLVM_INSIDE TRUE RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
include(cmake/arrange.cmake)    # `ninja arranged`: a quicker amlc

include(GNUInstallDirs)
install(TARGETS amlc RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS aml_runtime aml_small ARCHIVE DESTINATION lib/aml)
install(DIRECTORY runtime/include/aml DESTINATION include)

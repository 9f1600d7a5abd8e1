# Native code: LLVM's C API, and the C templates of kernels/cpu compiled to bitcode that amlc carries.
aml_module(aml_codegen compiler/codegen)
include(cmake/kernels.cmake)

// sort.c: the permutation that puts a row in order; sort_template.h is the template.

#include "kernel.h"
#include "vector.h"

#define ELEMENT float
#define IS_NAN(x) __builtin_isnan(x)
#define NAME(name) name##_f32
#include "sort_template.h"
#undef ELEMENT
#undef IS_NAN
#undef NAME

#define ELEMENT double
#define IS_NAN(x) __builtin_isnan(x)
#define NAME(name) name##_f64
#include "sort_template.h"
#undef ELEMENT
#undef IS_NAN
#undef NAME

#define ELEMENT int32_t
#define IS_NAN(x) 0
#define NAME(name) name##_i32
#include "sort_template.h"
#undef ELEMENT
#undef IS_NAN
#undef NAME

#define ELEMENT int64_t
#define IS_NAN(x) 0
#define NAME(name) name##_i64
#include "sort_template.h"
#undef ELEMENT
#undef IS_NAN
#undef NAME

// dot.c: matrix products for f32 and f64; dot_template.h is the template.

#include "kernel.h"
#include "vector.h"

#define ELEMENT float
#define VECTOR f32v
#define LANES F32_LANES
#define NAME(name) name##_f32
#define V(name) f32_##name
#include "dot_template.h"
#undef ELEMENT
#undef VECTOR
#undef LANES
#undef NAME
#undef V

#define ELEMENT double
#define VECTOR f64v
#define LANES F64_LANES
#define NAME(name) name##_f64
#define V(name) f64_##name
#include "dot_template.h"
#undef ELEMENT
#undef VECTOR
#undef LANES
#undef NAME
#undef V

// element.h: what the templates of products and convolutions call the type of their elements, its
// registers and functions. Included in front of a template with one of these defined, and behind it
// to take the names back:
//
//   AS_F32, AS_F64
//   AS_PAIRS         tiles of products whose elements are pairs of bf16 in 32 bits

#if defined ELEMENT
#undef ELEMENT
#undef VECTOR
#undef LANES
#undef NAME
#undef V
#undef AS_F32
#undef AS_F64
#undef AS_PAIRS
#elif defined AS_F64
#define ELEMENT double
#define VECTOR f64v
#define LANES F64_LANES
#define NAME(name) name##_f64
#define V(name) f64_##name
#else
#define ELEMENT float
#define VECTOR f32v
#define LANES F32_LANES
#ifdef AS_F32
#define NAME(name) name##_f32
#define V(name) f32_##name
#elif defined AS_PAIRS
#define NAME(name) name##_pairs
#define V(name) pairs_##name
#define pairs_splat f32_splat
#define pairs_load f32_load
#define pairs_load_some f32_load_some
#define pairs_fma bf16_pairs_fma
#endif
#endif

// What the reference LAPACK and BLAS want of Fortran's library, for the programs and for amlc.

#include <stdint.h>
#include <stdlib.h>

// All that the reference LAPACK takes of Fortran's library: two texts, one after the other,
// cut or filled up with blanks.
void _gfortran_concat_string(size_t room, char *to, size_t first, const char *a, size_t second,
                             const char *b);
void _gfortran_concat_string(size_t room, char *to, size_t first, const char *a, size_t second,
                             const char *b)
{
    for (size_t i = 0; i < room; i++)
        to[i] = i < first ? a[i] : i - first < second ? b[i - first] : ' ';
}

// LAPACK's own one writes with Fortran's library, which programs need not have: a wrong argument is
// a mistake of its caller.
void xerbla_(const char *name, const int32_t *argument, size_t name_length);
void xerbla_(const char *name, const int32_t *argument, size_t name_length)
{
    (void)name, (void)argument, (void)name_length;
    abort();
}

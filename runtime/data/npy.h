// npy.h: arrays of NumPy, the format of .npy files and of the members of .npz archives.
//
// An array's first axis counts the samples. Files are never trusted: what the header claims is
// compared with the bytes that are there before anything is allocated for it.

#ifndef AMLI_NPY_H
#define AMLI_NPY_H

#include "runtime/data/source.h"

typedef struct amli_npy {
    const char *path;
    char member[64]; // of an archive; "": the file itself
    char kind;       // of an element: f, i, u or b (bool)
    int bytes;       // of an element
    bool big, fortran;
    aml_shape shape; // of one sample
    int64_t samples;
    size_t elements; // of one sample
    size_t head;     // bytes before the first element
} amli_npy;

enum { AMLI_NPY_HEAD = 12 + (1 << 16) }; // the most bytes of a header that are looked at

// Reads the header from the first `length` bytes. AML_BAD_DATA says what is wrong with it.
aml_status amli_npy_read(amli_npy *array, const char *text, size_t length, aml_error *error);
size_t amli_npy_bytes(const amli_npy *array); // of all elements

// Whether a field can hold its samples.
aml_status amli_npy_bind(const amli_npy *array, const aml_dataset *dataset, const aml_field *field,
                         aml_error *error);

// Writes a sample as elements of a field. `base` is where element 0 of sample `first` is. False:
// some element does not fit.
bool amli_npy_decode(const amli_npy *array, const aml_source *source, const aml_field *field,
                     const char *base, int64_t first, int64_t sample, void *to, aml_error *error);

#endif

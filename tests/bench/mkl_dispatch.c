// mkl_dispatch.c: lets MKL choose its kernels by what the processor can do, not by who made it.
//
// MKL takes its AVX-512 kernels where a function of its own says that Intel made the processor, and those for AVX2 elsewhere. Loaded before
// PyTorch, these answers take the place of MKL's. On a processor of AMD with AVX-512, products of f32 then take less than half the time.

int mkl_serv_intel_cpu(void);
int mkl_serv_intel_cpu_true(void);

int mkl_serv_intel_cpu(void)
{
    return 1;
}

int mkl_serv_intel_cpu_true(void)
{
    return 1;
}

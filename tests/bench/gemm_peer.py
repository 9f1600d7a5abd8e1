#!/usr/bin/env python3
"""A peer of the benchmark of matrix products, in a process of its own, driven by gemm.py over a pipe. One thread.

Usage: gemm_peer.py onednn-packed|mkl|openblas|jax M N K WEIGHTS.safetensors SAMPLE OUTPUT
Prints one JSON line when it is ready: versions, and `errors`, how far AML's OUTPUT and the peer's own are from the product in f64, relative
to the root of its mean square. Then, for each number on standard input, the seconds of processor time of so many products.
"""
import json
import os
import sys
import time

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
import numpy as np

from peer_common import tensors, torch_with

MODE = sys.argv[1]
M, N, K = map(int, sys.argv[2:5])


def torch_product(a, w):
    torch = torch_with(1)
    torch.set_grad_enabled(False)
    a = torch.from_numpy(a)
    if MODE == "mkl":
        w, out = torch.from_numpy(w), torch.empty(M, N)
        return lambda: torch.mm(a, w, out=out), {"torch": torch.__version__}
    packed = torch.ops.mkldnn._reorder_linear_weight(torch.from_numpy(w.T.copy()), M)
    multiply = torch.ops.mkldnn._linear_pointwise
    return lambda: multiply(a, packed, None, "none", [], ""), {"torch": torch.__version__}


def product(a, w):
    if MODE == "openblas":
        out = np.empty((M, N), np.float32)
        return lambda: np.matmul(a, w, out=out), {"numpy": np.__version__}
    if MODE == "jax":
        import jax
        a, w = jax.numpy.asarray(a), jax.numpy.asarray(w)
        compiled = jax.jit(lambda a, w: a @ w)
        return lambda: compiled(a, w).block_until_ready(), {"jax": jax.__version__}
    return torch_product(a, w)


def main():
    w, a = tensors(sys.argv[5])["dense.weight"].copy(), np.fromfile(sys.argv[6], np.float32).reshape(M, K)
    multiply, versions = product(a, w)
    exact = a.astype(np.float64) @ w.astype(np.float64)
    size = np.sqrt((exact ** 2).mean())
    found = np.fromfile(sys.argv[7], np.float32).reshape(M, N), np.asarray(multiply())
    versions["errors"] = [float(np.abs(f - exact).max() / size) for f in found]
    for _ in range(3):
        multiply()
    print(json.dumps(versions), flush=True)
    for line in sys.stdin:
        before = time.process_time()
        for _ in range(int(line)):
            multiply()
        print(time.process_time() - before, flush=True)


main()

#!/usr/bin/env python3
"""One peer of the training-step benchmark, in a process of its own, driven by run.py over a pipe.

Usage: peers.py NAME DIGITS.csv        NAME: torch-eager, torch-fused, jax-jit
Prints one JSON line with the versions when it is ready; then, for each line with a number on standard input, runs that many
steps and prints the seconds of processor time they took. Needs numpy and torch or jax; see README.md.

The step is that of digits_step.aml: a batch of 64 rows taken from the data, a 64-128-10 perceptron with relu and 10% dropout,
softmax cross-entropy, gradients, AdamW with weight decay on the matrices, a cosine rate with warm-up. JAX gets its batches
ready-made and is waited for once at the end of all steps, not after each.
"""
import json
import math
import os
import sys
import time

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
os.environ["JAX_PLATFORMS"] = "cpu"
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
import numpy as np

from peer_common import torch_with

BATCH, RATE, WARM, TOTAL, DECAY, DROP = 64, 2e-3, 50, 100000, 1e-2, 0.1


def rows():
    data = np.loadtxt(sys.argv[2], delimiter=",", skiprows=1, dtype=np.float32)
    return data[:, :64] / 16, data[:, 64].astype(np.int64)


def picks(count):
    order = np.random.default_rng(0).permutation(count)
    return [order[i * BATCH:(i + 1) * BATCH] for i in range(count // BATCH)]


def torch_steps(fused):
    torch = torch_with(1)
    torch.set_num_interop_threads(1)
    from network_models import digits, groups
    x, y = (torch.from_numpy(a) for a in rows())
    model = digits(DROP).model
    optimizer = torch.optim.AdamW(groups(model, DECAY), lr=RATE, fused=fused)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min((s + 1) / WARM, 0.5 * (1 + math.cos(math.pi * s / TOTAL))))
    taken = [torch.from_numpy(p) for p in picks(len(x))]
    count = 0

    def run(steps):
        nonlocal count
        for _ in range(steps):
            pick = taken[count % len(taken)]
            count += 1
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(model(x[pick]), y[pick]).backward()
            optimizer.step()
            schedule.step()
    return run, {"torch": torch.__version__}


def jax_steps():
    import jax
    import jax.numpy as jnp
    x, y = rows()
    y = y.astype(np.int32)
    key = jax.random.key(0)
    w = {"a": jax.random.normal(key, (64, 128)) * 0.17, "b": jnp.zeros(128), "c": jax.random.normal(key, (128, 10)) * 0.12, "d": jnp.zeros(10)}
    zero = jax.tree.map(jnp.zeros_like, w)

    def loss(w, x, y, key):
        h = jax.nn.relu(x @ w["a"] + w["b"])
        h = jnp.where(jax.random.uniform(key, h.shape) < DROP, 0, h / (1 - DROP))
        logs = jax.nn.log_softmax(h @ w["c"] + w["d"])
        return -jnp.take_along_axis(logs, y[:, None], axis=1).mean()

    def step(state, x, y):
        w, m, v, t, key = state
        key, now = jax.random.split(key)
        value, g = jax.value_and_grad(loss)(w, x, y, now)
        t = t + 1
        rate = RATE * jnp.minimum(t / WARM, 0.5 * (1 + jnp.cos(jnp.pi * t / TOTAL)))
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        w = jax.tree.map(lambda w, m, v: w * (1 - rate * DECAY * (w.ndim > 1)) - rate * (m / (1 - 0.9 ** t)) / (jnp.sqrt(v / (1 - 0.999 ** t)) + 1e-8),
                         w, m, v)
        return (w, m, v, t, key), value
    compiled = jax.jit(step, donate_argnums=0)
    taken = [(jnp.asarray(x[p]), jnp.asarray(y[p])) for p in picks(len(x))]
    state, count = (w, zero, jax.tree.map(jnp.zeros_like, w), jnp.float32(0), key), 0

    def run(steps):
        nonlocal state, count
        for _ in range(steps):
            state, value = compiled(state, *taken[count % len(taken)])
            count += 1
        value.block_until_ready()
    return run, {"jax": jax.__version__}


def main():
    if sys.argv[1] == "jax-jit":
        run, versions = jax_steps()
    else:
        run, versions = torch_steps(fused=sys.argv[1] == "torch-fused")
    run(300)
    print(json.dumps({**versions, "numpy": np.__version__, "python": sys.version.split()[0]}), flush=True)
    for line in sys.stdin:
        start = time.process_time()
        run(int(line))
        print(time.process_time() - start, flush=True)


main()

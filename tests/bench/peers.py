#!/usr/bin/env python3
"""The step of digits_step.aml in PyTorch (eager) and JAX (jit), one thread each. Prints one JSON object.

Needs numpy, torch and jax; see README.md. Usage: peers.py DIGITS.csv
"""
import json
import math
import os
import sys
import time

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
import numpy as np

STEPS, WARM, BATCH = 2000, 200, 64


def rows():
    data = np.loadtxt(sys.argv[1], delimiter=",", skiprows=1, dtype=np.float32)
    return data[:, :64] / 16, data[:, 64].astype(np.int64)


def batches(count):
    order = np.random.default_rng(0).permutation(count)
    return [order[i * BATCH:(i + 1) * BATCH] for i in range(count // BATCH)]


def timed(step):
    """The median over 20 groups of the time of one step."""
    for i in range(WARM):
        step(i)
    groups = []
    for group in range(20):
        start = time.perf_counter()
        for i in range(STEPS // 20):
            step(group * (STEPS // 20) + i)
        groups.append((time.perf_counter() - start) / (STEPS // 20))
    return sorted(groups)[10]


def torch_eager():
    import torch
    torch.set_num_threads(1)
    x, y = (torch.from_numpy(a) for a in rows())
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Dropout(0.1), torch.nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min((s + 1) / 50, 0.5 * (1 + math.cos(math.pi * s / 4000))))
    picks = [torch.from_numpy(b) for b in batches(len(x))]

    def step(i):
        pick = picks[i % len(picks)]
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(model(x[pick]), y[pick])
        loss.backward()
        optimizer.step()
        schedule.step()
    return {"version": torch.__version__, "seconds": timed(step)}


def jax_jit():
    import jax
    import jax.numpy as jnp
    x, y = rows()
    y = y.astype(np.int32)
    key = jax.random.key(0)
    w = {"a": jax.random.normal(key, (64, 128)) * 0.17, "b": jnp.zeros(128), "c": jax.random.normal(key, (128, 10)) * 0.12, "d": jnp.zeros(10)}
    zero = jax.tree.map(jnp.zeros_like, w)

    def loss(w, x, y, key):
        h = jax.nn.relu(x @ w["a"] + w["b"])
        h = jnp.where(jax.random.uniform(key, h.shape) < 0.1, 0, h / 0.9)
        logs = jax.nn.log_softmax(h @ w["c"] + w["d"])
        return -jnp.take_along_axis(logs, y[:, None], axis=1).mean()

    def step_of(state, x, y):
        w, m, v, t, key = state
        key, now = jax.random.split(key)
        value, g = jax.value_and_grad(loss)(w, x, y, now)
        t = t + 1
        rate = 2e-3 * jnp.minimum(t / 50, 0.5 * (1 + jnp.cos(jnp.pi * t / 4000)))
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        w = jax.tree.map(lambda w, m, v: w * (1 - rate * 1e-2 * (w.ndim > 1)) - rate * (m / (1 - 0.9 ** t)) / (jnp.sqrt(v / (1 - 0.999 ** t)) + 1e-8),
                         w, m, v)
        return (w, m, v, t, key), value
    compiled = jax.jit(step_of, donate_argnums=0)
    picks = [(x[b], y[b]) for b in batches(len(x))]
    state = [(w, zero, jax.tree.map(jnp.zeros_like, w), jnp.float32(0), key)]

    def step(i):
        state[0], value = compiled(state[0], *picks[i % len(picks)])
        value.block_until_ready()
    return {"version": jax.__version__, "seconds": timed(step)}


print(json.dumps({"torch eager": torch_eager(), "jax jit": jax_jit()}))

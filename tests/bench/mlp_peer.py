#!/usr/bin/env python3
"""One peer of the benchmark of perceptrons, in a process of its own, driven by run.py over a pipe.

Usage: mlp_peer.py torch-eager|torch-compile|jax-jit INPUTS HIDDEN LAYERS OUTPUTS ROWS ADAM
Prints one JSON line with the versions when it is ready; then, for each line with a number on standard input, runs that many
steps and prints the seconds of processor time they took. The step is that of networks/mlp.aml (network_models.py), on batches that are ready-made;
JAX is waited for once at the end of all steps. torch-compile compiles forward and backward together with the optimizer, as its
manual recommends. One thread.
"""
import json
import os
import sys
import time

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
os.environ["JAX_PLATFORMS"] = "cpu"
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
import numpy as np

from peer_common import torch_with

INPUTS, HIDDEN, LAYERS, OUTPUTS, ROWS, ADAM = map(int, sys.argv[2:])
SIZES = [INPUTS] + [HIDDEN] * LAYERS + [OUTPUTS]
BATCHES = 16


def data():
    random = np.random.default_rng(0)
    return (random.random((BATCHES, ROWS, INPUTS), np.float32), random.integers(0, OUTPUTS, (BATCHES, ROWS)))


def torch_steps(compiled):
    torch = torch_with(1)
    torch.set_num_interop_threads(1)
    from network_models import perceptron
    workload = perceptron(INPUTS, HIDDEN, LAYERS, OUTPUTS, ROWS, ADAM)
    model, optimizer = workload.model, workload.optimizer(compiled)

    def forward_backward(x, y):
        torch.nn.functional.cross_entropy(model(x), y).backward()

    def update():
        optimizer.step()
    if compiled:
        forward_backward, update = torch.compile(forward_backward), torch.compile(update)
    batches = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in zip(*data())]
    count = 0

    def run(steps):
        nonlocal count
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            forward_backward(*batches[count % BATCHES])
            update()
            count += 1
    return run, {"torch": torch.__version__}


def jax_steps():
    import jax
    import jax.numpy as jnp
    random = np.random.default_rng(1)
    w = [(jnp.asarray(random.normal(0, a ** -0.5, (a, b)), jnp.float32), jnp.zeros(b)) for a, b in zip(SIZES, SIZES[1:])]

    def loss(w, x, y):
        for a, b in w[:-1]:
            x = jax.nn.relu(x @ a + b)
        logs = jax.nn.log_softmax(x @ w[-1][0] + w[-1][1])
        return -jnp.take_along_axis(logs, y[:, None], axis=1).mean()

    def step(state, x, y):
        w, m, v, t = state
        value, g = jax.value_and_grad(loss)(w, x, y)
        if not ADAM:
            return (jax.tree.map(lambda w, g: w - 1e-2 * g, w, g), m, v, t), value
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        w = jax.tree.map(lambda w, m, v: w * (1 - 1e-3 * 0.01 * (w.ndim > 1)) - 1e-3 * (m / (1 - 0.9 ** t)) / (jnp.sqrt(v / (1 - 0.999 ** t)) + 1e-8),
                         w, m, v)
        return (w, m, v, t), value
    compiled = jax.jit(step, donate_argnums=0)
    batches = [(jnp.asarray(x), jnp.asarray(y, jnp.int32)) for x, y in zip(*data())]
    zero = jax.tree.map(jnp.zeros_like, w)
    state, count = (w, zero, jax.tree.map(jnp.zeros_like, w), jnp.float32(0)), 0

    def run(steps):
        nonlocal state, count
        for _ in range(steps):
            state, value = compiled(state, *batches[count % BATCHES])
            count += 1
        value.block_until_ready()
    return run, {"jax": jax.__version__}


def main():
    run, versions = jax_steps() if sys.argv[1] == "jax-jit" else torch_steps(sys.argv[1] == "torch-compile")
    run(100)
    print(json.dumps(versions), flush=True)
    for line in sys.stdin:
        start = time.process_time()
        run(int(line))
        print(time.process_time() - start, flush=True)


main()

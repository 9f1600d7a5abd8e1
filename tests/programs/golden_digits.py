#!/usr/bin/env python3
"""The training of golden.aml in NumPy and f64, from the same initial weights and with the same order of the data.

Needs NumPy, so it is not a test but makes the expectation of one: golden_digits.json, which test_golden.py compares with.
Usage: golden_digits.py WEIGHTS.safetensors DIGITS.csv > golden_digits.json, where WEIGHTS are those before the first step
(test_golden.py --initial AMLC writes them).

Nothing here comes from AML but the definitions: Philox4x32-10, the stratified split, the order of an epoch, AdamW and the
schedule are written again from their descriptions.
"""
import csv
import json
import math
import struct
import sys

import numpy as np

SEED, SPLIT_SEED, BATCH, STEPS = 42, 7, 64, 100
USE_SPLIT, USE_EPOCH = 0x73706C69, 0x65706F63


def philox(counter, key):
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        a, b = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (b >> 32) ^ c1 ^ k0, b & 0xFFFFFFFF, (a >> 32) ^ c3 ^ k1, a & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


def shuffled(items, seed, stream, use):
    """Fisher and Yates from the end; position i draws with counter (i, stream) and key (seed, use)."""
    order = list(items)
    key = (seed & 0xFFFFFFFF, (seed >> 32) ^ use)
    for i in range(len(order) - 1, 0, -1):
        word = philox((i & 0xFFFFFFFF, i >> 32, stream & 0xFFFFFFFF, stream >> 32), key)
        j = ((word[0] | word[1] << 32) * (i + 1)) >> 64
        order[i], order[j] = order[j], order[i]
    return order


def train_rows(classes, fractions=(0.8, 0.1, 0.1)):
    """The rows of the train part: class by class, quotas by largest remainder carried from class to class."""
    given = [0.0] * 3
    total, train = 0, []
    for k in range(10):
        rows = shuffled([i for i, c in enumerate(classes) if c == k], SPLIT_SEED, k, USE_SPLIT)
        total += len(rows)
        left, now, remainder = len(rows), [], []
        for part in range(3):
            due = fractions[part] * total - given[part]
            whole = min(left, math.floor(due + 1e-9) if due > 0 else 0)
            now.append(whole)
            remainder.append(due - whole)
            left -= whole
        while left:
            best = 0
            for part in range(1, 3):
                if remainder[part] > remainder[best] + 1e-9:
                    best = part
            now[best] += 1
            remainder[best] -= 1
            left -= 1
        given = [g + n for g, n in zip(given, now)]
        train += rows[:now[0]]
    return sorted(train)


def read_safetensors(path):
    data = open(path, "rb").read()
    length, = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, info in json.loads(data[8:8 + length]).items():
        if name != "__metadata__":
            begin, end = info["data_offsets"]
            tensors[name] = np.frombuffer(data[8 + length + begin:8 + length + end], "<f4").reshape(info["shape"]).astype(np.float64)
    return tensors


def sample(tensor):
    """Every element of a small one, every 29th of the others, and the norm of all."""
    flat = tensor.reshape(-1)
    stride = 1 if flat.size <= 128 else 29
    return {"norm": float(np.linalg.norm(flat)), "stride": stride, "at": [float(f"{g:.9g}") for g in flat[::stride]]}


def main():
    weights = read_safetensors(sys.argv[1])
    initial = {n: sample(weights[n]) for n in sorted(weights)}
    rows = list(csv.reader(open(sys.argv[2])))[1:]
    x = np.array([[float(v) for v in r[:64]] for r in rows]) / 16.0
    y = np.array([int(r[64]) for r in rows])
    train = train_rows(list(y))
    stream = []
    for epoch in range(STEPS * BATCH // len(train) + 1):
        stream += [train[i] for i in shuffled(range(len(train)), SEED, epoch, USE_EPOCH)]

    names = sorted(weights)
    m = {n: np.zeros_like(weights[n]) for n in names}
    v = {n: np.zeros_like(weights[n]) for n in names}
    losses, first = [], None
    for step in range(STEPS):
        batch = stream[step * BATCH:(step + 1) * BATCH]
        input_, label = x[batch], y[batch]
        pre = input_ @ weights["fc1.weight"] + weights["fc1.bias"]
        hidden = np.maximum(pre, 0)
        scores = hidden @ weights["fc2.weight"] + weights["fc2.bias"]
        shifted = scores - scores.max(axis=1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        losses.append(float(-logs[np.arange(BATCH), label].mean()))
        d = np.exp(logs)
        d[np.arange(BATCH), label] -= 1
        d /= BATCH
        back = (d @ weights["fc2.weight"].T) * (pre > 0)
        gradient = {"fc1.weight": input_.T @ back, "fc1.bias": back.sum(axis=0), "fc2.weight": hidden.T @ d, "fc2.bias": d.sum(axis=0)}
        first = first or gradient
        if step < 50:
            rate = 2e-3 * (step + 1) / 50
        else:
            rate = 2e-3 * 0.5 * (1 + math.cos(math.pi * min((step - 50) / (STEPS - 50), 1)))
        for n in names:
            m[n] = 0.9 * m[n] + 0.1 * gradient[n]
            v[n] = 0.999 * v[n] + 0.001 * gradient[n] ** 2
            if weights[n].ndim >= 2:
                weights[n] = weights[n] * (1 - rate * 1e-2)
            weights[n] = weights[n] - rate / (1 - 0.9 ** (step + 1)) * m[n] / (np.sqrt(v[n] / (1 - 0.999 ** (step + 1))) + 1e-8)

    json.dump({"initial": initial, "loss": [float(f"{l:.9g}") for l in losses], "gradient": {n: sample(first[n]) for n in names}}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()

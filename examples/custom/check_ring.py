#!/usr/bin/env python3
"""Draws samples from a trained generator of ring.aml or custom.aml and says whether they lie on the circle.

Usage: check_ring.py RUN_OR_CHECKPOINT [SAMPLES]. Needs nothing but Python: the weights are a safetensors file, and the generator is a
chain of gated linear units (g.a, g.b, ...) that ends in a dense layer. Exit code 0 if the mean distance from the circle is below 5% and
all eight octants are hit.
"""
import json
import math
import pathlib
import random
import struct
import sys


def load(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            tensors[name] = entry["shape"], struct.unpack(f"<{(end - begin) // 4}f", data[8 + size + begin:8 + size + end])
    return tensors


def matrix(tensors, name):
    (rows, columns), values = tensors[name]
    return [values[i * columns:(i + 1) * columns] for i in range(rows)]


def product(x, m):
    return [sum(a * row[k] for a, row in zip(x, m)) for k in range(len(m[0]))]


def generator(tensors):
    layers = sorted({name.split(".")[1] for name in tensors if name.startswith("g.")})
    units = [(matrix(tensors, f"g.{n}.gate"), matrix(tensors, f"g.{n}.value"), tensors[f"g.{n}.bias"][1]) for n in layers[:-1]]
    weight, bias = matrix(tensors, f"g.{layers[-1]}.weight"), tensors[f"g.{layers[-1]}.bias"][1]

    def run(z):
        for gate, value, shift in units:
            a = product(z, gate)
            z = [g / (1 + math.exp(-g)) * v + b for g, v, b in zip(a, product(z, value), shift)]
        return [v + b for v, b in zip(product(z, weight), bias)]
    return run, len(units[0][0])


def main():
    place, count = pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    found = [place / "weights.safetensors"] + sorted(place.glob("**/step-*/weights.safetensors"))
    path = [p for p in found if p.exists()][-1]
    draw, latent = generator(load(path))
    random.seed(1)
    octant, error, mean = [0] * 8, 0.0, 0.0
    for _ in range(count):
        x, y = draw([random.gauss(0, 1) for _ in range(latent)])
        radius = math.hypot(x, y)
        mean += radius / count
        error += abs(radius - 1) / count
        octant[int((math.atan2(y, x) + math.pi) / (2 * math.pi) * 8) % 8] += 1
    good = error < 0.05 and min(octant) > 0
    print(f"{count} samples: mean radius {mean:.4f}, mean distance from the circle {100 * error:.2f}%, octants {octant}: {'on the ring' if good else 'not on the ring'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

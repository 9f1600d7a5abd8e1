#!/usr/bin/env python3
"""Writes golden_smote.h: samples between two of a class, by the definition, in NumPy.

The rows are formulas that drawing_test.c has as well; the random numbers are Philox4x32-10 written out once more.
"""
import numpy as np

ROWS, SIZE, CLASSES, NEIGHBOURS, SEED = 90, 3, 3, 4, 11
i = np.arange(ROWS)
y = np.where(i % 9 == 4, 2, np.where(i % 3 == 1, 0, 1))       # 20, 60 and 10 rows
x = np.stack([(i * (7 + 4 * k) % 31 - 15) / 8 for k in range(SIZE)] + [i % 5], axis=1).astype(np.float32)   # the last one is the field w


def philox(counter, key):
    c, k = [int(v) for v in counter], [int(v) for v in key]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


assert philox([0, 0, 0, 0], [0, 0])[0] == 0x6627E8D5
key = [SEED & 0xFFFFFFFF, (SEED >> 32) ^ 0x736D6F74]
most = np.bincount(y).max()
made = []
for g in range(CLASSES):
    of = np.flatnonzero(y == g)
    points = x[of].astype(np.float64)
    distance = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distance, np.inf)
    nearest = np.argsort(distance, axis=1, kind="stable")[:, :NEIGHBOURS]
    for s in range(most - len(of)):
        word = philox([s, g, 0, 0], key)
        a = word[0] * len(of) >> 32
        b = nearest[a, word[1] * NEIGHBOURS >> 32]
        share = word[2] / 2 ** 32
        made.append((of[a], of[b], (points[a] + share * (points[b] - points[a])).astype(np.float32)))
print(f"// Written by golden_smote.py with NumPy {np.__version__}.\n")
print(f"enum {{ ROWS = {ROWS}, SIZE = {SIZE}, CLASSES = {CLASSES}, NEIGHBOURS = {NEIGHBOURS}, SEED = {SEED}, MADE = {len(made)} }};\n")
print("static const int made_between[MADE][2] = {" + ", ".join(f"{{{a}, {b}}}" for a, b, _ in made) + "};\n")
print("static const float made[MADE][SIZE] = {" + ", ".join("{" + ", ".join(f"{float(v).hex()}f" for v in p[:SIZE]) + "}" for _, _, p in made) + "};")

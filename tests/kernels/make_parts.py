#!/usr/bin/env python3
"""Computes the tables of kernels/cpu/parts.h: polynomials for erf(x) / x and tanh(x) / x, for sixteen parts of x each. Needs mpmath.

Usage: tests/kernels/make_parts.py    prints the two tables
"""
import struct

import mpmath

mpmath.mp.dps = 40


def single(value):
    """The nearest float."""
    return struct.unpack("<f", struct.pack("<f", float(value)))[0]


def fit(function, low, high, origin, degree):
    """The polynomial in x - origin that is right at the Chebyshev points of the part: coefficients, constant first."""
    low, high, origin = map(mpmath.mpf, (low, high, origin))
    count = degree + 1
    points = [(low + high) / 2 + (high - low) / 2 * mpmath.cos(mpmath.pi * (2 * i + 1) / (2 * count)) for i in range(count)]
    powers = mpmath.matrix(count, count)
    values = mpmath.matrix(count, 1)
    for row, x in enumerate(points):
        values[row] = function(x) / x
        for column in range(count):
            powers[row, column] = (x - origin) ** column
    return list(mpmath.lu_solve(powers, values))


def table(name, columns):
    """The constant is cut into a float and what is left of it."""
    rows = [[single(c[0]) for c in columns], [single(c[0] - mpmath.mpf(single(c[0]))) for c in columns]]
    rows += [[single(c[power]) for c in columns] for power in range(1, len(columns[0]))]
    print(f"static const float {name}[{len(rows)}][16] = {{")
    for row in rows:
        texts = [f"{value:.9g}" for value in row]
        print("    {" + ", ".join((t if "." in t or "e" in t else t + ".0") + "f" for t in texts) + "},")
    print("};")


def main():
    each = mpmath.mpf(33) / 128
    table("erf_parts", [fit(mpmath.erf, max(mpmath.mpf(0), (k - mpmath.mpf(1) / 2) * each), (k + mpmath.mpf(1) / 2) * each, k * each, 5) for k in range(16)])
    edges = [0.625, 0.75, 0.875, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 10]
    columns = [None] * 16
    for low, high in zip(edges, edges[1:]):
        part = struct.unpack("<I", struct.pack("<f", low))[0] >> 21 & 15
        columns[part] = fit(mpmath.tanh, low - 0.625, high - 0.625, low - 0.625, 6)
    table("tanh_parts", columns)


main()

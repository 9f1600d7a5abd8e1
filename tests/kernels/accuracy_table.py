#!/usr/bin/env python3
"""Measures the math functions of kernels/cpu and writes docs/math-accuracy.md.

Usage: tests/kernels/accuracy_table.py BUILD_DIR [--exhaustive]
--exhaustive measures every float (about an hour a width); otherwise every 1009th. A width that this processor cannot run is left out.
"""
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEVELS = {16: "AVX-512", 8: "AVX2", 4: "SSE4.2"}


def main():
    build = pathlib.Path(sys.argv[1])
    exhaustive = "--exhaustive" in sys.argv
    rows = {}
    points = {}
    for width in LEVELS:
        program = build / "tests" / "kernels" / f"kernels_accuracy_v{width}"
        done = subprocess.run([program, "--table"] + ["--exhaustive"] * exhaustive, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{program}: the measured errors are not within the stated bounds:\n{done.stdout}")
        for line in done.stdout.splitlines():
            if line.startswith("ROW "):
                _, dtype, name, lanes, most, mean, at, count, bound = line.split()
                rows.setdefault((dtype, name), {})[int(lanes)] = (float(most), float(mean), at, bound)
                points[dtype, name] = max(points.get((dtype, name), 0), int(count))
    text = ["# Accuracy of the math functions", "",
            "Errors against the exact value, in units in the last place (ULP), measured by `tests/kernels/accuracy_table.py`; the tests hold",
            "the stated bounds. f32 is measured over " + ("every float" if exhaustive else "every 1009th float of all 2^32") +
            ", f64 over random bits, moderate values and values around one;",
            "pow over random pairs whose result is in range. NaN, infinities, zeros of both signs and denormal numbers are part of it, although",
            "compiled programs return zero for the latter.",
            "The scalar functions and those on registers give the same bits. Without FMA (SSE4.2) the bits differ from those of the other levels.", "",
            "| type | function | " + " | ".join(f"{LEVELS[w]}: most | mean" for w in LEVELS) + " | worst at | stated bound | points |",
            "|---|---|" + "---|---|" * len(LEVELS) + "---|---|---|"]
    for (dtype, name), found in rows.items():
        cells = " | ".join(f"{found[w][0]:.2f} | {found[w][1]:.3f}" if w in found else "– | –" for w in LEVELS)
        worst = max(found.values())
        text.append(f"| {dtype} | {name} | {cells} | {worst[2]} | {worst[3]} | {points[dtype, name]:,} |")
    (ROOT / "docs" / "math-accuracy.md").write_text("\n".join(text) + "\n")


main()

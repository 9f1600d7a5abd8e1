#!/usr/bin/env python3
"""Writes golden.json: sounds at other rates, by SciPy's resample_poly (a windowed sinc with a Kaiser window of beta 5).

Needs numpy and scipy; the tests only read the file that this makes.
"""
import json
import pathlib

import numpy
import scipy.signal

random = numpy.random.default_rng(5)
cases = []
for old, new, count in ((8000, 16000, 60), (16000, 8000, 150), (44100, 16000, 400), (8000, 44100, 50), (11025, 8000, 120), (48000, 8000, 300), (22050, 22050, 30)):
    x = numpy.clip(numpy.sin(numpy.arange(count) * 0.11) * 0.5 + random.normal(size=count) * 0.1, -1, 1)
    whole = numpy.round(x * 32767).astype(int)
    divisor = numpy.gcd(old, new)
    y = scipy.signal.resample_poly(whole / 32768, new // divisor, old // divisor)
    cases.append({"from": old, "to": new, "samples": whole.tolist(), "expected": [float(f"{v:.8g}") for v in y]})
path = pathlib.Path(__file__).resolve().parent / "golden.json"
path.write_text("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")

#!/usr/bin/env python3
"""golden.aml against the same training in NumPy and f64 (golden_digits.py): gradients of the first step, 100 losses.

With --initial AMLC FOLDER it writes the weights before the first step, from which golden_digits.py starts.
"""
import json
import math
import pathlib
import shutil
import struct
import sys

from harness import DIGITS, ROOT, Place, check, checkpoints, main

HERE = ROOT / "tests/programs"


def build(place):
    shutil.copy(HERE / "golden.aml", place.folder)
    shutil.copy(DIGITS / "data/digits.csv", place.folder)
    place.aml("build", "golden.aml")
    return place.folder / "golden"


def tensors(path):
    data = path.read_bytes()
    length, = struct.unpack("<Q", data[:8])
    found = {}
    for name, info in json.loads(data[8:8 + length]).items():
        if name != "__metadata__" and info["dtype"] == "F32":
            begin, end = (8 + length + at for at in info["data_offsets"])
            found[name] = struct.unpack(f"<{(end - begin) // 4}f", data[begin:end])
    return found


def initial_weights(place, program):
    place.run(program, "train", "--steps", 0, "--quiet", "--runs", "initial")
    return next((place.folder / "initial").glob("golden/*/checkpoints/step-*/weights.safetensors"))


def agrees_with_numpy(place):
    golden = json.loads((HERE / "golden_digits.json").read_text())
    program = build(place)
    weights = tensors(initial_weights(place, program))
    for name, expected in golden["initial"].items():
        worst = compare(weights[name], expected)
        check(worst <= 1e-5, f"the initial {name} is another by {worst}; if it is meant to be, run golden_digits.py again")
    place.run(program, "train", "--quiet")
    gradients_agree(place, golden)
    losses_agree(place, golden)


def compare(found, expected):
    """The largest relative difference: of the norms, and of the elements to the largest of them."""
    norm = math.sqrt(sum(g * g for g in found))
    largest = max(abs(g) for g in expected["at"]) or 1
    worst = max(abs(g - e) / largest for g, e in zip(found[::expected["stride"]], expected["at"]))
    return max(worst, abs(norm - expected["norm"]) / (expected["norm"] or 1))


def gradients_agree(place, golden):
    """Adam's first moment after one step is (1 - beta1) times the gradient."""
    first = next(p for p in checkpoints(place.folder, "golden") if int(p.name.split("-")[1]) == 1)
    moments = tensors(first / "optimizer.safetensors")
    worst = 0
    for name, expected in golden["gradient"].items():
        key = next(k for k in moments if name in k and k.split(".")[-1] == "m")
        worst = max(worst, compare([m / 0.1 for m in moments[key]], expected))
    print(f"  gradients of the first step: worst difference {worst:.2e} of the largest element")
    check(worst <= 1e-5, f"the worst relative difference of a gradient is {worst}")


def losses_agree(place, golden):
    lines = [json.loads(line) for line in next((place.folder / "runs/golden").glob("*/metrics.jsonl")).read_text().splitlines()]
    losses = {line["step"]: line["loss"] for line in lines if "loss" in line and "accuracy" not in line}
    check(len(losses) >= 100, f"{len(losses)} losses were logged")
    worst = max(abs(losses[step + 1] - expected) for step, expected in enumerate(golden["loss"]))
    print(f"  losses of 100 steps: worst difference {worst:.2e}")
    check(worst <= 1e-3, f"the worst difference of a loss is {worst}")


if __name__ == "__main__":
    if sys.argv[1] == "--initial":
        folder = pathlib.Path(sys.argv[3]).absolute()
        where = Place(pathlib.Path(sys.argv[2]).absolute(), folder)
        print(initial_weights(where, build(where)))
        sys.exit(0)
    sys.exit(main([agrees_with_numpy]))

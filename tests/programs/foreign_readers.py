#!/usr/bin/env python3
"""Checkpoints are opened by the Python package safetensors, event files by TensorBoard's own reader.

    foreign_readers.py AMLC PYTHON    PYTHON: an interpreter with the packages safetensors, numpy and tensorboard

The test suite does not need these packages: it reads both formats with readers of its own.
"""
import json
import sys

from harness import Skip, check, check_equal, checkpoints, main

PYTHON = sys.argv.pop(2) if len(sys.argv) > 2 else None

READ_TENSORS = """
import hashlib, json, sys
from safetensors import safe_open
from safetensors.numpy import load_file
out = {}
for path in sys.argv[1:]:
    tensors = load_file(path)
    with safe_open(path, framework="numpy") as file:
        assert set(file.keys()) == set(tensors) and file.metadata() == {"format": "aml"}, file.metadata()
    for name, value in tensors.items():
        out[name] = [str(value.dtype), list(value.shape), hashlib.sha256(value.tobytes()).hexdigest()]
print(json.dumps(out))
"""

READ_EVENTS = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0}).Reload()
print(json.dumps({tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}))
"""


def read(place, code, *paths):
    if not PYTHON:
        raise Skip("no interpreter with the packages was named")
    if place.run(PYTHON, "-c", "import safetensors, numpy, tensorboard", code=None).code:
        raise Skip(f"{PYTHON} lacks safetensors, numpy or tensorboard")
    return json.loads(place.run(PYTHON, "-c", code, *paths).out.splitlines()[-1])


def own_tensors(path):
    """A reader of our own: {name: (dtype, shape, bytes)}."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__")
    return {name: (entry["dtype"], entry["shape"], data[8 + length + entry["data_offsets"][0]:8 + length + entry["data_offsets"][1]])
            for name, entry in header.items()}


def checkpoints_are_safetensors(place):
    import hashlib
    program = place.build_digits()
    place.run(program, "train", "--quiet", "--steps", 40)
    files = [checkpoints(place.folder)[-1] / name for name in ("weights.safetensors", "optimizer.safetensors")]
    theirs = read(place, READ_TENSORS, *files)
    ours = {name: entry for path in files for name, entry in own_tensors(path).items()}
    check_equal(sorted(theirs), sorted(ours), "the tensors that safetensors finds")
    names = {"F32": "float32", "I64": "int64", "F64": "float64", "I32": "int32"}
    for name, (dtype, shape, data) in ours.items():
        check_equal(theirs[name], [names[dtype], shape, hashlib.sha256(data).hexdigest()], f"the tensor {name}")


def event_files_are_read_by_tensorboard(place):
    program = place.build_digits()
    place.run(program, "train", "--quiet", "--tensorboard", "--steps", 40)
    place.run(program, "train", "--quiet", "--tensorboard", "--resume", "--steps", 60)
    run = checkpoints(place.folder)[-1].parent.parent
    scalars = read(place, READ_EVENTS, run)
    figures = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for tag in ("loss", "accuracy", "valid_loss"):
        ours = [(f["step"], f[tag]) for f in figures if tag in f]
        check_equal([step for step, _ in scalars[tag]], [step for step, _ in ours], f"the steps of {tag}")
        check(all(abs(a - b) <= 1e-6 * max(abs(b), 1) for (_, a), (_, b) in zip(scalars[tag], ours)), f"the values of {tag} differ")


if __name__ == "__main__":
    sys.exit(main([checkpoints_are_safetensors, event_files_are_read_by_tensorboard]))

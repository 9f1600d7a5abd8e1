#!/usr/bin/env python3
"""Batches whose rows stay where they are: the same weights, to the bit, as with batches that are put together."""
from harness import check, check_equal, main

PROGRAM = """aml 1
use std.nn
use std.optim
use std.data

model Net {
  body = Dense(HIDDEN, activation: relu)
  head = Dense(2)
  fn forward(x: float[n, SHAPE]) -> float[n, 2] {
    let h = reshape(x, [n, INPUTS])
    return (h |> body |> head) + EXTRA
  }
}

dataset noise {
  source: synthetic(200, fn(i) = { x: random.uniform([SHAPE]) - 0.5, y: if mod(i, 3) > 0 then 1 else 0 })
  field x: f32[SHAPE]
  field y: class(2)
  split: { train: 150 / 200, valid: 50 / 200 }
  fn prepare(s) { return { x: s.x, y: s.y } }
  AUGMENT
}

train net {
  model:     Net()
  data:      noise
  loss:      cross_entropy
  optimizer: adam(lr: 0.01)
  length:    12 steps
  batch:     ROWS
  seed:      3
  SETTINGS
}
"""
# Rows of a loss that reads the batch as a tensor and adds nothing: then it is put together.
TOGETHER = "0.0 * sum(h, axes: [1], keep: true)"


def trained(place, rows, shape, hidden, extra, settings="", augment="", threads=("1", "2", "3")):
    inputs = 1
    for part in shape.split(","):
        inputs *= int(part)
    text = PROGRAM
    for name, value in {"HIDDEN": hidden, "SHAPE": shape, "INPUTS": inputs, "EXTRA": extra, "AUGMENT": augment, "ROWS": rows,
                        "SETTINGS": settings}.items():
        text = text.replace(name, str(value))
    place.write("net.aml", text)
    ir = place.aml("build", "net.aml", "--emit=ir:rows").out
    place.aml("build", "net.aml")
    found = set()
    for count in threads:
        place.run("./net", "train", "--runs", f"runs-{count}", "--threads", count)
        run = sorted((place.folder / f"runs-{count}" / "net").iterdir())[-1]
        figures = [line for line in (run / "metrics.jsonl").read_text().splitlines()]
        checkpoint = sorted((run / "checkpoints").iterdir())[-1]
        found.add(((checkpoint / "weights.safetensors").read_bytes(), tuple(line.split(', "seconds"')[0] for line in figures if "loss" in line)))
    check_equal(len(found), 1, f"kinds of weights with {threads} threads")
    return "rows(0)" in ir, found.pop()


# Rows, shape of a sample, hidden: what the products are (kernels/cpu/kernel.h).
SIZES = {"tiles": (32, "40", 48), "a sum in blocks": (24, "30,50", 33), "panels that are packed": (96, "90", 600),
         "few rows": (4, "20,64", 80), "a gradient that is copied": (140, "300", 140), "inner products": (16, "64", 1)}


def the_same_bits(place):
    for what, (rows, shape, hidden) in SIZES.items():
        apart, ours = trained(place, rows, shape, hidden, "0.0")
        together, theirs = trained(place, rows, shape, hidden, TOGETHER, threads=("1",))
        check(apart and not together, f"{what}: rows are read where they lie: {apart}, {together}")
        check(ours == theirs, f"{what}: other weights or figures than with batches that are put together")


# Samples that are made when they are asked for, and those between two rows, lie in the batch.
def made_samples(place):
    for settings, augment in (("sampling: smote(by: y, neighbours: 2)", ""), ("", "fn augment(s) { return { x: s.x + 0.1 * random.uniform([40]), y: s.y } }")):
        apart, ours = trained(place, 32, "40", 48, "0.0", settings, augment)
        together, theirs = trained(place, 32, "40", 48, TOGETHER, settings, augment, threads=("1",))
        check(apart and not together, f"rows are read where they lie: {apart}, {together}")
        check(ours == theirs, f"{settings}{augment}: other weights or figures than with batches that are put together")


main([the_same_bits, made_samples])

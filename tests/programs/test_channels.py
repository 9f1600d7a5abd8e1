#!/usr/bin/env python3
"""`prune: channels` where channels run through concatenations, flattening and repeats: the smaller program computes what the
whole one does when the weights of the channels that went are zero."""
import json
import shutil
import struct
import sys

from harness import DIGITS, check, check_equal, check_in, checkpoints, main
from test_quantize import tensors_of

HEAD = """aml 1
use "digits.aml"
use std.nn
use std.optim

option from: string = "masked.safetensors"
"""

JOBS = """
train whole {
  model:     Net()
  data:      digits
  loss:      cross_entropy
  optimizer: adamw(lr: 2e-3)
  length:    40 steps
  batch:     64
}

train masked {
  model:     load(Net(), from)
  data:      digits
  loss:      cross_entropy
  optimizer: adamw(lr: 2e-3)
  length:    1 steps
  batch:     64
}

deploy small { model: whole.last prune: channels(50%, by: l1, spread: even, reconstruct: false) }
deploy twins { model: masked.last prune: channels(50%, spread: even) }
deploy tuned { model: whole.last prune: channels(50%, finetune: 2 epochs) quantize: int8(calibrate: digits.train) }
"""

BRANCHES = """
model Net {
  a    = Conv2d(8, kernel: 3, padding: same)
  b    = Conv2d(6, kernel: 1)
  mid  = Conv2d(12, kernel: 3, stride: 2, padding: same)
  head = Dense(10)
  fn forward(x: float[n, 64]) -> float[n, 10] {
    let image = reshape(x, [n, 1, 8, 8])
    let both = relu(concat([a(image), b(image), image], axis: 1))
    return reshape(relu(mid(both)), [n, 12 * 4 * 4]) |> head
  }
}
"""

REPEATS = """
model Block {
  up   = Dense(24, activation: relu)
  down = Dense(16)
  fn forward(x: float[n, 16]) -> float[n, 16] { return relu(x + down(up(x))) }
}

model Net {
  stem = Dense(16, activation: relu)
  body = repeat(3, Block())
  head = Dense(10)
  fn forward(x: float[n, 64]) -> float[n, 10] { return x |> stem |> body |> head }
}
"""


def write_tensors(path, tensors):
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        raw = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


HEADS = """
model Net {
  stem = Dense(16)
  att  = MultiHeadAttention(16, heads: 4)
  head = Dense(10)
  fn forward(x: float[n, 64]) -> float[n, 10] { return x |> reshape([n, 8, 8]) |> stem |> att |> mean(axis: 1) |> head }
}
"""


FUSED = HEADS.replace("MultiHeadAttention", "SelfAttention")


def channel_of(shape, axis, index, block=1, count=None):
    """`block` neighbours of the axis are a channel; if it has more than `count`, the others are theirs once more."""
    inner = block
    for size in shape[axis + 1:]:
        inner *= size
    return index // inner % (count or shape[axis] // block)


def masked(tensors, groups):
    """`groups`: lists of (weights, axis of their channels, columns that each takes, number of channels), which go together; half of the channels, those with the smallest sums, become 0."""
    tensors = {name: (shape, list(values)) for name, (shape, values) in tensors.items()}
    for group in groups:
        block = group[0][2] if len(group[0]) > 2 else 1
        size = group[0][3] if len(group[0]) > 3 else tensors[group[0][0]][0][group[0][1]] // block
        total = [0.0] * size
        for name, axis, *_ in group:
            shape, values = tensors[name]
            for i, v in enumerate(values):
                total[channel_of(shape, axis, i, block, size)] += abs(v)
        gone = set(sorted(range(size), key=lambda c: total[c])[:size // 2])
        for name, axis, *_ in group:
            for part, at in ((name, axis), (name.replace(".weight", ".bias"), 0)):
                shape, values = tensors[part]
                tensors[part] = (shape, [0.0 if channel_of(shape, at, i, block, size) in gone else v for i, v in enumerate(values)])
    return tensors


def predictions(text):
    return [[float(v) for v in line.split(",")[1:]] for line in text.splitlines()[1:]]


def same_as_masked(place, model, groups, parameters):
    shutil.copytree(DIGITS, place.folder / "source")
    source = place.write("source/net.aml", HEAD + model + JOBS)
    place.aml("build", source, "-o", "net")
    place.run(place.folder / "net", "train", "whole", "--quiet")
    weights = tensors_of(checkpoints(place.folder, "whole")[-1] / "weights.safetensors")
    write_tensors(place.folder / "masked.safetensors", masked(weights, groups))
    place.run(place.folder / "net", "train", "masked", "--quiet", "--steps", "0", "--from", "masked.safetensors")
    rows = place.write("rows.csv", "\n".join((DIGITS / "data/digits.csv").read_text().splitlines()[:101]) + "\n")
    expected = predictions(place.run(place.folder / "net", "predict", rows, "--job", "masked").out)
    place.aml("deploy", source, "small")
    info = json.loads(place.run(place.folder / "small", "info", "--json").out)
    check_equal(info["parameters"], parameters, "the parameters that are left")
    found = predictions(place.run(place.folder / "small", "predict", rows).out)
    check_equal([row[0] for row in found], [row[0] for row in expected], "the classes")
    worst = max(abs(p - q) for a, b in zip(found, expected) for p, q in zip(a[1:], b[1:]))
    print(f"  worst difference from the masked model: {worst:.2g}")
    check(worst < 1e-4, f"the smaller model computes something else: {worst}")
    err = place.aml("deploy", source, "tuned").err       # the training step with its optimizer fits as well
    check_in("quantized tuned", err)


def concatenated_and_flattened(place):
    same_as_masked(place, BRANCHES, [[("a.weight", 0)], [("b.weight", 0)], [("mid.weight", 0)]],
                   4 * 9 + 4 + 3 + 3 + 6 * (4 + 3 + 1) * 9 + 6 + 6 * 16 * 10 + 10)


def repeated(place):
    """One loop with smaller weights: what is left out is the same in every turn."""
    down = [(f"body.{turn}.down.weight", 1) for turn in range(3)]
    same_as_masked(place, REPEATS, [[(f"body.{turn}.up.weight", 1) for turn in range(3)], [("stem.weight", 1)] + down],
                   64 * 8 + 8 + 3 * (8 * 12 + 12 + 12 * 8 + 8) + 8 * 10 + 10)


def heads_of_attention(place):
    """A head is several columns of three weights, and rows of the one behind them."""
    heads = [(f"att.{name}.weight", 1, 4) for name in ("query", "key", "value")]
    same_as_masked(place, HEADS, [heads, [("stem.weight", 1)], [("att.proj.weight", 1)]],
                   8 * 8 + 8 + 3 * (8 * 8 + 8) + 8 * 8 + 8 + 8 * 10 + 10)


def heads_of_one_product(place):
    """Queries, keys and values are thirds of one product's columns: a head is columns of each."""
    same_as_masked(place, FUSED, [[("att.qkv.weight", 1, 4, 4)], [("stem.weight", 1)], [("att.proj.weight", 1)]],
                   8 * 8 + 8 + 3 * (8 * 8 + 8) + 8 * 8 + 8 + 8 * 10 + 10)


def twins(tensors, names):
    """The second half of the channels of these weights [out, ...] becomes what the first half is."""
    tensors = {name: (shape, list(values)) for name, (shape, values) in tensors.items()}
    for name in names:
        for part in (name + ".weight", name + ".bias"):
            shape, values = tensors[part]
            tensors[part] = (shape, values[:len(values) // 2] * 2)
    return tensors


def what_others_say_goes_first(place):
    """Of channels that are there twice one is enough, if what reads them makes up for it: nothing is lost."""
    shutil.copytree(DIGITS, place.folder / "source")
    source = place.write("source/net.aml", HEAD + BRANCHES + JOBS)
    place.aml("build", source, "-o", "net")
    place.run(place.folder / "net", "train", "whole", "--quiet")
    weights = tensors_of(checkpoints(place.folder, "whole")[-1] / "weights.safetensors")
    write_tensors(place.folder / "masked.safetensors", twins(weights, ("a", "b", "mid")))
    place.run(place.folder / "net", "train", "masked", "--quiet", "--steps", "0", "--from", "masked.safetensors")
    rows = place.write("rows.csv", "\n".join((DIGITS / "data/digits.csv").read_text().splitlines()[:101]) + "\n")
    expected = predictions(place.run(place.folder / "net", "predict", rows, "--job", "masked").out)
    err = place.aml("deploy", source, "twins").err
    for line in ("4 of 8 channels of a.weight", "3 of 6 channels of b.weight", "6 of 12 channels of mid.weight"):
        check_in(line, err)
    found = predictions(place.run(place.folder / "twins", "predict", rows).out)
    worst = max(abs(p - q) for a, b in zip(found, expected) for p, q in zip(a[1:], b[1:]))
    print(f"  worst difference from the whole model: {worst:.2g}")
    check(worst < 5e-3, f"the weights that stay do not make up for the others: {worst}")


if __name__ == "__main__":
    sys.exit(main([concatenated_and_flattened, repeated, heads_of_attention, heads_of_one_product, what_others_say_goes_first]))

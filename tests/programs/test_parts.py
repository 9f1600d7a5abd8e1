#!/usr/bin/env python3
"""accumulate: k parts of a batch give what the batch gives, in real models and on any number of threads; what batch norm does."""
import random
import re
import sys

from harness import DIGITS, ROOT, check, check_equal, checkpoints, main
from test_settings import tensors

# What docs/architecture.md promises of one step: differences of the sums' order, as a share of the largest weight.
ONE_STEP = {"f32": 2e-6, "f64": 1e-14}


def settings(text, job, **given):
    """The program with these settings of its training, and without its blocks that need another form of it."""
    block = re.search(r"^train %s \{\n(.*?)^\}" % job, text, re.M | re.S)
    names = "|".join((*given, "stop", "checkpoint", "validate", "clip", "metrics"))
    kept = re.sub(r"^  (?:%s):.*\n" % names, "", block.group(1), flags=re.M)
    kept += "".join(f"  {name}: {value}\n" for name, value in given.items() if value is not None)
    text = text[:block.start(1)] + kept + text[block.end(1):]
    return re.sub(r"^(?:///[^\n]*\n)*(?:deploy|evaluate|generate) \w+ \{.*?^\}\n", "", text, flags=re.M | re.S)


def trained(place, text, job, name, steps, constants=(), threads=2, **given):
    """The weights' file after some steps."""
    place.write(name + ".aml", settings(text, job, **given))
    place.aml("build", name + ".aml", "-o", name, *(part for c in constants for part in ("-D", c)))
    folder = place.folder / f"{name}-{threads}"
    folder.mkdir()
    place.run(place.folder / name, "train", "--quiet", "--steps", steps, "--threads", threads, cwd=folder)
    return checkpoints(folder, job)[-1] / "weights.safetensors"


def apart(whole, parts):
    """The largest difference of a weight, as a share of the largest of its tensor (at least 1)."""
    a, b = tensors(whole), tensors(parts)
    check_equal(sorted(a), sorted(b), "the names of the weights")
    return max(abs(x - y) / max(1, *map(abs, values)) for name, (_, values) in a.items() for x, y in zip(values, b[name][1]))


def compare(place, text, job, batch, parts, steps=((1, 1), (8, 10)), constants=()):
    """One step, and some: differences grow with the steps, but no faster than tenfold here."""
    for precision, most in ONE_STEP.items():
        common = {"optimizer": "sgd(lr: 0.1)", "precision": precision, "batch": batch, "constants": constants}
        for count, factor in steps:
            tag = f"{precision}_{count}"
            whole = trained(place, text, job, "whole_" + tag, count, **common)
            in_parts = trained(place, text, job, "parts_" + tag, count, accumulate=parts, **common)
            far = apart(whole, in_parts)
            check(far <= factor * most, f"{precision}, {parts} parts, {count} steps: a weight differs by {far:.2g} of the largest")
            if precision == "f32" and count == 1:
                start = trained(place, text, job, "start", 0, **common)
                check(apart(start, whole) > 100 * most, "the training does not move the weights")
    same_bits_on_all_threads(place, text, job, constants, batch=batch, accumulate=parts)


def same_bits_on_all_threads(place, text, job, constants=(), **given):
    first = None
    for threads in (1, 2, 4):
        found = trained(place, text, job, "threads", 6, constants, threads, **given).read_bytes()
        first = first or found
        check(found == first, f"{threads} threads give other bits than one")


def parts_of_digits(place):
    text = (DIGITS / "digits.aml").read_text().replace(" |> drop", "").replace("  drop = Dropout(10%)\n", "")
    text = text.replace("data/digits.csv", str(DIGITS / "data/digits.csv"))
    compare(place, text, "digits_mlp", 64, 4)


def parts_of_a_language_model(place):
    text = (ROOT / "examples/char_gpt/char_gpt.aml").read_text().replace("data/tinyshakespeare/input.txt", "text.txt")
    chance = random.Random(3)
    place.write("text.txt", "".join(chance.choice(["the ", "cat ", "sat ", "on ", "a ", "mat.\n"]) for _ in range(3000)))
    compare(place, text, "char_gpt", 8, 2, steps=((1, 1),), constants=("depth=2", "width=16", "heads=2", "context=16"))


NORM = """aml 1
use std.nn
use std.optim
use std.data

model Net {
  norm = BatchNorm(momentum: 1e-6)
  fc   = Dense(3)
  fn forward(x: float[n, 4]) -> float[n, 3] { return x |> norm |> fc }
}

dataset points {
  source: csv("points.csv")
  field x: f32[4]   = columns(0..3)
  field y: class(3) = column("class")
  split: { train: 100% }
  fn prepare(s) { return { x: float(s.x), y: s.y } }
}

train net {
  model:     Net()
  data:      points
  loss:      cross_entropy
  optimizer: sgd(lr: 0.1)
  length:    40 steps
  batch:     240
}
"""


# Statistics are those of the part, and running ones move once for each part: with a tiny momentum m they move by m times the
# sum of the parts' means, which is the number of parts times the mean of all rows, whatever their order.
def batch_norm_sees_its_part(place):
    chance = random.Random(9)
    rows = [[round(chance.gauss(k - 1.5, 1 + k), 4) for k in range(4)] + [i % 3] for i in range(240)]
    place.write("points.csv", "a,b,c,d,class\n" + "\n".join(",".join(map(str, r)) for r in rows) + "\n")
    for parts in (None, 2, 6):
        file = trained(place, NORM, "net", f"norm{parts}", 1, precision="f64", accumulate=parts, batch=240)
        moved = tensors(file)["norm.running_mean"][1]
        for k in range(4):
            mean = sum(r[k] for r in rows) / len(rows)
            expected = 1e-6 * (parts or 1) * mean
            check(abs(moved[k] - expected) < 1e-5 * 1e-6 * (parts or 1) * 4, f"{parts} parts: the running mean is {moved[k]}, expected {expected}")
    same_bits_on_all_threads(place, NORM, "net", batch=240, accumulate=6)


if __name__ == "__main__":
    sys.exit(main([parts_of_digits, parts_of_a_language_model, batch_norm_sees_its_part]))

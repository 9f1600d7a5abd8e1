#!/usr/bin/env python3
"""Trainings with `quantize` and `init`: a step by its definition, and deployed programs that are what was trained."""
import json
import math
import shutil
import sys

from harness import DIGITS, check, check_equal, check_in, checkpoints, main
from test_quantize import tensors_of

LINE = """aml 1
use std.nn
use std.optim
use std.data
use std.loss

model Line {
  fc = Dense(2, bias: false)
  fn forward(x: float[n, 3]) -> float[n, 2] { return fc(x) }
}

dataset rows {
  source: csv("rows.csv", header: yes)
  field x: f32[3] = columns(0..2)
  field y: f32[2] = columns(3..4)
}

train first {
  model:     Line()
  data:      rows
  loss:      mse
  optimizer: sgd(lr: 0.1)
  length:    1 steps
  batch:     4
}

train second {
  model:     Line()
  init:      first.last
  data:      rows
  loss:      mse
  optimizer: sgd(lr: 0.1)
  length:    2 steps
  batch:     4
  quantize:  int8(weight_bits: BITSMORE)
}
"""

ROWS = [(0.5, -1.25, 1.875, 1.0, 0.0), (-0.75, 0.25, 1.5, 0.5, -1.0), (1.0, 1.0, -0.5, 0.0, 2.0), (0.125, -2.0, 0.75, -1.0, 0.5)]


def weights_of(place, job):
    return tensors_of(checkpoints(place.folder, job)[-1] / "weights.safetensors")


def step_by_definition(weights, low, high, bits):
    """Straight-through: products of rounded values, and a gradient as if nothing but clipping had happened."""
    most = 2 ** (bits - 1) - 1
    step = (high - low) / 255
    zero = round(-low / step)
    x = [[(min(255, max(0, round(v / step) + zero)) - zero) * step for v in row[:3]] for row in ROWS]
    scale = [max(abs(weights[k * 2 + c]) for k in range(3)) / most for c in range(2)]
    w = [[round(weights[k * 2 + c] / scale[c]) * scale[c] for c in range(2)] for k in range(3)]
    slope = [0.0] * 6
    for r, row in enumerate(ROWS):
        for c in range(2):
            error = sum(x[r][k] * w[k][c] for k in range(3)) - row[3 + c]
            for k in range(3):
                slope[k * 2 + c] += 2 * error * x[r][k] / 8
    return [v - 0.1 * g for v, g in zip(weights, slope)]


def two_steps_by_definition(place):
    """All rows are in each batch, so the range is theirs; the second step begins where the first has ended."""
    place.write("rows.csv", "a,b,c,d,e\n" + "\n".join(",".join(map(str, row)) for row in ROWS) + "\n")
    for bits in (8, 4):
        place.write("line.aml", LINE.replace("BITS", str(bits)).replace("MORE", ""))
        shutil.rmtree(place.folder / "runs", ignore_errors=True)
        place.aml("build", "line.aml", "-o", "line")
        place.run(place.folder / "line", "train", "first", "--quiet")
        begin = weights_of(place, "first")["fc.weight"][1]
        err = place.run(place.folder / "line", "train", "second").err
        check_in("weights from", err)
        after = weights_of(place, "second")
        low, high = after["fc.input_range"][1]
        check_equal((round(low, 5), round(high, 5)), (-2.0, 1.875), "the range")
        expected = list(begin)
        for _ in range(2):
            expected = step_by_definition(expected, -2.0, 1.875, bits)
        worst = max(abs(a - b) for a, b in zip(after["fc.weight"][1], expected))
        print(f"  {bits} bits: worst difference of a weight: {worst:.2g}")
        check(worst < 1e-5, f"{bits} bits: {after['fc.weight'][1]}, expected {expected}")


def learned_by_definition(weights, reach, low, high, bits):
    """The same with factors exp(reach) of the range and of the steps: a step's slope is what rounding adds to a value, or where the
    value is cut off, and sums of n slopes are divided by sqrt(n * most)."""
    most = 2 ** (bits - 1) - 1
    low, high = low * math.exp(reach[0]), high * math.exp(reach[1])
    s = (high - low) / 255
    zero = round(-low / s)
    whole = [[min(255, max(0, round(v / s) + zero)) - zero for v in row[:3]] for row in ROWS]
    t = [max(abs(weights[k * 2 + c]) for k in range(3)) / most * math.exp(reach[2 + c]) for c in range(2)]
    p = [[max(-most, min(most, round(weights[k * 2 + c] / t[c]))) for c in range(2)] for k in range(3)]
    slope, by_s, by_t = [0.0] * 6, 0.0, [0.0, 0.0]
    error = [[sum(whole[r][k] * s * p[k][c] * t[c] for k in range(3)) - row[3 + c] for c in range(2)] for r, row in enumerate(ROWS)]
    for r, row in enumerate(ROWS):
        for k in range(3):
            at = row[k] / s
            inside = -zero - 0.5 <= at <= 255 - zero + 0.5
            by_s += sum(2 * error[r][c] * p[k][c] * t[c] / 8 for c in range(2)) * (whole[r][k] - at * inside)
            for c in range(2):
                w = weights[k * 2 + c] / t[c]
                fits = abs(w) <= most + 0.5
                back = 2 * error[r][c] * whole[r][k] * s / 8
                slope[k * 2 + c] += back * fits
                by_t[c] += back * (p[k][c] - w * fits)
    by_reach = [by_s * -low / 255 / math.sqrt(12 * 255), by_s * high / 255 / math.sqrt(12 * 255)]
    by_reach += [by_t[c] * t[c] / math.sqrt(3 * most) for c in range(2)]
    return [v - 0.1 * g for v, g in zip(weights, slope)], [v - 0.1 * g for v, g in zip(reach, by_reach)]


def learned_ranges_by_definition(place):
    """Two steps with `ranges: learned`: weights and the logarithms of the factors."""
    place.write("rows.csv", "a,b,c,d,e\n" + "\n".join(",".join(map(str, row)) for row in ROWS) + "\n")
    for bits in (8, 4):
        place.write("line.aml", LINE.replace("BITS", str(bits)).replace("MORE", ", ranges: learned"))
        shutil.rmtree(place.folder / "runs", ignore_errors=True)
        place.aml("build", "line.aml", "-o", "line")
        place.run(place.folder / "line", "train", "first", "--quiet")
        weights, reach = list(weights_of(place, "first")["fc.weight"][1]), [0.0] * 4
        place.run(place.folder / "line", "train", "second", "--quiet")
        after = weights_of(place, "second")
        for _ in range(2):
            weights, reach = learned_by_definition(weights, reach, -2.0, 1.875, bits)
        found = after["fc.input_reach"][1] + after["fc.weight_reach"][1]
        worst = max(abs(a - b) for a, b in zip(after["fc.weight"][1] + found, weights + reach))
        print(f"  {bits} bits: factors {[round(math.exp(v), 6) for v in found]}, worst difference {worst:.2g}")
        check(worst < 1e-5, f"{bits} bits: {found}, expected {reach}")
        check(all(abs(a - b) < 0.02 * abs(b) + 2e-8 for a, b in zip(found, reach)), f"{bits} bits: {found}, expected {reach}")
        check(all(v != 0 for v in found), f"a range stays as it was: {found}")


DIGITS_TOO = """aml 1
use "digits.aml"
use std.nn
use std.optim
use std.metrics

model Normed {
  a = Dense(32, bias: false)
  n = BatchNorm()
  b = Dense(10)
  fn forward(x: float[batch, 64]) -> float[batch, 10] { return x |> a |> n |> relu |> b }
}

train whole {
  model:     Normed()
  data:      digits
  loss:      cross_entropy
  optimizer: adamw(lr: 5e-3)
  length:    8 epochs
  batch:     64
}

train rounded {
  model:     Normed()
  init:      whole.last
  data:      digits
  loss:      cross_entropy
  optimizer: adamw(lr: 1e-3)
  length:    3 epochs
  batch:     64
  ema:       0.99
  precision: mixed(bf16)
  quantize:  SETTING
  metrics:   { accuracy: accuracy() }
}

deploy small { model: rounded.last quantize: int8 batch: [1, 16] }
deploy floats { model: rounded.last }
"""


def deployed_is_what_was_trained(place):
    """A norm goes into the weights and changes no whole number: classes are the same, probabilities up to rounding in f32."""
    shutil.copytree(DIGITS, place.folder / "source")
    for setting, bits in (("int8", 8), ("int8(weight_bits: 4)", 4), ("int8(keep: last)", 8), ("int8(weight_bits: 4, ranges: learned)", 4)):
        source = place.write("source/too.aml", DIGITS_TOO.replace("SETTING", setting))
        shutil.rmtree(place.folder / "runs", ignore_errors=True)
        place.aml("build", source, "-o", "too")
        place.run(place.folder / "too", "train", "whole", "--quiet")
        place.run(place.folder / "too", "train", "rounded", "--quiet")
        err = place.aml("deploy", source, "small").err
        check_in("with the ranges that rounded has learned", err)
        line = next(line for line in err.splitlines() if "compared with" in line)
        worst = float(line.split("worst difference ")[1].split(",")[0])
        print(f"  {setting}: worst difference {worst}")
        limit = 1e-2 if "keep" in setting else 2e-3     # a layer that stays is trained in bf16
        check(worst < limit, f"{setting}: the deployed program gives something else: {line}")
        check_in("100.00% of the classes", line)
        held = next(line for line in err.splitlines() if "that were held out" in line)
        check(float(held.split(": ", 1)[1].split("%")[0]) > 90, held)
        layers = json.loads(place.run(place.folder / "small", "info", "--json").out)["layers"]
        check_equal([layer.get("kept") for layer in layers], [None, "last layer" if "keep" in setting else None], "what stays in float")
        check_equal(layers[0]["bytes_after"], 64 * 32 * bits // 8 + 32 * 4, "the bytes of weights")
        place.aml("deploy", source, "floats")


def other_model_is_refused(place):
    shutil.copytree(DIGITS, place.folder / "source")
    text = DIGITS_TOO.replace("SETTING", "int8").replace("model:     Normed()\n  init", "model:     Mlp()\n  init")
    source = place.write("source/too.aml", text)
    done = place.aml("check", source, code=1)
    check_in("error[E0563]", done.err)
    check_in("not there in the training 'whole'", done.err)


if __name__ == "__main__":
    sys.exit(main([two_steps_by_definition, learned_ranges_by_definition, deployed_is_what_was_trained, other_model_is_refused]))

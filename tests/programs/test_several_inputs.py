#!/usr/bin/env python3
"""Models with several inputs: equal to the same model whose inputs are one tensor, trained, evaluated and deployed."""
import random
import sys

from harness import check, check_equal, check_in, main

# The same arithmetic with the features as one tensor and as three: its parts are taken out, or come by name.
WHOLE = """  fn forward(x: float[n, 8]) -> float[n, 3] { return parts(x[:, 0:4], x[:, 4:6], x[:, 6:8]) }"""
SEVERAL = """  fn forward(x: float[n, 4], low: float[n, 2], high: float[n, 2]) -> float[n, 3] { return parts(x, low, high) }"""

PROGRAM = """aml 1
use std.nn
use std.optim
use std.data
use std.metrics

model Block {
  fc = Dense(8)
  fn forward(h: float[n, 8]) -> float[n, 8] { return h + tanh(fc(h)) }
}

model Net {
  a    = Dense(8)
  b    = Dense(8, bias: false)
  body = repeat(3, Block())
  head = Dense(3)
  fn parts(x: float[n, 4], low: float[n, 2], high: float[n, 2]) -> float[n, 3] {
    let h = tanh(a(x)) + b(low * high)
    return head(body(h))
  }
FORWARD
}

dataset rows {
  source: csv("rows.csv")
  field v: f32[8]   = columns("a", to: "h")
  field y: class(3) = column("class")
  split: { train: 70%, valid: 10%, test: 20%, stratify: y }
  fn prepare(s) { return { PREPARED, y: s.y } }
}

train net {
  model:     Net()
  data:      rows
  loss:      cross_entropy
  optimizer: adamw(lr: 1e-2)
  length:    6 epochs
  batch:     32
  metrics:   { accuracy: accuracy() }
  SETTINGS
}

evaluate report { model: net.last  data: rows.test  metrics: { accuracy: accuracy() } }
deploy plain { model: net.last  batch: [1, 8] }
deploy bytes { model: net.last  quantize: int8(calibrate: rows.train, samples: 128) }
"""
PREPARED = {WHOLE: "x: s.v", SEVERAL: "high: s.v[6:8], x: s.v[0:4], low: s.v[4:6]"}


def program(place, forward, settings="", name="p"):
    if not (place.folder / "rows.csv").exists():
        draw = random.Random(3)
        lines = ["a,b,c,d,e,f,g,h,class"]
        for _ in range(400):
            v = [draw.gauss(0, 1) for _ in range(8)]
            lines.append(",".join(f"{x:.3f}" for x in v) + f",{(v[0] + v[4] * v[6] > 0) + (v[1] > 0.5)}")
        place.write("rows.csv", "\n".join(lines) + "\n")
    text = PROGRAM.replace("FORWARD", forward).replace("PREPARED", PREPARED[forward]).replace("SETTINGS", settings)
    return place.write(f"{name}.aml", text)


def trained(place, forward, settings, name):
    program(place, forward, settings, name)
    place.aml("build", f"{name}.aml")
    place.run(place.folder / name, "train", "--quiet", "--runs", f"{name}-runs")
    run = sorted(p for p in (place.folder / f"{name}-runs" / "net").iterdir() if not p.is_symlink())[-1]
    last = sorted((run / "checkpoints").iterdir())[-1]
    return (last / "weights.safetensors").read_bytes(), (run / "metrics.jsonl").read_text()


def figures(text):
    return [line.split('"seconds"')[0] for line in text.splitlines()]


def they_train_as_one_tensor_does(place):
    for number, settings in enumerate(("", "accumulate: 4", "clip: norm(0.5)\n  penalty: l2(1e-3)", "precision: mixed(f16)", "ema: 0.9")):
        one = trained(place, WHOLE, settings, f"one{number}")
        several = trained(place, SEVERAL, settings, f"several{number}")
        check(one[0] == several[0], f"other weights with {settings!r}")
        check_equal(figures(several[1]), figures(one[1]), f"the figures with {settings!r}")


def they_are_evaluated_predicted_and_deployed(place):
    results = []
    for forward in (WHOLE, SEVERAL):
        program(place, forward)
        place.aml("build", "p.aml")
        place.run(place.folder / "p", "train", "--quiet")
        report = place.run(place.folder / "p", "evaluate", "--json").out
        predicted = place.run(place.folder / "p", "predict", "rows.csv").out
        for name in ("plain", "bytes"):
            check_in("compared with the training program", place.aml("deploy", "p.aml", name).err)
        answers = [place.run(place.folder / name, "predict", "rows.csv").out for name in ("plain", "bytes")]
        results.append((report.split('"metrics"')[1], predicted, answers[0]))
        same = sum(a.split(",")[1] == b.split(",")[1] for a, b in zip(predicted.splitlines(), answers[1].splitlines()))
        check(same >= 0.97 * 401, f"{same} of 401 lines have the same class in bytes")
    check(results[0][0] == results[1][0], "another evaluation")
    check(results[0][1] == results[1][1], "other predictions")
    check(results[0][2] == results[1][2], "other answers of the deployed program")


def what_does_not_fit_is_refused(place):
    source = program(place, SEVERAL)
    text = source.read_text()
    for old, new, expected in (
            ("high: s.v[6:8], ", "", ["needs the argument 'high'", "what `prepare` returns under its name: `return { x: ..., high: ... }`"]),
            ("high: s.v[6:8], ", "high: s.v[5:8], ", ["high"]),
            ("ema: 0.9", "mixup: 0.2", ["mixup and cutmix mix one input, x, and this model has 3"])):
        source.write_text(text.replace("  metrics:   { accuracy: accuracy() }\n  \n", "  metrics:   { accuracy: accuracy() }\n  ema: 0.9\n").replace(old, new))
        done = place.aml("check", source.name, code=1)
        for part in expected:
            check_in(part, done.all)


REVERSER = """aml 1
use std.nn
use std.optim
use std.data
use std.metrics

model Reverser(vocab: int = 12, d: int = 16) {
  source = Embedding(vocab, d)
  target = Embedding(vocab, d)
  enc    = TransformerEncoder(1, d, heads: 2)
  dec    = TransformerDecoder(1, d, heads: 2)
  head   = Dense(vocab)
  fn forward(x: class(vocab)[n, t], shifted: class(vocab)[n, t]) -> float[n, t, vocab] {
    let place = sinusoidal(t, d)
    return head(dec(target(shifted) + place, enc(source(x) + place)))
  }
}

dataset words {
  source: synthetic(256, fn(i) = { x: i32(floor(random.uniform([6]) * 10.0)) + 1 })
  field x: class(12)[6]
  split: { train: 90%, valid: 10% }
  fn prepare(s) {
    let y = flip(s.x)
    return { x: s.x, shifted: concat([FIRST, y[:-1]]), y: y }
  }
}

train reverse {
  model:     Reverser()
  data:      words
  loss:      cross_entropy
  optimizer: adamw(lr: 3e-3)
  length:    40 epochs
  batch:     32
  metrics:   { accuracy: accuracy() }
}
"""


def a_decoder_sees_the_target_shifted(place):
    """The first token is a number; what it is joined with stays class(12), unless the number is none of these."""
    for first in ("full([1], 11)", "stack([0])", "i32(select(y[:1] > 5, 0, 11))", "i32(y[:1] > 5)", "mod(y[:1] * 7, 12)"):
        place.write("r.aml", REVERSER.replace("FIRST", first))
        place.aml("check", "r.aml")
    for first in ("full([1], 12)", "full([1], -1)", "y[:1] + 1", "pad(y[:1], [0], [1], 12)[1:]"):
        place.write("r.aml", REVERSER.replace("FIRST", first))
        check_in("'shifted'", place.aml("check", "r.aml", code=1).err)
    place.write("r.aml", REVERSER.replace("FIRST", "full([1], 0)"))
    place.aml("build", "r.aml")
    done = place.run(place.folder / "r", "train")
    accuracy = float(done.err.split("accuracy ")[-1].split()[0])
    check(accuracy > 0.98, f"the accuracy is {accuracy}")


if __name__ == "__main__":
    sys.exit(main([a_decoder_sees_the_target_shifted, they_train_as_one_tensor_does, they_are_evaluated_predicted_and_deployed, what_does_not_fit_is_refused]))

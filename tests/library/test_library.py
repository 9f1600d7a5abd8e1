#!/usr/bin/env python3
"""What a user builds on the library: parts of their own in a file of their own, and the complete models: published numbers of
parameters, and a step of training of a small one of each kind. Usage: test_library.py AMLC
"""
import json
import math
import pathlib
import random
import re
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "programs"))
from harness import ROOT, check, check_equal, main  # noqa: E402

HERE = ROOT / "tests" / "library"

PUBLISHED = [
    ("mlp([128, 10])", (784,), 10, 101770),
    ("lenet()", (1, 28, 28), 10, 61706),
    ("vgg16()", (3, 224, 224), 1000, 138357544),
    ("resnet18()", (3, 224, 224), 1000, 11689512),
    ("resnet34()", (3, 224, 224), 1000, 21797672),
    ("resnet50()", (3, 224, 224), 1000, 25557032),
    ("mobilenet_v2()", (3, 224, 224), 1000, 3504872),
    ("vit_b16()", (3, 224, 224), 1000, 86567656),
]

SMALL = [
    ("mlp", "mlp([16, 3], activation: gelu, rate: 10%)", (6,)),
    ("lenet", "lenet(3)", (1, 28, 28)),
    ("vgg", "Vgg([[4], [8, 8]], 3, hidden: [16], norm: true)", (3, 8, 8)),
    ("resnet", "Resnet([2, 1], 3, width: 4, small: true)", (3, 8, 8)),
    ("bottleneck", "Resnet([1, 2], 3, bottleneck: true, width: 4)", (3, 16, 16)),
    ("mobilenet", "mobilenet_v2(3)", (3, 32, 32)),
    ("vit", "Vit(3, patch: 4, size: 8, depth: 2, heads: 2)", (3, 8, 8)),
]

PROGRAM = """aml 1
use std.models
use std.optim
use std.data
dataset samples {{
  source: csv("samples.csv")
  field x: f32[{shape}] = columns(0..{last})
  field y: class({classes}) = column({width})
}}
train net {{
  model:     {model}
  data:      samples
  loss:      {loss}
  optimizer: sgd(lr: 0.01)
  length:    {steps} steps
  batch:     4
}}
"""


# Models of texts: (name, declarations, model, tokens, what prepare makes of a row of 9 tokens and a class, parameters)
TEXTS = [
    ("gpt", "", "gpt2_small()", 50257, "{ x: s.x[:-1], y: s.x[1:] }", 124439808),
    ("bert", """model Reader {
  net = bert_base()
  fn forward(ids: class(30522)[b, t]) -> float[b, 2] { return net(ids)[1][:, :2] }
}
""", "Reader()", 30522, "{ x: s.x, y: s.y }", 109482240),
]
SMALL_TEXTS = [
    ("small_gpt", "", "Gpt(12, context: 16, size: 8, depth: 3, heads: 2, rate: 10%)", 12, "{ x: s.x[:-1], y: s.x[1:] }", None),
    ("small_bert", """model Reader {
  net = BertClassifier(2, vocab: 12, context: 16, size: 8, depth: 3, heads: 2)
  fn forward(ids: class(12)[b, t]) -> float[b, 2] { return net(ids, real: ids != 0) }
}
""", "Reader()", 12, "{ x: s.x, y: s.y }", None),
]


def text_program(declarations, model, tokens, prepared):
    text = program(model, (9,), 2, steps=2).replace("f32[9]", f"class({tokens})[9]")
    return text.replace("column(9)\n", f"column(9)\n  fn prepare(s) {{ return {prepared} }}\n").replace("dataset", declarations + "dataset", 1)


def program(model, shape, classes, steps=1, loss="cross_entropy"):
    width = math.prod(shape)
    return PROGRAM.format(model=model, shape=", ".join(map(str, shape)), last=width - 1, width=width, classes=classes, steps=steps, loss=loss)


def samples(width, rows, classes):
    draw = random.Random(1)
    return "".join(",".join([f"{draw.uniform(-1, 1):.2f}" for _ in range(width)] + [str(row % classes)]) + "\n" for row in range(rows))


def published_parameters(place):
    for model, shape, classes, expected in PUBLISHED:
        name = re.match(r"\w+", model).group()
        place.write(f"{name}.aml", program(model, shape, classes))
        report = json.loads(place.aml("report", "--json", f"{name}.aml").out)
        found = [job["parameters"] for job in report["blocks"] if job["kind"] == "train"]
        check_equal(found, [expected], f"the number of parameters of {model}")


def published_texts(place):
    for name, declarations, model, tokens, prepared, expected in TEXTS:
        place.write(f"{name}.aml", text_program(declarations, model, tokens, prepared))
        report = json.loads(place.aml("report", "--json", f"{name}.aml").out)
        found = [job["parameters"] for job in report["blocks"] if job["kind"] == "train"]
        check_equal(found, [expected], f"the number of parameters of {model}")


def small_text(declarations, model, tokens, prepared):
    def case(place):
        rows = "".join(",".join(str((row * k + k) % tokens) for k in range(9)) + f",{row % 2}\n" for row in range(8))
        train_small(place, text_program(declarations, model, tokens, prepared), 9, rows=rows)
    return case


def train_small(place, text, width, classes=3, rows=None):
    place.write("small.aml", text)
    place.write("samples.csv", rows or samples(width, 8, classes))
    place.aml("build", "small.aml")
    place.run("./small", "train", "--quiet")
    lines = [json.loads(line) for path in sorted(place.folder.glob("runs/*/*/metrics.jsonl")) for line in path.read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    check(losses and all(math.isfinite(loss) for loss in losses), f"the losses are {losses}")


def small_model(model, shape):
    def case(place):
        train_small(place, program(model, shape, 3, steps=2), math.prod(shape))
    return case


def small_lstm(place):
    text = program("lstm_classifier(9, 3, size: 4, layers: 2, two_directions: true, padding: 0)", (5,), 3, steps=2).replace("f32[5]", "class(9)[5]")
    rows = "".join(",".join(str((row * k + k) % 9) for k in range(5)) + f",{row % 3}\n" for row in range(8))
    train_small(place, text, 5, rows=rows)


def small_unet(place):
    text = program("unet(3, width: 4, depth: 2)", (1, 8, 8), 3, loss="fn(scores, y) = cross_entropy(mean(scores, axes: [2, 3]), y)")
    train_small(place, text, 64)


def small_autoencoder(place):
    text = program("autoencoder(2, hidden: [6])", (3, 4), 3, loss="mse").replace(
        "column(12)\n", "column(12)\n  fn prepare(s) { return { x: s.x, y: s.x } }\n")
    train_small(place, text, 12)


def small_vae(place):
    text = program("", (12,), 3).split("train net")[0] + """train net {
  models:     { net: vae(12, code: 2, hidden: [6]) }
  optimizers: { net: adamw() }
  data:       samples
  length:     2 steps
  batch:      4
  fn step(batch) {
    let (cost, slopes) = value_and_grad(fn(m) = m.loss(batch.x), net)
    net <- optimizers.net.update(net, slopes)
    return { loss: cost }
  }
}
"""
    train_small(place, text, 12)


def parts_of_a_user(place):
    """A layer, an activation, a loss, an optimizer, metrics, a schedule and an initializer in a user's file."""
    for name in ("mine.aml", "main.aml"):
        shutil.copy(HERE / "extension" / name, place.folder)
    draw, rows = random.Random(2), ["a,b,class"]
    for i in range(400):
        angle, ring = draw.uniform(0, 2 * math.pi), i % 2
        radius = 1 + ring + draw.gauss(0, 0.1)
        rows.append(f"{radius * math.cos(angle):.4f},{radius * math.sin(angle):.4f},{ring}")
    place.write("points.csv", "\n".join(rows) + "\n")
    place.aml("build", "main.aml")
    program = next(path for path in (place.folder / "main", place.folder / "main-train") if path.exists())
    place.run(program, "train", "--quiet")
    report = json.loads(place.run(program, "evaluate", "--json").out)

    def find(value, key):
        if isinstance(value, dict):
            return value[key] if key in value else next((f for f in (find(v, key) for v in value.values()) if f is not None), None)
        return next((f for f in (find(v, key) for v in value) if f is not None), None) if isinstance(value, list) else None

    sure, table = find(report, "sure"), find(report, "table")
    print(f"  share of sure and right samples: {sure:.3f}, mean probabilities: {table}")
    check(sure > 0.9, f"the share is {sure}, expected more than 0.9")
    flat = [v for row in table for v in (row if isinstance(row, list) else [row])]
    check(len(flat) == 4 and abs(sum(flat) - 2) < 1e-6, f"the probabilities of two classes sum to 1 each: {table}")


def named(name, case):
    case.__name__ = name
    return case


if __name__ == "__main__":
    main([parts_of_a_user, published_parameters, published_texts, small_unet, small_lstm, small_autoencoder, small_vae] +
         [named("small_" + name, small_model(model, shape)) for name, model, shape in SMALL] +
         [named(name, small_text(*rest)) for name, *rest, _ in SMALL_TEXTS])

#!/usr/bin/env python3
"""Sources of data and what is done to their samples: idx files and what may be wrong with them, windows of a time series, synthetic
rows, augmentation that depends on seed and step alone, weights of classes."""
import gzip
import hashlib
import json
import struct

from harness import check, check_equal, check_in, checkpoints, main


def idx(code, sizes, elements):
    return bytes([0, 0, code, len(sizes)]) + b"".join(struct.pack(">I", n) for n in sizes) + bytes(elements)


COUNT = 60
IMAGES = idx(8, [COUNT, 4, 3], [(7 * i + 5 * k) % 256 for i in range(COUNT) for k in range(12)])
LABELS = idx(8, [COUNT], [i % 3 for i in range(COUNT)])

PROGRAM = """aml 1
use std.nn
use std.optim
use std.data
use std.metrics
use std.image

option dir: string = "."

model Net {
  fc = Dense(3)
  fn forward(x: float[n, 4, 3]) -> float[n, 3] { return fc(flatten(x)) }
}

dataset pictures {
  source: idx(images: dir + "/images", labels: dir + "/labels")
  field x: u8[4, 3]  = images
  field y: class(3) = labels
  split: { train: 80%, valid: 20%, seed: 1, stratify: y }
  fn prepare(s) { return { x: float(s.x) / 255, y: s.y } }
  AUGMENT
}

train net {
  model:     Net()
  data:      pictures
  loss:      LOSS
  optimizer: sgd(lr: 0.1)
  length:    9 steps
  batch:     8
  metrics:   { accuracy: accuracy() }
  validate:  { every: 3 steps }
  checkpoint: { every: 3 steps, keep: last(3) }
}
"""


def build(place, augment="", loss="cross_entropy", name="pictures", images=IMAGES, labels=LABELS):
    (place.folder / "images").write_bytes(images)
    (place.folder / "labels").write_bytes(labels)
    place.write(f"{name}.aml", PROGRAM.replace("AUGMENT", augment).replace("LOSS", loss))
    place.aml("build", f"{name}.aml", "-o", name)
    return place.folder / name


def weights(folder, job="net"):
    return hashlib.sha256((checkpoints(folder, job)[-1] / "weights.safetensors").read_bytes()).hexdigest()


def figures(folder, job="net"):
    runs = sorted(p for p in (folder / "runs" / job).iterdir() if p.is_dir())
    return [json.loads(line) for line in (runs[-1] / "metrics.jsonl").read_text().splitlines()]


def idx_files_are_read(place):
    program = build(place)
    plain = place.run(program, "data", "check").out
    check_in("60 rows, 0 bad", plain)
    check_in("y: 20 20 20 rows of class 0..2", plain)
    place.run(program, "train", "--quiet")
    expected = weights(place.folder)
    # packed files give the same samples; predict takes images, packed images, and csv
    for name, data in (("images", IMAGES), ("labels", LABELS)):
        (place.folder / "packed").mkdir(exist_ok=True)
        (place.folder / "packed" / name).write_bytes(gzip.compress(data[:100], mtime=0) + gzip.compress(data[100:], mtime=0))
    place.run(program, "train", "--quiet", "--dir", "packed", "--runs", "packed/runs")
    check_equal(weights(place.folder / "packed"), expected, "the weights of packed files")
    predicted = place.run(program, "predict", "images").out
    check_equal(len(predicted.splitlines()), 1 + COUNT, "lines of predictions")
    check_equal(place.run(program, "predict", "packed/images").out, predicted, "the predictions of packed images")
    rows = "".join(",".join(str(IMAGES[16 + 12 * i + k]) for k in range(12)) + "\n" for i in range(COUNT))
    place.write("rows.csv", rows)
    check_equal(place.run(program, "predict", "rows.csv").out, predicted, "the predictions of rows")


def a_model_of_images_is_deployed(place):
    program = build(place)
    place.run(program, "train", "--quiet")
    place.write("deployed.aml", 'aml 1\nuse "pictures.aml"\ndeploy small {\n  model: net.last\n}\n')
    check_in("compared with the training program on 60 rows", place.aml("deploy", "deployed.aml", "small").err)
    rows = place.run(program, "data", "rows").out
    check_equal(len(rows.splitlines()), COUNT, "rows")
    place.write("rows.csv", rows)
    check_equal(place.run("./small", "predict", "rows.csv").out, place.run(program, "predict", "images").out, "the predictions of the deployed program")


def bad_idx_files_are_refused(place):
    program = build(place)
    huge = idx(8, [1 << 31, 1 << 15, 1 << 15], [])
    wrong = [
        ("images", b"", "found a shorter file"),
        ("images", b"P5 4 3 255" + IMAGES, "other bytes at its beginning"),
        ("images", IMAGES[:2] + b"\x07" + IMAGES[3:], "byte 3: expected the type of an element (08, 09, 0b, 0c, 0d or 0e), found 07"),
        ("images", IMAGES[:3] + b"\x00" + IMAGES[4:], "byte 4: expected 1 to 8 axes, found 0"),
        ("images", IMAGES[:10], "expected the sizes of 3 axes, found the end of the file"),
        ("images", IMAGES[:-1], "which is too short"),
        ("images", IMAGES + b"\x00", "expected the end behind 60 samples, found more bytes"),
        ("images", huge, "which is too short"),
        ("images", gzip.compress(IMAGES, mtime=0)[:-20], "sample"),
        ("images", gzip.compress(IMAGES, mtime=0)[:-6] + b"xxxxxx", "damaged packed data"),
        ("images", gzip.compress(huge, mtime=0), "which is too short"),
        ("images", idx(8, [COUNT, 3, 4], IMAGES[16:]), "the field 'x' (pictures.aml:17) is u8[4, 3], found u8[3, 4] for one sample"),
        ("images", idx(13, [COUNT, 4, 3], bytes(COUNT * 48)), "is u8[4, 3], found f32[4, 3] for one sample"),
        ("images", idx(12, [COUNT, 4, 3], struct.pack(">i", 256) * COUNT * 12), "sample 0, field 'x': expected a whole number in 0..255, found 256"),
        ("labels", LABELS[:20] + b"\x03" + LABELS[21:], "sample 12, field 'y': expected a class in 0..2, found 3"),
        ("labels", idx(8, [COUNT - 1], LABELS[8:-1]), "expected 60 samples as in ./images, found 59"),
        ("labels", idx(8, [COUNT, 1], LABELS[8:]), "is i32[], found u8[1] for one sample"),
        ("labels", None, "the data file \"./labels\" (pictures.aml:16) was not found"),
    ]
    for name, data, expected in wrong:
        path = place.folder / name
        good = path.read_bytes()
        path.unlink() if data is None else path.write_bytes(data)
        done = place.run(program, "data", "check", code=1)
        check_in(expected, done.all)
        check_in(name, done.all)
        path.write_bytes(good)
    check_in("expected rows, found none", place.run(build(place, images=idx(8, [0, 4, 3], b""), labels=idx(8, [0], b"")), "train", code=1).err)


RANDOM = "fn augment(s) { return { x: s.x |> random_crop([4, 3], pad: 1) |> random_flip() |> random_noise(0.1), y: s.y } }"


def augmented_samples_depend_on_seed_and_step_alone(place):
    program = build(place, RANDOM)
    for threads in (1, 2, 5):
        place.run(program, "train", "--quiet", "--threads", threads, "--runs", f"t{threads}/runs")
    expected = weights(place.folder / "t1")
    check_equal(weights(place.folder / "t2"), expected, "the weights with two threads")
    check_equal(weights(place.folder / "t5"), expected, "the weights with five threads")
    for step in (2, 5, 9):
        place.run(program, "train", "--quiet", "--threads", step, "--steps", step, "--runs", "parts/runs", *(["--resume"] if step > 2 else []))
    check_equal(weights(place.folder / "parts"), expected, "the weights of a run in pieces")
    place.run(program, "train", "--quiet", "--seed", 5, "--runs", "other/runs")
    check(weights(place.folder / "other") != expected, "another seed gave the same samples")
    place.run(build(place, name="plain"), "train", "--quiet", "--runs", "bare/runs")
    check(weights(place.folder / "bare") != expected, "the samples were not augmented")


def only_training_samples_are_augmented(place):
    # the loss is the mean of the samples: what is added to them is seen in it
    shift = "fn augment(s) { return { x: s.x + 1000 + float(random_index(1000)), y: s.y } }"
    program = build(place, shift, "fn(scores, y) = mean(scores) * 0 + mean(scores)")
    text = (place.folder / "pictures.aml").read_text().replace("return fc(flatten(x))", "return fc(flatten(x)) * 0 + mean(x)")
    place.write("pictures.aml", text.replace("  metrics:   { accuracy: accuracy() }\n", ""))
    place.aml("build", "pictures.aml", "-o", "pictures")
    place.run(program, "train", "--quiet")
    lines = figures(place.folder)
    steps = [line["loss"] for line in lines if "loss" in line]
    check(all(1000 < loss < 2001 for loss in steps), f"training losses {steps}")
    check_equal(len(set(steps)), len(steps), "different losses")
    valid = [line["valid_loss"] for line in lines if "valid_loss" in line]
    check(valid and all(0 < loss < 1 for loss in valid), f"validation losses {valid}")
    place.run(program, "train", "--quiet", "--overfit", 8, "--runs", "overfit/runs")
    check(all(line["loss"] < 1 for line in figures(place.folder / "overfit") if "loss" in line), "--overfit takes the samples as they are")


def balanced_weights_are_those_of_the_training_rows(place):
    labels = idx(8, [COUNT], [0 if i < 40 else 1 if i < 50 else 2 for i in range(COUNT)])
    # 80% of 40, 10 and 10 rows: 48 / (3 * 32), 48 / (3 * 8), 48 / (3 * 8)
    for name, chosen in (("balanced", "balanced"), ("listed", "[0.5, 2.0, 2.0]"), ("none", "none")):
        program = build(place, name=name, labels=labels, loss=f"fn(scores, y) = cross_entropy(scores, y, weights: {chosen})")
        place.run(program, "train", "--quiet", "--runs", f"of_{name}/runs")
    check_equal([f for f in figures(place.folder / "of_balanced")], [f for f in figures(place.folder / "of_listed")], "the figures of balanced weights")
    check(weights(place.folder / "of_balanced") != weights(place.folder / "of_none"), "the weights of classes change nothing")


SERIES = """aml 1
use std.nn
use std.optim
use std.data

dataset series {
  source: csv("series.csv", window: 5, STRIDE)
  field value: f32[5]    = column("value")
  field both:  f32[5, 2] = columns(0..1)
  split: { train: 50%, valid: 30%, test: 20% }
  fn prepare(s) { return { x: s.both[:4, 1], y: s.value[4:] } }
}

model Last {
  weight scale: float = ones()
  fn forward(x: float[n, 4]) -> float[n, 1] { return scale * x[:, 3:] }
}

train last {
  model: Last()  data: series  loss: mse
  optimizer: sgd(lr: 0.0)
  length: 1 steps  batch: 2
}
"""


def windows_of_a_time_series(place):
    place.write("series.csv", "time,value\n" + "".join(f"{i},{i * i}\n" for i in range(100)))
    for stride, rows in ((1, (46, 26, 16)), (3, (16, 9, 5))):
        place.write("series.aml", SERIES.replace("STRIDE", f"stride: {stride}"))
        place.aml("build", "series.aml", "-o", "series")
        program = place.folder / "series"
        check_in(f"100 rows, 0 bad, ", place.run(program, "data", "check").out)
        found = json.loads(place.run(program, "plan", "--json").out)["rows"]
        check_equal((found["train"], found["valid"], found["test"]), rows, f"windows of the parts, stride {stride}")
        place.run(program, "train", "--quiet")
        held = place.run(program, "predict", "--held_out", 100, "--json").out.splitlines()
        # the test part begins with row 80: its windows see nothing of the rows before
        first = next(i for i in range(80, 100) if i % stride == 0)
        check_equal(json.loads(held[0])["prediction"], float((first + 3) ** 2), "the first window of the test part")
        check_equal(len(held), rows[2], "windows of the test part")
    check_in("at least the 5 rows of one window, found 4", short_series(place, "time,value\n" + "1,2\n" * 4))
    check_in("series.csv:4:3: column \"value\"", short_series(place, "time,value\n1,2\n1,3\n1,x\n1,4\n1,5\n1,6\n"))


def short_series(place, text):
    place.write("series.csv", text)
    return place.run(place.folder / "series", "data", "check", code=1).all


SYNTHETIC = """aml 1
use std.nn
use std.optim
use std.data

dataset made {
  source: synthetic(COUNT, fn(i) = { x: random.normal([3]), row: i, y: KLASS }, seed: SEED)
  test:   synthetic(5, fn(i) = { x: random.normal([3]), row: i, y: 0 }, seed: 9)
  field x: f32[3]
  field row: i64
  field y: class(3)
  fn prepare(s) { return { x: s.x + 0 * float(s.row), y: s.y } }
}

model Net {
  fc = Dense(3)
  fn forward(x: float[n, 3]) -> float[n, 3] { return fc(x) }
}

train net {
  model: Net()  data: made  loss: cross_entropy  optimizer: sgd(lr: 0.1)
  length: 3 steps  batch: 4
}
"""


def synthetic_rows_depend_on_their_seed(place):
    def made(name, count=100, seed=0, klass="floor_div(6, 3) * i32(i) - 2 * i32(i) + 1"):
        place.write(f"{name}.aml", SYNTHETIC.replace("COUNT", str(count)).replace("SEED", str(seed)).replace("KLASS", klass))
        place.aml("build", f"{name}.aml", "-o", name)
        return place.folder / name
    program = made("made")
    first = place.run(program, "data", "check").out
    check_in("105 rows, 0 bad", first)
    check_equal(place.run(program, "data", "check").out, first, "the second making")
    place.run(program, "train", "--quiet")
    other = made("other", seed=1)
    check(place.run(other, "data", "check").out.split("SHA-256")[1] != first.split("SHA-256")[1], "another seed gave the same rows")
    place.run(made("made", seed=2), "train", "--resume", "--steps", 4, code=1)       # other data
    bad = place.run(made("bad", klass="i32(i) - 97"), "train", code=1).err
    check_in("bad.aml:7: row 0, field 'y': expected a class in 0..2, found -97", bad)


if __name__ == "__main__":
    raise SystemExit(main([idx_files_are_read, a_model_of_images_is_deployed, bad_idx_files_are_refused, augmented_samples_depend_on_seed_and_step_alone,
                           only_training_samples_are_augmented, balanced_weights_are_those_of_the_training_rows, windows_of_a_time_series,
                           synthetic_rows_depend_on_their_seed]))

#!/usr/bin/env python3
"""Features whose statistics are fitted on the training rows: scikit-learn's numbers, training rows only, checkpoints, resuming and
deployment; data head and data stats, which show them."""
import json
import math
import random
import pathlib
import statistics
import struct

from harness import check, check_equal, check_in, checkpoints, main

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden_features.json").read_text())
HIDDEN = 9999

PROGRAM = """aml 1
use std.nn
use std.optim
use std.data
use std.metrics

model Net {
  fc = Dense(3)
  fn forward(x: float[n, d]) -> float[n, 3] { return fc(x) }
}

fn hide(x) = select(x == 9999.0, (x - x) / (x - x), x)

dataset rows {
  source: csv("rows.csv")
  field raw: f32[6]  = columns(0..5)
  field full: f32[6] = columns(6..11)
  field y: class(3)  = column("y")
  split: { train: 80%, valid: 20%, by: time }

  fn prepare(s) {
    PREPARE
  }
}

train net {
  model:     Net()
  data:      rows
  loss:      cross_entropy
  optimizer: adamw(lr: 1e-2)
  length:    12 steps
  batch:     16
  metrics:   { accuracy: accuracy() }
  validate:  { every: 4 steps }
  checkpoint: { every: 4 steps, keep: last(3) }
}

evaluate report {
  model: net.last
  data:  rows.valid
}

deploy small {
  model: net.last
}
"""

ALL = """let x = hide(s.raw)
    let five = s.full[0..5]
    let scaled = standardize(impute(x, with: median))
    let imputed = impute(x, with: mean)
    return {
      x: concat([scaled, imputed]), y: s.y, standardize: standardize(x), min_max: min_max(x, low: -1, high: 1), max_abs: max_abs(x),
      robust: robust(x), log1p: log1p(abs(x)), quantile_bins: float(bucketize(five, bins: 4)),
      uniform_bins: float(bucketize(five, bins: 4, edges: uniform)), impute_mean: imputed, impute_median: impute(x),
      impute_most_frequent: impute(x, with: most_frequent), impute_constant: impute(x, with: constant, value: -4),
      impute_nearest: impute(x, with: nearest, neighbours: 3, rows: 64), pca: pca(scaled[0..5], 3),
      whitened: pca(scaled[0..5], 2, whiten: true), informative: select_best(five, s.y, k: 2, bins: 4),
      varying: select_best(s.full, k: 3, by: variance), clip_iqr: clip_outliers(x), clip_z_score: clip_outliers(x, by: z_score, limit: 2.0),
      missing: missing_indicator(x)
    }"""

OWN = """let mean = fitted(s.full, start: (0.0, zeros_like(s.full)), step: fn(sums, x) = (sums.0 + 1, sums.1 + x), finish: fn(sums) = sums.1 / sums.0, name: "own")
    return { x: s.full - mean, y: s.y }"""


def rows(change=None):
    lines = [",".join([f"r{i}" for i in range(6)] + [f"f{i}" for i in range(6)] + ["y"])]
    for i, (raw, full, y) in enumerate(zip(GOLDEN["x"], GOLDEN["full"], GOLDEN["y"])):
        if change:
            raw, full = change(i, list(raw), list(full))
        lines.append(",".join(repr(HIDDEN if v is None else v) for v in raw + full) + f",{y}")
    return "\n".join(lines) + "\n"


def build(place, prepare, change=None, name="features"):
    place.write("rows.csv", rows(change))
    place.write(f"{name}.aml", PROGRAM.replace("PREPARE", prepare))
    place.aml("build", f"{name}.aml")
    return f"./{name}"


def prepared(place, program):
    return [json.loads(line) for line in place.run(program, "data", "head", "1000", "--prepared", "--json").out.splitlines()]


def equals_scikit_learn(place):
    found = prepared(place, build(place, ALL))
    check_equal(len(found), len(GOLDEN["x"]), "the number of rows")
    for name, expected in GOLDEN["expected"].items():
        largest = max(abs(v) for row in expected for v in row if v is not None)
        for i, row in enumerate(expected):
            got = found[i][name]
            check_equal(len(got), len(row), f"the width of {name}")
            for k, (a, b) in enumerate(zip(got, row)):
                check((a is None) == (b is None) and (a is None or abs(a - b) <= 2e-5 * largest), f"{name}[{k}] of row {i + 1} is {a}, expected {b}")


def only_training_rows_count(place):
    """Rows that validate may be anything: what is made of the others stays the same to the bit."""
    program = build(place, ALL)
    before = prepared(place, program)[:GOLDEN["fitted"]]
    place.write("rows.csv", rows(lambda i, raw, full: (raw, full) if i < GOLDEN["fitted"] else ([7000.0] * 6, [-5000.0] * 6)))
    check(prepared(place, program)[:GOLDEN["fitted"]] == before, "rows of the valid part changed the statistics")


def own_statistic(place):
    found = prepared(place, build(place, OWN))
    count = GOLDEN["fitted"]
    for k in range(6):
        mean = sum(row[k] for row in GOLDEN["full"][:count]) / count
        for i in (0, 79):
            check(math.isclose(found[i]["x"][k], GOLDEN["full"][i][k] - mean, abs_tol=1e-4), f"row {i + 1} is {found[i]['x'][k]}")


def kept_with_the_model(place):
    """Evaluation, prediction, resuming and the deployed program take the statistics of the checkpoint, not those of the data that
    are there now."""
    program = build(place, ALL)
    place.run(program, "train", "--threads", "1")
    place.run(program, "train", "--threads", "2", "--runs", "other/runs")
    one, two = [checkpoints(folder, "net")[-1] for folder in (place.folder, place.folder / "other")]
    check((one / "weights.safetensors").read_bytes() == (two / "weights.safetensors").read_bytes(), "threads changed the bits")
    place.write("ask.csv", rows())
    expected = place.run(program, "predict", "ask.csv").out
    place.aml("deploy", "features.aml", "small", "-o", "small")
    fields = [line.split(",") for line in rows().splitlines()]
    place.write("raw.csv", "\n".join(",".join(line[:6]) for line in fields) + "\n")
    check_equal(place.run("./small", "predict", "raw.csv").out, expected, "the deployed program's predictions")
    before = json.loads(place.run(program, "evaluate", "--json").out)["metrics"]["loss"]
    place.write("rows.csv", rows(lambda i, raw, full: (raw, full) if i >= GOLDEN["fitted"] else ([v and 3 * v for v in raw], full)))
    check_equal(json.loads(place.run(program, "evaluate", "--json").out)["metrics"]["loss"], before, "the loss, with other training rows")
    check_equal(place.run(program, "predict", "ask.csv").out, expected, "predictions, with other training rows")


def fine_tuned(place):
    """The weights of a checkpoint are loaded by another training, which has statistics of its own."""
    program = build(place, OWN)
    place.run(program, "train", "--quiet")
    weights = checkpoints(place.folder, "net")[-1] / "weights.safetensors"
    (place.folder / "begin.safetensors").write_bytes(weights.read_bytes())
    text = PROGRAM.replace("PREPARE", OWN.replace("1, sums", "2, sums")).replace("model:     Net()", 'model:     load(Net(), "begin.safetensors")')
    place.write("tuned.aml", text)
    place.aml("build", "tuned.aml")
    check_in("weights from", place.run("./tuned", "train", "--steps", "0").err)


def resumed(place):
    program = build(place, ALL)
    place.run(program, "train")
    place.run(program, "train", "--runs", "parts/runs", "--steps", "5")
    place.run(program, "train", "--runs", "parts/runs", "--resume")
    whole, parts = [checkpoints(folder, "net")[-1] for folder in (place.folder, place.folder / "parts")]
    for file in ("weights.safetensors", "optimizer.safetensors"):
        check((whole / file).read_bytes() == (parts / file).read_bytes(), f"{file} differs after resuming")


def column_without_values(place):
    program = build(place, "return { x: standardize(hide(s.raw)), y: s.y }", lambda i, raw, full: (raw[:2] + [None] + raw[3:], full))
    failed = place.run(program, "train", code=None)
    check(failed.code not in (0, 101), f"exit code {failed.code}")
    for part in ("rows/0.standardize", "features.aml:", "is nan in element 2", "64 rows"):
        check_in(part, failed.err)
    check(not list((place.folder / "runs" / "net").glob("*")), "a run without a step was left behind")


def missing_in_axes(place):
    program = build(place, "return { x: pca(hide(s.raw), 2), y: s.y }")
    failed = place.run(program, "train", code=None)
    check(failed.code not in (0, 101), f"exit code {failed.code}")
    for part in ("found nan in row", "impute"):
        check_in(part, failed.err)


def one_training_row(place):
    program = build(place, "return { x: pca(s.full, 2), y: s.y }")
    place.write("rows.csv", "\n".join(rows().splitlines()[:2]) + "\n")
    failed = place.run(program, "train", code=None)
    check(failed.code not in (0, 101), f"exit code {failed.code}")
    check_in("at least 2 training rows", failed.err)


def head_and_stats(place):
    program = build(place, OWN)
    head = place.run(program, "data", "head", "2").out.splitlines()
    check_equal(len(head), 3, "lines of data head 2")
    check_in("80 samples", head[0])
    check_in("y " + str(GOLDEN["y"][1]), head[2])
    found = {(f["field"], f.get("element")): f for f in map(json.loads, place.run(program, "data", "stats", "--json").out.splitlines())}
    check_equal(len(found), 13, "columns")
    for k in range(6):
        values, figures = sorted(row[k] for row in GOLDEN["full"]), found["full", k]
        mean = sum(values) / 80
        deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / 79)
        for name, expected in (("count", 80), ("missing", 0), ("mean", mean), ("deviation", deviation), ("min", values[0]), ("max", values[-1]),
                               ("q50", (values[39] + values[40]) / 2)):
            check(math.isclose(figures[name], expected, rel_tol=1e-6, abs_tol=1e-6), f"{name} of full[{k}] is {figures[name]}, expected {expected}")
        check_equal(sum(figures["histogram"]), 80, "the histogram's sum")
    counts = [GOLDEN["y"].count(k) for k in range(3)]
    check_equal(found["y", None]["classes"], counts, "the classes")
    check(math.isclose(found["y", None]["imbalance"], max(counts) / min(counts)), "the imbalance")
    text = place.run(program, "data", "stats", "--prepared").out
    for part in ("train 64, valid 16, test 0", "x[5]", "█"):
        check_in(part, text)
    for wrong in (("head", "none"), ("head", "0"), ("stats", "3"), ("tail",), ("head", "1", "2")):
        check_equal(place.run(program, "data", *wrong, code=None).code, 2, f"the exit code of data {' '.join(wrong)}")


LABELS = PROGRAM.replace("PREPARE", "return { x: standardize(s.full), y: s.y }").replace("length:    12 steps", "length:    300 steps") \
    .replace("split: { train: 80%, valid: 20%, by: time }", "split: { train: 50%, valid: 50%, by: time }")


def doubtful_labels(place):
    """The report of `labels` is what confident learning makes of the probabilities that `predict` writes."""
    place.write("rows.csv", rows())
    place.write("labels.aml", LABELS)
    place.aml("build", "labels.aml")
    place.run("./labels", "train", "--quiet")
    found = json.loads(place.run("./labels", "labels", "--json").out)
    lines = [line.split(",") for line in place.run("./labels", "predict", "rows.csv").out.splitlines()[1:]]
    held_out = [(i, GOLDEN["y"][i], [float(v) for v in lines[i][2:]]) for i in range(40, 80)]
    sure = [statistics.fmean(p[k] for _, y, p in held_out if y == k) for k in range(3)]
    likely, doubtful = [[0] * 3 for _ in range(3)], []
    for i, y, p in held_out:
        classes = [k for k in range(3) if p[k] >= sure[k]]
        if classes:
            best = max(classes, key=lambda k: p[k])
            likely[y][best] += 1
            if best != y:
                doubtful.append((p[y] - p[best], i + 1, y, best))
    check(doubtful, "the case has no doubtful label")
    check_equal(found["rows"], 40, "the rows")
    check_equal(found["likely"], likely, "the table of labels")
    check_equal([(d["row"], d["label"], d["likely"]) for d in found["doubtful"]], [d[1:] for d in sorted(doubtful)], "the doubtful rows")
    text = place.run("./labels", "labels").out
    check_in(f"net: 40 rows that the training has not seen, {len(doubtful)} labels are doubtful", text)
    check_in("row,label,likely,margin", text)


CROSS = """aml 1
use std.nn
use std.optim
use std.data

model Net {
  hidden = Dense(64, activation: relu)
  head   = Dense(3)
  fn forward(x: float[n, 2]) -> float[n, 3] { return x |> hidden |> head }
}

dataset rows {
  source: csv("cross.csv")
  field x: f32[2]   = columns(0..1)
  field y: class(3) = column("y")
  split: { SPLIT }
}

train net {
  model:     Net()
  data:      rows
  loss:      cross_entropy
  optimizer: adamw(lr: 1e-2)
  length:    150 steps
  batch:     24
}
"""


def doubtful_labels_of_all_rows(place):
    """With folds every row is judged once, by a training that it was left out of: planted mistakes are found wherever they are."""
    chance = random.Random(5)
    truth = [i % 3 for i in range(180)]
    planted = {i: (truth[i] + 1 + chance.randrange(2)) % 3 for i in chance.sample(range(180), 18)}
    place.write("cross.csv", "a,b,y\n" + "".join(f"{chance.gauss(3 * math.cos(2.1 * k), 0.6):.4f},{chance.gauss(3 * math.sin(2.1 * k), 0.6):.4f},{planted.get(i, k)}\n"
                                                  for i, k in enumerate(truth)))
    for name, split in (("whole", "train: 100%"), ("parts", "train: 60%, valid: 20%, test: 20%, stratify: y")):
        place.write(f"{name}.aml", CROSS.replace("SPLIT", split))
        place.aml("build", f"{name}.aml")
        report = place.run(f"./{name}", "labels", "--folds", 4, "--json", "--quiet", "--runs", "runs-" + name)
        found = json.loads(report.out)
        check_equal((found["rows"], found["folds"]), (180, 4), "rows, folds")
        listed = {d["row"] - 1: d["likely"] for d in found["doubtful"]}
        check_equal(len(listed), len(found["doubtful"]), "a row is there once")
        hits = [i for i in planted if listed.get(i) == truth[i]]
        check(len(hits) >= 16 and len(listed) - len(hits) <= 8, f"{len(hits)} of 18 planted mistakes are among {len(listed)}")
        check_equal(sum(map(sum, found["likely"])) <= 180, True, "the table")
        # an interrupted one goes on: what was trained is not trained again
        folder = next((place.folder / ("runs-" + name) / "net-labels").iterdir())
        trained = sorted(folder.glob("fold-*/net/*/checkpoints/step-000150/weights.safetensors"))
        check_equal(len(trained), 4, "trainings")
        before = [path.stat().st_mtime_ns for path in trained]
        again = place.run(f"./{name}", "labels", "--folds", 4, "--json", "--quiet", "--runs", "runs-" + name, "--resume")
        check_equal(json.loads(again.out), found, "the report of what is trained already")
        check_equal([path.stat().st_mtime_ns for path in trained], before, "the checkpoints")
    check_in("180 rows that their training of several has not seen", place.run("./parts", "labels", "--folds", 4, "--quiet", "--runs", "runs-parts", "--resume").out)
    place.run("./whole", "train", "--quiet")
    check_in("help: --folds 5 trains five times", place.run("./whole", "labels", code=1).err)
    check_in("--resume goes on with --folds", place.run("./whole", "labels", "--resume", code=2).err)
    check_in("takes no --checkpoint", place.run("./whole", "labels", "--folds", 3, "--checkpoint", "x", code=2).err)
    check_in("cannot be cut into 500 folds", place.run("./whole", "labels", "--folds", 500, code=1).err)


COLUMNS = """aml 1
use std.nn
use std.optim
use std.data

model Net {
  columns = ColumnEmbeddings(1, vocab: [3, 2], size: 2)
  head    = Dense(2)
  fn forward(x: float[n, 3]) -> float[n, 2] { return x |> columns |> head }
}

dataset rows {
  source: csv("rows.csv")
  field x: f32[3]   = columns(0..2, fill: nan)
  field y: class(2) = column("y")
}

train net {
  model:     Net()
  data:      rows
  loss:      cross_entropy
  optimizer: sgd(lr: 1e-2)
  length:    1 steps
  batch:     4
}
"""


def read_tensors(path):
    data = path.read_bytes()
    header = json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])
    start = 8 + struct.unpack("<Q", data[:8])[0]
    return {k: struct.unpack(f"<{(v['data_offsets'][1] - v['data_offsets'][0]) // 4}f", data[start + v["data_offsets"][0]:start + v["data_offsets"][1]])
            for k, v in header.items() if k != "__metadata__"}


def columns_as_one_vector(place):
    """A category's vector is the row of its class behind those of the columns before it; what is no class has the last row."""
    rows = [("0.5", "0", "1"), ("-2", "2", ""), ("1.25", "", "0"), ("3", "7", "-1")]
    place.write("rows.csv", "a,b,c,y\n" + "".join(",".join(row) + ",1\n" for row in rows))
    place.write("columns.aml", COLUMNS)
    place.aml("build", "columns.aml")
    place.run("./columns", "train", "--steps", "0", "--quiet")
    weights = read_tensors(checkpoints(place.folder, "net")[-1] / "weights.safetensors")
    table, matrix, bias = weights["columns.table"], weights["head.weight"], weights["head.bias"]
    check_equal(len(table), 14, "the elements of the table")
    found = [line.split(",") for line in place.run("./columns", "predict", "rows.csv").out.splitlines()[1:]]
    for row, got in zip(rows, found):
        first = int(row[1]) if row[1] in ("0", "1", "2") else 3
        second = 4 + (int(row[2]) if row[2] in ("0", "1") else 2)
        vector = [float(row[0])] + list(table[2 * first:2 * first + 2]) + list(table[2 * second:2 * second + 2])
        scores = [sum(vector[i] * matrix[2 * i + k] for i in range(5)) + bias[k] for k in range(2)]
        expected = 1 / (1 + math.exp(scores[0] - scores[1]))
        check(math.isclose(float(got[3]), expected, rel_tol=1e-4), f"row {row} has the probability {got[3]}, expected {expected}")


if __name__ == "__main__":
    main([equals_scikit_learn, only_training_rows_count, own_statistic, kept_with_the_model, fine_tuned, resumed, column_without_values, missing_in_axes,
          one_training_row, head_and_stats, doubtful_labels, doubtful_labels_of_all_rows, columns_as_one_vector])

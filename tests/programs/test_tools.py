#!/usr/bin/env python3
"""What helps to choose settings and to look at a run: searching for a rate and for a batch, thawing weights, validations that are
written out, the page of a run."""
import base64
import hashlib
import html.parser
import json
import os
import random
import re
import struct
import sys
import zlib

from harness import Skip, check, check_equal, check_in, checkpoints, main

HEAD = """aml 1
use std.nn
use std.optim
use std.data
use std.metrics

const rows_in_batch: int = 16

dataset points {
  source: synthetic(330, fn(i) = { x: random.uniform([8, 8]), w: 0.0 }, seed: 3)
  field x: f32[8, 8]
  field w: f32
  split: { train: 70%, valid: 30% }
  fn prepare(s) { return { x: s.x, y: TARGET } }
}

model Net {
  fc1 = Dense(16, activation: tanh)
  fc2 = Dense(OUT)
  fn forward(x: float[n, 8, 8]) -> float[n, OUT] { return reshape(x, [n, 64]) |> fc1 |> fc2 }
}
"""
CLASSES = HEAD.replace("OUT", "3").replace("TARGET", "to_class(s.x)") + """
fn to_class(x) = argmax(stack([mean(x[:3]), mean(x[3:5]), mean(x[5:])]), axis: 0)

train net {
  model:     Net()
  data:      points
  loss:      cross_entropy
  optimizer: OPTIMIZER
  length:    6 epochs
  batch:     rows_in_batch
  MORE
  metrics:   { accuracy: accuracy(), auc: roc_auc() }
  checkpoint: { keep: last(100) }
}
"""
OWN = HEAD.replace("OUT", "1").replace("TARGET", "s.x[0, 0] * s.x[1, 1]") + """
train own {
  models:     { net: Net() }
  optimizers: { net: adamw(lr: 1e-2) }
  data:       points
  length:     3 epochs
  batch:      rows_in_batch
  checkpoint: { keep: best(1, on: abs_error) }
  stop:       early(on: abs_error, patience: 30 epochs)
  fn step(batch) {
    let (cost, g) = value_and_grad(fn(m) = mean(square(m(batch.x)[:, 0] - batch.y)), net)
    net <- optimizers.net.update(net, g)
    return cost
  }
  fn validate(batch) {
    let off = net(batch.x)[:, 0] - batch.y
    return { abs_error: mean(abs(off)), loss: mean(square(off)), small: mean(select(abs(off) < 0.1, 1.0, 0.0)) }
  }
}
"""


def build(place, source, name="prog", *options):
    place.write(f"{name}.aml", source)
    place.aml("build", f"{name}.aml", "-o", name, *options)
    return place.folder / name


def classes(optimizer="adamw(lr: 1e-2)", more=""):
    return CLASSES.replace("OPTIMIZER", optimizer).replace("MORE", more)


def a_rate_is_searched_for(place):
    program = build(place, classes("adamw(lr: cosine(1e-3, warmup: 2000 steps))"))
    found = [json.loads(place.run(program, "train", "--find_lr", "--json", "--threads", n).out) for n in (1, 2)]
    check_equal(found[0], found[1], "the search with two threads")
    check(not (place.folder / "runs").exists(), "a search leaves no run")
    sweep = found[0]
    check(1e-4 < sweep["suggestion"] < 1, f"suggested {sweep['suggestion']}")
    check(sweep["suggestion"] <= sweep["lowest"], "the steepest fall comes before the lowest loss")
    check(abs(sweep["rate"][0] / 1e-6 - 1) < 1e-12 and len(sweep["rate"]) == len(sweep["loss"]) == len(sweep["smooth"]), "the figures")
    # the rate is what is asked for, whatever the schedule says: after one step at 1e-6 nothing has moved
    text = place.run(program, "train", "--find-lr", "1e-4..1e-1", "--steps", 20).out
    check_in("suggestion", text)
    check_in("falls most steeply", text)
    check_in("such as 1e-6..1", place.run(program, "train", "--find_lr", "1..1e-3", code=2).err)
    check_in("at least 10 steps", place.run(program, "train", "--find_lr", "--steps", 3, code=2).err)


def a_suggested_rate_trains(place):
    """The suggestion is as good as its neighbours: far better than a hundredth of it."""
    source = "option lr: float = 1e-3\n".join(classes("adamw(lr: lr)").split("\n", 1)).replace("aml 1option", "aml 1\noption")
    program = build(place, source)
    rate = json.loads(place.run(program, "train", "--find_lr", "--json").out)["suggestion"]
    losses = [json.loads(place.run(program, "train", "--lr", r, "--json").out)["validation"]["loss"] for r in (rate, rate / 100)]
    check(losses[0] < losses[1], f"{losses} at {rate} and a hundredth of it")


def an_optimizer_without_a_rate_is_not_searched(place):
    source = classes("plain()") + """
optimizer plain() {
  fn update(param, grad, step) { return param - 0.1 * grad }
}
"""
    program = build(place, source)
    check_in("rate_of", place.run(program, "train", "--find_lr", code=2).err)


def planned(place, batch):
    name = f"b{batch}"
    place.aml("build", "fit.aml", "-o", name, "-D", f"rows_in_batch={batch}")
    plan = json.loads(place.run(place.folder / name, "plan", "net", "--json").out)
    return sum(plan[key] for key in ("state", "snapshot", "arena", "batches"))


def the_largest_batch_fits(place):
    place.write("fit.aml", classes())
    for size, limit in (("400KiB", 400 * 1024), ("3MiB", 3 << 20)):
        fit = json.loads(place.aml("report", "fit.aml", "--fit", size, "--json").out)["jobs"][0]
        check_equal(fit["source_batch"], 16, "the batch of the source")
        check(planned(place, fit["batch"]) == fit["bytes"] <= limit, f"{fit}, planned {planned(place, fit['batch'])}")
        check(planned(place, fit["batch"] + 1) > limit, "one more would fit")
    place.write("parts.aml", classes(more="accumulate: 3").replace("rows_in_batch: int = 16", "rows_in_batch: int = 12"))
    fit = json.loads(place.aml("report", "parts.aml", "--fit", "400KiB", "--json").out)["jobs"][0]
    check_equal(fit["batch"] % 3, 0, "the rest of a batch in three parts")
    check_in("no batch fits", place.aml("report", "fit.aml", "--fit", "1KiB", code=1).out)
    check_in("needs a size", place.aml("report", "fit.aml", "--fit", "much", code=2).err)


def tensors(path):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    return {name: hashlib.sha256(data[8 + length + info["data_offsets"][0]:8 + length + info["data_offsets"][1]]).hexdigest()
            for name, info in header.items() if name != "__metadata__"}


def weights_thaw_in_time(place):
    program = build(place, classes('unfreeze(adamw(lr: 1e-2), at: [("fc1.weight", 2 epochs), ("fc1", 40 steps)])'))
    place.run(program, "train", "--quiet", "--steps", 0)
    place.run(program, "train", "--quiet", "--resume")
    states = [(int(folder.name[5:]), tensors(folder / "weights.safetensors")) for folder in checkpoints(place.folder, "net")]
    begin = states[0][1]
    for step, now in states[1:]:
        moved = {name for name in now if now[name] != begin[name]}
        expected = {"fc2.weight", "fc2.bias"}
        expected |= {"fc1.weight"} if step > 231 / 16 * 2 + 1 else set()
        expected |= {"fc1.bias"} if step > 40 else set()
        check_equal(moved, expected, f"what has moved after step {step}")
    check_in("fits the pattern 'fc9'", place.aml("check", place.write("wrong.aml", classes('unfreeze(adamw(), at: [("fc9", 1 epochs)])')), code=1).err)


def a_validation_is_written_out(place):
    """Batches and single rows add up to the mean over the rows, whatever the batch."""
    found = []
    for batch in (7, 16, 33):
        program = build(place, OWN, f"own{batch}", "-D", f"rows_in_batch={batch}")
        place.run(program, "train", "--quiet", "--steps", 0, "--runs", f"runs{batch}")
        found.append(json.loads(place.run(program, "evaluate", "--json", "--runs", f"runs{batch}").out)["metrics"])
    for other in found[1:]:
        for name in ("loss", "abs_error", "small"):
            check(abs(other[name] - found[0][name]) < 1e-6, f"{name}: {found}")
    program = place.folder / "own16"
    summary = json.loads(place.run(program, "train", "--json").out)
    check("abs_error" in summary["best"] and summary["validation"]["abs_error"] < found[0]["abs_error"], str(summary))
    check_in("valid_loss", place.run(program, "train").err)


def a_training_ends_when_it_is_good_enough(place):
    program = build(place, classes(more="stop: early(on: accuracy, patience: 100 epochs, reach: 0.6)"))
    summary = json.loads(place.run(program, "train", "--json").out)
    check(summary["stopped_early"] and summary["validation"]["accuracy"] >= 0.6, str(summary))
    check_in("is complete", place.run(program, "train", "--resume").err)
    program = build(place, classes(more="stop: early(patience: 100 epochs, reach: 1e-9)"), "never")
    check(not json.loads(place.run(program, "train", "--json").out)["stopped_early"], "a loss of 1e-9 was not reached")


class Pages(html.parser.HTMLParser):
    """Counts tags, and refuses pages whose tags do not match."""
    VOID = {"meta", "img", "br", "rect", "line", "circle", "polyline"}

    def __init__(self):
        super().__init__()
        self.open, self.count = [], {}

    def handle_starttag(self, tag, attributes):
        self.count[tag] = self.count.get(tag, 0) + 1
        for name, value in attributes:
            check(name not in ("src", "href") or value.startswith("data:"), f"the page loads {value}")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            check_equal(self.open.pop() if self.open else None, tag, "the tag that is closed")


def page_of(text):
    page = Pages()
    page.feed(text)
    check_equal(page.open, [], "tags left open")
    return page


def picture_of(data):
    """The pixels of a PNG of 8-bit gray."""
    check(data[:8] == b"\x89PNG\r\n\x1a\n", "no PNG")
    at, chunks = 8, {}
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        check_equal(struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0], zlib.crc32(kind + body), f"CRC of {kind}")
        chunks[kind] = body
        at += 12 + length
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    rows = zlib.decompress(chunks[b"IDAT"])
    check_equal(len(rows), height * (width + 1), "bytes of the rows")
    return [rows[y * (width + 1) + 1:(y + 1) * (width + 1)] for y in range(height)]


def a_run_becomes_a_page(place):
    program = build(place, classes())
    place.run(program, "train", "--quiet")
    path = place.run(program, "report").out.strip()
    text = (place.folder / path).read_text()
    page = page_of(text)
    for part in ("Training", "Confusion", "ROC", "precision and recall", "calibration", "Samples that went worst", "Memory", "Settings", "train net {"):
        check_in(part, text, "the page")
    measured = json.loads(place.run(program, "evaluate", "--json").out)["metrics"]
    check_in(f"{measured['accuracy']:.6g}", text, "the page")
    areas = [float(a) for a in re.findall(r"\d: AUC ([\d.]+)", text)]
    check(len(areas) == 3 and abs(sum(areas) / 3 - measured["auc"]) < 1e-4, f"{areas}, {measured['auc']}")
    check(page.count["svg"] >= 5 and page.count["img"] == 16, str(page.count))
    pictures = [picture_of(base64.b64decode(code)) for code in re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", text)]
    check_equal({(len(p), len(p[0])) for p in pictures}, {(8, 8)}, "the sizes of pictures")
    check(all(min(map(min, p)) == 0 and max(map(max, p)) == 255 for p in pictures), "pictures go from black to white")
    counts = [int(n) for n in re.findall(r"rgba[^>]*>(\d+)</td>", text)]
    check_equal(sum(counts), 99, "rows in the confusion matrix")
    place.run(program, "report", "-o", "elsewhere.html", "--quiet")
    check_equal((place.folder / "elsewhere.html").read_text(), text, "the page elsewhere")
    check_in("there is no run", place.run(program, "report", "nothing", code=None).err)


def other_runs_become_pages_too(place):
    program = build(place, OWN, "own")
    place.run(program, "train", "--quiet")
    page_of((place.folder / place.run(program, "report").out.strip()).read_text())
    source = HEAD.replace("OUT", "1").replace("TARGET", "s.x[0, 0]") + """
train slope {
  model:     Net()
  data:      points
  loss:      fn(p, y) = mean(square(p[:, 0] - y))
  optimizer: sgd(lr: 1e-2)
  length:    2 epochs
  batch:     16
}
"""
    program = build(place, source, "slope")
    place.run(program, "train", "--quiet")
    text = (place.folder / place.run(program, "report").out.strip()).read_text()
    check_in("predicted over expected", text, "the page")
    check(page_of(text).count["circle"] == 99, "a dot for each row")


def records(path):
    data, at = path.read_bytes(), 0
    while at < len(data):
        length = struct.unpack("<Q", data[at:at + 8])[0]
        yield data[at + 12:at + 12 + length]
        at += 16 + length


def fields(data):
    """The fields of a protocol buffer message: (number, value)."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value
    found = []
    while at < len(data):
        key = varint()
        kind = key & 7
        if kind == 0:
            value = varint()
        else:
            length = {1: 8, 5: 4}.get(kind) or varint()
            value = data[at:at + length]
            at += length
        found.append((key >> 3, value))
    return found


def event_files_hold_histograms_and_pictures(place):
    """Read here by the format's description."""
    program = build(place, classes())
    place.run(program, "train", "--quiet", "--tensorboard")
    weights = {}
    pictures = 0
    for record in records(next(place.folder.glob("runs/net/*/events.out.*"))):
        event = dict(fields(record))
        for _, value in fields(event.get(5, b"")):
            entry = dict(fields(value))
            if 5 in entry:
                histogram = dict(fields(entry[5]))
                buckets = struct.unpack("<30d", histogram[7])
                limits = struct.unpack("<30d", histogram[6])
                low, high, count = (struct.unpack("<d", histogram[k])[0] for k in (1, 2, 3))
                check_equal(sum(buckets), count, "elements in the buckets")
                check(list(limits) == sorted(limits) and limits[0] > low and limits[-1] >= high, str(limits))
                weights.setdefault(entry[1].decode(), []).append((event.get(2, 0), count))
            if 4 in entry:
                image = dict(fields(entry[4]))
                check_equal((image[1], image[2], image[3]), (8, 8, 1), "height, width, channels")
                picture_of(image[4])
                pictures += 1
    check_equal(pictures, 8, "the number of pictures")
    check_equal(weights["weights/fc1.weight"][0][1], 64 * 16, "elements of fc1")
    check_equal(len(weights["weights/fc2.bias"]), 6, "histograms, one for each validation")


def tensorboard_reads_histograms_and_pictures(place):
    program = build(place, classes())
    place.run(program, "train", "--quiet", "--tensorboard")
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError as error:
        raise Skip(str(error)) from error
    run = next((place.folder / "runs/net").iterdir())
    events = EventAccumulator(str(run), size_guidance={"tensors": 0, "scalars": 0, "images": 0, "histograms": 0})
    events.Reload()
    tags = events.Tags()
    check("fc1.weight" in str(tags), str(tags))
    histogram = events.Histograms("weights/fc1.weight")[-1].histogram_value
    check_equal(sum(histogram.bucket), 64 * 16, "elements in the histogram")
    picture = events.Images("samples/x/0")[0]
    check_equal((picture.width, picture.height), (8, 8), "the size of a picture")
    picture_of(picture.encoded_image_string)


if __name__ == "__main__":
    os.environ.pop("AML_DATA", None)
    random.seed(1)
    sys.exit(main([a_rate_is_searched_for, a_suggested_rate_trains, an_optimizer_without_a_rate_is_not_searched, the_largest_batch_fits, weights_thaw_in_time,
                   a_validation_is_written_out, a_training_ends_when_it_is_good_enough, a_run_becomes_a_page, other_runs_become_pages_too,
                   event_files_hold_histograms_and_pictures, tensorboard_reads_histograms_and_pictures]))

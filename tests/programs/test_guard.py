#!/usr/bin/env python3
"""Steps that go wrong: where the first value that is not finite comes from, steps that are left out, going back; and where
the time goes."""
import json
import random
import shutil
import sys
import time

from harness import DIGITS, check, check_equal, check_in, checkpoints, killed_and_resumed, main

PROGRAM = """aml 1
use std.nn
use std.optim
use std.data
use std.metrics

option lr: float = 2e-3
option spoiled: int = -1

model Mlp {
  fc1  = Dense(16, activation: relu)
  norm = BatchNorm()
  drop = Dropout(10%)
  fc2  = Dense(10)

  fn forward(x: float[batch, 64]) -> float[batch, 10] {
    let h = x |> fc1 |> norm |> drop
BODY
    return fc2(k)
  }
}

dataset digits {
  source: csv("digits.csv")
  field x: f32[64]   = columns(0..63)
  field y: class(10) = column("class")
  split: { train: 80%, valid: 20%, seed: 7, stratify: y }
  fn prepare(s) { return { x: s.x / 16.0, y: s.y } }
}

train t {
  model:      Mlp()
  data:       digits
  loss:       cross_entropy
  optimizer:  adamw(lr: lr)
  length:     60 steps
  batch:      64
  metrics:    { accuracy: accuracy() }
  seed:       42
SETTINGS
}
"""
SPOIL = "    let k = h + exp(abs(h) * select(step() == spoiled, 1e9, 0.0)) - 1.0"


def program(place, name, body="", settings=(), data=None):
    folder = place.folder / name
    folder.mkdir()
    rows = (DIGITS / "data/digits.csv").read_text().splitlines(keepends=True)[:641]
    for row, column, value in data or ():
        cells = rows[row].split(",")
        cells[column] = value
        rows[row] = ",".join(cells)
    (folder / "digits.csv").write_text("".join(rows))
    text = PROGRAM.replace("BODY", body or "    let k = h").replace("SETTINGS\n", "".join(f"  {s}\n" for s in settings))
    (folder / "p.aml").write_text(text)
    place.aml("build", "p.aml", cwd=folder)
    return folder


def train(place, folder, *options, code=0):
    return place.run("./p", "train", *options, cwd=folder, code=code)


def state(folder, at):
    """The bytes of weights and optimizer of the checkpoint of step `at`."""
    step = next(p for p in checkpoints(folder, "t") if p.name == f"step-{at:06}")
    return [(step / name).read_bytes() for name in ("weights.safetensors", "optimizer.safetensors")]


def figures(folder):
    path = checkpoints(folder, "t")[-1].parent.parent / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def steps_of(folder):
    return [f for f in figures(folder) if "loss" in f]


def line_of(text, part="BODY"):
    return next(i + 1 for i, line in enumerate(text.splitlines()) if part in line)


def the_line_of_the_first_nan_is_named(place):
    folder = program(place, "log", "    let k = h + 0.0 * log(h + 100.0 * select(step() == 37, -1.0, 1.0))", ["checkpoint: { every: 20 steps }"])
    done = train(place, folder, code=1)
    check_in("the loss of step 38 is not a number; the checkpoint of step 20 is kept", done.err)
    check_in(f"computed in step 38 by p.aml:{line_of(PROGRAM)}", done.err)
    check_in(" log", done.err)
    check_in("of its 1024 elements are not: number 0 is NaN", done.err)


def the_line_of_an_overflow_is_named(place):
    """The first value is infinite; the loss is not a number only later."""
    folder = program(place, "exp", SPOIL, ["checkpoint: { every: 7 steps }"])
    done = train(place, folder, "--spoiled", 30, code=1)
    check_in(f"computed in step 31 by p.aml:{line_of(PROGRAM)}", done.err)
    check_in("infinity", done.err)
    check_in("exp", done.err)


def weights_that_become_infinite_are_found_where_it_happens(place):
    """The loss is infinite one step later."""
    folder = program(place, "rate", settings=["checkpoint: { every: 25 steps }"])
    text = (folder / "p.aml").read_text().replace("adamw(lr: lr)", "sgd(lr: fn(step) = select(step == 30, 3e38, lr))").replace("loss:       cross_entropy", "loss: fn(z, y) = 1e5 * cross_entropy(z, y)").replace("lr: float = 2e-3", "lr: float = 1e-8")
    (folder / "p.aml").write_text(text)
    place.aml("build", "p.aml", cwd=folder)
    done = train(place, folder, code=1)
    check_in("the loss of step 32 is", done.err)
    check_in("computed in step 31 by p.aml:", done.err)
    check_in("infinity", done.err)


def masks_that_are_infinite_are_not_blamed(place):
    body = SPOIL + " + exp(cumsum(-1.0 / relu(0.0 * stop_gradient(h)), axis: 1))"
    folder = program(place, "mask", body, ["checkpoint: { every: 20 steps }"])
    done = train(place, folder, "--spoiled", 30, code=1)
    check_in("computed in step 31 by", done.err)
    check_in(" exp", done.err)


def kernels_inside_of_loops_are_named(place):
    folder = program(place, "loop", "    let (k, _all) = scan(fn(c, x) = (c * exp(select(step() == spoiled, 20.0, 0.0)), x), h, stack([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]))",
                     ["checkpoint: { every: 20 steps }"])
    done = train(place, folder, "--spoiled", 30, code=1)
    check_in(f"computed in step 31 by p.aml:{line_of(PROGRAM)}", done.err)
    check_in("infinity", done.err)


def a_skipped_step_changes_nothing(place):
    folder = program(place, "skip", SPOIL, ["guard: skip", "ema: 0.99", "checkpoint: { every: 1 step, keep: last(70) }"])
    done = train(place, folder, "--spoiled", 30)
    check_in("step 31 is left out: its loss is", done.err)
    check_equal(state(folder, 31), state(folder, 30), "the state after a step that is left out")
    check(state(folder, 32) != state(folder, 31), "the next step changes nothing")
    check(state(folder, 30) != state(folder, 29), "the step before changes nothing")
    check_equal([f["step"] for f in steps_of(folder) if f["skipped"]], [31], "the steps that are logged as left out")
    check_equal(len(steps_of(folder)), 60, "the number of steps")


def too_many_skipped_steps_end_the_training(place):
    folder = program(place, "many", "    let k = h * exp(select(step() >= spoiled, 1e9, 0.0))", ["guard: skip", "guard_limit: 4"])
    done = train(place, folder, "--spoiled", 20, code=1)
    check_in("4 steps in a row were left out (guard_limit), and the loss of step 24 is", done.err)


def outliers_are_left_out(place):
    """A few samples are a thousand times as large: only steps that meet them are left out."""
    spoiled = [(row, column, "16000") for row in (100, 200, 300) for column in range(64)]
    folder = program(place, "out", settings=["skip_outliers: 8.0", "checkpoint: { every: 8 steps, keep: last(70) }"], data=spoiled)
    source = (folder / "p.aml").read_text().replace("60 steps", "256 steps").replace("batch:      64", "batch: 8")
    (folder / "p.aml").write_text(source.replace("  norm = BatchNorm()\n", "").replace("|> norm ", ""))
    place.aml("build", "p.aml", cwd=folder)
    done = train(place, folder)
    left = [f["step"] for f in steps_of(folder) if f["skipped"]]
    largest = sorted(steps_of(folder)[50:], key=lambda f: -f["loss"])[:len(left)]
    check_in("above the usual", done.err)
    check(3 <= len(left) <= 12 and min(left) > 50, f"left out were {left}")
    check_equal(sorted(f["step"] for f in largest), left, "the steps that are left out")
    usual = max(f["loss"] for f in steps_of(folder) if not f["skipped"] and f["step"] > 50)
    check(usual < 20, f"a loss of {usual} was taken as usual")
    # the same after an interruption: what is usual is a part of the checkpoint
    before = state(folder, 256)
    shutil.rmtree(folder / "runs")
    train(place, folder, "--steps", 120)
    train(place, folder, "--resume")
    check(state(folder, 256) == before, "outliers are others after resuming")


def going_back_skips_the_samples(place):
    """One sample gives infinities: each epoch meets it, goes back and takes the samples after it."""
    spoiled = [(row, column, "1e30") for row in (100, 101) for column in range(64)]
    settings = ["guard: rollback", "guard_limit: 300", "checkpoint: { every: 5 steps }"]
    folder = program(place, "back", "    let k = h * h * h * h", settings, spoiled)
    source = (folder / "p.aml").read_text().replace("  norm = BatchNorm()\n", "").replace("|> norm ", "")
    (folder / "p.aml").write_text(source)
    place.aml("build", "p.aml", cwd=folder)
    whole = train(place, folder)
    length = whole.seconds
    check_in("back to step", whole.err)
    expected, log = state(folder, 60), (checkpoints(folder, "t")[-1].parent.parent / "metrics.jsonl").read_bytes()
    check_equal([f["step"] for f in steps_of(folder)], list(range(1, 61)), "the steps in metrics.jsonl")
    progress = json.loads((checkpoints(folder, "t")[-1] / "state.json").read_text())
    check(progress["rollbacks"] >= 3 and progress["ahead"] > 0, f"state.json has {progress}")
    # the same with an interruption at a checkpoint, and with kills
    shutil.rmtree(folder / "runs")
    train(place, folder, "--steps", 30)
    train(place, folder, "--resume")
    check(state(folder, 60) == expected, "another end after resuming")
    shutil.rmtree(folder / "runs")

    def finished():
        check(state(folder, 60) == expected, "another end after kills")
        shutil.rmtree(folder / "runs")

    def saved():
        return list(folder.glob("runs/t/*/checkpoints/step-*"))

    killed_and_resumed(["./p", "train", "--quiet"], folder, saved, finished, length, 8, random.Random(4))
    check(state(folder, 60) == expected, "another end after kills")
    check((checkpoints(folder, "t")[-1].parent.parent / "metrics.jsonl").read_bytes() == log, "another metrics.jsonl after kills")


def going_back_has_a_limit(place):
    folder = program(place, "limit", SPOIL, ["guard: rollback", "guard_limit: 3", "checkpoint: { every: 10 steps }"])
    done = train(place, folder, "--spoiled", 25, code=1)
    check_equal(done.err.count("back to step 20"), 3, "the number of times it went back")
    check_in("after going back 3 times (guard_limit) the loss of step 26", done.err)
    check_in(f"p.aml:{line_of(PROGRAM)}", done.err)


def the_profile_adds_up(place):
    folder = program(place, "profile", "    let (k, _all) = scan(fn(c, x) = (c * 1.01, x), h, stack([1.0, 2.0, 3.0, 4.0]))")
    done = train(place, folder, "--profile")
    run = checkpoints(folder, "t")[-1].parent.parent
    profile = json.loads((run / "profile.json").read_text())
    lines, parts = profile["lines"], profile["parts"]
    total = sum(line["seconds"] for line in lines) + sum(parts.values())
    check(abs(total - profile["seconds"]) < 1e-6 + 1e-6 * profile["seconds"], f"the rows are {total} s, measured were {profile['seconds']} s")
    check(all(value >= 0 for value in parts.values()), f"a part is negative: {parts}")
    check_equal(profile["steps"], 60, "steps in the profile")
    places = {line["place"] for line in lines}
    check(f"p.aml:{line_of(PROGRAM)}" in places and len(places) >= 3, f"lines in the profile: {places}")
    check_in("making batches", done.err)
    check_in("p.aml:", done.err)
    # Chrome's format: complete events that do not overlap on their thread
    events = profile["traceEvents"]
    check(len(events) > 60 * 5, f"{len(events)} events")
    for event in events:
        check({"ph", "pid", "tid", "ts", "dur", "name"} <= set(event) and event["ph"] == "X", f"an event is {event}")
    kernels = sorted((e["ts"], e["dur"]) for e in events if "args" in e)
    for (a, length), (b, _) in zip(kernels, kernels[1:]):
        check(a + length <= b + 0.002, "events overlap")


def the_profile_changes_nothing(place):
    folder = program(place, "same")
    train(place, folder, "--profile", "--quiet")
    watched = state(folder, 60)
    shutil.rmtree(folder / "runs")
    train(place, folder, "--quiet")
    check(state(folder, 60) == watched, "a profiled training ends in other bytes")


def best_and_newest_are_kept_together(place):
    folder = program(place, "keep", settings=["checkpoint: { every: 5 steps, keep: best(2, on: accuracy, last: 4) }"])
    train(place, folder)
    kept = [int(p.name[5:]) for p in checkpoints(folder, "t")]
    scores = {f["step"]: f["accuracy"] for f in figures(folder) if "accuracy" in f}
    best = sorted(scores, key=lambda step: (-scores[step], step))[:2]
    check({50, 55, 60} | set(best) <= set(kept) and len(kept) == len(set(best) | set(kept[-4:])), f"kept are {kept}, the best are {best}")


def checkpoints_by_the_clock(place):
    folder = program(place, "clock", settings=["checkpoint: { every: 0.2 s, keep: last(100) }"])
    source = (folder / "p.aml").read_text().replace("60 steps", "1.1 s")
    (folder / "p.aml").write_text(source)
    place.aml("build", "p.aml", cwd=folder)
    train(place, folder)
    count = len(checkpoints(folder, "t"))
    check(3 <= count <= 9, f"{count} checkpoints in 1.1 s, one each 0.2 s")


def a_time_limit_halts(place):
    folder = program(place, "limited", settings=["checkpoint: { every: 20 steps }"])
    source = (folder / "p.aml").read_text().replace("60 steps", "10000000 steps")
    (folder / "p.aml").write_text(source)
    place.aml("build", "p.aml", cwd=folder)
    start = time.monotonic()
    done = train(place, folder, "--time-limit", "0.5 s")
    check(time.monotonic() - start < 30, "it does not end")
    check_in("halted after step", done.err)
    before = checkpoints(folder, "t")[-1].name
    done = train(place, folder, "--resume", "--time-limit", "0.3 s")
    check(checkpoints(folder, "t")[-1].name > before, "resuming does not go on")
    check_in("expected a time", train(place, folder, "--time-limit", "5 steps", code=2).err)


if __name__ == "__main__":
    sys.exit(main([the_line_of_the_first_nan_is_named, the_line_of_an_overflow_is_named, weights_that_become_infinite_are_found_where_it_happens,
                   masks_that_are_infinite_are_not_blamed, kernels_inside_of_loops_are_named, a_skipped_step_changes_nothing,
                   too_many_skipped_steps_end_the_training, outliers_are_left_out, going_back_skips_the_samples, going_back_has_a_limit,
                   the_profile_adds_up, the_profile_changes_nothing, best_and_newest_are_kept_together,
                   checkpoints_by_the_clock, a_time_limit_halts]))

#!/usr/bin/env python3
"""Evaluations that train: cross-validations and learning curves, killed and resumed."""
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

from harness import check, check_equal, check_in, killed_and_resumed, main

PROGRAM = """aml 1
use std.nn
use std.optim
use std.data
use std.metrics

option lr: float = 3e-2

model Net {
  fc = Dense(3)
  fn forward(x: float[n, 4]) -> float[n, 3] { return fc(x) }
}

dataset rows {
  source: csv("rows.csv")
  field x: f32[4]   = columns(0..3)
  field g: i32      = column("patient")
  field y: class(3) = column("class")
  split: { SPLIT }
  fn prepare(s) { return { x: s.x, y: s.y } }
}

train net {
  model:     Net()
  data:      rows
  loss:      cross_entropy
  optimizer: adamw(lr: lr)
  length:    LENGTH
  batch:     8
  metrics:   { accuracy: accuracy() }
}

evaluate folds {
  model:   net.last
  data:    rows.test
  metrics: { accuracy: accuracy(), confusion: confusion_matrix() }
  SETTINGS
}
"""


def program(place, settings, split="train: 70%, valid: 10%, test: 20%, stratify: y", length="4 epochs", name="study"):
    random.seed(1)
    if not (place.folder / "rows.csv").exists():
        lines = ["a,b,c,d,patient,class"]
        for i in range(150):
            k = i % 3
            values = [f"{random.gauss(1.5 * (j == k), 1):.3f}" for j in range(4)]
            lines.append(",".join(values + [str(i // 5), str(k)]))
        place.write("rows.csv", "\n".join(lines) + "\n")
    place.write(f"{name}.aml", PROGRAM.replace("SPLIT", split).replace("SETTINGS", settings).replace("LENGTH", length))
    place.aml("build", f"{name}.aml", "-o", name)
    return place.folder / name


def result_of(place, run):
    result = json.loads((place.folder / run / "result.json").read_text())
    return {key: value for key, value in result.items() if key not in ("seconds", "run")}


def folds_give_mean_and_deviation(place):
    binary = program(place, "folds: 5")
    found = json.loads(place.run(binary, "evaluate", "folds", "--json").out)
    for name in ("loss", "accuracy"):
        figure = found["metrics"][name]
        values = figure["folds"]
        check_equal(len(values), 5, "the number of folds")
        mean = sum(values) / 5
        check(abs(figure["mean"] - mean) < 1e-12, f"mean of {name}")
        check(abs(figure["sd"] - (sum((v - mean) ** 2 for v in values) / 4) ** 0.5) < 1e-12, f"deviation of {name}")
    check(found["metrics"]["accuracy"]["mean"] > 0.6, str(found["metrics"]["accuracy"]))
    confusions = found["metrics"]["confusion"]["folds"]
    for confusion in confusions:
        check_equal([sum(row) for row in confusion], [10, 10, 10], "the classes of a fold")
    text = place.run(binary, "evaluate", "folds").out
    check_in("5 folds in place of the test part", text)
    check_in("added up over the folds", text)
    # every row was measured once
    rows = [json.loads(p.read_text())["rows"] for p in sorted((place.folder / found["run"]).glob("fold-*/result.json"))]
    check_equal(rows, [30] * 5, "rows measured")


# What trains several times is not begun because a name was left out.
def studies_are_named(place):
    plain = "\n}\nevaluate plain {\n  model: net.last\n  data: rows.test\n  metrics: { accuracy: accuracy() }"
    binary = program(place, "folds: 3" + plain)
    place.run(binary, "train", "--quiet")
    done = place.run(binary, "evaluate")
    check_in("plain: 30 rows (test)", done.out)
    check("3 folds" not in done.out, "a cross-validation was made without being asked for")
    check_in("note: 'folds' trains 3 times, so it is left out: name it (`study evaluate folds`), or ask for --all", done.err)
    check(not (place.folder / "runs/folds").exists(), "the cross-validation was begun")
    both = place.run(binary, "evaluate", "--all").out
    check_in("plain: 30 rows (test)", both)
    check_in("3 folds in place of the test part", both)
    check_in("3 folds in place", place.run(binary, "evaluate", "folds").out)
    check_in("3 folds in place", place.run(binary, "evaluate", "--resume").out)       # plain has nothing to go on with
    check_in("not both", place.run(binary, "evaluate", "plain", "--all", code=2).err)
    only = "\n}\nevaluate other {\n  model: net.last\n  data: rows.test\n  metrics: { accuracy: accuracy() }\n  curve: [50%, 100%]"
    binary = program(place, "folds: 3" + only, name="several")
    check_in("every evaluation of this program trains several times: name one, or ask for --all", place.run(binary, "evaluate", code=2).err)


def threads_do_not_change_the_result(place):
    binary = program(place, "folds: 3")
    runs = [json.loads(place.run(binary, "evaluate", "--json", "--threads", n, "--runs", f"runs{n}").out) for n in (1, 3)]
    check_equal(runs[0]["metrics"], runs[1]["metrics"], "the figures of three threads")


def a_killed_cross_validation_goes_on(place):
    binary = program(place, "folds: 4", length="40 epochs")
    length = place.run(binary, "evaluate", "--quiet", "--runs", "whole").seconds
    whole = result_of(place, next((place.folder / "whole/folds").iterdir()))
    killed = place.folder / "killed"

    def same():
        check_equal(result_of(place, sorted((killed / "folds").iterdir())[-1]), whole, "the result after kills")

    def finished():
        same()
        shutil.rmtree(killed)

    def saved():
        return list(killed.glob("folds/*/study.json"))

    command = [binary, "evaluate", "folds", "--quiet", "--runs", "killed"]
    killed_and_resumed(command, place.folder, saved, finished, length, 6, random.Random(5))
    same()


def a_signal_tells_how_to_go_on(place):
    binary = program(place, "folds: 3", length="4000 epochs")
    process = subprocess.Popen([binary, "evaluate"], cwd=place.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while time.monotonic() < end and not list(place.folder.glob("runs/folds/*/fold-1/net/*/checkpoints/step-*")):
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    check_equal(process.returncode, 130, "the exit code")
    check_in("study evaluate folds --resume", err)


def a_curve_trains_on_shares(place):
    binary = program(place, "curve: [20%, 60%, 100%]\n  folds: 2")
    found = json.loads(place.run(binary, "evaluate", "--json").out)
    check_equal([point["share"] for point in found["curve"]], [0.2, 0.6, 1], "the shares")
    rows = [point["train_rows"] for point in found["curve"]]
    whole = 75 * 70 / 80
    for share, row in zip((0.2, 0.6, 1), rows):
        check(abs(row - share * whole) <= 1.5, f"{rows}")
    check("accuracy" in found["curve"][0]["training"], "measured on the training part")
    lines = [json.loads(line) for line in (place.folder / found["run"] / "metrics.jsonl").read_text().splitlines()]
    check_equal(len(lines), 3, "lines for the plot")
    check("test_accuracy" in lines[0] and "train_loss" in lines[0], str(lines[0]))
    check_in("test_accuracy", place.aml("plot", found["run"]).out)
    text = place.run(binary, "evaluate", "--curve", "50%").out
    check_in("1 shares of the training part", text)


def a_training_is_cross_validated_without_a_block(place):
    binary = program(place, "")
    found = json.loads(place.run(binary, "evaluate", "folds", "--folds", 3, "--json").out)
    check_equal(len(found["metrics"]["accuracy"]["folds"]), 3, "the folds")
    check_in("there is no evaluate block", place.run(binary, "evaluate", "nett", "--folds", 3, code=None).err)


def groups_are_in_one_fold(place):
    """Rows of a patient are five in a row; the fingerprints of the folds' rows show which rows were left out."""
    binary = program(place, "folds: 5", split="train: 80%, test: 20%, group: g, stratify: y")
    found = json.loads(place.run(binary, "evaluate", "--json").out)
    rows = [json.loads(p.read_text())["rows"] for p in sorted((place.folder / found["run"]).glob("fold-*/result.json"))]
    check_equal(sum(rows), 150, "rows measured")
    check(all(n % 5 == 0 for n in rows), f"groups of five were cut: {rows}")


def by_time_the_past_is_trained_on(place):
    binary = program(place, "folds: 4", split="train: 80%, test: 20%, by: time")
    found = json.loads(place.run(binary, "evaluate", "--json").out)
    results = [json.loads(p.read_text()) for p in sorted((place.folder / found["run"]).glob("fold-*/result.json"))]
    check_equal([r["rows"] for r in results], [30] * 4, "rows of a fold")
    check_equal([r["train_rows"] for r in results], [30, 60, 90, 120], "rows trained on")


def what_does_not_fit_is_refused(place):
    binary = program(place, "folds: 5")
    place.run(binary, "evaluate", "--quiet")
    check_in("begun with another 'folds'", place.run(binary, "evaluate", "--resume", "--folds", 3, code=None).err)
    check_in("begun with another 'options'", place.run(binary, "evaluate", "--resume", "--lr", "1e-3", code=None).err)
    check_in("at least 2", place.run(binary, "evaluate", "--folds", 1, code=2).err)
    check_in("increasing", place.run(binary, "evaluate", "--curve", "50%,20%", code=2).err)
    check_in("takes no --checkpoint", place.run(binary, "evaluate", "--checkpoint", "x", code=2).err)
    check_in("cannot be cut into 500 folds", place.run(binary, "evaluate", "--folds", 500, code=None).err)
    run = sorted((place.folder / "runs/folds").iterdir())[0]
    fold = next((run / "fold-2/net").iterdir())
    check_in("trained on other data", place.run(binary, "train", "--resume", "--runs", run / "fold-2", code=None).err)
    check(fold.exists(), "the fold's run is gone")
    (run / "fold-3/result.json").write_text('{"metrics": {')
    place.run(binary, "evaluate", "--folds", 4, "--quiet")
    err = place.run(binary, "evaluate", "--resume", run.name, code=None).err
    check_in("is not the result of a training", err)
    (run / "fold-3/result.json").unlink()
    place.run(binary, "evaluate", "--resume", run.name, "--quiet")
    with open(place.folder / "rows.csv", "a") as file:
        file.write("1,2,3,4,99,1\n")
    (run / "fold-3/result.json").unlink()
    check_in("other data", place.run(binary, "evaluate", "--resume", run.name, code=None).err)


def sampled_trainings_resume_exactly(place):
    """Each way of drawing: the same weights for one thread and three, and after a halt in the middle of an epoch."""
    for setting in ("balanced()", "weighted(by: y, weights: [1, 2, 0.5])", "over_sampled()", "under_sampled()", "smote(neighbours: 3)"):
        name = setting.split("(")[0]
        source = PROGRAM.replace("SPLIT", "train: 70%, valid: 30%, seed: 2").replace("LENGTH", "3 epochs")
        source = source[:source.index("evaluate folds")].replace("  batch:", f"  sampling:  {setting}\n  batch:")
        program(place, "")
        place.write(f"{name}.aml", source)
        place.aml("build", f"{name}.aml", "-o", name)
        binary, seen = place.folder / name, set()
        for runs, commands in (("one", [["--threads", 1]]), ("three", [["--threads", 3]]), ("halted", [["--steps", 7], ["--steps", 13, "--resume"], ["--resume"]])):
            for command in commands:
                place.run(binary, "train", "--quiet", "--runs", f"{name}-{runs}", *command)
            last = sorted(place.folder.glob(f"{name}-{runs}/net/*/checkpoints/step-*"))[-1]
            seen.add((last.name, (last / "weights.safetensors").read_bytes()))
        check_equal(len(seen), 1, f"the number of different results of {setting}")
        plan = json.loads(place.run(binary, "plan", "--json").out)
        check_equal(f"step-{plan['steps']:06d}", last.name, f"the steps of the plan of {setting}")


if __name__ == "__main__":
    os.environ.pop("AML_DATA", None)
    sys.exit(main([folds_give_mean_and_deviation, studies_are_named, threads_do_not_change_the_result, a_killed_cross_validation_goes_on, a_signal_tells_how_to_go_on,
                   a_curve_trains_on_shares, a_training_is_cross_validated_without_a_block, groups_are_in_one_fold, by_time_the_past_is_trained_on,
                   what_does_not_fit_is_refused, sampled_trainings_resume_exactly]))

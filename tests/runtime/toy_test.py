#!/usr/bin/env python3
"""Drives the toy programs as a user does: training, resuming after any death, damaged files, mistakes.

Usage: toy_test.py FOLDER [REGEX]: the folder of the executables toy, toy_other, toy_cpu, toy_artifact.
"""
import glob
import hashlib
import json
import os
import pty
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback

BIN = os.path.abspath(sys.argv[1])
PATTERN = sys.argv[2] if len(sys.argv) > 2 else ""
TESTS = []


class Skip(Exception):
    """This machine cannot show what the case is about."""


def test(function):
    TESTS.append(function)
    return function


def run(*arguments, program="toy", code=0, stdin=None, env=None):
    done = subprocess.run([os.path.join(BIN, program), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          input=stdin, timeout=120, env={**os.environ, **(env or {})})
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    assert done.returncode == code, f"{arguments}: exit {done.returncode}, expected {code}\n{out}\n{err}"
    return out, err


def has(text, *pieces):
    for piece in pieces:
        assert piece in text, f"expected {piece!r} in:\n{text}"


def write(path, text):
    with open(path, "wb") as out:
        out.write(text if isinstance(text, bytes) else text.encode())


def newest(job="toy", runs="runs"):
    return sorted(glob.glob(f"{runs}/{job}/*"))[-1]


def steps(run_folder):
    return sorted(int(p[-6:]) for p in glob.glob(run_folder + "/checkpoints/step-*"))


def content(run_folder):
    """What has to be equal in two runs that went through the same steps."""
    state = {}
    for path in sorted(glob.glob(run_folder + "/checkpoints/step-*/*.safetensors")) + [run_folder + "/metrics.jsonl"]:
        state[path[len(run_folder):]] = hashlib.sha256(open(path, "rb").read()).hexdigest()
    return state


# ---- training

@test
def trains_and_learns():
    out, err = run("train", "toy")
    has(err, "15 weights, 210 rows to train on, 60 to validate", "done after step 263", "best: step")
    lines = [json.loads(line) for line in open(newest() + "/metrics.jsonl")]
    assert [l["step"] for l in lines if "loss" in l] == list(range(1, 264))
    valid = [l for l in lines if "accuracy" in l]
    assert len(valid) == 20 and valid[-1]["accuracy"] > 0.85 and valid[0]["valid_loss"] > valid[-1]["valid_loss"]
    assert len(valid[-1]["confusion"]) == 3 and sum(map(sum, valid[-1]["confusion"])) == 60
    # validations come after step ceil(e * rows / batch)
    assert [l["step"] for l in valid] == [-(-e * 210 // 16) for e in range(1, 21)]
    has(open(newest() + "/config.aml").read(), "option lr = 0.1    // toy.aml:3", "const hidden = 128    // toy.aml:2", "batch: 16    // toy.aml:30",
        "seed: 42    // default")
    has(open(newest() + "/log.txt").read(), "done after step 263")
    assert len(steps(newest())) <= 3 and steps(newest())[-1] == 263


@test
def threads_change_nothing():
    contents = []
    for threads in (1, 2, 5):
        run("train", "toy", "--quiet", "--threads", threads)
        contents.append(content(newest()))
    assert contents[0] == contents[1] == contents[2]


@test
def seeds_change_weights():
    run("train", "toy", "--quiet", "--seed", 1, "--steps", 3)
    a = content(newest())
    run("train", "toy", "--quiet", "--seed", 2, "--steps", 3)
    b = content(newest())
    assert a != b
    run("train", "toy", "--quiet", "--seed", 1, "--steps", 3)
    assert content(newest()) == a


@test
def steps_zero_writes_the_initial_state():
    out, _ = run("train", "toy", "--steps", 0, "--json")
    assert json.loads(out)["step"] == 0 and json.loads(out)["finished"] is False
    assert steps(newest()) == [0]


@test
def early_stop():
    out, err = run("train", "early")
    has(err, "stopped early")
    out, _ = run("train", "early", "--json", "--resume")
    summary = json.loads(out)
    assert summary["finished"] and summary["step"] < 6563 and summary["best"]["step"] <= summary["step"]


@test
def length_in_seconds():
    began = time.monotonic()
    out, _ = run("train", "timed", "--json")
    summary = json.loads(out)
    assert summary["finished"] and 0.28 < summary["seconds"] < 5 and time.monotonic() - began < 30
    assert len(steps(newest("timed"))) >= 2


@test
def overfit_trains_and_validates_on_the_same_rows():
    out, err = run("train", "toy", "--overfit", 20, "--length", "300 steps")
    has(err, "20 rows to train on, 20 to validate", "step 300/300")
    last = [json.loads(l) for l in open(newest() + "/metrics.jsonl") if "accuracy" in l][-1]
    assert sum(map(sum, last["confusion"])) == 20
    # the few rows get as many steps as all rows would, so that they can be learned
    has(run("train", "toy", "--overfit", 2)[1], "2 rows to train on", "done after step 263")


@test
def the_rate_is_that_of_steps():
    # without the time of validations: here they sleep for most of the run, which no load of the machine can hide
    _, err = run("train", "toy", env={"TOY_DROWSY": "1"})
    rate = float(re.findall(r"([\d.]+) steps/s", err)[-1])
    number, unit = re.search(r"done after step 263, ([\d.]+) (ms|s)", err).groups()
    assert rate > 3 * 263 / (float(number) / (1000 if unit == "ms" else 1)), err


@test
def nan_is_caught():
    out, err = run("train", "toy", "--poison", 30, code=1)
    has(err, "error: the loss of step 30 is not a number", "checkpoint of step 27 is kept", "help: a lower learning rate", "metrics.jsonl")
    last = json.loads(open(newest() + "/metrics.jsonl").read().splitlines()[-1])
    assert last["step"] == 30 and last["loss"] is None and last["lr"] > 0


@test
def summary_tells_the_memory_that_was_planned():
    summary = json.loads(run("train", "toy", "--json")[0])
    plan = json.loads(run("plan", "toy", "--json")[0])
    assert summary["memory"] == {"state": plan["state"], "snapshot": plan["snapshot"], "arena": plan["arena"], "batch": plan["batches"], "data": plan["data"]}
    # prepared rows of four numbers and a class, the lists of the parts, the order of training
    assert plan["data"] == 300 * (4 * 4 + 4) + 8 * (300 + 300 + 210)
    assert plan["steps"] == summary["step"] == 263 and plan["rows"] == {"train": 210, "valid": 60, "test": 30}


@test
def plan_without_data():
    os.remove("toy.csv")
    has(run("plan", "toy")[0], "rows: not known", "tried toy.csv", "without the data")


# ---- resuming

@test
def resumed_in_pieces_is_the_same():
    run("train", "toy", "--quiet", "--runs", "whole", "--lr", "0.2")
    run("train", "toy", "--quiet", "--runs", "parts", "--lr", "0.2", "--steps", 5)
    for at in (6, 13, 14, 100, 263, 400):
        run("train", "toy", "--quiet", "--runs", "parts", "--resume", "--steps", at, "--threads", 1 + at % 2)
    whole, parts = content(newest(runs="whole")), content(newest(runs="parts"))
    last = "/checkpoints/step-000263/"
    for name in ("weights.safetensors", "optimizer.safetensors"):
        assert whole[last + name] == parts[last + name]
    assert whole["/metrics.jsonl"] == parts["/metrics.jsonl"]
    state = [json.load(open(newest(runs=r) + last + "state.json")) for r in ("whole", "parts")]
    for s in state:
        s.pop("seconds")
    assert state[0] == state[1] and state[0]["options"] == {"lr": "0.2"}


@test
def killed_at_random_moments():
    arguments = ["train", "toy", "--quiet", "--work", 1500000]
    began = time.monotonic()
    run(*arguments, "--runs", "whole")
    length = time.monotonic() - began
    whole = content(newest(runs="whole"))
    chance = random.Random(5)
    kills = 0
    while True:
        resume = ["--resume"] if glob.glob("killed/toy/*/checkpoints") else []
        process = subprocess.Popen([os.path.join(BIN, "toy"), *map(str, arguments), "--runs", "killed", *resume], stderr=subprocess.PIPE)
        try:
            _, err = process.communicate(timeout=length * chance.uniform(0.02, 0.2) if kills < 20 else 120)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            continue
        assert process.returncode == 0, err.decode()
        killed = content(newest(runs="killed"))
        assert killed == whole, (whole, killed)
        if kills == 20:
            break
        shutil.rmtree("killed")     # it ended before its kill: begins anew, and the next kills come sooner
        length *= 0.7
        assert length > 1e-4, "every run ends before it can be killed"
    assert not glob.glob("killed/toy/*/checkpoints/.new-*")


@test
def signals_write_a_checkpoint():
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = subprocess.Popen([os.path.join(BIN, "toy"), "train", "toy", "--quiet", "--work", "3000000", "--runs", "signalled"], stderr=subprocess.PIPE)
        while not glob.glob("signalled/toy/*/checkpoints/step-000014"):
            time.sleep(0.005)
            assert process.poll() is None, "it ended too early"
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == code, (process.returncode, err)
        has(err.decode(), "interrupted after step", "its checkpoint is complete", "train toy --resume --runs signalled`")
        step = int(re.search(r"after step (\d+)", err.decode()).group(1))
        assert steps(newest(runs="signalled"))[-1] == step
        run("train", "toy", "--quiet", "--resume", "--work", 0, "--runs", "signalled")
        shutil.rmtree("signalled")


@test
def a_second_signal_ends_at_once():
    if b"__tsan_init" in open(os.path.join(BIN, "toy"), "rb").read():
        return      # ThreadSanitizer holds signals back until the next system call, and a long step makes none
    process = subprocess.Popen([os.path.join(BIN, "toy"), "train", "toy", "--quiet", "--work", "2000000000"], stderr=subprocess.PIPE)
    while not glob.glob("runs/toy/*/checkpoints/step-000000"):
        time.sleep(0.01)
    time.sleep(0.2)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130 and time.monotonic() - began < 2


@test
def damaged_checkpoint_is_reported_and_the_previous_used():
    run("train", "toy", "--quiet", "--runs", "whole")
    run("train", "toy", "--quiet", "--steps", 40)
    last = newest() + "/checkpoints/step-000040/weights.safetensors"
    data = bytearray(open(last, "rb").read())
    data[-3] ^= 4
    write(last, bytes(data))
    _, err = run("train", "toy", "--resume")
    has(err, "warning: the checkpoint", "step-000040 is damaged: weights.safetensors was altered", "resumed at step 27")
    assert content(newest()) == content(newest(runs="whole"))
    assert os.path.isdir(newest() + "/checkpoints/damaged-step-000040")
    # all of them
    for path in glob.glob(newest() + "/checkpoints/step-*/weights.safetensors"):
        os.truncate(path, 20)
    _, err = run("train", "toy", "--resume", code=1)
    has(err, "should have", "bytes, and has 20")


@test
def damaged_best_falls_back():
    run("train", "toy", "--quiet")
    best = open(newest() + "/checkpoints/best").read().strip()
    os.truncate(f"{newest()}/checkpoints/{best}/weights.safetensors", 30)
    out, err = run("evaluate")
    has(err, f"{best} is damaged")
    assert best not in out


@test
def resuming_refuses_what_is_not_its_own():
    run("train", "toy", "--quiet", "--steps", 20)
    _, err = run("train", "toy", "--resume", program="toy_other", code=1)
    has(err, "written by another program", "0000000000000000...", "1111111111111111...")
    with open("toy.csv", "a") as out:
        out.write("1,2,3,4,0\n")
    _, err = run("train", "toy", "--resume", code=1)
    has(err, "trained on other data", "toy.csv has")
    run("data-file", "toy.csv", 300)
    _, err = run("train", "toy", "--resume", "--seed", 7, code=1)
    has(err, "begun with --seed 42, and cannot go on with 7")
    _, err = run("train", "toy", "--resume", "nosuchrun", code=1)
    has(err, "there is no run nosuchrun")
    _, err = run("train", "early", "--resume", code=1)
    has(err, "the job 'early' has no run in runs/early")
    _, err = run("train", "toy", "--resume", os.path.basename(newest()), "--lr", "0.3", "--steps", 30)
    has(err, "resumed at step 20")


@test
def options_are_remembered():
    run("train", "toy", "--quiet", "--lr", "0.3", "--length", "100 steps", "--steps", 10)
    _, err = run("train", "toy", "--resume")
    has(err, "step 100/100")
    has(open(newest() + "/config.aml").read(), "option lr = 0.3    // command line", "option length = 100 steps    // command line")
    _, err = run("train", "toy", "--resume", "--length", "120 steps")
    has(err, "note: --length 120 steps instead of 100 steps", "done after step 120")


@test
def one_process_a_run():
    process = subprocess.Popen([os.path.join(BIN, "toy"), "train", "toy", "--quiet", "--work", "5000000"], stderr=subprocess.DEVNULL)
    while not glob.glob("runs/toy/*/checkpoints/step-000000"):
        time.sleep(0.01)
    _, err = run("train", "toy", "--resume", code=1)
    has(err, "is being trained by another process")
    process.kill()
    process.wait()


@test
def standard_safetensors():
    run("train", "toy", "--quiet", "--steps", 3)
    data = open(newest() + "/checkpoints/step-000003/weights.safetensors", "rb").read()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    assert (8 + length) % 64 == 0 and header.pop("__metadata__") == {"format": "aml"}
    assert list(header) == sorted(header) == ["fc.bias", "fc.weight", "norm.mean"]
    end = 0
    for entry in sorted(header.values(), key=lambda e: e["data_offsets"]):
        assert entry["data_offsets"][0] == end and entry["dtype"] == "F32"
        end = entry["data_offsets"][1]
    assert end == len(data) - 8 - length


# ---- evaluation and prediction

@test
def evaluates():
    run("train", "toy", "--quiet")
    out, _ = run("evaluate")
    has(out, "report: 30 rows (test)", "accuracy", "confusion", "auc")
    result = json.loads(run("evaluate", "report", "--json")[0])
    assert result["rows"] == 30 and 0.5 < result["metrics"]["auc"] <= 1
    assert json.load(open(newest() + "/evaluation-report.json")) == result
    confusion = result["metrics"]["confusion"]
    assert abs(sum(confusion[k][k] for k in range(3)) / 30 - result["metrics"]["accuracy"]) < 1e-6
    # a training is evaluated on its test rows; another checkpoint may be named
    assert json.loads(run("evaluate", "toy", "--json")[0])["rows"] == 30
    last = f"{newest()}/checkpoints/step-000263"
    assert json.loads(run("evaluate", "report", "--json", "--checkpoint", last)[0])["step"] == 263
    _, err = run("evaluate", "report", "--checkpoint", newest(), code=1)
    has(err, f"{newest()} is not a checkpoint: it has no MANIFEST.json", "RUN/checkpoints/step-000100")
    has(run("predict", "toy.csv", code=2)[1], "several train blocks: say which of toy, ", " with --job NAME")
    _, err = run("evaluate", "reprt", code=2)
    has(err, "did you mean report?")


@test
def predicts():
    run("train", "toy", "--quiet")
    out, _ = run("predict", "toy.csv", "--job", "toy")
    rows = out.splitlines()
    assert rows[0] == "row,prediction,probability_0,probability_1,probability_2" and len(rows) == 301
    truth = [int(line.split(",")[-1]) for line in open("toy.csv").read().splitlines()[1:]]
    hits = 0
    for line, y in zip(rows[1:], truth):
        cells = line.split(",")
        p = list(map(float, cells[2:]))
        assert abs(sum(p) - 1) < 1e-5 and int(cells[1]) == p.index(max(p))
        hits += int(cells[1]) == y
    assert hits > 240
    # the label's column may be absent; columns of a name may move; standard input; a file; JSON
    without = "\n".join(line.rsplit(",", 1)[0] for line in open("toy.csv").read().splitlines())
    write("without.csv", without)
    assert run("predict", "without.csv", "--job", "toy")[0] == out
    assert run("predict", "-", "--job", "toy", stdin=without.encode())[0] == out
    run("predict", "without.csv", "--job", "toy", "-o", "out.csv")
    assert open("out.csv").read() == out
    first = json.loads(run("predict", "without.csv", "--job", "toy", "--json")[0].splitlines()[0])
    assert first["row"] == 1 and len(first["probability"]) == 3
    write("bad.csv", without.replace("\n", "\n1,2,x,4\n", 1))
    _, err = run("predict", "bad.csv", "--job", "toy", code=1)
    has(err, 'bad.csv:2:5: column "c", field \'x\': expected a number (f32), found "x"')
    _, err = run("predict", "nosuch.csv", "--job", "toy", code=1)
    has(err, "cannot open nosuch.csv")
    write("narrow.csv", "a,b\n1,2\n")
    _, err = run("predict", "narrow.csv", "--job", "toy", code=1)
    has(err, "narrow.csv:1:1", "reads the columns 0..3, and the file has 2 columns")


@test
def a_file_without_header_is_refused():
    # its first row would be lost
    run("train", "toy", "--quiet", "--steps", 2)
    for arguments in (["rows.csv", "--job", "toy"], ["rows.csv"]):
        program = "toy" if len(arguments) > 1 else "toy_artifact"
        write("rows.csv", "1.5,2,0,4\n5,6,7,8\n")
        has(run("predict", *arguments, program=program, code=1)[1], "rows.csv:1:1: expected the names of the columns, found a row of numbers")
        write("rows.csv", "0,1,2,3\n5,6,7,8\n")   # names that some tools write: the columns counted
        assert len(run("predict", *arguments, program=program)[0].splitlines()) == 2


@test
def predicts_held_out_rows():
    run("train", "toy", "--quiet")
    out, _ = run("predict", "--held_out", 5, "--job", "toy")
    rows = [line.split(",") for line in out.splitlines()]
    assert rows[0] == ["row", "expected", "prediction", "probability"] and len(rows) == 6
    truth = [line.split(",")[-1] for line in open("toy.csv").read().splitlines()[1:]]
    assert all(truth[int(row[0]) - 1] == row[1] for row in rows[1:])
    assert run("predict", "--held_out", 5, "--job", "toy", "-o", "held.csv")[0] == "" and open("held.csv").read() == out
    lines = [json.loads(line) for line in run("predict", "--held_out", 5, "--job", "toy", "--json")[0].splitlines()]
    assert [[str(l["row"]), str(l["expected"]), str(l["prediction"])] for l in lines] == [row[:3] for row in rows[1:]]
    assert all(len(l["probability"]) == 3 for l in lines)


@test
def deployed_program():
    has(run("info", program="toy_artifact")[0], "toy_f32: The toy, deployed.", "parameters 15", "x: f32[4]", "probability: f32[3]")
    assert json.loads(run("info", "--json", program="toy_artifact")[0])["batch"] == [1, 16]
    out, _ = run("predict", "toy.csv", program="toy_artifact")
    rows = out.splitlines()
    assert rows[0] == "row,prediction,probability_0,probability_1,probability_2" and len(rows) == 301
    # one row at a time, through a pipe that is answered before it ends
    process = subprocess.Popen([os.path.join(BIN, "toy_artifact"), "predict", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    lines = open("toy.csv", "rb").read().splitlines(True)
    process.stdin.write(lines[0] + lines[1])
    process.stdin.flush()
    assert process.stdout.readline().decode().strip() == rows[0]
    assert process.stdout.readline().decode().strip() == rows[1]
    process.stdin.write(b"".join(lines[2:]))
    process.stdin.close()
    assert process.stdout.read().decode().splitlines() == rows[2:]
    assert process.wait() == 0
    bench = json.loads(run("bench", "--seconds", "0.05", "--json", program="toy_artifact")[0])
    assert [b["batch"] for b in bench] == [1, 16] and all(0 < b["min_us"] <= b["median_us"] <= b["p99_us"] for b in bench)
    write("bad.csv", "a,b,c,d\n1,2,3,4\n1,2,3\n")
    out, err = run("predict", "bad.csv", program="toy_artifact", code=1)
    has(err, "bad.csv:3:1: expected 4 cells as in the first row, found 3")
    assert len(out.splitlines()) == 2
    write("same.csv", "a,b,c,d\n1,2,3,4\n")
    has(run("predict", "same.csv", "-o", "same.csv", program="toy_artifact", code=1)[1], "cannot write same.csv: it is the file that is read")
    assert open("same.csv").read() == "a,b,c,d\n1,2,3,4\n"
    write("quoted.csv", 'a,b,c,d\n"1",2,"3",4\r\n\n5,6,7,8')
    assert len(run("predict", "quoted.csv", program="toy_artifact")[0].splitlines()) == 3
    write("long.csv", "a,b,c,d\n" + "1" * 5000000 + ",2,3,4\n")
    has(run("predict", "long.csv", program="toy_artifact", code=1)[1], "long.csv:2:1", "a longer one")
    has(run("predict", "missing.csv", program="toy_artifact", code=1)[1], "cannot open missing.csv")
    write("empty.csv", "")
    has(run("predict", "empty.csv", program="toy_artifact", code=1)[1], "found an empty file")
    has(run("prdict", "x", program="toy_artifact", code=2)[1], "did you mean predict?")
    has(run("predict", program="toy_artifact", code=2)[1], "predict needs FILE")
    size = os.path.getsize(os.path.join(BIN, "toy_artifact"))
    assert size < 4_000_000


@test
def predictions_are_never_skipped():
    run("train", "timed", "--quiet", "--steps", 2)
    good = open("toy.csv").read().splitlines(True)
    write("some.csv", "".join(good[:4]) + "1,2\n" + "".join(good[4:]))     # the data set skips bad rows in training
    has(run("predict", "some.csv", "--job", "timed", code=1)[1], "some.csv:5:1: expected 5 cells")
    has(run("predict", "-", "--job", "timed", stdin=b"a,b,c,d,class\n1,2,x,4,0\n", code=1)[1], "standard input:2:5")
    has(run("predict", "toy.csv", "--job", "timed", "-o", "/dev/full", code=1)[1], "cannot write /dev/full")
    has(run("predict", "toy.csv", "-o", "/dev/full", program="toy_artifact", code=1)[1], "writing")


@test
def a_run_without_checkpoint_is_passed_over():
    run("train", "toy", "--quiet", "--steps", 14)
    os.makedirs("runs/toy/99991231-235959-9990000/checkpoints")
    assert json.loads(run("evaluate", "--json")[0])["step"] == 14
    _, err = run("train", "toy", "--resume", "--steps", 2)
    has(err, "99991231-235959-9990000 has no checkpoint yet: it begins at step 0")


@test
def progress_line_on_a_terminal():
    try:
        main, terminal = pty.openpty()
    except OSError as error:
        raise Skip(f"no pseudo terminal: {error}") from error
    process = subprocess.Popen([os.path.join(BIN, "toy"), "train", "toy", "--work", "3000000", "--length", "4 epochs"], stderr=terminal)
    os.close(terminal)
    shown = b""
    while True:
        try:
            piece = os.read(main, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(main)
    assert process.wait() == 0
    text = shown.decode()
    lines = re.findall(r"\r([^\r\n]*)\x1b\[K", text)
    assert any(re.match(r"epoch [\d.]+/4\S* +step \d+/\d+ +loss [\d.]+ .*steps/s +.* left", line) for line in lines), text
    has(text, "toy: done after step")


# ---- data

CELLS = "1,2,3,4,0\n"
BROKEN = {
    "ragged_short": ("a,b,c,d,class\n1,2,3,4\n" + CELLS, "toy.csv:2:1: expected 5 cells as in the first row, found 4"),
    "ragged_long": ("a,b,c,d,class\n1,2,3,4,0,9\n", "toy.csv:2:1: expected 5 cells as in the first row, found 6"),
    "not_a_number": ("a,b,c,d,class\n" + CELLS + "1,zwei,3,4,0\n", 'toy.csv:3:3: column "b", field \'x\': expected a number (f32), found "zwei"'),
    "nan_text": ("a,b,c,d,class\n1,2,nan,4,0\n", 'toy.csv:2:5: column "c", field \'x\': expected a number (f32), found "nan"'),
    "inf_text": ("a,b,c,d,class\n1,2,-inf,4,0\n", 'found "-inf"'),
    "too_large": ("a,b,c,d,class\n1,2,1e99,4,0\n", 'expected a number that f32 can hold, found "1e99"'),
    "missing_value": ("a,b,c,d,class\n1,,3,4,0\n", 'toy.csv:2:3: column "b", field \'x\': expected a value, not a missing one, found ""'),
    "label_out_of_range": ("a,b,c,d,class\n1,2,3,4,3\n", 'toy.csv:2:9: column "class", field \'y\': expected a class in 0..2, found "3"'),
    "label_negative": ("a,b,c,d,class\n1,2,3,4,-1\n", 'expected a class in 0..2, found "-1"'),
    "label_not_whole": ("a,b,c,d,class\n1,2,3,4,1.0\n", 'expected a class in 0..2, found "1.0"'),
    "nul_byte": (b"a,b,c,d,class\n1,2\x00,3,4,0\n", "toy.csv:2:4: expected a row of 5 cells, found a NUL byte"),
    "bad_utf8": (b"a,b,c,d,class\n1,\xff\xfe,3,4,0\n", "toy.csv:2:3: expected a row of 5 cells, found bytes that are not UTF-8"),
    "open_quote": ('a,b,c,d,class\n1,"2,3,4,0\n1,2,3,4,0\n', "toy.csv:2:3: expected a row of 5 cells, found a quote that is never closed"),
    "text_after_quote": ('a,b,c,d,class\n"1"x,2,3,4,0\n', "toy.csv:2:4: expected a row of 5 cells, found text after a closing quote"),
    "empty_file": ("", "toy.csv:1:1: expected rows, found an empty file"),
    "only_blank_lines": ("\n\n\n", "expected rows, found an empty file"),
    "no_header": (CELLS, "toy.csv:1:1: expected the names of the columns, found a row of numbers\nhelp: put a line of names before it"),
    "only_header": ("a,b,c,d,class\n", "expected rows, found none behind the header"),
    "no_such_column": ("a,b,c,d,clas\n" + CELLS, 'toy.csv:1:1: no column is named "class", which the field \'y\' reads (toy.aml:16)'),
    "too_few_columns": ("class,b\n1,2\n", "the field 'x' reads the columns 0..3, and the file has 2 columns"),
    "huge_line": ("a,b,c,d,class\n1,2,3,4,0" + ",5" * 200000 + "\n", "expected 5 cells as in the first row, found 200005"),
    "huge_cell": ("a,b,c,d,class\n" + "9" * 3000000 + ",2,3,4,0\n", "expected a number (f32), found \"9999"),
    "bad_header": ('a,"b,c,d,class\n', "expected the names of the columns, found a quote that is never closed"),
    "tabs": ("a\tb\tc\td\tclass\n1\t2\t3\t4\t0\n", 'help: the separator is "," and the first row has a tab: source: csv(..., separator: "\\t")'),
}


@test
def broken_files():
    for name, (text, says) in BROKEN.items():
        write("toy.csv", text)
        _, err = run("train", "toy", code=1)
        assert says in err, f"{name}: expected {says!r} in {err!r}"
        assert err.startswith("error: ")
        assert not glob.glob("runs/toy/*"), "a run was left behind"
    has(run("train", "toy", code=1)[1], "error: ")
    write("toy.csv", "a,b,c,d,clas\n" + CELLS)
    has(run("train", "toy", code=1)[1], 'did you mean "clas"?', "found 5 columns: a, b, c, d, clas")


@test
def odd_but_sound_files():
    plain = "".join(f"{i % 5},{i % 3},{i},{-i},{i % 3}\n" for i in range(60))
    write("toy.csv", "a,b,c,d,class\n" + plain)
    expected = run("predict", "toy.csv", program="toy_artifact")[0]
    run("train", "toy", "--quiet", "--steps", 2)
    weights = content(newest())
    for text in ("\ufeffa,b,c,d,class\n" + plain, "a,b,c,d,class\r\n" + plain.replace("\n", "\r\n"), '"a","b",c,d,"class"\n' + plain[:-1],
                 "a,b,c,d,class\n" + plain.replace("\n", "\n\n"), "a,b,c,d,class\n" + plain.replace(",", " , "),
                 'a,"b\nnewline",c,d,class\n' + plain, "a,b,c,d,class\r" + plain.replace("\n", "\r")):
        write("toy.csv", text)
        assert run("predict", "toy.csv", program="toy_artifact")[0] == expected, text[:40]
        run("train", "toy", "--quiet", "--steps", 2)
        again = content(newest())
        assert again["/checkpoints/step-000002/weights.safetensors"] == weights["/checkpoints/step-000002/weights.safetensors"], text[:40]


@test
def bad_rows_are_skipped_up_to_a_limit():
    good = open("toy.csv").read().splitlines(True)
    write("toy.csv", "".join(good[:50]) + "x,y\n1,2,3,4,9\n" + "".join(good[50:]))
    _, err = run("train", "timed", "--steps", 2)
    has(err, "warning: skipped a row: toy.csv:51:1: expected 5 cells", "toy.csv:52:9: column \"class\"", "300 rows to train on")
    write("toy.csv", "".join(good[:50]) + "bad\n" * 40 + "".join(good[50:]))
    _, err = run("train", "timed", "--steps", 2, code=1)
    has(err, "40 of 340 rows are bad, and at most 10% may be skipped (toy.aml:23)", "`data check` lists them")


@test
def data_check_lists_every_bad_row():
    out, _ = run("data", "check")
    has(out, "rows: toy.csv: 300 rows, 0 bad", "y: 150 90 60 rows of class 0..2", hashlib.sha256(open("toy.csv", "rb").read()).hexdigest())
    good = open("toy.csv").read().splitlines(True)
    write("toy.csv", "".join(good[:10]) + "1,2\n" + "".join(good[10:20]) + "1,2,3,q,0\n" + "".join(good[20:]) + "1,2,3,4,7\n")
    out, err = run("data", "check", code=1)
    has(out, "toy.csv:11:1:", "toy.csv:22:7:", "toy.csv:304:9:", "300 rows, 3 bad")
    has(err, "6 rows are bad")      # both data sets read the file
    lines = [json.loads(l) for l in run("data", "check", "--json", code=1)[0].splitlines()]
    assert sum("bad_row" in l for l in lines) == 6
    has(run("data", "chek", code=2)[1], "expected `data check`")
    write("toy.csv", "a,b,c,d,class\n")
    has(run("data", "check", code=1)[1], "toy.csv: expected rows, found none behind the header")


@test
def data_is_looked_up():
    # the source's folder is found from the executable's: both lie in `place`, and the current folder is another
    os.mkdir("place")
    os.link(shutil.copy(os.path.join(BIN, "toy"), "place/copy"), "place/toy")
    program = os.path.abspath("place/toy")
    data = open("toy.csv").read()
    os.remove("toy.csv")
    _, err = run("train", "toy", program=program, code=1, env={"AML_DATA": "elsewhere"})
    has(err, 'the data file "toy.csv" (toy.aml:14) was not found', "place/beside/toy.csv", "tried toy.csv", "tried elsewhere/toy.csv")
    for folder, shown in (("elsewhere", "elsewhere/toy.csv"), (".", "toy.csv"), ("place/beside", "place/beside/toy.csv")):
        os.makedirs(folder, exist_ok=True)
        write(folder + "/toy.csv", data)
        run("train", "toy", "--steps", 1, program=program, env={"AML_DATA": "elsewhere"})
        config = open(newest() + "/config.aml").read()
        assert re.search(rf"/// data (\S*/)?{re.escape(shown)}, SHA-256", config), config
    write("other.csv", data)
    run("train", "toy", "--steps", 1, "--corpus", "other.csv")
    has(open(newest() + "/config.aml").read(), "data other.csv", 'option corpus = "other.csv"    // command line')
    has(run("train", "toy", "--corpus", "/nonexistent/x.csv", code=1)[1], "tried /nonexistent/x.csv")
    os.mkdir("folder.csv")
    has(run("train", "toy", "--corpus", "folder.csv", code=1)[1], "it is a folder")


# ---- the command line

@test
def help_tells_everything():
    for arguments in ([], ["help"], ["--help"], ["-h"], ["train", "--help"]):
        out, _ = run(*arguments)
        has(out, "train", "evaluate", "predict", "plan", "data", "--lr float", "= 0.1", "Peak learning rate.", "(toy.aml:3)", "= 20 epochs", "hidden", "= 128",
            "-D name=value", "--resume [RUN]", "exit codes", "Softmax regression by hand.")
    has(run("--version")[0], "toy, compiled by amlc 0 for x86-64")
    has(run("info")[0], "toy.aml, SHA-256 0000")
    assert json.loads(run("info", "--json")[0])["source"] == "toy.aml"


@test
def mistakes_on_the_command_line():
    cases = [
        (["trian"], 'unknown verb "trian"', "did you mean train?"),
        (["train", "toy", "--lrr", "1"], "unknown option --lrr", "did you mean --lr?"),
        (["train", "toy", "--thread", "1"], "unknown option --thread", "did you mean --threads?"),
        (["train", "toy", "--xyzzyx"], "unknown option --xyzzyx", "`help` lists all options"),
        (["train", "toy", "--lr"], "--lr needs a number behind it"),
        (["train", "toy", "--lr", "fast"], '--lr: expected a number, found "fast"', "toy.aml:3"),
        (["train", "toy", "--lr", "3 epochs"], "--lr: expected a number"),
        (["train", "toy", "--lr", "nan"], "--lr: expected a number"),
        (["train", "toy", "--work", "1.5"], "--work: expected a whole number"),
        (["train", "toy", "--length", "40"], '"40": a unit is missing'),
        (["train", "toy", "--length", "5 KiB"], "it has another unit"),
        (["train", "toy", "--length", "-3 epochs"], "it is negative"),
        (["train", "toy", "--fast=perhaps"], "--fast: expected true or false"),
        (["train", "toy", "--room", "5 epochs"], "--room: expected a size"),
        (["train", "toy", "--hidden", "256"], "hidden is a const, fixed at toy.aml:2", "it is 128", "amlc build toy.aml -D hidden=256"),
        (["train", "toy", "--threads", "0"], "--threads: expected a whole number of at least 1"),
        (["train", "toy", "--seed", "x"], "--seed: expected a whole number"),
        (["train", "toy", "--json=1"], "--json takes no value"),
        (["train", "toy", "-x"], "unknown option -x"),
        (["train", "toy", "early"], "train takes one argument"),
        (["train"], "several train blocks: say which of toy, early, timed"),
        (["train", "tox"], 'there is no train block "tox"', "did you mean toy?"),
        (["predict"], "predict needs FILE"),
        (["predict", "toy.csv", "--seed", "3"], "--seed does not belong to predict"),
        (["evaluate", "--overfit", "3"], "--overfit does not belong to evaluate"),
        (["--lr", "3"], "expected a verb before --lr"),
    ]
    for arguments, *says in cases:
        _, err = run(*arguments, code=2)
        has(err, "error: ", *says)
    assert not os.path.exists("runs")


@test
def options_are_typed():
    run("train", "toy", "--quiet", "--steps", 1, "--lr=5%", "--share", "50%", "--room", "2 MiB", "--fast", "--work", "1_000", "--length", "3 epochs")
    has(open(newest() + "/config.aml").read(), "lr = 0.05 ", "share = 0.5 ", "room = 2097152 ", "fast = true ", "work = 1000 ", "length = 3 epochs ")


@test
def cpu_is_checked():
    _, err = run("train", "toy", program="toy_cpu", code=1)
    has(err, "compiled for the CPU level x86-64", "this machine's CPU or system lacks avx9000")
    # what this program does not know is not taken to be there
    missing = set(err.split("lacks ")[1].split("\n")[0].split(", "))
    assert "avx9000" in missing and missing <= {"avx9000", "avx512vp2intersect", "amx-int8", "avxifma"}, missing
    run("help", program="toy_cpu")


@test
def a_full_disk_is_reported():
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    done = subprocess.run([os.path.join(BIN, "toy"), "train", "toy"], stderr=subprocess.PIPE, preexec_fn=limit)
    err = done.stderr.decode()
    assert done.returncode == 1, err
    has(err, "error: ", "cannot write", "File too large")
    assert not glob.glob("runs/toy/*/checkpoints/step-*")
    # what is half written does not stay, and what there was before does
    run("train", "toy", "--quiet", "--steps", 2)
    done = subprocess.run([os.path.join(BIN, "toy"), "train", "toy", "--resume"], stderr=subprocess.PIPE, preexec_fn=limit)
    assert done.returncode == 1, done.stderr.decode()
    assert sorted(os.listdir(newest() + "/checkpoints")) == ["latest", "step-000000", "step-000002"], os.listdir(newest() + "/checkpoints")


@test
def a_run_that_cannot_be_written_to_is_evaluated():
    run("train", "toy", "--quiet")
    out, _ = run("evaluate", "report")
    os.mkdir(newest() + "/.evaluation-report.json.new")
    again, err = run("evaluate", "report")
    assert again == out
    has(err, "warning: the result is not kept: cannot")


@test
def unwritable_runs_folder():
    write("runs", "a file")
    _, err = run("train", "toy", code=1)
    has(err, "error: cannot create the folder runs/toy")


@test
def no_runs_yet():
    for verb in (["evaluate"], ["predict", "toy.csv", "--job", "toy"]):
        _, err = run(*verb, code=1)
        has(err, "the job 'toy' has no run in runs/toy", "`train toy` makes one")


@test
def starts_quickly():
    times = []
    for _ in range(20):
        began = time.monotonic()
        subprocess.run([os.path.join(BIN, "toy"), "--help"], stdout=subprocess.DEVNULL, check=True)
        times.append(time.monotonic() - began)
    # the process alone; a sanitizer's start is slower
    image = open(os.path.join(BIN, "toy"), "rb").read()
    limit = 1 if b"__asan_init" in image or b"__tsan_init" in image else 0.01
    assert min(times) < limit, min(times)


def main():
    failed = 0
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None     # checkpoints are synced: a disk would be waited for
    for function in TESTS:
        if not re.search(PATTERN, function.__name__):
            continue
        folder = tempfile.mkdtemp(prefix="aml-toy-", dir=shared)
        os.chdir(folder)
        try:
            run("data-file", "toy.csv", 300)
            function()
            print(f"PASS {function.__name__}", flush=True)
        except Skip as reason:
            print(f"SKIP {function.__name__}: {reason}", flush=True)
        except Exception as error:
            failed += 1
            place = traceback.extract_tb(error.__traceback__)
            mine = [frame for frame in place if frame.filename == __file__ and frame.name == function.__name__]
            text = str(error).strip().replace("\n", "\n    ")
            print(f"FAIL {function.__name__}: line {mine[-1].lineno if mine else '?'}: {type(error).__name__}: {text[:1500]}", flush=True)
        finally:
            os.chdir("/")
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

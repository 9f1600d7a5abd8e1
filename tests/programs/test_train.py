#!/usr/bin/env python3
"""Training the digits program: accuracy, the same bytes for any number of threads, memory as planned, figures and signals."""
import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import time

from harness import DIGITS, check, check_equal, check_in, checkpoints, main, sanitized
from test_settings import tensors


def weights_of(folder, job="digits_mlp"):
    return hashlib.sha256((checkpoints(folder, job)[-1] / "weights.safetensors").read_bytes()).hexdigest()


def accuracy_of(place, program, cwd=None):
    report = json.loads(place.run(program, "evaluate", "--json", cwd=cwd).out)
    return find(report, "accuracy")


def find(value, key):
    """The first value of that key, anywhere inside."""
    if isinstance(value, dict):
        if key in value:
            return value[key]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            found = find(item, key)
            if found is not None:
                return found
    return None


def reaches_97_percent(place):
    program = place.build_digits()
    place.run(program, "train")
    accuracy = accuracy_of(place, program)
    print(f"  test accuracy with the program's seed: {accuracy:.4f}")
    check(accuracy >= 0.97, f"test accuracy is {accuracy:.4f}, expected at least 0.97")


def reaches_97_percent_with_other_seeds(place):
    program = place.build_digits()
    good, found = 0, []
    for seed in range(1, 11):
        folder = place.folder / f"seed{seed}"
        folder.mkdir()
        place.run(program, "train", "--seed", seed, "--quiet", cwd=folder)
        found.append(accuracy_of(place, program, cwd=folder))
        good += found[-1] >= 0.97
    print("  test accuracy of 10 seeds: " + " ".join(f"{a:.4f}" for a in found))
    check(good >= 9, f"{good} of 10 seeds reach 0.97: {found}")


def threads_do_not_change_the_result(place):
    program = place.build_digits()
    seen = set()
    for threads in (1, 2, 3):
        folder = place.folder / f"threads{threads}"
        folder.mkdir()
        place.run(program, "train", "--threads", threads, "--quiet", cwd=folder)
        seen.add(weights_of(folder))
    check_equal(len(seen), 1, "the number of different results")


def wide_layers_use_threads_and_stay_equal(place):
    """A model large enough that its products are cut into parts."""
    program = place.build_digits("wide", "-D", "hidden=2048")
    seen = set()
    for threads in (1, 2):
        folder = place.folder / f"threads{threads}"
        folder.mkdir()
        place.run(program, "train", "--threads", threads, "--quiet", "--steps", 40, cwd=folder, timeout=300)
        seen.add(weights_of(folder))
    check_equal(len(seen), 1, "the number of different results")


def seed_changes_the_result(place):
    program = place.build_digits()
    seen = set()
    for seed in (1, 2):
        folder = place.folder / f"seed{seed}"
        folder.mkdir()
        place.run(program, "train", "--seed", seed, "--quiet", "--steps", 30, cwd=folder)
        seen.add(weights_of(folder))
    check_equal(len(seen), 2, "the number of different results")


def memory_is_what_was_planned(place):
    """The plan is the allocation: what plan says is what the device allocated at most, and the process grows by no more."""
    program = place.build_digits("wide", "-D", "hidden=4096")
    plan = json.loads(place.run(program, "plan", "digits_mlp", "--json").out)
    planned = plan["state"] + plan["snapshot"] + plan["arena"] + plan["batches"]
    check(planned > 4096 * 64 * 4 * 3, f"the plan has no plausible figure: {plan}")
    memory = json.loads(place.run(program, "train", "--steps", 3, "--json", "--quiet", timeout=300).out.splitlines()[-1])["memory"]
    check_equal(memory, {"state": plan["state"], "snapshot": plan["snapshot"], "arena": plan["arena"], "batch": plan["batches"], "data": plan["data"]}, "what was allocated")
    if sanitized(place.amlc):
        return
    small = place.build_digits("small", "-D", "hidden=16")
    grown = peak_memory(place, program) - peak_memory(place, small)
    less = json.loads(place.run(small, "plan", "digits_mlp", "--json").out)
    expected = planned - less["state"] - less["snapshot"] - less["arena"] - less["batches"]
    print(f"  planned difference: {expected} bytes, measured: {grown} bytes")
    check(grown < 1.35 * expected + 4_000_000, f"the process grows by {grown} bytes, planned are {expected}")
    check(grown > 0.5 * expected, f"the process grows by {grown} bytes only, planned are {expected}")


def peak_memory(place, program):
    """The largest resident size of a short training."""
    process = subprocess.Popen([program, "train", "--steps", "150", "--quiet", "--threads", "1", "--runs", place.folder / f"runs-{program.name}"],
                               cwd=place.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:       # the high-water mark of the program itself: wait4 also counts what was there before exec
        try:
            status = open(f"/proc/{process.pid}/status").read()
            if os.path.samefile(f"/proc/{process.pid}/exe", program):
                peak = max([peak] + [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")])
        except OSError:
            pass
        time.sleep(0.0005)
    check_equal(process.returncode, 0, "the exit code of the training")
    check(peak > 0, "the process ended before its memory was read")
    return peak


def option_changes_the_learning_rate(place):
    program = place.build_digits()
    seen = set()
    for rate in ("1e-4", "1e-2"):
        folder = place.folder / f"lr{rate}"
        folder.mkdir()
        place.run(program, "train", "--lr", rate, "--quiet", "--steps", 30, cwd=folder)
        seen.add(weights_of(folder))
    check_equal(len(seen), 2, "the number of different results")


def a_few_rows_are_learned_by_heart(place):
    source = (DIGITS / "digits.aml").read_text().replace("40 epochs", "400 epochs").replace("patience: 10 epochs", "patience: 400 epochs")
    place.write("long.aml", source)
    place.aml("build", "long.aml")
    place.run(place.folder / "long", "train", "--overfit", 64, "--quiet", env={"AML_DATA": str(DIGITS)})
    lines = [json.loads(line) for line in next((place.folder / "runs/digits_mlp").glob("*/metrics.jsonl")).read_text().splitlines()]
    accuracy = [line["accuracy"] for line in lines if "accuracy" in line]
    check(accuracy and max(accuracy) == 1.0, f"the best accuracy on 64 rows is {max(accuracy or [0])}")


def figures_are_json_lines(place):
    program = place.build_digits()
    place.run(program, "train", "--quiet")
    lines = [json.loads(line) for line in next((place.folder / "runs/digits_mlp").glob("*/metrics.jsonl")).read_text().splitlines()]
    validations = [line for line in lines if "accuracy" in line]
    check(len(validations) >= 10, f"{len(validations)} validations")
    check(all("step" in line for line in lines), "a line without its step")


def records_of(path):
    """The records of a TensorBoard event file, their masked CRC-32C checked."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)

    def masked(data):
        crc = 0xFFFFFFFF
        for byte in data:
            crc = crc >> 8 ^ table[(crc ^ byte) & 255]
        crc ^= 0xFFFFFFFF
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

    data, at = path.read_bytes(), 0
    while at < len(data):
        length, crc = struct.unpack_from("<QI", data, at)
        check_equal(crc, masked(data[at:at + 8]), "the checksum of a length")
        body = data[at + 12:at + 12 + length]
        check_equal(struct.unpack_from("<I", data, at + 12 + length)[0], masked(body), "the checksum of a record")
        yield body
        at += 16 + length


def fields_of(message):
    """Protocol buffer: (field, value) in order."""
    at = 0

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            value = varint()
        else:
            length = {1: 8, 5: 4}.get(key & 7) or varint()
            value = message[at:at + length]
            at += length
        yield key >> 3, value


def figures_for_tensorboard(place):
    program = place.build_digits()
    place.run(program, "train", "--quiet", "--tensorboard", "--steps", 100)
    place.run(program, "train", "--quiet", "--tensorboard", "--resume", "--steps", 130)
    run = next((place.folder / "runs/digits_mlp").iterdir())
    files = sorted(run.glob("events.out.tfevents.*"), key=lambda path: len(path.read_bytes()), reverse=True)
    check_equal(len(files), 2, "event files: one for each session")
    found, starts = {}, []
    for path in files:
        events = [dict(fields_of(record)) for record in records_of(path)]
        check_equal(events[0][3], b"brain.Event:2", "the version")
        starts += [event[2] for event in events if event.get(7) == b"\x08\x01"]
        for event in events:
            for _, value in fields_of(event.get(5, b"")):
                entry = dict(fields_of(value))
                if 5 in entry:
                    continue    # a histogram
                found[event[2], entry[1].decode()] = struct.unpack("<f", entry[2])[0]
    check_equal(starts, [101], "where the resumed session says it begins")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    expected = {(line["step"], name): value for line in lines for name, value in line.items() if name != "step"}
    check_equal(set(found), set(expected), "steps and names")
    check(all(abs(found[key] - value) <= 1e-6 * abs(value) for key, value in expected.items()), "values differ from metrics.jsonl")


def gradients_for_tensorboard(place):
    """recorded(...) keeps gradients, of which each validation has a histogram, and changes nothing else."""
    text = (DIGITS / "digits.aml").read_text().replace("data/digits.csv", str(DIGITS / "data/digits.csv"))
    runs = {}
    for name, optimizer in (("plain", "adamw("), ("kept", "recorded(adamw(")):
        part = text.replace("optimizer:  adamw(lr: cosine(lr, warmup: 50 steps), decay: 1e-2)", f"optimizer:  {optimizer}lr: lr, decay: 1e-2" + ")" * optimizer.count("("))
        place.write(f"{name}.aml", part)
        place.aml("build", f"{name}.aml", "-o", name)
        place.run(f"./{name}", "train", "--quiet", "--tensorboard", "--steps", 60, "--runs", f"runs-{name}")
        runs[name] = next((place.folder / f"runs-{name}/digits_mlp").iterdir())
    same = [(sorted(run.glob("checkpoints/step-*"))[-1] / "weights.safetensors").read_bytes() for run in runs.values()]
    check(same[0] == same[1], "keeping gradients changes the training")
    tags = {name: {} for name in runs}
    for name, run in runs.items():
        for record in records_of(next(run.glob("events.out.tfevents.*"))):
            event = dict(fields_of(record))
            for _, value in fields_of(event.get(5, b"")):
                entry = dict(fields_of(value))
                if 5 in entry:
                    tags[name].setdefault(entry[1].decode(), []).append((event[2], dict(fields_of(entry[5]))))
    weights = {"weights/" + w for w in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")}
    check_equal(set(tags["plain"]), weights, "the histograms without")
    check_equal(set(tags["kept"]), weights | {w.replace("weights/", "gradients/") for w in weights}, "the histograms with gradients")
    # minimum, maximum and number of the last one are those of the state in the checkpoint that was written at the same step
    step, figures = tags["kept"]["gradients/fc2.bias"][-1]
    files = {int(path.name[5:]): path for path in runs["kept"].glob("checkpoints/step-*")}
    check(step in files, f"no checkpoint of step {step} in {sorted(files)}")
    kept = tensors(files[step] / "optimizer.safetensors")["fc2.bias.gradient"][1]
    values = [struct.unpack("<d", figures[k].to_bytes(8, "little") if isinstance(figures[k], int) else figures[k])[0] for k in (1, 2, 3)]
    check_equal(values, [min(kept), max(kept), len(kept)], "least, most and number of the gradient's elements")


def interrupt_writes_a_checkpoint(place):
    program = place.build_digits("digits", "-D", "hidden=1024")
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        folder = place.folder / f"signal{number}"
        folder.mkdir()
        process = subprocess.Popen([program, "train", "--seed", "3"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not list(folder.glob("runs/digits_mlp/*/checkpoints/step-*/MANIFEST.json")):
            time.sleep(0.005)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        check_equal(process.returncode, code, f"the exit code after signal {number} ({err[-300:]})")
        place.run(program, "train", "--resume", "--quiet", cwd=folder, timeout=300)


def predict_reads_and_writes_csv(place):
    program = place.build_digits()
    place.run(program, "train", "--quiet")
    rows = (DIGITS / "data/digits.csv").read_text().splitlines()
    some = place.write("some.csv", "\n".join(rows[:21]) + "\n")
    out = place.run(program, "predict", some).out.splitlines()
    check_equal(len(out), 21, "the number of lines")
    check_in("prediction", out[0])
    right = sum(line.split(",")[out[0].split(",").index("prediction")] == row.split(",")[64] for line, row in zip(out[1:], rows[1:21]))
    check(right >= 18, f"{right} of 20 rows are right")
    unlabelled = place.write("unlabelled.csv", "\n".join(row.rsplit(",", 1)[0] for row in rows[:21]) + "\n")
    check_equal(place.run(program, "predict", unlabelled).out.splitlines(), out, "the prediction without labels")


if __name__ == "__main__":
    sys.exit(main([reaches_97_percent, reaches_97_percent_with_other_seeds, threads_do_not_change_the_result,
                   wide_layers_use_threads_and_stay_equal, seed_changes_the_result, memory_is_what_was_planned,
                   option_changes_the_learning_rate, a_few_rows_are_learned_by_heart, figures_are_json_lines, figures_for_tensorboard, gradients_for_tensorboard, interrupt_writes_a_checkpoint,
                   predict_reads_and_writes_csv]))

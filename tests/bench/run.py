#!/usr/bin/env python3
"""Measures AML and, in the same run, its peers. Usage: run.py BUILD [step|start|compile]"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/bench"
ONE_CORE = ["taskset", "-c", "0"] if shutil.which("taskset") else []


def call(*command, cwd=None):
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def seconds(*command, cwd=None):
    start = time.monotonic()
    call(*command, cwd=cwd)
    return time.monotonic() - start


def median(values):
    return sorted(values)[len(values) // 2]


def bench_step(amlc, folder):
    """A step is the difference of a long and a short training, so the start and the end do not count."""
    shutil.copy(HERE / "digits_step.aml", folder)
    shutil.copy(ROOT / "examples/digits/data/digits.csv", folder)
    call(amlc, "build", "digits_step.aml", cwd=folder)
    short, long_ = 2000, 22000

    def train(steps):
        return seconds(*ONE_CORE, folder / "digits_step", "train", "--threads", 1, "--quiet", "--length", f"{steps} steps", cwd=folder)
    train(short)
    ours = median([(train(long_) - train(short)) / (long_ - short) for _ in range(5)])
    print(f"training step, digits perceptron 64-128-10, batch 64, AdamW, dropout, one thread")
    print(f"  aml          {1e6 * ours:9.1f} us")
    python = os.environ.get("AML_PEERS")
    if not python:
        print("  (no peers: AML_PEERS is not set)")
        return
    for name, peer in json.loads(call(*ONE_CORE, python, HERE / "peers.py", folder / "digits.csv")).items():
        print(f"  {name:<12} {1e6 * peer['seconds']:9.1f} us   {peer['seconds'] / ours:5.1f} times as long   ({name.split()[0]} {peer['version']})")


def bench_start(amlc, folder):
    digits = ROOT / "examples/digits"
    call(amlc, "build", digits / "digits_f32.aml", "-o", folder / "trainer")
    call(folder / "trainer", "train", "--quiet", cwd=folder)
    call(amlc, "deploy", digits / "digits_f32.aml", "digits_f32", cwd=folder)
    rows = (digits / "data/digits.csv").read_text().splitlines()[:2]
    (folder / "one.csv").write_text("\n".join(rows) + "\n")
    print("start to end of a process, median of 51")
    for title, command in (("trainer --help", [folder / "trainer", "--help"]), ("digits_f32 predict, 1 row", [folder / "digits_f32", "predict", "one.csv"]),
                           ("amlc check digits.aml", [amlc, "check", digits / "digits.aml"])):
        print(f"  {title:<28} {1e3 * median([seconds(*command, cwd=folder) for _ in range(51)]):7.2f} ms")
    for name in ("trainer", "digits_f32", "libdigits_f32.so"):
        print(f"  {name:<28} {(folder / name).stat().st_size:7d} bytes")
    print(call(folder / "digits_f32", "bench").rstrip())


def bench_compile(amlc, folder):
    print("compiling, median of 5")
    for name in ("digits.aml", "digits_f32.aml"):
        taken = median([seconds(amlc, "build", ROOT / "examples/digits" / name, "-o", folder / "out") for _ in range(5)])
        print(f"  amlc build {name:<17} {1e3 * taken:7.1f} ms")


def main():
    amlc = pathlib.Path(sys.argv[1]).absolute() / "amlc"
    benches = {"step": bench_step, "start": bench_start, "compile": bench_compile}
    for name in sys.argv[2:] or benches:
        if name not in benches:
            sys.exit(f"no benchmark '{name}'; there are {', '.join(benches)}")
        with tempfile.TemporaryDirectory() as folder:
            benches[name](amlc, pathlib.Path(folder))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Compiled pieces that live from build to build: found by their content, checked by their hash, of no influence on the program."""
import hashlib
import os
import subprocess
import sys

from harness import check, check_equal, check_in, main

PROGRAM = """aml 1
use std.nn
use std.optim
use std.data

model Net {
  a = Dense(24, activation: relu)
  b = Dense(3)
  fn forward(x: float[n, 6]) -> float[n, 3] { return b(a(x)) }
}

dataset noise {
  source: synthetic(60, fn(i) = { x: random.uniform([6]), y: i64(3.0 * random.uniform([])) })
  field x: f32[6]
  field y: class(3)
  split: { train: 50%, valid: 25%, test: 25% }
  fn prepare(s) { return { x: s.x, y: s.y } }
}

train net {
  model:     Net()
  data:      noise
  loss:      cross_entropy
  optimizer: sgd(lr: 0.1)
  length:    3 steps
  batch:     8
}
"""


def place(t, name="cache"):
    (t.folder / "net.aml").write_text(PROGRAM)
    return os.environ | {"AML_CACHE": str(t.folder / name), "AML_OBJECTS": ""}


def build(t, environment, *options, output="net", fails=False):
    done = subprocess.run([t.amlc, "build", "net.aml", "-o", output, *options], cwd=t.folder, env=environment, capture_output=True, text=True)
    check(fails == (done.returncode != 0), f"the build ends with {done.returncode}: {done.stderr}")
    return done.stderr if fails else (t.folder / output).read_bytes()


def objects(t, name="cache"):
    return sorted((t.folder / name / "objects").glob("*.o"))


def sealed(content):
    return content + hashlib.sha256(content).digest()


def kept_and_taken(t):
    environment = place(t)
    plain = build(t, environment, "--no-cache")
    check(not (t.folder / "cache").exists(), "--no-cache keeps nothing")
    check_equal(build(t, environment), plain, "a program whose pieces are kept")
    kept = objects(t)
    check(kept, "pieces are kept")
    check_equal([p.name for p in (t.folder / "cache/objects").iterdir()], [p.name for p in (t.folder / "cache/objects").glob("*.o")], "nothing else is left")
    check_equal(build(t, environment), plain, "a program of kept pieces")
    check_equal(objects(t), kept, "the pieces afterwards")
    for path in kept:       # a piece of which only the hash is right proves that it is taken
        content = path.read_bytes()[:-32]
        path.write_bytes(sealed(content[:88] + b"no object" + content[97:]))
    check_in("failed with code", build(t, environment, fails=True), "the linker's message")
    check_equal(build(t, environment, "--no-cache"), plain, "a program without the cache")


def damaged(t):
    environment = place(t)
    plain = build(t, environment)
    whole = {path: path.read_bytes() for path in objects(t)}
    for harm in (lambda b: b"", lambda b: b[:40], lambda b: b[:-1], lambda b: b + b"x", lambda b: b[:-50] + bytes([b[-50] ^ 1]) + b[-49:],
                 lambda b: sealed(b"aml object 2\n" + b[13:-32]), lambda b: sealed(b[:16] + bytes(64) + b[80:-32])):
        for path, content in whole.items():
            path.write_bytes(harm(content))
        check_equal(build(t, environment), plain, "a program behind damaged pieces")
        check_equal({path: path.read_bytes() for path in objects(t)}, whole, "the pieces are made again")


def unwritable(t):
    environment = place(t)
    (t.folder / "cache").write_text("a file")
    plain = build(t, environment)
    check_equal((t.folder / "cache").read_text(), "a file", "what stands where the folder should be")
    for changed in ({"AML_CACHE": "/proc/nowhere"}, {"AML_CACHE": "", "HOME": "", "XDG_CACHE_HOME": ""}, {"AML_CACHE": "x" * 5000}):
        check_equal(build(t, environment | changed), plain, "a program without a folder for pieces")


def at_once(t):
    environment = place(t)
    running = [subprocess.Popen([t.amlc, "build", "net.aml", "-o", f"net{i}"], cwd=t.folder, env=environment, stderr=subprocess.DEVNULL) for i in range(4)]
    check_equal([process.wait() for process in running], [0] * 4, "builds at the same time")
    check_equal(len({(t.folder / f"net{i}").read_bytes() for i in range(4)}), 1, "different programs")
    check_equal(build(t, environment), (t.folder / "net0").read_bytes(), "the next one")


def other_processors(t):
    environment = place(t)
    plain = {level: build(t, environment, "--no-cache", f"--target={level}") for level in ("x86-64-v2", "x86-64-v3")}
    for _ in range(2):
        for level, program in plain.items():
            check_equal(build(t, environment, f"--target={level}"), program, f"a program for {level}")


def limited(t):
    environment = place(t)
    folder = t.folder / "cache/objects"
    folder.mkdir(parents=True)
    old = []
    for i in range(3):      # sparse files, the oldest first
        path = folder / f"{i:064x}.o"
        with open(path, "wb") as file:
            file.truncate(120 << 20)
        os.utime(path, (1000 + i, 1000 + i))
        old.append(path)
    stale = folder / ("a" * 64 + ".o.new-1")
    stale.write_text("left by a process that was killed")
    os.utime(stale, (1000, 1000))
    for width in range(1, 200):     # a sixteenth of the pieces look after the folder
        (t.folder / "net.aml").write_text(PROGRAM.replace("Dense(24", f"Dense({width}"))
        build(t, environment)
        if not old[0].exists():
            break
    check_equal([path.exists() for path in old], [False, False, True], "the newest of the old pieces stays")
    check(not stale.exists(), "what a process left goes as well")


if __name__ == "__main__":
    sys.exit(main([kept_and_taken, damaged, unwritable, at_once, other_processors, limited]))

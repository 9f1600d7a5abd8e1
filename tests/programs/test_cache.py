#!/usr/bin/env python3
"""Decoded samples that live from run to run: found by their content, checked by their hash, limited in size, of no influence on results."""
import hashlib
import os
import random
import struct
import subprocess
import sys
import zlib

from harness import check, check_equal, check_in, main

PROGRAM = """aml 1
use std.nn
use std.optim
use std.data

model Net {
  fc = Dense(2)
  fn forward(x: float[n, H, 10, 3]) -> float[n, 2] { return fc(flatten(x)) }
}

dataset animals {
  source: images("zoo", resize: RESIZE)
  field x: u8[H, 10, 3] = image
  field y: class(2)     = label
  split: { train: 75%, valid: 25%, seed: 1 }
  fn prepare(s) { return { x: float(s.x) / 255, y: s.y } }
}

train net {
  model:     Net()
  data:      animals
  loss:      cross_entropy
  optimizer: sgd(lr: 0.1)
  length:    2 epochs
  batch:     6
}
"""


def png(side, rows):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)) + \
        chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


def zoo(place, count=48, side=200):
    """Pictures that take some time."""
    chance = random.Random(3)
    for i in range(count):
        rows = b"".join(b"\0" + chance.randbytes(3 * side) for _ in range(side))
        place.write(f"zoo/{'ab'[i % 2]}/{i}.png", png(side, rows))


def build(place, height=12, resize="crop", name="p"):
    place.write(f"{name}.aml", PROGRAM.replace("H", str(height)).replace("RESIZE", resize))
    place.aml("build", f"{name}.aml", "-o", name)


def train(place, *more, name="p", runs="runs", env=None, code=0):
    return place.run(f"./{name}", "train", "--runs", runs, "--loaders", 0, *more, env={"AML_CACHE": str(place.folder / "cache"), "AML_CACHE_AFTER": "1 ms", **(env or {})}, code=code)


def files(place):
    return sorted((place.folder / "cache").glob("*")) if (place.folder / "cache").exists() else []


def weights(place, runs):
    last = sorted((place.folder / runs).glob("net/*/checkpoints/step-*"))[-1]
    return (last / "weights.safetensors").read_bytes()


def the_next_run_finds_them(place):
    zoo(place)
    build(place)
    first = train(place, runs="first")
    check("come from" not in first.err, first.err)
    check_equal(len(files(place)), 1, "files")
    again = train(place, runs="again")
    check_in("data: 48 of 48 decoded samples come from " + str(files(place)[0]), again.err)
    check_equal(weights(place, "again"), weights(place, "first"), "the weights")
    none = train(place, "--no-cache", runs="none")
    check("come from" not in none.err, none.err)
    check_equal(weights(place, "none"), weights(place, "first"), "the weights without a cache")
    size = files(place)[0].stat().st_size
    check(48 * 360 < size < 48 * 362 + 400, f"{size} bytes are kept of 48 samples of 360")
    # of another size, or cut otherwise: another file; of the same: no other
    build(place, height=11)
    check("come from" not in train(place).err, "samples of another size were taken")
    build(place, resize="stretch")
    check("come from" not in train(place).err, "samples that were cut otherwise were taken")
    check_equal(len(files(place)), 3, "files")
    build(place)
    check_in("48 of 48", train(place).err)
    # a picture that changed is seen
    for i in range(0, 24, 2):
        (place.folder / f"zoo/a/{i}.png").write_bytes((place.folder / f"zoo/b/{i + 1}.png").read_bytes())
    check("come from" not in train(place, runs="changed").err, "an old picture was taken")
    check(weights(place, "changed") != weights(place, "first"), "the changed picture was not seen")
    # data check reads everything itself
    check_in("0 bad", place.run("./p", "data", "check", env={"AML_CACHE": str(place.folder / "cache")}).out)


def damage_is_noticed(place):
    zoo(place)
    build(place)
    train(place, runs="first")
    path = files(place)[0]
    whole = path.read_bytes()
    check_equal(hashlib.sha256(whole[:-32]).digest(), whole[-32:], "the hash at its end")
    chance = random.Random(1)
    for damage in (whole[:len(whole) // 2], b"", whole + b"x", whole[:200] + bytes([whole[200] ^ 1]) + whole[201:],
                   whole[:-1] + bytes([whole[-1] ^ 128]), b"\xff" * len(whole), *(
                       whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1:] for at in (chance.randrange(len(whole)) for _ in range(6)))):
        path.write_bytes(damage)
        told = train(place, "--steps", 1, runs="damaged").err
        check("come from" not in told, f"a damaged file was taken ({len(damage)} bytes)")
    path.unlink(missing_ok=True)
    train(place, runs="last")
    check_equal(weights(place, "last"), weights(place, "first"), "the weights")
    check_equal(path.read_bytes(), whole, "the file that is made anew")


def two_processes_at_once(place):
    zoo(place)
    build(place)
    environment = {**os.environ, "AML_CACHE": str(place.folder / "cache"), "AML_CACHE_AFTER": "1 ms"}
    several = [subprocess.Popen([place.folder / "p", "train", "--quiet", "--runs", f"r{k}", "--threads", "1"], cwd=place.folder, env=environment) for k in range(3)]
    check_equal([process.wait(timeout=120) for process in several], [0, 0, 0], "the exit codes")
    check_equal(len(files(place)), 1, "files")
    check_in("48 of 48", train(place).err)
    check_equal(len({weights(place, f"r{k}") for k in range(3)}), 1, "different weights")


def sizes_are_limited(place):
    zoo(place)
    for height in (9, 10, 11):
        build(place, height=height, name=f"p{height}")
        train(place, name=f"p{height}", env={"AML_CACHE_SIZE": "32 KiB"})
    left = files(place)
    check_equal(len(left), 2, "files that are left of three of 13 to 16 KB")
    check_in("48 of 48", train(place, name="p11").err)
    check("come from" not in train(place, "--steps", 0, name="p9").err, "the oldest one is still there")
    for path in left:
        path.unlink(missing_ok=True)
    train(place, name="p10", env={"AML_CACHE_SIZE": "1 KiB"})
    check_equal(files(place), [], "files that are larger than is allowed")


def where_nothing_can_be_written(place):
    zoo(place)
    build(place)
    place.write("cache", "a file")          # in the place of the folder
    train(place, runs="a")
    train(place, runs="b", env={"AML_CACHE": "/proc/none"})
    train(place, runs="c", env={"AML_CACHE": "", "XDG_CACHE_HOME": "", "HOME": ""})
    check_equal(len({weights(place, run) for run in "abc"}), 1, "different weights")


def what_does_not_pay_is_not_kept(place):
    zoo(place, count=8, side=8)
    build(place)
    train(place, env={"AML_CACHE_AFTER": "0.25 s"})
    check_equal(files(place), [], "files for pictures that are decoded at once")


if __name__ == "__main__":
    sys.exit(main([the_next_run_finds_them, damage_is_noticed, two_processes_at_once, sizes_are_limited, where_nothing_can_be_written,
                   what_does_not_pay_is_not_kept]))

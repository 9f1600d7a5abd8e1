#!/usr/bin/env python3
"""Programs made for a processor with AMX: the same results as without, and a message where there is none.

No such processor is needed: the tile instructions are emulated by a library that is loaded in front of the program, and in
the copy that is run the names of the features, which the program looks for at its start, are others. So nothing here says
how quick a program is there.
"""
import json
import pathlib
import shutil
import struct
import sys

from harness import DIGITS, Skip, check, check_equal, check_in, checkpoints, main, sanitized

PRELOAD = pathlib.Path(sys.argv.pop(2)).resolve() if len(sys.argv) > 2 else None
AMX = ("amx-tile", "amx-int8", "amx-bf16")
HERE = ("avx512bw", "avx512vl", "avx512dq")     # of the same lengths, and there wherever AVX-512 is


def flags():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split(":")[1].split())
    return set()


def needs_registers(place):
    if sanitized(place.amlc):
        raise Skip("a sanitizer's runtime has to be the first library that is loaded")
    if not flags() >= {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512_vnni"}:
        raise Skip("this machine lacks AVX-512 with VNNI, which is not emulated")


def emulated(place, program, *arguments, kind, **options):
    """Runs the program with tiles; tiles of this kind, "bf16" or "bytes", must have been multiplied."""
    count = place.folder / "count"
    count.unlink(missing_ok=True)
    done = place.run(program, *arguments, env={"LD_PRELOAD": str(PRELOAD), "AML_TILES_COUNT": str(count)}, **options)
    counted = json.loads(count.read_text())
    if counted["emulated"]:
        check(counted[kind] > 0, f"no tiles of {kind} were multiplied: {counted}")
    return done


def disguised(program):
    """A copy of the program that looks for no AMX."""
    data = program.read_bytes()
    names, others = ",".join(AMX).encode(), ",".join(HERE).encode()
    check_equal(len(names), len(others), "the length of the names")
    check(names in data, "the program does not look for AMX")
    copy = program.with_name(program.name + "_disguised")
    copy.write_bytes(data.replace(names, others))
    copy.chmod(0o755)
    return copy


def source(place, old, new):
    shutil.copytree(DIGITS, place.folder / "source", dirs_exist_ok=True)
    text = (DIGITS / "digits.aml").read_text()
    check(old in text, f"digits.aml has no {old!r}")
    return place.write("source/digits.aml", text.replace(old, new))


def weights_of(folder):
    """Every tensor of the newest checkpoint's weights, as a list of floats."""
    data = (checkpoints(folder)[-1] / "weights.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    found = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            begin, end = entry["data_offsets"]
            found[name] = struct.unpack(f"<{(end - begin) // 4}f", data[8 + length + begin:8 + length + end])
    return found


def trained(place, program, name, runner):
    folder = place.folder / name
    folder.mkdir()
    runner(program, "train", "--quiet", cwd=folder)
    return weights_of(folder)


def a_mixed_training(place):
    """Two epochs in tiles end with the weights of two epochs of widened operands, but for the rounding of sums."""
    needs_registers(place)
    text = source(place, "length:     40 epochs", "length:     2 epochs\n  precision:  mixed(bf16)")
    place.aml("build", text, "-o", "plain", "--target=x86-64-v4")
    place.aml("build", text, "-o", "tiles", "--target=x86-64-v4-amx")
    expected = trained(place, place.folder / "plain", "a", place.run)
    found = trained(place, disguised(place.folder / "tiles"), "b", lambda *a, **o: emulated(place, *a, kind="bf16", **o))
    check_equal(sorted(found), sorted(expected), "the names of the weights")
    for name, values in expected.items():
        size = max(abs(v) for v in values)
        worst = max(abs(a - b) for a, b in zip(found[name], values))
        check(worst <= 1e-2 * size, f"{name} is off by {worst}, its largest element is {size}")
    check(any(found[name] != expected[name] for name in expected), "both sum in the same order, so tiles are not used")


def bytes_at_every_level(place):
    """A deployed program answers the same in tiles, with VNNI and without: sums of whole numbers are exact."""
    needs_registers(place)
    text = source(place, "batch:    [1, 16]", 'batch:    [1, 16]\n  target:   [cpu("x86-64-v3"), cpu("x86-64-v4-amx"), cpu("x86-64-v4-vnni")]')
    text.write_text(text.read_text().replace("length:     40 epochs", "length:     1 epochs").replace("accuracy_drop: 1pp, size: 256 KiB",
                                                                                                  "accuracy_drop: 20pp")
                    .replace("const hidden: int = 128", "const hidden: int = 2048"))     # too large to be packed, names of features with it
    place.aml("build", text, "-o", "trainer")
    place.run(place.folder / "trainer", "train", "--quiet")
    place.aml("deploy", text, "digits_int8")
    program = place.folder / "digits_int8"
    check_equal(json.loads(place.run(program, "info", "--json").out)["cpu_levels"][0], "x86-64-v4-amx", "the best level")
    rows = place.write("rows.csv", "\n".join((DIGITS / "data/digits.csv").read_text().splitlines()[:50]) + "\n")
    expected = place.run(program, "predict", "--level", "x86-64-v4-vnni", rows).out
    check_equal(place.run(program, "predict", "--level", "x86-64-v3", rows).out, expected, "the answers with AVX2")
    found = emulated(place, disguised(program), "predict", "--level", "x86-64-v4-amx", rows, kind="bytes").out
    check_equal(found, expected, "the answers in tiles")
    check_equal(len(found.splitlines()), 50, "the number of answers")
    found = emulated(place, disguised(program), "predict", rows, kind="bytes").out
    check_equal(found, expected, "the answers of the level that is chosen")


def without_amx(place):
    """What a program says on a processor that has no tiles, and what one with other levels does."""
    if "amx_tile" in flags():
        raise Skip("this machine has AMX")
    text = source(place, "length:     40 epochs", "length:     1 epochs\n  precision:  mixed(bf16)")
    place.aml("build", text, "-o", "tiles", "--target=x86-64-v4-amx")
    said = place.run(place.folder / "tiles", "train", code=1).err
    check_in("compiled for the CPU level x86-64-v4-amx", said)
    check_in("lacks amx-tile, amx-int8, amx-bf16", said)
    check_in("help: build it on this machine", said)


if __name__ == "__main__":
    sys.exit(main([a_mixed_training, bytes_at_every_level, without_amx]))

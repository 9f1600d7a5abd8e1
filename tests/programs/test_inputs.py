#!/usr/bin/env python3
"""What a deployed program reads: csv, arrays of NumPy, lines of text, sounds, pipes; and what it says about bad ones."""
import csv
import json
import math
import shutil
import struct
import subprocess
import sys

from harness import DIGITS, Skip, check, check_equal, check_in, main, sanitized
from test_artifacts import HERE, deployed, rows_of_digits


def npy(descr, shape, elements):
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head + elements


def digits(count):
    return [[float(v) for v in line.split(",")[:64]] for line in (DIGITS / "data/digits.csv").read_text().splitlines()[1:count + 1]]


def through_a_pipe(program, data, *options):
    return subprocess.run([program, "predict", "-", *options], input=data, capture_output=True, timeout=60)


def arrays_of_numpy(place):
    """The same answers as for csv, from a file, through a pipe, as floats and as bytes, for any number of rows."""
    deployed(place, "  batch: [1, 16]")
    program, rows = place.folder / "digits_f32", digits(40)
    for count in (1, 15, 16, 17, 40):
        some, _ = rows_of_digits(place, count)
        expected = place.run(program, "predict", some).out
        check_equal(len(expected.splitlines()), count + 1, "the lines of csv")
        reals = npy("<f4", (count, 64), b"".join(struct.pack("<64f", *row) for row in rows[:count]))
        check_equal(place.run(program, "predict", place.write("x.npy", reals)).out, expected, f"{count} rows of f4")
        check_equal(through_a_pipe(program, reals).stdout.decode(), expected, f"{count} rows of f4 through a pipe")
        check_equal(through_a_pipe(program, npy("|u1", (count, 64), b"".join(bytes(map(int, row)) for row in rows[:count]))).stdout.decode(), expected,
                    f"{count} rows of u1")
    objects = [json.loads(line) for line in place.run(program, "predict", "x.npy", "--format", "json").out.splitlines()]
    for line, found in zip(expected.splitlines()[1:], objects):
        cells = line.split(",")
        check_equal((found["row"], found["prediction"], found["probability"]), (int(cells[0]), int(cells[1]), [float(c) for c in cells[2:]]), "a row")
    check_in("arrays of NumPy", place.run(program, "--help").out)


def nothing_is_allocated(place):
    """From the beginning of main to its end, for csv and npy, one row or many."""
    if sanitized(place.amlc) or not shutil.which("cc"):
        raise Skip("allocations cannot be counted here")
    deployed(place, "  batch: [1, 16]\n  quantize: int8(calibrate: digits.train)")
    place.run("cc", "-shared", "-fPIC", "-O1", HERE / "count_allocations.c", "-o", "count.so")
    for count in (1, 40):
        some, _ = rows_of_digits(place, count)
        array = place.write("x.npy", npy("<f4", (count, 64), b"".join(struct.pack("<64f", *row) for row in digits(count))))
        for path, options in ((some, []), (array, []), (some, ["--json"])):
            done = place.run(place.folder / "digits_f32", "predict", path, *options, env={"LD_PRELOAD": str(place.folder / "count.so")})
            check_equal(done.err.strip(), "0", f"how often something is allocated for {count} rows of {path.name}")


def bad_arrays(place):
    deployed(place, "  batch: [1, 16]")
    program, rows = place.folder / "digits_f32", digits(20)
    whole = npy("<f4", (20, 64), b"".join(struct.pack("<64f", *row) for row in rows))
    rows[17][3] = math.nan
    bad = {"truncated": (whole[:-3], "expected"), "long": (whole + b"\0", "as its header says"),
           "shape": (npy("<f4", (20, 8, 8), whole[-5120:]), "f32[64], found f32[8, 8]"), "scalar": (npy("<f4", (), b"\0" * 4), "a single number"),
           "empty": (npy("<f4", (0, 64), b""), "expected samples, found none"), "type": (npy("<c8", (10, 64), whole[-5120:]), "complex"),
           "nan": (npy("<f4", (20, 64), b"".join(struct.pack("<64f", *row) for row in rows)), "sample 17, element 3"),
           "header": (whole[:40], "a header as long as it says"), "huge": (npy("<f4", (1 << 60, 64), b""), "larger shape"),
           "other": (b"\x93NUMPY\x09\0" + whole[8:], "version")}
    for name, (data, said) in bad.items():
        done = place.run(program, "predict", place.write(f"{name}.npy", data), code=1)
        check_in(f"{name}.npy", done.err)
        check_in(said, done.err, f"the message about {name}")
        piped = through_a_pipe(program, data)
        check_equal(piped.returncode, 1, f"the exit code for {name} through a pipe")
        check_in("standard input", piped.stderr.decode())
    check_equal(len(place.run(program, "predict", "nan.npy", code=1).out.splitlines()), 18, "what was answered before the bad sample")


def bad_rows(place):
    deployed(place, "  batch: [1, 16]")
    program = place.folder / "digits_f32"
    head, row = ",".join(f"p{i}" for i in range(64)), ",".join(["1"] * 64)
    bad = {"none": ("", "found an empty file"), "header": (head + "\n", None), "columns": (f"{head}\n{row},2\n", "x.csv:2"),
           "text": (f"{head}\n{row.replace('1', 'one', 1)}\n", "expected a number"), "nan": (f"{head}\n{row.replace('1', 'nan', 1)}\n", "x.csv:2:1"),
           "inf": (f"{head}\n{row.replace('1', 'inf', 1)}\n", "x.csv:2:1"), "narrow": ("a,b\n1,2\n", "columns"),
           "missing": (f"{head}\n{row.replace('1', '', 1)}\n", "missing"), "huge": (f"{head}\n{row.replace('1', '1e99', 1)}\n", "x.csv:2:1")}
    for name, (text, said) in bad.items():
        done = place.run(program, "predict", place.write("x.csv", text), code=1 if said else 0)
        if said:
            check_in(said, done.err, f"the message about {name}")
    check_in("is a folder", place.run(program, "predict", place.folder, code=1).err)
    check_in("cannot open", place.run(program, "predict", "nowhere.csv", code=1).err)
    check_in("csv or json", place.run(program, "predict", "x.csv", "--format", "xml", code=2).err)
    check_in("only input is a text", place.run(program, "predict", "x.csv", "--lines", code=1).err)


SOUNDS = """aml 1
use std.nn
use std.optim
use std.data
use std.audio

model Net {{
  head = Dense(2)
  fn forward(x: float[n, 400]) -> float[n, 2] {{ return head(x) }}
}}

dataset tones {{
  source: audio("{folder}", rate: 8000, name: "{{kind}}_{{n}}.wav")
  field x: f32[400] = samples
  field y: class(2) = part("kind")
}}

train net {{
  model:     Net()
  data:      tones
  loss:      cross_entropy
  optimizer: sgd(lr: 1e-1)
  length:    20 steps
  batch:     4
}}

deploy listener {{
  model: net.last
}}
"""


def wav(values):
    data = struct.pack(f"<{len(values)}h", *values)
    head = struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def sounds_and_folders(place):
    """A sound, a folder of sounds, and one that is cut off."""
    for n in range(6):
        place.write(f"tones/0_{n}.wav", wav([int(9000 * math.sin(0.05 * i + n)) for i in range(400)]))
        place.write(f"tones/1_{n}.wav", wav([int(9000 * math.sin(0.9 * i + n)) for i in range(400)]))
    source = place.write("tones.aml", SOUNDS.format(folder=place.folder / "tones"))
    place.aml("build", source, "-o", "trainer")
    place.run(place.folder / "trainer", "train", "--quiet")
    place.aml("deploy", source, "listener")
    program = place.folder / "listener"
    lines = place.run(program, "predict", "tones").out.splitlines()
    check_equal(lines[0].split(",")[0], "file", "the first column for a folder")
    check_equal([line.split(",")[0] for line in lines[1:]], sorted(f"tones/{k}_{n}.wav" for k in range(2) for n in range(6)), "the files")
    one = place.run(program, "predict", "tones/1_3.wav").out.splitlines()
    check_equal(one[1].split(",")[1:], lines[10].split(",")[1:], "the answer for one file")
    check_equal(through_a_pipe(program, (place.folder / "tones/1_3.wav").read_bytes()).stdout.decode().splitlines(), one, "the answer through a pipe")
    check_equal(json.loads(place.run(program, "predict", "tones", "--json").out.splitlines()[0])["file"], "tones/0_0.wav", "the file as JSON")
    place.write("cut.wav", (place.folder / "tones/1_3.wav").read_bytes()[:300])
    check_in("cut.wav: ", place.run(program, "predict", "cut.wav", code=1).err)
    (place.folder / "nothing").mkdir()
    check_in("expected files that end in .wav", place.run(program, "predict", "nothing", code=1).err)


TEXTS = """aml 1
use std.nn
use std.optim
use std.data
use std.text

model Net(vocab: int) {{
  tok  = Embedding(vocab, 8)
  head = Dense(2)
  fn forward(x: class(vocab)[n, t]) -> float[n, 2] {{ return head(mean(tok(x), axis: 1)) }}
}}

dataset messages {{
  source: csv("{folder}/messages.csv")
  field ids: class(vocab)[16] = tokens(column("text"), bytes(), pad: 0)
  field y:   class(2)         = column("kind", values: ["a, b", "c"])
  fn prepare(s) {{ return {{ x: s.ids, y: s.y }} }}
}}

train net {{
  model:     Net(messages.vocab)
  data:      messages
  loss:      cross_entropy
  optimizer: adam(lr: 1e-1)
  length:    40 steps
  batch:     4
}}

deploy reader {{
  model: net.last
}}
"""


def lines_of_text(place):
    """Each line is one text, whatever is in it; labels have their names, quoted as the form needs it."""
    place.write("messages.csv", "text,kind\n" + "".join(f"aaa{n},\"a, b\"\nccc{n},c\n" for n in range(8)))
    source = place.write("texts.aml", TEXTS.format(folder=place.folder))
    place.aml("build", source, "-o", "trainer")
    place.run(place.folder / "trainer", "train", "--quiet")
    place.aml("deploy", source, "reader", "--data", place.folder / "messages.csv")
    program = place.folder / "reader"
    done = through_a_pipe(program, b'aaa, "a" a\nccc\n', "--lines")
    check_equal([row[:2] for row in csv.reader(done.stdout.decode().splitlines())][1:], [["1", "a, b"], ["2", "c"]], "the labels")
    found = [json.loads(line) for line in through_a_pipe(program, b'aaa, "a" a\nccc\n', "--lines", "--json").stdout.decode().splitlines()]
    check_equal([row["prediction"] for row in found], ["a, b", "c"], "the labels as JSON")
    check_in("control character", through_a_pipe(program, b"a\x1fb\n", "--lines").stderr.decode())
    check(through_a_pipe(program, b"\xff\xfe\n", "--lines").returncode in (0, 1), "bytes that are no UTF-8 end the program")
    check_in("--lines", place.run(program, "--help").out)


if __name__ == "__main__":
    sys.exit(main([arrays_of_numpy, nothing_is_allocated, bad_arrays, bad_rows, sounds_and_folders, lines_of_text]))

#!/usr/bin/env python3
"""Lines of JSON and arrays of NumPy: values of all kinds, files as NumPy writes them, rows that stay on the disk, and files of
which something is wrong."""
import base64
import json
import pathlib
import struct
import zipfile
import zlib

from harness import check, check_equal, check_in, checkpoints, main

HEAD = """aml 1
use std.nn
use std.optim
use std.data

option file: string = "FILE"

model Net {
  fc = Dense(3)
  fn forward(x: float[n, ...]) -> float[n, 3] { return fc(flatten(x)) }
}

dataset things {
  source: SOURCE
  FIELDS
  split: { train: 50%, valid: 50%, seed: 3 }
  fn prepare(s) { return { x: PREPARED, y: s.y } }
}

train net {
  model:     Net()
  data:      things
  loss:      cross_entropy
  optimizer: sgd(lr: 0.01)
  length:    40 steps
  batch:     2
}
"""


def build(place, source, fields, name="program", file="things", prepared="s.x", code=0):
    text = HEAD.replace("FILE", file).replace("SOURCE", source).replace("FIELDS", fields).replace("PREPARED", prepared)
    place.write(f"{name}.aml", text)
    return place.aml("build", f"{name}.aml", "-o", name, code=code)


def rows_of(place, program="./program", fields=6):
    return [[float(v) for v in line.split(",")[:fields]] for line in place.run(program, "data", "rows").out.splitlines()]


def weights(place, name, *options):
    place.run(f"./{name}", "train", "--quiet", "--runs", f"of-{name}/runs", *options)
    return (checkpoints(place.folder / f"of-{name}", "net")[-1] / "weights.safetensors").read_bytes()


GOLDEN = json.loads(pathlib.Path(__file__).with_name("golden_arrays.json").read_text())


def arrays_as_numpy_writes_them(place):
    labels = npy("<i8", (4,), struct.pack("<4q", *GOLDEN["labels"]))
    (place.folder / "labels").write_bytes(labels)
    (place.folder / "things").write_bytes(base64.b64decode(GOLDEN["files"][0]["npy"]))
    build(place, 'npy(file, labels: "labels")', "field x: f64[2, 3] = values\n  field y: class(3) = labels", prepared="f32(s.x)")
    for item in GOLDEN["files"]:
        (place.folder / "things").write_bytes(base64.b64decode(item["npy"]))
        check_equal(rows_of(place), item["rows"], f"the rows of {item['name']}")
    build(place, 'npy(file, labels: "labels")', "field x: i32[2, 3] = values\n  field y: class(3) = labels", prepared="float(s.x)")
    for item in GOLDEN["files"]:
        (place.folder / "things").write_bytes(base64.b64decode(item["npy"]))
        done = place.run("./program", "data", "rows", code=None)
        if "f" in item["name"].split()[0]:
            check_in("for one sample", done.err)
        else:
            check_equal(rows_of(place), item["rows"], f"the rows of {item['name']} as i32")
    build(place, "npz(file)", 'field x: f32[2, 3] = array("x")\n  field y: class(3)')
    for archive in GOLDEN["archives"]:
        (place.folder / "things").write_bytes(base64.b64decode(archive))
        check_equal(rows_of(place), GOLDEN["rows"], "the rows of an archive")
        check_in("y: 1 1 2 rows of class 0..2", place.run("./program", "data", "check").out)
    place.run("./program", "train", "--quiet")
    check_equal(len(place.run("./program", "predict", "things").out.splitlines()), 5, "lines of predictions")
    place.write("deployed.aml", 'aml 1\nuse "program.aml"\ndeploy small {\n  model: net.last\n}\n')
    check_in("compared with the training program on 4 rows", place.aml("deploy", "deployed.aml", "small").err)


def npy(descr, shape, elements, version=1, order=False, text=None):
    head = text if text is not None else f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({', '.join(map(str, shape))},), }}"
    head = head.encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(head)) + head + elements


GOOD = npy("<f4", (5, 6), struct.pack("<30f", *range(30)))
LABELS = npy("|u1", (5,), bytes([0, 1, 2, 0, 1]))


def broken_arrays_are_refused(place):
    (place.folder / "things").write_bytes(GOOD)
    (place.folder / "labels").write_bytes(LABELS)
    build(place, 'npy(file, labels: "labels")', "field x: f32[6] = values\n  field y: class(3) = labels")
    place.run("./program", "data", "check")
    nan = struct.pack("<30f", *range(7), float("nan"), *range(22))
    cases = [
        ("things", b"", "expected an array of NumPy (\\x93NUMPY, a version, a header), found a shorter file"),
        ("things", b"\x93NUMPX" + GOOD[6:], "other bytes at its beginning"),
        ("things", GOOD[:6] + b"\x04" + GOOD[7:], "expected version 1.0, 2.0 or 3.0 of the format, found 4.0"),
        ("things", GOOD[:30], "expected a header as long as it says, found the end of the file"),
        ("things", GOOD[:-4], "expected 120 bytes of elements as its header says, found 116"),
        ("things", GOOD + b"1234", "expected 120 bytes of elements as its header says, found 124"),
        ("things", npy("<f4", (-5, 6), b""), "found another text"),
        ("things", npy("<f4", (1 << 62, 1 << 62), b""), "expected an array that fits into memory, found a larger shape"),
        ("things", npy("<f4", (99999999999999999999,), b""), "found another text"),
        ("things", npy("<f4", (1,) * 10, b"1234"), "found more axes than 9"),
        ("things", npy("", (), b"1234", text="{'descr': '<f4', 'fortran_order': False, 'shape': (), }"), "found a single number"),
        ("things", npy("|O", (5, 6), b""), "found |O (objects of Python)"),
        ("things", npy("<U3", (5, 6), b""), "found <U3 (texts)"),
        ("things", npy("<c8", (5, 6), b""), "found <c8 (complex numbers)"),
        ("things", npy("", (), b"", text="{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (5,), }"), "found a list of fields"),
        ("things", npy("", (), b"", text="{'descr': '<f4', 'shape': (5,), }"), "expected a header with 'descr', 'fortran_order' and 'shape'"),
        ("things", npy("", (), b"", text="{'descr': '<f4', 'fortran_order': Maybe, 'shape': (5,), }"), "found another text"),
        ("things", npy("", (), b"", text="__import__('os')"), "found another text"),
        ("things", npy("<f4", (5, 7), bytes(140)), "expected samples of the field 'x' (program.aml:15), f32[6], found f32[7] for one sample"),
        ("things", npy("<f4", (5, 6), nan), "things: sample 1, element 1, field 'x': expected a finite number, found nan"),
        ("things", npy("<f8", (5, 6), struct.pack("<30d", 1e300, *range(29))), "sample 0, element 0, field 'x': expected a number that the field can hold, found 1e+300"),
        ("labels", npy("|u1", (5,), bytes([0, 1, 3, 0, 1])), "labels: sample 2, element 0, field 'y': expected a class in 0..2, found 3"),
        ("labels", npy("<i4", (5,), struct.pack("<5i", 0, -1, 0, 0, 0)), "sample 1, element 0, field 'y': expected a class in 0..2, found -1"),
        ("labels", npy("<u8", (5,), struct.pack("<5Q", 0, 1 << 63, 0, 0, 0)), "expected a class in 0..2, found"),
        ("labels", npy("|u1", (4,), bytes(4)), "labels: expected 5 samples as in"),
        ("labels", npy("<f4", (5,), bytes(20)), "found f32[] for one sample"),
        ("labels", None, "labels\" (program.aml:14) was not found"),
    ]
    refuse_all(place, cases)
    (place.folder / "things").write_bytes(npy("<f4", (0, 6), b""))
    (place.folder / "labels").write_bytes(npy("|u1", (0,), b""))
    check_in("expected rows, found none", place.run("./program", "data", "check", code=1).all)
    (place.folder / "things").write_bytes(npy("<f4", (5, 6), nan))
    (place.folder / "labels").write_bytes(LABELS)
    build(place, 'npy(file, labels: "labels", nan: keep)', "field x: f32[6] = values\n  field y: class(3) = labels", prepared="where(s.x == s.x, s.x, 0.0)")
    check_in("5 rows, 0 bad", place.run("./program", "data", "check").out)


def refuse_all(place, cases):
    for name, data, expected in cases:
        path = place.folder / name
        good = path.read_bytes()
        path.unlink() if data is None else path.write_bytes(data)
        check_in(expected, place.run("./program", "data", "check", code=1).all, f"the answer to {(data or b'')[:60]!r}")
        path.write_bytes(good)


def archive(members, method=zipfile.ZIP_STORED):
    import io
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return out.getvalue()


def broken_archives_are_refused(place):
    members = {"x.npy": GOOD, "y.npy": LABELS}
    stored, packed = archive(members), archive(members, zipfile.ZIP_DEFLATED)
    (place.folder / "things").write_bytes(stored)
    build(place, "npz(file)", 'field x: f32[6] = array("x")\n  field y: class(3) = array("y")')
    place.run("./program", "data", "check")
    (place.folder / "things").write_bytes(packed)
    place.run("./program", "data", "check")
    directory = packed.index(b"PK\x01\x02")

    def changed(data, at, new):
        return data[:at] + new + data[at + len(new):]
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = bomb.compress(bytes(1 << 20)) + bomb.flush()
    huge = archive({"x.npy": npy("<f4", (1 << 38, 6), b""), "y.npy": LABELS}, zipfile.ZIP_DEFLATED)
    at = huge.index(b"PK\x01\x02")
    claims = changed(huge, at + 24, struct.pack("<I", 0x7FFFFFFF))
    cases = [
        ("things", b"", "byte 0: expected an archive of NumPy (a zip file), found a shorter file"),
        ("things", b"PK\x03\x05" + stored[4:], "byte 0: expected an archive of NumPy (a zip file), found other bytes"),
        ("things", stored[:-30], "expected the end of a zip file's directory, found the end of the file"),
        ("things", changed(packed, directory, b"PK\x01\x03"), f"byte {directory}: expected a member of the directory, found other bytes"),
        ("things", changed(packed, directory + 42, b"\xff\xff\xff\x7f"), "expected the beginning of a member, found other bytes"),
        ("things", changed(packed, directory + 10, b"\x0e\x00"), "expected a member that is stored or deflated, found another method"),
        ("things", changed(packed, directory + 8, b"\x01\x00"), "found an encrypted one"),
        ("things", changed(packed, directory + 20, b"\xff\xff\xff\x00"), "expected a member inside of the file, found a longer one"),
        ("things", changed(packed, directory + 24, b"\xff\xff\xff\x6f"), "found a larger size than deflate can make"),
        ("things", changed(packed, directory + 24, struct.pack("<I", len(GOOD) + 1)), "found another size"),
        ("things", changed(packed, directory + 24, struct.pack("<I", len(GOOD) - 1)), "found another size"),
        ("things", changed(packed, directory + 16, b"\x00\x00\x00\x00"), "expected bytes with the checksum that the directory says, found another one"),
        ("things", changed(stored, stored.index(b"\x93NUMPY") + 100, b"\xff"), "expected bytes with the checksum"),
        ("things", changed(packed, packed.index(b"y.npy") - 150, b"\xff\xff\xff\xff"), "expected"),
        ("things", claims, "found a larger size than deflate can make"),
        ("things", huge, "array 'x': expected"),
        ("things", archive({"x.npy": zeros, "y.npy": LABELS}, zipfile.ZIP_DEFLATED), "array 'x': expected an array of NumPy"),
        ("things", archive({"z.npy": GOOD, "y.npy": LABELS}), "no array is named \"x\", which the field 'x' reads"),
        ("things", archive({"x.npy": GOOD, "y.npy": npy("|u1", (4,), bytes(4))}), "array 'y': expected 5 samples as in 'x', found 4"),
        ("things", archive({"x.npy": GOOD[:-1], "y.npy": LABELS}), "array 'x': expected 120 bytes of elements as its header says, found 119"),
    ]
    refuse_all(place, cases)


LINES = [
    {"id": i, "about": {"age": i / 7 - 2, "name": f"n{i}"}, "v": [[i, 1.5, -2], [3e2, 0, i / 3]], "job": ["cook", "cl\u00f6wn", "a\"b\\"][i % 3],
     "at": f"2020-01-{1 + i % 28:02}T06:00:00Z", "ok": i % 2 == 0, "class": ["a", "b", "c"][i % 3]} for i in range(40)]
LINES[3]["about"]["age"] = None
del LINES[4]["about"]["age"]
LINES[5]["about"]["age"] = "NA"

JSON_FIELDS = """field x: f32[2, 3] = column("v")
  field age: f32 = column("about.age", fill: -1, missing: "NA")
  field known: bool = present("about.age", missing: "NA")
  field job: category
  field at: date
  field ok: bool
  field y: category = column("class")"""


def text_of(lines):
    return "".join(json.dumps(line, ensure_ascii=i % 2 == 0, separators=((",", ":") if i % 3 else (" , ", " : "))) + ("\r\n" if i % 5 == 0 else "\n") + ("\n" if i % 7 == 0 else "")
                   for i, line in enumerate(lines))


def lines_of_json(place):
    place.write("things", text_of(LINES))
    build(place, "jsonl(file)", JSON_FIELDS)
    check_in("40 rows, 0 bad", place.run("./program", "data", "check").out)
    rows = rows_of(place, fields=8)
    for i, row in enumerate(rows):
        age = LINES[i]["about"].get("age")
        known = isinstance(age, float)
        expected = [v for part in LINES[i]["v"] for v in part] + [age if known else -1, known]
        check(all(abs(a - b) <= 1e-6 * (1 + abs(b)) for a, b in zip(row, expected)), f"row {i} is {row}, expected {expected}")
    tails = [line.split(",", 8)[8] for line in place.run("./program", "data", "rows").out.splitlines()]
    check_equal(tails[:3], ["cook,2020-01-01 06:00:00,1,a", "cl\u00f6wn,2020-01-02 06:00:00,0,b", '"a""b\\",2020-01-03 06:00:00,1,c'], "rows")
    build(place, "jsonl(file, memory: 1 KiB)", JSON_FIELDS, name="outside")
    check_equal(weights(place, "outside"), weights(place, "program"), "the weights with rows on the disk")
    place.run("./program", "train", "--quiet")
    predicted = place.run("./program", "predict", "things").out
    check(all(line.split(",")[1] in "abc" for line in predicted.splitlines()[1:]), predicted[:200])
    place.write("deployed.aml", 'aml 1\nuse "program.aml"\ndeploy small {\n  model: net.last\n}\n')
    check_in("compared with the training program on 40 rows", place.aml("deploy", "deployed.aml", "small").err)
    wrong = build(place, "jsonl(file)", JSON_FIELDS.replace('column("class")', 'column("clas")'), code=1).all
    check_in('things has no column named "clas"', wrong)
    check_in('did you mean "class"?', wrong)


def broken_lines_are_refused(place):
    place.write("things", text_of(LINES))
    build(place, "jsonl(file)", JSON_FIELDS)
    good = json.dumps(LINES[0])
    cases = [("things", b"", "things:1:1: expected rows, found an empty file")]
    for line, expected in [
        (good[:-1], "things:2:%d: expected a comma or } behind a value, found the end of the line" % len(good)),
        (good + "x", "things:2:%d: expected the end of the line, found \"x\"" % (len(good) + 1)),
        ("[1]", 'things:2:1: expected an object, found "[1]"'),
        ("{'v': 1}", "things:2:2: expected a key in quotes"),
        ('{"v" 1}', "expected a colon behind a key"),
        ('{"v": 01}', "expected a number that does not begin with 0"),
        ('{"v": .5}', 'expected a value, found ".5}"'),
        ('{"v": 1.}', "expected a digit"),
        ('{"v": NaN}', 'expected a value, found "NaN}"'),
        ('{"v": "\\x"}', "expected one of"),
        ('{"v": "\\ud800"}', "expected \\u and the number of a character"),
        ('{"v": "a\tb"}', "expected no control character in a text"),
        ('{"v": "a', "expected the closing quote of a text, found the end of the line"),
        ('{"v":' + "[" * 100 + "]" * 100 + "}", "expected at most 64 values inside of each other"),
        (good[:-1] + ', "v": 1}', "expected each key once, found one that was there before"),
        (good.replace("1.5", '"1.5"'), 'key "v", field \'x\': expected a number, not a text, found "1.5"'),
        (good.replace("1.5, ", ""), 'key "v", field \'x\': expected an array of 3 values, found 2'),
        (good.replace("1.5", "1.5, 7"), 'key "v", field \'x\': expected an array of 3 values, found 4'),
        (good.replace("1.5", "1e99"), 'key "v", field \'x\': expected a number that f32 can hold, found "1e99"'),
        (good.replace("1.5", "null"), 'key "v", field \'x\': expected a value, not a missing one, found null'),
        (good.replace("1.5", "[1]"), 'key "v", field \'x\': expected one value, found an array'),
        (good.replace('"ok": true', '"ko": true'), 'key "ok", field \'ok\': expected a value, not a missing one, found no such key'),
        (good.replace("cook", "king"), 'key "job", field \'job\': expected one of "a"'),
        (good.replace("2020-01", "2020-13"), 'key "at", field \'at\': expected a date as in 2016-07-01'),
        (good.replace("cook", "\udcff"), "things:2:%d: expected an object of JSON, found bytes that are not UTF-8" % (good.index("cook") + 1)),
        (good.replace("cook", "\x00"), "found a NUL byte"),
    ]:
        cases.append(("things", (good + "\n" + line + "\n" + good).encode(errors="surrogateescape"), expected))
    refuse_all(place, cases)


if __name__ == "__main__":
    raise SystemExit(main([arrays_as_numpy_writes_them, broken_arrays_are_refused, broken_archives_are_refused, lines_of_json, broken_lines_are_refused]))

#!/usr/bin/env python3
"""Tables of text: categories, names of classes, missing values, dates, comments and quotes; what the compiler says about the
columns of a file; rows that stay on the disk; files of which something is wrong."""
import datetime
import os
import pathlib
import json
import random

from harness import Skip, check, check_equal, check_in, checkpoints, main, sanitized

HEAD = """aml 1
use std.nn
use std.optim
use std.data
use std.metrics

option file: string = "people.csv"

model Net(count: int) {
  fc = Dense(count)
  fn forward(x: float[n, k]) -> float[n, count] { return fc(x) }
}
"""
TAIL = """
train net {
  model:     Net(CLASSES)
  data:      people
  loss:      cross_entropy
  optimizer: sgd(lr: 0.1)
  length:    SIZE steps
  batch:     4
  metrics:   { accuracy: accuracy() }
}

evaluate report {
  model:   net.last
  data:    people.valid
  metrics: { confusion: confusion_matrix() }
}
"""

PEOPLE = '''age, job, sex, joined, income
# a comment
39, State-gov, Male, 2016-02-29, <=50K
?, Private, Female, 2017-01-01 12:30, >50K.

50, "Self-emp, ""inc""", Male, 2018-12-31T23:59:59Z, <=50K.
28, ?, Female, 2019-03-04 00:00:00+01:00, >50K
''' + "".join(f"{20 + i}, {['Private', 'State-gov'][i % 2]}, {['Male', 'Female'][i % 3 % 2]}, 2020-01-{1 + i % 28:02}, {['<=50K', '>50K'][i % 2]}\n"
              for i in range(36)) + "\n\n"

FIELDS = """
dataset people {
  source: csv(file, missing: "?", comment: "#")
  field age: f32 = column("age", fill: nan)
  field aged: bool = present("age")
  field job: category = column("job", fill: "none")
  field sex: class(2) = column("sex", values: ["Female", "Male"])
  field joined: date
  field y: category = column("income", ending: ".")
  split: { train: 80%, valid: 20%, seed: 3 }
  fn prepare(s) {
    let age = where(s.aged, s.age, 0.0)
    return { x: concat([stack([age / 50.0, float(s.sex), float(month(s.joined)) / 12.0]), one_hot(s.job, classes(s.job))]), y: s.y }
  }
}
"""


def build(place, fields=FIELDS, classes=2, name="program", code=0, steps=20, tail=TAIL):
    text = (HEAD + fields + tail).replace("CLASSES", str(classes)).replace("SIZE", str(steps))
    place.write(f"{name}.aml", text)
    return place.aml("build", f"{name}.aml", "-o", name, code=code)


def categories_dates_and_missing_values(place):
    place.write("people.csv", PEOPLE)
    build(place)
    place.run("./program", "train", "--quiet")
    rows = place.run("./program", "data", "rows").out.splitlines()
    check_equal(rows[:4], ['39,1,State-gov,Male,2016-02-29 00:00:00,<=50K',
                           ',0,Private,Female,2017-01-01 12:30:00,>50K',
                           '50,1,"Self-emp, ""inc""",Male,2018-12-31 23:59:59,<=50K',
                           '28,1,none,Female,2019-03-03 23:00:00,>50K'], "the first rows")
    checked = place.run("./program", "data", "check").out
    check_in("40 rows, 0 bad", checked)
    predicted = place.run("./program", "predict", "people.csv").out.splitlines()
    check(all(line.split(",")[1] in ("<=50K", ">50K") for line in predicted[1:]), f"names of classes in {predicted[:3]}")
    check_in("  <=50K\n", place.run("./program", "evaluate", "report").out)
    # the deployed program takes the same columns, with other texts than it was trained with refused
    place.write("deployed.aml", 'aml 1\nuse "program.aml"\ndeploy small {\n  model: net.last\n  require: { accuracy_drop: 1pp }\n}\n')
    right = sum(line.split(",")[1] == label for line, label in zip(predicted[1:], (row.rsplit(",", 1)[1] for row in rows)))
    check_in(f"accuracy on these rows: {100 * right / len(rows):.2f}%", place.aml("deploy", "deployed.aml", "small").err)
    check_equal(place.run("./small", "predict", "people.csv").out.splitlines(), predicted, "the predictions of the deployed program")
    place.write("other.csv", PEOPLE.splitlines()[0] + "\n40, Clown, Male, 2020-01-01, <=50K\n")
    for program in ("./program", "./small"):
        check_in('other.csv:2:4: column "job", field \'job\': expected one of "Private", "Self-emp', place.run(program, "predict", "other.csv", code=1).all)


def unknown_texts_have_a_class_if_asked_for(place):
    place.write("people.csv", PEOPLE)
    fields = FIELDS.replace('fill: "none")', 'fill: "none", unknown: own_class)')
    build(place, fields)
    place.run("./program", "train", "--quiet")
    place.write("other.csv", PEOPLE.splitlines()[0] + "\n40, Clown, Male, 2020-01-01, <=50K\n40, Private, Male, 2020-01-01, <=50K\n")
    check_equal(len(place.run("./program", "predict", "other.csv").out.splitlines()), 3, "lines of predictions")
    check_in("unknown", place.run("./program", "data", "rows", "--file", "other.csv").out)


def classes_of_numbers_are_in_their_order(place):
    place.write("people.csv", "x,q\n" + "".join(f"{i},{[10, 3, 9][i % 3]}\n" for i in range(30)))
    build(place, """
dataset people {
  source: csv(file)
  field x: f32 = column("x")
  field y: category = column("q")
  split: { train: 80%, valid: 20% }
  fn prepare(s) { return { x: stack([s.x]), y: s.y } }
}
""", classes="classes(people.y)")
    check_in("y: 10 10 10 rows of class 0..2", place.run("./program", "data", "check").out)
    check_equal(place.run("./program", "data", "rows").out.splitlines()[:3], ["0,10", "1,3", "2,9"], "rows")


RANGE = """
dataset people {
  source: csv(file)
  field x: f32[3]   = columns("a", to: "c")
  field y: class(2) = column("y", values: ["no", "yes"])
  split: { train: 80%, valid: 20% }
  fn prepare(s) { return { x: s.x, y: s.y } }
}
"""


def columns_are_read_from_one_name_to_another(place):
    place.write("people.csv", "k,a,b,c,y\n" + "".join(f"{9 * i},{i},{i + 0.5},{-i},{['no', 'yes'][i % 2]}\n" for i in range(30)))
    build(place, RANGE)
    check_equal(place.run("./program", "data", "rows").out.splitlines()[:2], ["0,0.5,0,no", "1,1.5,-1,yes"], "the first rows")
    # another file may have other columns around them, but not between them
    place.write("wider.csv", "y,a,b,c,d\n" + "no,1,2,3,4\n" * 9)
    check_equal(place.run("./program", "data", "rows", "--file", "wider.csv").out.splitlines()[0], "1,2,3,no", "a row of another file")
    place.write("between.csv", "a,b,z,c,y\n" + "1,2,3,4,no\n" * 9)
    check_in("needs 3 columns, and from \"a\" to \"c\" (columns 0 and 3) the file has 4", place.run("./program", "data", "rows", "--file", "between.csv", code=1).all)
    place.write("backwards.csv", "c,b,a,y\n" + "1,2,3,no\n" * 9)
    check_in("the file has 0", place.run("./program", "data", "rows", "--file", "backwards.csv", code=1).all)
    place.write("without.csv", "a,b,y\n" + "1,2,no\n" * 9)
    check_in('no column is named "c"', place.run("./program", "data", "rows", "--file", "without.csv", code=1).all)
    # the compiler says so where the file is there
    build(place, RANGE.replace('to: "c"', 'to: "see"'), code=1)
    check_in("error[E0618]", build(place, RANGE.replace("f32[3]", "f32[2]"), code=1).all)
    # texts where numbers of classes are expected
    build(place, RANGE.replace(', values: ["no", "yes"]', ""))
    check_in("help: classes that have names are a `category`", place.run("./program", "data", "rows", code=1).all)


PARTS = """
dataset people {
  source: csv("train.csv")
  valid:  csv("valid.csv")
  test:   csv("test.csv")
  field x: f32[1]   = column("x")
  field y: category
  fn prepare(s) { return { x: s.x, y: s.y } }
}
"""


def each_part_may_have_a_file_of_its_own(place):
    for name, rows, start in (("train", 40, 0), ("valid", 7, 100), ("test", 11, 200)):
        place.write(f"{name}.csv", "x,y\n" + "".join(f"{start + i},{['no', 'yes'][i % 2]}\n" for i in range(rows)))
    build(place, PARTS)
    check_in("40 rows to train on, 7 to validate", place.run("./program", "train").all)
    check_in("report: 7 rows (valid)", place.run("./program", "evaluate", "report").out)
    for part, first, rows in (("train", 0, 40), ("valid", 100, 7), ("test", 200, 11)):
        values = place.run("./program", "data", "rows", "--part", part).out.splitlines()
        check_equal([int(line.split(",")[0]) for line in values], list(range(first, first + rows)), f"the rows of {part}")
    # what is in any of them counts
    before = place.run("./program", "plan").out
    place.write("valid.csv", "x,y\n100,no\n101,maybe\n")
    check_in("valid.csv:3:5", place.run("./program", "data", "check", code=1).all)
    check(before, "a plan")
    # a fold cannot take the place of a file
    check_in("error[E0842]", build(place, PARTS, tail=TAIL.replace("metrics: { confusion", "folds: 3\n  metrics: { confusion"), code=1).all)


def the_compiler_looks_into_the_file(place):
    place.write("people.csv", PEOPLE)
    wrong = build(place, FIELDS.replace('column("age", fill', 'column("agee", fill'), code=1).all
    check_in('people.csv has no column named "agee"', wrong)
    check_in("has the columns age, job, sex, joined, income", wrong)
    check_in('did you mean "age"?', wrong)
    wrong = build(place, FIELDS.replace('column("job"', 'column("jobs"'), code=1).all
    check_in('did you mean "job"?', wrong)
    wrong = build(place, FIELDS.replace('column("age", fill: nan)', "column(5, fill: nan)"), code=1).all
    check_in("the field 'age' reads the columns 5..5, and people.csv has the columns 0..4", wrong)
    (place.folder / "people.csv").unlink()
    wrong = build(place, FIELDS, code=1).all
    check_in("the classes of 'job' are the texts of its column in people.csv, which was not found", wrong)
    place.write("people.csv", "age,job,sex,joined,income\n")
    check_in("missing values only", build(place, FIELDS, code=1).all)


def a_label_among_the_inputs_is_told(place):
    place.write("people.csv", "id,a,b,quality\n" + "".join(f"{i},{i % 5},{i % 7},{i % 2}\n" for i in range(40)))
    fields = """
dataset people {
  source: csv(file)
  field x: f32[SIZE_] = columns(1..LAST)
  field seen: bool = present("a")
  field y: class(2) = column("quality")
  split: { train: 80%, valid: 20%, seed: 3 }
  fn prepare(s) { return { x: where(s.seen, s.x, 0.0), y: s.y } }
}
"""
    told = build(place, fields.replace("SIZE_", "3").replace("LAST", "3")).all
    check_in("program.aml:18:23", told)
    check_in("the fields 'x' and 'y' both read the columns 3..3", told)
    check_in('"quality" is column 3 of people.csv', told)
    told = build(place, fields.replace("SIZE_", "2").replace("LAST", "2")).all
    check("both read" not in told, told)
    (place.folder / "people.csv").unlink()      # then the names are not known
    told = build(place, fields.replace("SIZE_", "3").replace("LAST", "3")).all
    check("both read" not in told, told)


WIDE = """
dataset people {
  source: SOURCE
  field x: f32[6] = columns(0..5)
  field y: class(3) = column(6)
  split: { train: 70%, valid: 30%, seed: 5, stratify: y }
  SKIP
}
"""


def rows_may_stay_on_the_disk(place):
    draw = random.Random(4)
    rows = [",".join(f"{draw.uniform(-3, 3):.{draw.randrange(18)}f}" for _ in range(6)) + f",{draw.randrange(3)}" for _ in range(20011)]
    rows[77] = '"' + rows[77].replace(",", '","') + '"'
    place.write("people.csv", "\n".join(rows) + "\n\n")
    hashes, checks = [], []
    for name, memory in (("inside", "2 GiB"), ("decoded", "1.5 MiB"), ("outside", "1 KiB")):
        place.write("people.csv", "\n".join(rows) + "\n\n")
        build(place, WIDE.replace("SOURCE", f"csv(file, memory: {memory})").replace("SKIP", ""), classes=3, name=name, steps=2000)
        checks.append(place.run(f"./{name}", "data", "check").out.split(", SHA-256")[-1])
        for threads in (1, 3):
            place.run(f"./{name}", "train", "--quiet", "--threads", threads, "--runs", f"{name}{threads}/runs")
            hashes.append((checkpoints(place.folder / f"{name}{threads}", "net")[-1] / "weights.safetensors").read_bytes())
    check(all(h == hashes[0] for h in hashes), "the weights depend on where the rows are")
    check(len(set(checks)) == 1, f"the checks differ: {checks}")
    rows[15001] = rows[15001][:-1] + "7"
    place.write("people.csv", "\n".join(rows) + "\n")
    messages = {place.run(f"./{name}", "train", "--quiet", code=1).err for name in ("inside", "outside")}
    check(len(messages) == 1, f"different messages: {messages}")
    check_in("people.csv:15002:", messages.pop())
    # with bad rows passed over, the same rows are left
    hashes = []
    for name, memory in (("inside", "2 GiB"), ("outside", "1 KiB")):
        build(place, WIDE.replace("SOURCE", f"csv(file, memory: {memory})").replace("SKIP", "on_bad: skip(limit: 1%)"), classes=3, name=name, steps=500)
        place.run(f"./{name}", "train", "--quiet", "--runs", f"{name}-skip/runs")
        hashes.append((checkpoints(place.folder / f"{name}-skip", "net")[-1] / "weights.safetensors").read_bytes())
    check_equal(hashes[0], hashes[1], "the weights with a row passed over")


LONG = WIDE.replace("f32[6] = columns(0..5)", "f32[64] = columns(0..63)").replace("column(6)", "column(64)").replace(", stratify: y", "")


# What a program has in memory does not grow with a file that stays on the disk (but for 8 bytes a row in the lists of the parts and
# of the order, and the places of blocks of rows), and is less than the file.
def memory_does_not_grow_with_the_file(place):
    draw = random.Random(6)
    block = "".join(",".join(f"{draw.uniform(-3, 3):.5f}" for _ in range(64)) + f",{draw.randrange(3)}\n" for _ in range(1000))
    peaks = {}
    for memory, times in (("1 MiB", 20), ("1 MiB", 80), ("2 GiB", 80)):
        place.write("people.csv", block * times)
        build(place, LONG.replace("SOURCE", f"csv(file, memory: {memory})").replace("SKIP", ""), classes=3, steps=100)
        found = json.loads(place.run("./program", "train", "--json", "--quiet", "--threads", 1).out.splitlines()[-1])
        check_equal(found["step"], 100, "steps")
        peaks[memory, times] = found["peak_memory"]
    small, large, whole = peaks.values()
    size = len(block) * 80
    rows = 60000                                    # more than in the smaller file
    limit = size // 4 if sanitized(place.amlc) else rows * 4 * 8 + (2 << 20)   # a sanitizer holds back what was freed
    check(large - small < limit, f"the peak grew from {small} to {large} bytes with the file")
    check(sanitized(place.amlc) or large < size, f"the peak is {large} bytes, the file has {size}")
    check(sanitized(place.amlc) or large < whole - size // 2, f"the peak is {large} bytes, and {whole} with the file in memory")


def the_number_of_threads_changes_nothing(place):
    """Many threads read a file; a bad row is the first one whoever finds it."""
    draw = random.Random(8)
    rows = [",".join(f"{draw.gauss(0, 1)}" for _ in range(6)) + f",{draw.randrange(3)}" for _ in range(30000)]
    place.write("people.csv", "\n".join(rows))
    build(place, WIDE.replace("SOURCE", "csv(file)").replace("SKIP", ""), classes=3)
    hashes = set()
    for threads in (1, 2, 5):
        place.run("./program", "train", "--quiet", "--threads", threads, "--steps", 1, "--runs", f"t{threads}/runs")
        hashes.add((checkpoints(place.folder / f"t{threads}", "net")[-1] / "weights.safetensors").read_bytes())
    check_equal(len(hashes), 1, "different weights")
    for at in (29000, 9000, 8999):
        rows[at] = rows[at].replace(",", ";", 1)
    place.write("people.csv", "\n".join(rows))
    for threads in (1, 4):
        check_in("people.csv:9000:1: expected 7 cells as in the first row, found 6", place.run("./program", "train", "--threads", threads, code=1).err)


def broken_files_are_refused(place):
    place.write("people.csv", "a,b,c,d,e,f,y\n" + "1,2,3,4,5,6,0\n" * 40)
    fields = WIDE.replace("SOURCE", "csv(file, header: yes)").replace("SKIP", "")
    build(place, fields, classes=3)
    good = "a,b,c,d,e,f,y\n" + "1,2,3,4,5,6,0\n" * 3
    broken = [
        (b"", "people.csv:1:1: expected rows, found an empty file"),
        (b"\n\n\r\n", "people.csv:1:1: expected rows, found an empty file"),
        (b"a,b,c,d,e,f,y\n", "people.csv: expected rows, found none behind the header"),
        (good.encode() + b"1,2,3,4,5,6", "people.csv:5:1: expected 7 cells as in the first row, found 6"),
        (good.encode() + b"1,2,3,4,5,6,7,8\n", "people.csv:5:1: expected 7 cells as in the first row, found 8"),
        (good.encode() + b"1,2,3,nan,5,6,0\n", 'people.csv:5:7: column "d", field \'x\': expected a number (f32), found "nan"'),
        (good.encode() + b"1,2,3,1e39,5,6,0\n", 'expected a number that f32 can hold, found "1e39"'),
        (good.encode() + b"1,2,,4,5,6,0\n", 'people.csv:5:5: column "c", field \'x\': expected a value, not a missing one, found ""'),
        (good.encode() + b"1,2,3,4,5,6,3\n", 'column "y", field \'y\': expected a class in 0..2, found "3"'),
        (good.encode() + b"1,2,3,4,5,6,-1\n", 'expected a class in 0..2, found "-1"'),
        (good.encode() + b"1,2,3,4,5,6,0.0\n", 'expected a class in 0..2, found "0.0"'),
        (good.encode() + b"1,2,\xff,4,5,6,0\n", "people.csv:5:5: expected a row of 7 cells, found bytes that are not UTF-8"),
        (good.encode() + b"1,2,\x00,4,5,6,0\n", "people.csv:5:5: expected a row of 7 cells, found a NUL byte"),
        (good.encode() + b'1,2,"3,4,5,6,0\n', "people.csv:5:5: expected a row of 7 cells, found a quote that is never closed"),
        (good.encode() + b'1,2,"3"x,4,5,6,0\n', "people.csv:5:8: expected a row of 7 cells, found text after a closing quote"),
        (good.encode() + b'1,2,3",4,5,6,0\n', "people.csv:5:6: expected a row of 7 cells, found a quote inside a cell"),
        (b"\x1f\x8b\x08\x00" + bytes(50), "people.csv:1:"),
        (b"PK\x03\x04" + bytes(200), "people.csv:1:"),
        (good.replace(",", ";").encode(), "help: the separator is \",\" and the first row has a semicolon"),
        (good.encode("utf-16"), "people.csv:1:1: expected the names of the columns, found bytes that are not UTF-8"),
    ]
    for bytes_of, expected in broken:
        (place.folder / "people.csv").write_bytes(bytes_of)
        for verb in (("data", "check"), ("train", "--quiet")):
            check_in(expected, place.run("./program", *verb, code=1).all, f"the answer to {bytes_of[-40:]!r}")
    (place.folder / "people.csv").unlink()
    (place.folder / "people.csv").symlink_to("people.csv")
    check_in("people.csv", place.run("./program", "data", "check", code=1).all)
    (place.folder / "people.csv").unlink()
    (place.folder / "people.csv").mkdir()
    check_in("people.csv", place.run("./program", "data", "check", code=1).all)


CALENDAR = """aml 1
use std.data
use std.optim
use std.loss

model Parts {
  weight w: float[8] = 1.0
  fn forward(x: float[n, 8]) -> float[n, 8] { return x * self.w }
}

dataset days {
  source: csv("days.csv")
  field at: date = column("at"FORMAT)
  split: { train: 100% }
  fn prepare(s) {
    let parts = [year(s.at), month(s.at), day(s.at), weekday(s.at), day_of_year(s.at), hour(s.at), minute(s.at), second(s.at)]
    return { x: stack([float(p) for p in parts]) }
  }
}

train show {
  model:     Parts()
  data:      days
  loss:      fn(x) = mean(x)
  optimizer: sgd(lr: 0.0)
  length:    1 step
  batch:     1
}
"""


def parts_of_dates_are_those_of_the_calendar(place):
    draw = random.Random(11)
    first = datetime.datetime(1, 1, 1)
    times = [first + datetime.timedelta(seconds=draw.randrange(86400 * 3652059)) for _ in range(400)]
    times += [datetime.datetime(y, m, d, 23, 59, 59) for y, m, d in ((1600, 2, 29), (1900, 2, 28), (1900, 3, 1), (1969, 12, 31), (1970, 1, 1), (2000, 2, 29), (2000, 12, 31), (2024, 2, 29), (2100, 3, 1))]
    for format_of, setting in (("%Y-%m-%dT%H:%M:%S", ""), ("%d.%m.%Y, %I:%M:%S %p", ', format: "%d.%m.%Y, %I:%M:%S %p"')):
        written = [t.strftime(format_of).rjust(len(first.strftime("0001" + format_of[2:])) if format_of[1] == "Y" else 0, "0") if format_of[1] == "Y"
                   else t.strftime(format_of.replace("%Y", f"{t.year:04}")) for t in times]
        place.write("days.csv", "at\n" + "".join(f'"{text}"\n' for text in written))
        place.write("days.aml", CALENDAR.replace("FORMAT", setting))
        place.aml("build", "days.aml", "-o", "days")
        place.run("./days", "train", "--quiet")
        rows = [[float(v) for v in line.split(",")[1:]] for line in place.run("./days", "predict", "days.csv").out.splitlines()[1:]]
        check_equal(len(rows), len(times), "rows")
        for row, t, text in zip(rows, times, written):
            check_equal(row, [t.year, t.month, t.day, t.weekday(), t.timetuple().tm_yday, t.hour, t.minute, t.second], f"the parts of {text}")
    for wrong in ("2021-02-29", "2020-13-01", "2020-1-1x", "20200101", "2020-01-01T25:00", "2020-01-01 12:60", "2020-01-01T12:00+25:00", "yesterday"):
        place.write("days.aml", CALENDAR.replace("FORMAT", ""))
        place.write("days.csv", f"at\n2020-01-01\n{wrong}\n")
        place.aml("build", "days.aml", "-o", "days")
        check_in(f'days.csv:3:1: column "at", field \'at\': expected a date as in 2016-07-01 or 2016-07-01 13:00:00, found "{wrong}"',
                 place.run("./days", "data", "check", code=1).all)


FOLDER = [
    ("adult", 'csv("data/adult/adult-train.csv", missing: "?")', 'test: csv("data/adult/adult-test.csv", missing: "?")', 48842, [
        "age: f32 = column(0)", 'work: category = column(1, fill: "?")', "weight: f32 = column(2)", "school: category = column(3)", "years: f32 = column(4)",
        "married: category = column(5)", 'job: category = column(6, fill: "?")', "role: category = column(7)", "race: category = column(8)",
        "sex: category = column(9)", "money: f32[3] = columns(10..12)", 'country: category = column(13, fill: "?")', 'y: class(2) = column(14, values: ["<=50K", ">50K"], ending: ".")']),
    ("kdd", 'csv("data/anomaly/nsl-kdd/KDDTrain+_20Percent.txt")', 'test: csv("data/anomaly/nsl-kdd/KDDTest+.txt")', 47736, [
        "duration: f32 = column(0)", "protocol: category = column(1)", "service: category = column(2, unknown: own_class)", "flag: category = column(3)",
        "rest: f32[37] = columns(4..40)", "y: category = column(41, unknown: own_class)"]),
    ("elec", 'csv("data/anomaly/elec2/elec.csv")', "", 45312, ["x: f32[6] = columns(0..5)", "y: class(2) = column(\"class\")"]),
    ("iris", 'csv("data/tabular/iris.csv")', "", 150, ["x: f32[4] = columns(0..3)", 'y: category = column("species")']),
    ("red", 'csv("data/tabular/winequality-red.csv")', "", 1599, ["x: f32[11] = columns(0..10)", 'y: category = column("quality")']),
    ("white", 'csv("data/tabular/winequality-white.csv")', "", 4898, ["x: f32[11] = columns(0..10)", 'y: category = column("quality")']),
    ("ett", 'csv("data/timeseries/ETTh1.csv")', "", 17420, ['at: date = column("date")', "x: f32[7] = columns(1..7)"]),
    ("airline", 'csv("data/timeseries/airline-passengers.csv")', "", 144, ['at: date = column("Month")', 'x: f32 = column("Passengers")']),
    ("cold", 'csv("data/timeseries/daily-min-temperatures.csv")', "", 3650, ['at: date = column("Date")', 'x: f32 = column("Temp")']),
    ("spam", 'tsv("data/text/sms-spam/SMSSpamCollection.tsv", quotes: no)', "", 5574, ["y: category = column(0)"]),
    ("intents", 'tsv("data/text/clinc150/train.tsv", quotes: no)', "", 15100, ['y: category = column("intent")']),
]


def real_data_are_read_with_plain_declarations(place):
    folder = os.environ.get("AML_DATA", pathlib.Path(__file__).resolve().parents[3] / "shared")
    if not (pathlib.Path(folder) / "data/adult/adult-train.csv").is_file():
        raise Skip("the data folder is not there")
    text = "aml 1\nuse std.data\n"
    for name, source, test, _, fields in FOLDER:
        lines = "".join(f"  field {field}\n" for field in fields)
        first = fields[0].split(":")[0]
        split = "train: 90%, valid: 10%" + ("" if test else ", test: 0%")
        text += f"dataset {name} {{\n  source: {source}\n  {test}\n{lines}  split: {{ {split} }}\n  fn prepare(s) {{ return {{ x: s.{first} }} }}\n}}\n"
    place.write("folder.aml", text)
    place.aml("build", "folder.aml", "-o", "folder", env={"AML_DATA": str(folder)})
    checked = place.run("./folder", "data", "check", env={"AML_DATA": str(folder)}).out
    for name, _, _, rows, _ in FOLDER:
        check_in(f"{rows} rows, 0 bad", next(line for line in checked.splitlines() if line.startswith(name + ":")))
    check_in("y: 37155 11687 rows of class 0..1", checked)
    check_in("y: 4827 747 rows of class 0..1", checked)


if __name__ == "__main__":
    raise SystemExit(main([categories_dates_and_missing_values, unknown_texts_have_a_class_if_asked_for, classes_of_numbers_are_in_their_order, columns_are_read_from_one_name_to_another, each_part_may_have_a_file_of_its_own,
                           the_compiler_looks_into_the_file, a_label_among_the_inputs_is_told, rows_may_stay_on_the_disk, memory_does_not_grow_with_the_file, the_number_of_threads_changes_nothing,
                           broken_files_are_refused, parts_of_dates_are_those_of_the_calendar,
                           real_data_are_read_with_plain_declarations]))

#!/usr/bin/env python3
"""Cleaning: what each rule leaves out and says, compared with the same rule in Python; training rows set the borders; nothing of a
separate test source goes."""
import json
import random
import re
import statistics

from harness import check, check_equal, check_in, main

PROGRAM = """aml 1
use std.nn
use std.optim
use std.data

model Net {
  fc = Dense(2)
  fn forward(x: float[n, d]) -> float[n, 2] { return fc(x) }
}

dataset rows {
  source: csv("rows.csv")
  TEST
  field a: f32      = column("a", fill: nan)
  field b: f32      = column("b")
  field w: i32[12]  = columns(2..13)
  field y: class(2) = column("y")
  split: { train: 75%, valid: 25%, by: time }
  clean: [RULES]
  fn prepare(s) { return { x: stack([impute(s.a), s.b]), y: s.y } }
}

train net {
  model:     Net()
  data:      rows
  loss:      cross_entropy
  optimizer: sgd(lr: 1e-3)
  length:    2 steps
  batch:     4
}
"""
ROWS = 80
HEADER = "a,b," + ",".join(f"w{i}" for i in range(12)) + ",y"


def sample(seed=5):
    random.seed(seed)
    return [[random.gauss(10, 2), random.uniform(0, 50)] + [random.randrange(1000) for _ in range(12)] + [i % 2] for i in range(ROWS)]


def text(rows):
    return "\n".join([HEADER] + [",".join("" if v is None else repr(v) for v in row) for row in rows]) + "\n"


def build(place, rows, rules, test=None):
    place.write("rows.csv", text(rows))
    if test:
        place.write("test.csv", text(test))
    place.write("clean.aml", PROGRAM.replace("RULES", rules).replace("TEST", 'test: csv("test.csv")' if test else ""))
    place.aml("build", "clean.aml")
    return "./clean"


def trained(place, program):
    """(rows to train on, rows to validate, what was said)."""
    said = place.run(program, "train").err
    found = re.search(r"(\d+) rows to train on, (\d+) to validate", said)
    return int(found.group(1)), int(found.group(2)), said


def exact_duplicates(place):
    rows = sample()
    rows[30], rows[31], rows[70] = list(rows[3]), list(rows[3]), list(rows[4])      # two in the training part, one in the valid part
    rows[50] = rows[5][:2] + rows[50][2:]
    program = build(place, rows, "duplicates()")
    train, valid, said = trained(place, program)
    check_equal((train, valid), (58, 19), "the rows of the parts")
    check_in("rows: 3 rows the same as an earlier one, 3 left out (row 31, 32, 71; clean.aml:", said)
    check_in("3 left out", place.run(program, "data", "check").out)
    program = build(place, rows, "duplicates(on: [a, b], action: flag)")
    train, valid, said = trained(place, program)
    check_equal((train, valid), (60, 20), "the rows of the parts, told about only")
    check_in("4 rows the same as an earlier one (row 31, 32, 51, 71;", said)


def near_duplicates(place):
    rows = sample()
    copied = {20: 1, 40: 2, 60: 3}
    for at, of in copied.items():
        rows[at] = rows[at][:2] + list(rows[of][2:14]) + rows[at][14:]
        rows[at][2] += 1                     # 9 of 11 shingles in common: 9 / 11
    rows[50] = rows[50][:2] + list(rows[7][2:14]) + rows[50][14:]
    rows[50][7] += 1                         # 7 of 10 + 3: 7 / 13
    program = build(place, rows, "near_duplicates(on: [w], similarity: 80%)")
    train, valid, said = trained(place, program)
    check_in("rows: 3 rows nearly the same as an earlier one, 3 left out (row 21, 41, 61;", said)
    check_equal((train, valid), (58, 19), "the rows of the parts")


def missing(place):
    rows = sample()
    for at in (2, 9, 77):
        rows[at][0] = None
    train, valid, said = trained(place, build(place, rows, "missing_values()"))
    check_equal((train, valid), (58, 19), "the rows of the parts")
    check_in("rows.a: 3 rows without a value, 3 left out (row 3, 10, 78;", said)
    check("rows.b" not in said, "a field without missing values was told about")


def outliers(place):
    rows = sample()
    rows[5][0], rows[6][0], rows[75][0] = 40.0, -30.0, 99.0
    training = [row[0] for row in rows[:60]]
    quarter, _, third = statistics.quantiles(training, n=4, method="inclusive")
    low, high = quarter - 1.5 * (third - quarter), third + 1.5 * (third - quarter)
    mean, deviation = statistics.fmean(training), statistics.pstdev(training)
    for rule, borders in (("outliers(on: [a])", (low, high)), ("outliers(on: [a], by: z_score, limit: 3.0)", (mean - 3 * deviation, mean + 3 * deviation))):
        outside = [i + 1 for i, row in enumerate(rows) if not borders[0] <= row[0] <= borders[1]]
        train, valid, said = trained(place, build(place, rows, rule))
        gone = [i for i in outside if i <= 60]
        check(6 in gone and 7 in gone and 76 in outside, "the case has no outliers")
        check_equal((train, valid), (60 - len(gone), 20), f"the rows of the parts with {rule}")
        check_in(f"rows.a: {len(outside)} rows far outside, {len(gone)} left out (row {', '.join(map(str, outside[:5]))}", said)


def ranges(place):
    rows = sample()
    rows[8][1], rows[70][1] = 51.5, -0.5
    program = build(place, rows, "value_range(b, low: 0, high: 50)")
    failed = place.run(program, "train", code=None)
    check(failed.code not in (0, 101), f"exit code {failed.code}")
    check_in("'b' of row 9 should be 0 to 50, found 51.5", failed.err)
    check("row 9" in place.run(program, "data", "check", code=None).all, "data check says nothing")
    train, valid, said = trained(place, build(place, rows, "value_range(b, low: 0, high: 50, action: drop)"))
    check_equal((train, valid), (59, 19), "the rows of the parts")
    train, valid, said = trained(place, build(place, rows, "value_range(b, high: 50, action: flag)"))
    check_equal((train, valid), (60, 20), "the rows of the parts")
    check_in("rows.b: 1 row out of range (row 9;", said)
    written = PROGRAM.replace("RULES", "value_range(b, low: 0, high: 50)").replace("TEST", "").replace("s.b", "impute(s.a)")
    for half in ("f16", "bf16"):
        place.write("clean.aml", written.replace("field b: f32", f"field b: {half}"))
        place.aml("build", "clean.aml")
        check_in("'b' of row 9 should be 0 to 50, found 51.5", place.run(program, "train", code=None).err)


def rows_of_a_test_source_stay(place):
    rows, test = sample(), sample(6)[:20]
    test[3] = list(rows[3])
    program = build(place, rows, "duplicates()", test)
    check_in("1 row the same as an earlier one, 0 left out (row 84;", trained(place, program)[2])
    place.write("clean.aml", (place.folder / "clean.aml").read_text() + "evaluate report {\n  model: net.last\n  data: rows.test\n}\n")
    place.aml("build", "clean.aml")
    place.run(program, "train")
    check_equal(json.loads(place.run(program, "evaluate", "--json").out)["rows"], 20, "the rows of the test part")


def rules_follow_each_other(place):
    """What an earlier rule left out sets no border of a later one."""
    rows = sample()
    for at in range(10, 30):
        rows[at][0] = 1000.0
    train, valid, said = trained(place, build(place, rows, "value_range(a, high: 100, action: drop), outliers(on: [a], by: z_score, limit: 6.0)"))
    check_equal((train, valid), (40, 20), "the rows of the parts")
    check("far outside" not in said, "rows that are gone set the borders")


def all_rows_gone(place):
    failed = place.run(build(place, sample(), "value_range(b, low: 1000, action: drop)"), "train", code=None)
    check(failed.code not in (0, 101) and failed.code < 128, f"exit code {failed.code}: {failed.err}")


if __name__ == "__main__":
    main([exact_duplicates, near_duplicates, missing, outliers, ranges, rows_of_a_test_source_stay, rules_follow_each_other, all_rows_gone])

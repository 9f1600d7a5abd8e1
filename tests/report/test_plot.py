#!/usr/bin/env python3
"""amlc plot: curves of runs in the terminal and as a page, and what it says about broken files."""
import html.parser
import json
import os
import pathlib
import subprocess
import sys
import tempfile

AMLC = sys.argv[1]


def amlc(*arguments, code=0, **environment):
    environment = {**os.environ, "COLUMNS": "80", **environment}
    done = subprocess.run([AMLC, "plot", *map(str, arguments)], capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == code, f"amlc plot {arguments} ended with {done.returncode}: {done.stderr}"
    return done.stdout if code == 0 else done.stderr


def make_run(folder, name, lines):
    run = folder / "job" / name
    run.mkdir(parents=True)
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" if isinstance(line, dict) else line for line in lines))
    (run / "config.aml").write_text("aml 1\n// <config> of " + name + "\n")
    return run


def falling(steps, start):
    return [{"step": s, "loss": start / s, "lr": 0.1} for s in range(1, steps + 1)]


def rows_of(chart):
    return [line.split("┤")[-1].split("│")[-1] for line in chart.splitlines() if "┤" in line or "│" in line]


def first_mark(row):
    return next((i for i, c in enumerate(row) if c not in " ⠀"), None)


def a_falling_curve_falls(folder):
    chart = amlc(make_run(folder, "1", falling(200, 3.0)), "--figure", "loss")
    rows = rows_of(chart)
    assert len(rows) == 12, f"{len(rows)} rows"
    marks = [first_mark(row) for row in rows if first_mark(row) is not None]
    assert marks == sorted(marks), "the curve does not go from the upper left to the lower right"
    assert "last 0.015, lowest 0.015, highest 3" in chart, chart
    assert all(len(line) <= 200 for line in chart.splitlines())


def every_figure_has_a_chart(folder):
    chart = amlc(make_run(folder, "1", falling(5, 1.0) + [{"step": 5, "epoch": 1.0, "train_loss": 0.5, "accuracy": 0.25}]))
    for name in ("loss", "lr", "train_loss", "accuracy"):
        assert f"  {name}\n" in chart, f"{name} is missing"
    assert "epoch\n" not in chart, "the epoch is an axis, no figure"


def several_runs_are_told_apart(folder):
    make_run(folder, "1", falling(50, 1.0))
    make_run(folder, "2", falling(50, 9.0))
    chart = amlc(folder / "job" / "1", folder / "job" / "2", "--figure", "loss")
    body = "".join(rows_of(chart))
    assert "a" in body and "b" in body, chart
    assert "a job/1" in chart and "b job/2" in chart, chart


def the_newest_run_of_a_job(folder):
    make_run(folder, "20260101-000000-aaa", falling(3, 1.0))
    make_run(folder, "20260102-000000-aaa", falling(3, 8.0))
    assert "highest 8" in amlc(folder / "job", "--figure", "loss")


def values_that_are_not_finite_are_counted(folder):
    run = make_run(folder, "1", [{"step": 1, "loss": 2.0}, {"step": 2, "loss": None}])
    assert "(1 not finite)" in amlc(run)
    only = make_run(folder, "2", [{"step": 1, "loss": None}])
    assert "nothing to show" in amlc(only)


def an_unfinished_last_line_is_left_out(folder):
    run = make_run(folder, "1", falling(3, 1.0) + ['{"step": 4, "lo'])
    assert "highest 1" in amlc(run, "--figure", "loss")


def a_logarithmic_axis(folder):
    run = make_run(folder, "1", [{"step": s, "loss": 10.0 ** -s} for s in range(1, 6)])
    chart = amlc(run, "--log")
    assert "loss (logarithmic)" in chart and "  0.1 ┤" in chart and "1e-05 ┤" in chart, chart


def broken_files_are_named(folder):
    run = make_run(folder, "1", [{"step": 1, "loss": 1.0}, "{broken\n"])
    assert "metrics.jsonl:2: no JSON object" in amlc(run, code=1)
    run = make_run(folder, "2", ["[1, 2]\n"])
    assert 'metrics.jsonl:1: expected an object with a whole number "step"' in amlc(run, code=1)
    run = make_run(folder, "3", [])
    assert "has no figures yet" in amlc(run, code=1)
    assert "there is no run" in amlc(folder / "nothing", code=1)
    (folder / "empty").mkdir()
    assert "is no run" in amlc(folder / "empty", code=1)
    assert "did you mean 'loss'?" in amlc(make_run(folder, "4", falling(2, 1.0)), "--figure", "los", code=2)


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.curves, self.links = [], 0, 0

    def handle_starttag(self, tag, attributes):
        if tag == "polyline":
            self.curves += 1
            points = dict(attributes)["points"].split()
            assert points and all(len(p.split(",")) == 2 for p in points)
        self.links += tag == "link" or any(key in ("src", "href") for key, _ in attributes)
        if tag not in ("meta", "polyline", "line", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        if tag == "polyline":
            self.curves += 1

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"


def the_page_needs_nothing_else(folder):
    runs = [make_run(folder, name, falling(3000, 2.0)) for name in ("1", "<2>")]
    target = folder / "page.html"
    amlc(*runs, "--html", target)
    text = target.read_text()
    page = Page()
    page.feed(text)
    assert page.curves == 4, f"{page.curves} curves, expected loss and lr of two runs"
    assert page.links == 0, "the page refers to something outside"
    assert "job/&lt;2&gt;" in text and "&lt;config&gt; of 1" in text
    assert len(text) < 400_000, f"{len(text)} characters"


def main():
    failed = 0
    cases = [a_falling_curve_falls, every_figure_has_a_chart, several_runs_are_told_apart, the_newest_run_of_a_job,
             values_that_are_not_finite_are_counted, an_unfinished_last_line_is_left_out, a_logarithmic_axis,
             broken_files_are_named, the_page_needs_nothing_else]
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            try:
                case(pathlib.Path(folder))
                print(f"PASS plot/{case.__name__}")
            except AssertionError as error:
                failed += 1
                print(f"FAIL plot/{case.__name__}: {error}")
    sys.exit(failed != 0)


main()

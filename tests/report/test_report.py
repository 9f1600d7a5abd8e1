#!/usr/bin/env python3
"""amlc report: its figures are those of the compiled program, and those worked out by hand."""
import json
import pathlib
import re
import subprocess
import sys

AMLC = sys.argv[1]
DIGITS = pathlib.Path(__file__).resolve().parents[2] / "examples" / "digits" / "digits.aml"


def amlc(*arguments):
    done = subprocess.run([AMLC, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"amlc {arguments} ended with {done.returncode}: {done.stderr}"
    return done.stdout


def block(report, kind, name):
    return next(b for b in report["blocks"] if b["kind"] == kind and b["name"] == name)


def phase(found, name):
    return next(p for p in found["phases"] if p["phase"] == name)


def line_of(text):
    """The line of digits.aml that begins with `text`."""
    lines = DIGITS.read_text().splitlines()
    return next(i + 1 for i, line in enumerate(lines) if line.strip().startswith(text))


def equal(found, expected, what):
    assert found == expected, f"{what} is {found}, expected {expected}"


def parameters_and_their_lines(report):
    train = block(report, "train", "digits_mlp")
    first, second = 64 * 128 + 128, 128 * 10 + 10
    equal(train["parameters"], first + second, "the number of parameters")
    by_line = {line["place"].rsplit(":", 1)[1]: line["parameters"] for line in train["lines"]}
    equal(by_line, {str(line_of("fc1")): first, str(line_of("fc2")): second}, "parameters by line")


def operations_of_the_products(report):
    train = block(report, "train", "digits_mlp")
    forward = 2 * 64 * (64 * 128 + 128 * 10)
    backward = 2 * 64 * (64 * 128 + 2 * 128 * 10)      # gradients of both weights, and of the hidden layer
    step, evaluation = phase(train, "step")["flops"], phase(train, "eval")["flops"]
    # The rest is element by element: about 20 operations for each parameter and each hidden value.
    assert forward + backward < step < (forward + backward) * 1.3, f"step has {step} operations, its products {forward + backward}"
    assert forward < evaluation < forward * 1.1, f"eval has {evaluation} operations, its products {forward}"


def lines_add_up(report):
    for found in report["blocks"]:
        for p in found["phases"]:
            for key in ("flops", "bytes"):
                total = sum(line[key] for line in p["lines"])
                assert abs(total - p[key]) <= 1e-6 * p[key], f"{found['name']} {p['phase']}: lines have {total} {key}, the phase {p[key]}"


def alive_tensors_fit_the_plan(report):
    for found in report["blocks"]:
        for p in found["phases"]:
            alive = sum(t["bytes"] for t in p["alive_at_peak"])
            assert alive <= p["temporary_bytes"], f"{found['name']} {p['phase']}: {alive} bytes alive, {p['temporary_bytes']} planned"
            assert (p["temporary_bytes"] == 0) == (alive == 0), f"{found['name']} {p['phase']}: {alive} of {p['temporary_bytes']}"


def planned_memory_is_the_programs(report):
    """The tables of the program hold the arena that it will allocate."""
    tables = amlc("build", DIGITS, "--emit=program")
    arenas = {name: int(size) for name, size in re.findall(r'\.name = "(\w+)",[^{}]*?\.arena_bytes = (\d+)', tables)}
    assert arenas, "no arena_bytes in --emit=program"
    checked = 0
    for found in report["blocks"]:
        for p in found["phases"]:
            name = f"aml_{found['name']}_{p['phase']}"
            if found["kind"] != "deploy" and name in arenas:
                equal(p["temporary_bytes"], arenas[name], f"the arena of {name}")
                checked += 1
    assert checked >= 5, f"only {checked} functions were compared: {sorted(arenas)}"


def text_has_the_figures(report):
    text = amlc("report", DIGITS)
    train = block(report, "train", "digits_mlp")
    assert "train digits_mlp: 9,610 parameters, batch 64" in text, text[:400]
    assert f"{phase(train, 'step')['flops']:,.0f}" in text, "the text lacks the operations of a step"


def main():
    report = json.loads(amlc("report", DIGITS, "--json"))
    failures = 0
    for test in (parameters_and_their_lines, operations_of_the_products, lines_add_up, alive_tensors_fit_the_plan,
                 planned_memory_is_the_programs, text_has_the_figures):
        try:
            test(report)
            print(f"PASS {test.__name__}")
        except AssertionError as error:
            failures += 1
            print(f"FAIL {test.__name__}: {error}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

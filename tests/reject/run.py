#!/usr/bin/env python3
"""Runs `amlc check` on every program below a folder and compares what it says with the marks in the program.

    let y = x + z       //~ unresolved_name         a message of that name on this line; several names: several messages
                        //~^ unresolved_name        on the line above; ^^: two lines above
                        //~nowhere cannot_read      without a place

Every message must be marked and every mark must be met. The first line of a program is a comment that says what it claims.
Beside a program that cannot hold marks lies PROGRAM.expect with lines `LINE NAME`. Files named _*.aml are only used by
others. Usage: run.py AMLC FOLDER
"""
import concurrent.futures
import json
import os
import re
import subprocess
import sys

MARK = re.compile(r"//~(nowhere|\^*)[ ]+([a-z0-9_ ,]+)")


def expected(path):
    """[(line, name)], sorted; line 0 is nowhere."""
    beside = path + ".expect"
    if os.path.exists(beside):
        with open(beside) as file:
            pairs = [line.split() for line in file if line.strip()]
        return sorted((int(line), name) for line, name in pairs), None
    with open(path, "rb") as file:
        lines = file.read().decode("utf-8", "surrogateescape").split("\n")
    if not lines[0].lstrip("\ufeff").startswith("// "):
        return [], "the first line must be a comment that says what is claimed"
    marks = []
    for number, line in enumerate(lines, 1):
        for where, names in MARK.findall(line):
            at = 0 if where == "nowhere" else number - len(where)
            marks += [(at, name) for name in names.replace(",", " ").split()]
    return sorted(marks), None


def check(amlc, path, root):
    name = os.path.relpath(path, root)[:-len(".aml")]
    want, trouble = expected(path)
    if trouble:
        return f"FAIL {name}: {trouble}"
    done = subprocess.run([amlc, "check", "--message-format=json", path], capture_output=True, timeout=60,
                          stdin=subprocess.DEVNULL)
    try:
        found = json.loads(done.stdout)["diagnostics"]
    except (ValueError, KeyError) as error:
        return f"FAIL {name}: no JSON ({error}), exit {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}"
    for item in found:
        if item["span"] and os.path.basename(item["span"]["file"]) != os.path.basename(path):
            item["span"]["line"] = -1       # not in this file: never marked
    got = sorted((item["span"]["line"] if item["span"] else 0, item["name"]) for item in found)
    errors = [item for item in found if item["severity"] == "error"]
    if got != want:
        missing = [pair for pair in want if pair not in got]
        extra = [f"{item['span'] and item['span']['line']} {item['name']}: {item['message']}" for item in found
                 if (item["span"]["line"] if item["span"] else 0, item["name"]) not in want]
        return f"FAIL {name}: expected {want}; not reported: {missing}; reported as well: {extra}" + (
            "" if missing or extra else f"; found {got}")
    wanted_code = 1 if errors else 0
    if done.returncode != wanted_code:
        return f"FAIL {name}: exit code {done.returncode}, expected {wanted_code}: {done.stderr.decode(errors='replace')[-500:]}"
    if not want:
        return f"FAIL {name}: nothing is marked"
    return f"PASS {name}"


def main():
    amlc, root = sys.argv[1], sys.argv[2]
    only = sys.argv[3] if len(sys.argv) > 3 else ""
    paths = sorted(os.path.join(folder, file) for folder, _, files in os.walk(root) for file in files
                   if file.endswith(".aml") and not file.startswith("_") and only in os.path.join(folder, file))
    failed = False
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for line in pool.map(lambda path: check(amlc, path, root), paths):
            print(line)
            failed = failed or line.startswith("FAIL")
    return 1 if failed or not paths else 0


if __name__ == "__main__":
    sys.exit(main())

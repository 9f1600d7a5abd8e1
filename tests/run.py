#!/usr/bin/env python3
"""Runs the tests that CTest knows of and counts their cases.

A test prints one line a case: "PASS name", "FAIL name: why" or "SKIP name: why". One that prints none counts as a
single case, judged by its exit code. The last line is the summary: N passed, N failed.
Usage: tests/run.py BUILD_DIR [REGEX]
"""
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import time

CASE = re.compile(r"^(PASS|FAIL|SKIP)\b ?(.*)$")


def load(build, pattern):
    shown = subprocess.run(["ctest", "--show-only=json-v1"], cwd=build, capture_output=True, text=True, check=True)
    tests = []
    for test in json.loads(shown.stdout)["tests"]:
        properties = {p["name"]: p["value"] for p in test.get("properties", [])}
        if not re.search(pattern, test["name"]):
            continue
        if "command" not in test:
            sys.exit(f"{test['name']}: not built")
        tests.append((test["name"], test["command"], properties))
    return tests


def run(test):
    name, command, properties = test
    environment = dict(os.environ, AML_OBJECTS="no")     # what is tested is compiled: nothing an earlier build has kept
    for entry in properties.get("ENVIRONMENT", []):
        key, _, value = entry.partition("=")
        environment[key] = value
    started = time.monotonic()
    limit = properties.get("TIMEOUT", 600)
    try:
        done = subprocess.run(command, cwd=properties.get("WORKING_DIRECTORY"), env=environment, timeout=limit,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, code = done.stdout.decode(errors="replace"), done.returncode
    except subprocess.TimeoutExpired as expired:
        output, code = (expired.stdout or b"").decode(errors="replace"), f"no end after {limit} s"
    return name, output, code, time.monotonic() - started


def main():
    build = sys.argv[1]
    tests = load(build, sys.argv[2] if len(sys.argv) > 2 else "")
    alone = [t for t in tests if t[2].get("RUN_SERIAL")]
    together = [t for t in tests if not t[2].get("RUN_SERIAL")]
    totals = {"PASS": 0, "FAIL": 0, "SKIP": 0}

    def count(result):
        name, output, code, seconds = result
        cases = [m.groups() for m in map(CASE.match, output.splitlines()) if m]
        bad = [c for c in cases if c[0] == "FAIL"]
        for verdict, _ in cases:
            totals[verdict] += 1
        if not cases:
            totals["PASS" if code == 0 else "FAIL"] += 1
        elif code != 0 and not bad:         # it died after its last case
            totals["FAIL"] += 1
        failed = code != 0 or bad
        print(f"{'FAIL' if failed else 'ok  '} {name} ({len(cases) or 1} cases, {seconds:.1f} s)", flush=True)
        for verdict, text in cases:
            if verdict == "SKIP":
                print(f"     skipped: {text}")
        if failed:
            print(f"  exit: {code}")
            print("  " + "\n  ".join(output[-6000:].splitlines()), flush=True)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for result in pool.map(run, together):
            count(result)
    for test in alone:
        count(run(test))
    skipped = f", {totals['SKIP']} skipped" if totals["SKIP"] else ""
    print(f"{totals['PASS']} passed, {totals['FAIL']} failed{skipped}")
    return 1 if totals["FAIL"] or totals["PASS"] == 0 else 0


if __name__ == "__main__":
    sys.exit(main())

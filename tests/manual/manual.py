#!/usr/bin/env python3
"""docs/reference is what `amlc explain manual` writes today; everything in stdlib/ has a comment; the manual's examples
are accepted and give what they say. Usage: manual.py AMLC TEST_EXAMPLES ROOT
"""
import filecmp
import os
import re
import subprocess
import sys
import tempfile

DECLARATION = re.compile(r"^(?:fn|model|loss|metric|optimizer|const|schema) ([A-Za-z_0-9]+)")
SETTING = re.compile(r"^  (?:fn )?([a-z_0-9]+)(?:\(|: )")


def undocumented(path):
    """Declarations, and settings of schemas, without a comment above them."""
    with open(path) as file:
        lines = file.read().split("\n")
    schema = None
    for above, line in zip([""] + lines, lines):
        declared = DECLARATION.match(line)
        if declared:
            schema = declared.group(1) if line.startswith("schema ") else None
        setting = SETTING.match(line) if schema else None
        if declared and not above.startswith("//") or setting and not above.startswith("  ///"):
            yield (declared or setting).group(1)


def stale(folder, kept):
    pages, there = sorted(os.listdir(folder)), sorted(os.listdir(kept))
    if pages != there:
        return f"the pages are {pages}, the tree has {there}"
    _, differ, _ = filecmp.cmpfiles(folder, kept, pages, shallow=False)
    return f"not what the library says: {', '.join(differ)}; write them with `ninja manual`" if differ else None


def main():
    amlc, examples, root = sys.argv[1:4]
    failed = False

    def verdict(name, wrong):
        nonlocal failed
        failed = failed or bool(wrong)
        print(f"FAIL {name}: {wrong}" if wrong else f"PASS {name}")

    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([amlc, "explain", "manual", "-o", folder], capture_output=True, text=True)
        verdict("manual_is_written", done.returncode and done.stderr[-500:])
        if os.path.isdir(os.path.join(root, "docs/reference")):
            verdict("manual_is_current", stale(folder, os.path.join(root, "docs/reference")))
        shown = subprocess.run([examples] + [os.path.join(folder, name) for name in sorted(os.listdir(folder))])
    for folder, _, files in sorted(os.walk(os.path.join(root, "stdlib"))):
        for name in sorted(files):
            path = os.path.join(folder, name)
            bare = list(undocumented(path))
            verdict("documented." + os.path.relpath(path, root), bare and f"no comment above {', '.join(bare)}")
    return 1 if failed or shown.returncode != 0 else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(main())

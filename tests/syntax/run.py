#!/usr/bin/env python3
"""Parses every program below a folder and compares the tree, the mistakes and the comments with NAME.ast beside it.

Also: the scanner does not back up, the grammar has no conflicts, and every kind of node occurs in some expectation.
Usage: run.py DUMP ROOT [--bless]        (--bless writes the expectations anew)
"""
import os
import re
import subprocess
import sys
import tempfile

failed = False


def verdict(name, good, why=""):
    global failed
    failed = failed or not good
    print(f"PASS {name}" if good else f"FAIL {name}: {why}")


def trees(dump, folder, bless):
    text_of_all = ""
    for directory, _, files in sorted(os.walk(folder)):
        for file in sorted(files):
            if not file.endswith(".aml"):
                continue
            path = os.path.join(directory, file)
            name = os.path.relpath(path, folder)[:-4]
            done = subprocess.run([dump, path], capture_output=True, timeout=60)
            comments = subprocess.run([dump, "--comments", path], capture_output=True, timeout=60)
            found = done.stdout.decode() + "---- comments\n" + comments.stdout.decode()
            text_of_all += found
            if done.returncode not in (0, 1) or done.stderr or comments.stderr:
                verdict(name, False, f"exit {done.returncode}: {(done.stderr + comments.stderr).decode()[-2000:]}")
                continue
            expectation = path[:-4] + ".ast"
            if bless:
                with open(expectation, "w") as out:
                    out.write(found)
            want = open(expectation).read() if os.path.exists(expectation) else "(no expectation)"
            where = next((i for i, (a, b) in enumerate(zip(found.split("\n"), want.split("\n"))) if a != b), -1)
            verdict(name, found == want, f"differs from {os.path.basename(expectation)} in line {where + 1}: "
                    f"found {found.splitlines()[where:where + 1]}, expected {want.splitlines()[where:where + 1]}")
    return text_of_all


def main():
    dump, root = sys.argv[1], sys.argv[2]
    here = os.path.join(root, "tests/syntax")
    text = trees(dump, here, "--bless" in sys.argv)

    with open(os.path.join(root, "compiler/ast/ast.def")) as table:
        kinds = re.findall(r"^NODE\((\w+)", table.read(), re.M)
    kinds.remove("Unread")      # made by the loader of the library, not by the parser
    missing = [kind for kind in kinds if not re.search(rf"^ *(\w+: )?{kind}\b", text, re.M)]
    verdict("every_node_kind_occurs", not missing, f"no program has {missing}")

    with tempfile.TemporaryDirectory() as temporary:
        subprocess.run(["flex", "-b", "-o", "scanner.c", os.path.join(root, "grammar/aml.l")], cwd=temporary, check=True)
        with open(os.path.join(temporary, "lex.backup")) as report:
            said = report.read()
        verdict("scanner_does_not_back_up", said == "No backing up.\n", said[:1000])
        done = subprocess.run(["bison", "-Wall", "-Wcounterexamples", "-Werror", "-o", "parser.c",
                               os.path.join(root, "grammar/aml.y")], cwd=temporary, capture_output=True, text=True)
        verdict("grammar_has_no_conflicts", done.returncode == 0 and not done.stderr, done.stderr[-2000:])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

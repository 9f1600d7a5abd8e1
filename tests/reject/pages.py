#!/usr/bin/env python3
"""Every message has a page in docs/errors, and the page's programs are tests: the wrong one gives that message, the right
one gives no error and not that message. Usage: pages.py AMLC ROOT
"""
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import tempfile

BLOCK = re.compile(r"^```aml (wrong|right)\n(.*?)^```$", re.M | re.S)


def check(amlc, folder, text, name):
    path = os.path.join(folder, name + ".aml")
    with open(path, "w") as file:
        file.write(text)
    done = subprocess.run([amlc, "check", "--message-format=json", path], capture_output=True, timeout=60)
    if done.returncode not in (0, 1):
        return None, f"exit {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}"
    return json.loads(done.stdout)["diagnostics"], ""


def try_page(amlc, root, folder, row):
    severity, code, name = row
    path = os.path.join(root, "docs/errors", ("E" if severity == "error" else "W") + code + ".md")
    if not os.path.exists(path):
        return f"FAIL {name}: there is no {os.path.relpath(path, root)}"
    with open(path) as file:
        page = file.read()
    if not page.startswith(f"# {os.path.basename(path)[:-3]}: {name}\n\n"):
        return f"FAIL {name}: the page does not begin with its code and name"
    blocks = BLOCK.findall(page)
    if "\nNo program shows this: " in page and not blocks:
        return f"PASS {name} (no program)"
    if [kind for kind, _ in blocks] != ["wrong", "right"]:
        return f"FAIL {name}: the page needs a wrong and a right program"
    wrong, why = check(amlc, folder, blocks[0][1], name + "_wrong")
    right, why_right = check(amlc, folder, blocks[1][1], name + "_right")
    if wrong is None or right is None:
        return f"FAIL {name}: {why}{why_right}"
    if name not in [item["name"] for item in wrong]:
        return f"FAIL {name}: the wrong program gives {[(item['name'], item['message']) for item in wrong]}"
    bad = [(item["name"], item["message"]) for item in right if item["severity"] == "error" or item["name"] == name]
    return f"FAIL {name}: the right program gives {bad}" if bad else f"PASS {name}"


def main():
    amlc, root = sys.argv[1], sys.argv[2]
    with open(os.path.join(root, "compiler/diag/diag.def")) as table:
        rows = re.findall(r"^DIAG\((error|warning), *(\d{4}), (\w+),", table.read(), re.M)
    failed = len({code for _, code, _ in rows}) != len(rows) or not rows
    print("FAIL codes_are_unique" if failed else "PASS codes_are_unique")
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for line in pool.map(lambda row: try_page(amlc, root, folder, row), rows):
            print(line)
            failed = failed or line.startswith("FAIL")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

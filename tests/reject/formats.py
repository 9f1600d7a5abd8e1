#!/usr/bin/env python3
"""The five message formats of `amlc check`: what they say, where it goes, and that machines can read it.

Usage: formats.py AMLC FOLDER
"""
import json
import os
import re
import subprocess
import sys
import tempfile

PROGRAM = """aml 1
use std.nn
/// A name with "quotes", a tab\there, é, and % : , signs.
model M {
  a = Dense(12)
  b = Dense(4, input: 10)
  fn forward(x: float[n, 8]) -> float[n, 4] {
    let é = "
    let unused = 3
    return b(a(x))
  }
}
const text: string = "50% \\q: a,b"
"""
PROGRAM = PROGRAM.replace("    let é = \"\n", "")
failed = False


def verdict(name, good, why=""):
    global failed
    failed = failed or not good
    print(f"PASS {name}" if good else f"FAIL {name}: {why}")


def problems(schema, value, definitions, where="$"):
    """Where `value` does not meet `schema`: the part of JSON Schema that sarif.schema.json uses."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"]]
    kinds = {"object": dict, "array": list, "string": str, "integer": int}
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where}: {value!r} is none of {schema['enum']}"]
    if "type" in schema and (not isinstance(value, kinds[schema["type"]]) or isinstance(value, bool)):
        return [f"{where}: {value!r} is not of type {schema['type']}"]
    found = []
    if isinstance(value, dict):
        found += [f"{where}: no {key}" for key in schema.get("required", []) if key not in value]
        for key, item in value.items():
            if key in schema.get("properties", {}):
                found += problems(schema["properties"][key], item, definitions, f"{where}.{key}")
            elif schema.get("additionalProperties") is False:
                found.append(f"{where}: unexpected {key}")
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            found.append(f"{where}: too few items")
        if schema.get("uniqueItems") and len({json.dumps(item, sort_keys=True) for item in value}) != len(value):
            found.append(f"{where}: equal items")
        for index, item in enumerate(value):
            found += problems(schema.get("items", {}), item, definitions, f"{where}[{index}]")
    if isinstance(value, str):
        if len(value) < schema.get("minLength", 0) or not re.search(schema.get("pattern", ""), value):
            found.append(f"{where}: {value!r} does not match")
    if isinstance(value, int) and value < schema.get("minimum", value):
        found.append(f"{where}: {value} is too small")
    return found


def run(amlc, form, *paths):
    done = subprocess.run([amlc, "check", f"--message-format={form}", *paths], capture_output=True, timeout=60)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def main():
    amlc, folder = sys.argv[1], sys.argv[2]
    with open(os.path.join(folder, "sarif.schema.json")) as file:
        schema = json.load(file)
    with tempfile.TemporaryDirectory() as temporary:
        path = os.path.join(temporary, "a b,c:é.aml")
        with open(path, "w") as file:
            file.write(PROGRAM)
        right = os.path.join(temporary, "right.aml")
        with open(right, "w") as file:
            file.write("aml 1\nconst a: int = 3\n")

        code, out, err = run(amlc, "human", path)
        verdict("human_goes_to_stderr", code == 1 and out == "" and err != "", f"{code} {out!r}")
        verdict("human_shows_line_and_caret", re.search(r"error\[E0009\]: .*\n +--> .*é\.aml:12:27\n12 \| const text.*\n   \| {27}\^\^\n", err), err)
        verdict("human_shows_both_shapes", re.search(r"\| +expected +float *\[\d+, 10\]\n +\| +found +f32 *\[\d+, 12\]\n +\| +\^\^\n", err), err)
        verdict("human_without_colors", "\033" not in err)
        colored = subprocess.run([amlc, "check", "--color=always", path], capture_output=True, timeout=60).stderr.decode()
        verdict("human_with_colors", "\033[1;31merror[E0009]" in colored and re.sub(r"\033\[[0-9;]*m", "", colored) == err, colored[:500])

        code, out, err = run(amlc, "short", path)
        lines = err.splitlines()
        verdict("short_is_one_line_each", code == 1 and out == "" and len(lines) == 3 and
                all(re.match(r".*a b,c:é\.aml:\d+:\d+: (error\[E|warning\[W)\d{4}\]: .+", line) for line in lines), err)
        order = [int(re.search(r"aml:(\d+)", line)[1]) for line in lines]
        verdict("sorted_by_place", order == sorted(order), order)

        code, out, err = run(amlc, "json", path)
        document = json.loads(out)
        verdict("json_counts", code == 1 and err == "" and document["errors"] == 2 and document["warnings"] == 1 and
                len(document["diagnostics"]) == 3, out)
        verdict("json_columns_are_code_points", any(d["code"] == "E0009" and d["span"]["column"] == 27 and d["span"]["end_column"] == 29 and
                                                    d["span"]["file"] == path for d in document["diagnostics"]), out)

        code, out, err = run(amlc, "sarif", path)
        document = json.loads(out)
        found = problems(schema, document, schema["definitions"])
        verdict("sarif_is_valid", code == 1 and err == "" and not found, found)
        runs = document["runs"][0]
        verdict("sarif_rules_match", len(runs["results"]) == 3 and all(runs["tool"]["driver"]["rules"][r["ruleIndex"]]["id"] == r["ruleId"]
                                                                       for r in runs["results"]), out[:500])
        code, out, err = run(amlc, "sarif", right)
        document = json.loads(out)
        verdict("sarif_without_results", code == 0 and not problems(schema, document, schema["definitions"]) and
                document["runs"][0]["results"] == [], out[:500])
        code, out, err = run(amlc, "sarif", os.path.join(temporary, "missing.aml"))
        verdict("sarif_without_a_place", code == 1 and not problems(schema, json.loads(out), schema["definitions"]), out[-500:])

        code, out, err = run(amlc, "github", path)
        lines = out.splitlines()
        verdict("github_is_one_command_each", code == 1 and err == "" and len(lines) == 3 and all(
            re.match(r"::(error|warning) file=[^:,]*a b%2Cc%3Aé\.aml,line=\d+,endLine=\d+,col=\d+(,endColumn=\d+)?,title=[EW]\d{4}::.+", line)
            for line in lines), out)
        verdict("github_escapes", any("%0A" in line for line in lines) and not any(re.search(r"%(?!0A|0D|25|2C|3A)", line) for line in lines), out)

        code, out, err = run(amlc, "jsn", path)
        verdict("unknown_format_is_a_wrong_command", code == 2 and "json" in err, f"{code} {err}")
        code, out, err = run(amlc, "human", right)
        verdict("no_mistakes", code == 0 and out == "", f"{code} {out} {err}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

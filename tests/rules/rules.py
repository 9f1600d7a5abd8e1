#!/usr/bin/env python3
"""Rules about the sources: who may include whom, one list of each thing, no file too long, no left-overs."""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(sys.argv[1]).resolve()
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
failures = 0


def verdict(name, wrong):
    global failures
    if wrong:
        failures += 1
        print(f"FAIL {name}: " + "; ".join(wrong[:20]), flush=True)
    else:
        print(f"PASS {name}", flush=True)


def tracked():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        names = [n for n in listed.stdout.splitlines() if (ROOT / n).is_file()]
    else:       # an exported tree
        names = [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file() and not p.relative_to(ROOT).parts[0].startswith("build")]
    return sorted(names)


FILES = tracked()


def sources(*folders, suffixes=(".c", ".h", ".def", ".y", ".l")):
    return [f for f in FILES if f.endswith(suffixes) and any(f.startswith(folder + "/") for folder in folders)]


def includes(name):
    return INCLUDE.findall((ROOT / name).read_text(errors="replace"))


def exists_in(folder, include):
    return (ROOT / folder / include).is_file()


def dependency_rule():
    """grammar -> compiler -> kernels/*.def <- runtime; of the runtime, the compiler sees only runtime/include/aml."""
    wrong = []
    for name in sources("runtime"):
        for include in includes(name):
            if exists_in("compiler", include) and not exists_in("runtime", include) and not exists_in("runtime/include", include):
                wrong.append(f"{name} includes {include} of the compiler")
            if include.startswith("compiler/") or include.startswith("../../compiler"):
                wrong.append(f"{name} includes {include}")
    for name in sources("compiler", "grammar"):
        for include in includes(name):
            if include.startswith("runtime/") or (exists_in("runtime", include) and not exists_in("compiler", include)):
                wrong.append(f"{name} includes {include} of the runtime's inside")
    for name in sources("kernels/cpu"):
        for include in includes(name):
            if exists_in("compiler", include) or exists_in("runtime", include):
                wrong.append(f"{name} includes {include}; kernels know only kernel.h and their own folder")
    for name in sources("runtime/include"):
        for include in includes(name):
            if not include.startswith("aml/"):
                wrong.append(f"{name}, a public header, includes {include}")
    verdict("dependency_rule", wrong)


def file_length():
    wrong = []
    for name in FILES:
        if name.endswith((".c", ".h", ".def", ".y", ".l", ".py", ".aml", ".cmake", ".py")) or name == "bootstrap":
            lines = (ROOT / name).read_text(errors="replace").count("\n")
            if lines > 1000:
                wrong.append(f"{name} has {lines} lines")
    verdict("file_length", wrong)


def left_overs():
    word = re.compile(r"\b(TO[D]O|FIX[M]E|X[X]X|HA[C]K)\b")       # brackets: this line is no match itself
    wrong = []
    for name in FILES:
        if name.endswith((".c", ".h", ".def", ".y", ".l", ".aml", ".cmake")) or name in ("bootstrap", "CMakeLists.txt"):
            for number, line in enumerate((ROOT / name).read_text(errors="replace").splitlines(), 1):
                if word.search(line):
                    wrong.append(f"{name}:{number}: {line.strip()}")
    verdict("left_overs", wrong)


def generated_files():
    verdict("generated_files", [f for f in FILES if re.search(r"\.(o|a|so|bc|pyc)$|aml\.tab\.[ch]$|aml\.lex\.c$", f)])


def rows(path, macro):
    text = re.sub(r"//.*", "", (ROOT / path).read_text())
    return re.findall(rf"^{macro}\(([^,\s]+)\s*,\s*([^,\s)]+)", text, re.M)


def one_list_of_diagnostics():
    """Codes and names are unique, and every row has its page."""
    wrong, seen = [], {}
    for severity, code in rows("compiler/diag/diag.def", "DIAG"):
        if code in seen:
            wrong.append(f"code {code} twice")
        seen[code] = severity
        page = f"docs/errors/{'E' if severity == 'error' else 'W'}{code}.md"
        if not (ROOT / page).is_file():
            wrong.append(f"{page} is missing")
    verdict("one_list_of_diagnostics", wrong)


def one_list_of_ops():
    """No other file lists the ops: each op's reference kernel and gradient hang on its row."""
    ops = [first for first, _ in rows("kernels/ops.def", "OP")]
    wrong = [] if len(ops) == len(set(ops)) else ["an op has two rows"]
    for name in sources("compiler", "kernels", "runtime", suffixes=(".def",)):
        if name in ("kernels/ops.def", "compiler/elab/builtins.def"):   # what AML text may call: many of these are no ops
            continue
        found = {first for first, _ in re.findall(r"^\w+\(\s*([a-z_]+)\s*(,|\))", re.sub(r"//.*", "", (ROOT / name).read_text()), re.M)}
        if len(found & set(ops)) > 20:
            wrong.append(f"{name} lists {len(found & set(ops))} ops again")
    verdict("one_list_of_ops", wrong)


def one_list_of_each():
    """Every table's rows are unique in their first column."""
    wrong = []
    for path, macro in (("compiler/ast/ast.def", "NODE"), ("kernels/dtypes.def", "DTYPE"), ("compiler/passes/passes.def", "PASS"),
                        ("runtime/include/aml/status.def", "STATUS"), ("compiler/commands.def", "VERB"), ("compiler/commands.def", "OPTION")):
        names = [first for first, _ in rows(path, macro)]
        if not names:
            wrong.append(f"{path} has no {macro} rows")
        wrong += [f"{path}: {n} twice" for n in sorted(set(names)) if names.count(n) > 1]
    verdict("one_list_of_each", wrong)


def passes_have_tests():
    """A pass is a row, a file and a folder of tests."""
    wrong = []
    for name, _ in rows("compiler/passes/passes.def", "PASS"):
        if not (ROOT / f"compiler/passes/{name}.c").is_file():
            wrong.append(f"compiler/passes/{name}.c is missing")
        if not any(f.startswith(f"tests/ir/{name}/") for f in FILES):
            wrong.append(f"tests/ir/{name}/ has no test")
    verdict("passes_have_tests", wrong)


def names_of_the_library():
    """A module of the library hides no name of the prelude, and no name of another module."""
    wrong, where = [], {}
    both = {"text"}     # std.data's is the prelude's as well, where only x is given
    for name in sorted(f for f in FILES if f.startswith("stdlib/") and f.endswith(".aml")):
        declared = re.findall(r"^(?:fn|model|loss|metric|optimizer|schema|const|alias) (\w+)", (ROOT / name).read_text(), re.M)
        for one in sorted(set(declared) - both):
            if one in where:
                wrong.append(f"{name}: '{one}' is in {where[one]} as well")
            where[one] = name
    if len(where) < 300:
        wrong.append(f"only {len(where)} names were found")
    verdict("names_of_the_library", wrong)


def design_program_unchanged():
    """The digits program of the examples is the one of the documentation."""
    text = (ROOT / "examples/digits/digits.aml").read_text()
    readme = (ROOT / "README.md").read_text() if (ROOT / "README.md").is_file() else ""
    verdict("readme_shows_digits", [] if text.strip() in readme else ["README.md does not show examples/digits/digits.aml in full"])


for rule in (dependency_rule, file_length, left_overs, generated_files, one_list_of_diagnostics, one_list_of_ops, one_list_of_each,
             passes_have_tests, names_of_the_library, design_program_unchanged):
    rule()
sys.exit(1 if failures else 0)

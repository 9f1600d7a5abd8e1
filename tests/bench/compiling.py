"""How long `amlc build` and `amlc check` take by the size of the program, and torch.compile for the same model."""
import os
import subprocess
import time
from statistics import fmean

from common import HERE, ROOT, Failed, Family, call, median, processor_seconds, seconds

OPERATIONS_OF_BLOCK = 10        # of the model's function: norm, product, bias, tanh, sum, as they are written out in the IR
PATIENCE = 150                  # seconds for torch.compile
CHECKS = 5                      # in one measurement, which then takes 50 ms


def source(blocks):
    """A training of a model of so many different blocks: no two widths that follow each other are alike, so little can be shared."""
    lines = ["aml 1", "use std.nn", "use std.optim", "use std.data", "", "model Net {"]
    for i in range(blocks):
        lines += [f"  norm{i} = LayerNorm()", f"  part{i} = Dense({width(i)})"]
    lines += ["  head = Dense(10)", "", "  fn forward(x: float[n, 64]) -> float[n, 10] {"]
    for i in range(blocks):
        lines.append(f"    let x = tanh(part{i}(norm{i}(x)))")
    lines += ["    return head(x)", "  }", "}", "", "dataset noise {", "  source: synthetic(64, fn(i) = { x: random.uniform([64]), y: i64(10.0 * random.uniform([])) })",
              "  field x: f32[64]", "  field y: class(10)", "  split: { train: 50%, valid: 25%, test: 25% }", "  fn prepare(s) { return { x: s.x, y: s.y } }", "}", "",
              "train net {", "  model: Net()", "  data: noise", "  loss: cross_entropy", "  optimizer: sgd(lr: 1e-2)", "  length: 1 steps", "  batch: 16", "}"]
    return "\n".join(lines) + "\n"


def width(i):
    return 32 + 8 * (i % 5)


def measured(*command, cwd):
    """Seconds that pass, of processor time, and MiB at most, of a command and its children."""
    start = time.monotonic()
    process = subprocess.Popen([str(c) for c in command], cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Failed(said.decode())
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def torch_seconds(bench, blocks):
    """Seconds until the compiled forward and backward has run once, less those of an eager one; nothing is taken from a cache."""
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(bench.folder / f"inductor{blocks}"), "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    try:
        done = subprocess.run([str(c) for c in (*bench.python, HERE / "compile_peer.py", blocks)], env=environment, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        raise Failed(done.stderr.strip().splitlines()[-1])
    return float(done.stdout)


def build(bench, operations):
    blocks = operations // OPERATIONS_OF_BLOCK
    (bench.folder / "model.aml").write_text(source(blocks))
    taken = [measured(bench.amlc, "build", "--no-cache", "model.aml", "-o", "model", cwd=bench.folder) for _ in range(bench.rounds or 9)]
    entry = {"operations": operations, "s": median([t[0] for t in taken]), "processor_s": median([t[1] for t in taken]), "MiB": max(t[2] for t in taken),
             "bytes": (bench.folder / "model").stat().st_size}
    print(f"  {operations} operations: {entry['s']:.2f} s, {entry['processor_s']:.2f} s of processor time, {entry['MiB']:.0f} MiB; program {entry['bytes']:,} bytes", flush=True)
    if bench.peers and operations <= 1000:
        entry["torch_s"] = torch_seconds(bench, blocks)
        entry["least_torch_s"] = entry["torch_s"] or PATIENCE
        print(f"    torch.compile {'more than ' if entry['torch_s'] is None else ''}{entry['least_torch_s']:.1f} s, {entry['least_torch_s'] / entry['s']:.0f} times", flush=True)
    return entry


def check(bench):
    """The slope between a small and a large program, so that what every start costs does not count."""
    sizes = {}
    for models in (1, 200):
        text = "aml 1\nuse std.nn\n"
        for m in range(models):
            text += f"\nmodel Net{m} {{\n" + "".join(f"  part{i} = Dense({8 + i}, activation: relu)\n" for i in range(8))
            text += f"\n  fn forward(x: float[n, {m + 1}]) -> float[n, 15] {{\n" + "".join(f"    let x{i + 1} = part{i}({'x' if i == 0 else f'x{i}'})\n" for i in range(8))
            text += "    return x8\n  }\n}\n"
        path = bench.folder / f"check{models}.aml"
        path.write_text(text)
        sizes[path] = text.count("\n")
    (small, few), (large, many) = sizes.items()
    taken = {path: [] for path in sizes}
    for _ in range(bench.rounds or 5):
        for path in (small, large, large, small):
            taken[path].append(1e3 * fmean(processor_seconds(bench.amlc, "check", path, cwd=bench.folder) for _ in range(CHECKS)))
    each = (median(taken[large]) - median(taken[small])) / (many - few) * 1000
    print(f"  amlc check: {median(taken[small]):.1f} ms for {few} lines, {median(taken[large]):.1f} ms for {many}: {each:.2f} ms for 1,000 lines more")
    return {"start_ms": median(taken[small]), "ms_for_1000_lines": each, "lines": many}


def examples(bench):
    result = {}
    for name in ("digits.aml", "digits_f32.aml"):
        result[name] = 1e3 * median([seconds(bench.amlc, "build", "--no-cache", ROOT / "examples/digits" / name, "-o", bench.folder / "out") for _ in range(bench.rounds or 9)])
        print(f"  amlc build {name:<17} {result[name]:7.1f} ms", flush=True)
    return result


def lines(results):
    builds = [r for name, r in results.items() if name.startswith("build")]
    text = []
    if builds:
        text += [f"`amlc build`, cold, of a training of a deep perceptron with norms; {OPERATIONS_OF_BLOCK} operations a block in the model's function, without those of its",
                 "gradients. torch.compile: the first forward and backward pass, less an eager one; no cache.", "",
                 "| operations | amlc | processor time | memory at most | program | torch.compile, times amlc's |", "|---|---|---|---|---|---|"]
        for r in builds:
            torch = f"{'> ' if r['torch_s'] is None else ''}{r['least_torch_s']:.1f} s ({r['least_torch_s'] / r['s']:.0f})" if "least_torch_s" in r else "–"
            text.append(f"| {r['operations']:,} | {r['s']:.2f} s | {r['processor_s']:.2f} s | {r['MiB']:.0f} MiB | {r['bytes']:,} bytes | {torch} |")
        text.append("")
    if "check" in results:
        r = results["check"]
        text += [f"In processor time `amlc check` takes {r['start_ms']:.1f} ms for a small program (of the library that much is parsed as it needs), and {r['ms_for_1000_lines']:.2f} ms for 1,000 lines more.", ""]
    if "digits" in results:
        text += ["; ".join(f"`amlc build {name}`: {ms:.0f} ms" for name, ms in results["digits"].items()) + "."]
    return text


WORKLOADS = {f"build-{count}": lambda bench, count=count: build(bench, count) for count in (100, 1000, 2000)}
WORKLOADS |= {"check": check, "digits": examples}
FAMILY = Family("compile", "Compiling", WORKLOADS, lines)

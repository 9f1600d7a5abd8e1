"""How fast compiled loop nests go through memory, against plain copies of C in the same run."""
import json

from common import Family, call, one_core

ROUNDS = 15
SIZES = {"memory": 64, "cache": 0.25}   # MiB of a tensor: in no cache; in that of a core
# What a nest is compared with: the same reads and writes by nothing but a copy, the fastest one of that name (registers of 16 or 64 bytes, ordinary or
# streaming stores).
LIKE = {"scale": "copy", "gelu of a sum": "two to one", "softmax": "copy", "layer norm": "copy", "column sum": "read"}


def measure(bench, size):
    program = bench.build / "tests/codegen/codegen_bandwidth_bench"
    found = json.loads(call(*one_core(), program, SIZES[size], bench.rounds or ROUNDS))
    rate = {name: f["bytes"] / f["seconds"] * 1e-9 for name, f in found.items() if name != "mebibytes"}
    result = {name: {"rate": rate[name], "copy": max(r for who, r in rate.items() if who.split(",")[0] == LIKE[name])} for name in LIKE}
    for name, f in result.items():
        print(f"  {name:<16} {f['rate']:6.1f} GB/s, {f['rate'] / f['copy']:4.0%} of {f['copy']:.1f}")
    return result


def lines(results):
    text = ["f32, rows of 1,024, one thread; bytes read and written, of the rate of a copy in C that does nothing else (the fastest of 16 or 64 bytes at a time, ordinary or streaming stores).", "",
            "| | " + " | ".join(f"tensors of {SIZES[size]} MiB" for size in results) + " |", "|---" * (len(results) + 1) + "|"]
    for name in LIKE:
        cells = [f"{r[name]['rate']:.1f} GB/s ({r[name]['rate'] / r[name]['copy']:.0%})" for r in results.values()]
        text.append(f"| {name} | " + " | ".join(cells) + " |")
    return text


FAMILY = Family("bandwidth", "Bandwidth of loop nests", {size: lambda bench, size=size: measure(bench, size) for size in SIZES}, lines)

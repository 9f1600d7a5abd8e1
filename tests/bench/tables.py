"""Reading tables: AML's reader, as a training program uses it, against pandas' C engine in the same run."""
import json
import os
import pathlib
import subprocess

from common import ROOT, Family, Runner, call, interleave, one_core

ROUNDS = 5
BYTES = 32 << 20                # reading them takes more than 50 ms

PANDAS = """
import sys, time, json
import pandas
path, kind = sys.argv[1:]
print(json.dumps({"pandas": pandas.__version__}), flush=True)
for line in sys.stdin:
    start = time.process_time()
    if kind == "lines":
        pandas.read_json(path, lines=True)
    else:
        pandas.read_csv(path, engine="c", header=None if kind == "adult" else 0)
    print(time.process_time() - start, flush=True)
"""


def files(folder):
    """The data sets, each repeated until it is large enough: (kind, path)."""
    data = pathlib.Path(os.environ.get("AML_DATA", ROOT.parent / "shared"))
    found = []
    for kind, path, header in (("ett", data / "data/timeseries/ETTh1.csv", True), ("digits", ROOT / "examples/digits/data/digits.csv", True),
                               ("adult", data / "data/adult/adult-train.csv", False)):
        if not path.is_file():
            print(f"  (no {path})")
            continue
        text = path.read_text().rstrip("\n") + "\n"
        head, body = text.split("\n", 1) if header else ("", text)
        large = folder / f"{kind}.csv"
        large.write_text((head + "\n" if header else "") + body * (BYTES // len(body) + 1))
        found.append((kind, large))
        if kind == "ett":
            lines = folder / "lines.jsonl"
            rows = [row.split(",") for row in body.splitlines()]
            one = "".join(json.dumps({"date": row[0], "x": [float(v) for v in row[1:]]}) + "\n" for row in rows)
            lines.write_text(one * (BYTES // len(one) + 1))
            found.append(("lines", lines))
    return found


class Reader(Runner):
    """A process that reads the file once for each line, and tells the seconds, and what of them took the hash, if there is one."""

    def __init__(self, name, *command):
        self.name, self.hashed = name, []
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def step(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        taken, *hashed = [float(v) for v in self.process.stdout.readline().split()]
        self.hashed += hashed
        return taken

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def measure(bench):
    program = bench.folder / "table_read"
    call("cc", "-O2", f"-I{ROOT}", f"-I{ROOT}/runtime/include", f"-I{ROOT}/kernels", ROOT / "tests/bench/table_read.c", "-o", program,
         bench.build / "libaml_runtime.a", "-l:libjansson.a", "-l:libnettle.a", "-l:libz.a", "-lm", "-lpthread")
    result = {}
    rounds = bench.rounds or ROUNDS
    for kind, path in files(bench.folder):
        size = path.stat().st_size / 1e6
        own = Reader("aml", *one_core(), program, path, kind)
        peers = [Reader("pandas", *one_core(), *bench.python, "-c", PANDAS, path, kind)] if bench.peers else []
        for peer in peers:
            bench.versions.update(json.loads(peer.process.stdout.readline()))
        taken = interleave([own, *peers], rounds)
        least, others = min(taken["aml"]), taken.get("pandas")
        without = least - min(own.hashed)
        result[kind] = {"MB": size, "aml": size / least, "aml_without_hash": size / without}
        text = f"  {kind:<8} {size:6.1f} MB: {size / least:6.0f} MB/s, without the hash {size / without:6.0f}"
        if others:
            result[kind] |= {"pandas": size / min(others), "ratio": min(others) / least}
            text += f"; pandas {size / min(others):6.0f}, {min(others) / least:.2f} x"
        print(text, flush=True)
    return result


def lines(results):
    text = ["csv and lines of JSON, read as a training does when it begins (checked, hashed), one thread; MB/s of processor time, least time of the turns.", "",
            "| | MB | AML | without the hash | pandas | AML's rate, times pandas' |", "|---|---|---|---|---|---|"]
    for kind, r in results["files"].items():
        pandas = (f"{r['pandas']:.0f}", f"{r['ratio']:.2f}") if "pandas" in r else ("–", "–")
        text.append(f"| {kind} | {r['MB']:.1f} | {r['aml']:.0f} | {r['aml_without_hash']:.0f} | {pandas[0]} | {pandas[1]} |")
    return text


FAMILY = Family("tables", "Reading tables", {"files": measure}, lines)

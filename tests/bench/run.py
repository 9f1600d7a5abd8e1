#!/usr/bin/env python3
"""Measures AML and, in the same run, its peers.

Usage: tests/bench/run.py BUILD [step|mlp|networks|tables|start|compile ...] [--peers VENV] [--json FILE] [--write]
--peers (or $AML_PEERS): a virtual environment, or its python, with numpy, torch and jax. --write: also docs/benchmarks.md.
A benchmark is never a pass/fail test. README.md says what is measured and how.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time

import tables

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/bench"
ROUNDS = 11                     # each round measures everybody twice: A B C C B A
NETWORK_ROUNDS = 4              # the same for networks
STEPS = 400                     # of a peer, in one measurement
SHORT, LONG = 1000, 11000       # steps of the two trainings whose difference is AML's measurement
STEP_FLOPS = 2 * 64 * (2 * 64 * 128 + 3 * 128 * 10)     # products: forward, gradients of both weights, of the hidden layer


def call(*command, cwd=None):
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def seconds(*command, cwd=None):
    start = time.monotonic()
    call(*command, cwd=cwd)
    return time.monotonic() - start


def median(values):
    return sorted(values)[len(values) // 2]


def one_core():
    """A command prefix that keeps a process on the last core it may use: the first one serves most interrupts."""
    return ["taskset", "-c", str(max(os.sched_getaffinity(0)))] if shutil.which("taskset") else []


def roof(folder):
    call("cc", "-O3", "-march=native", "-ffp-contract=fast", HERE / "roof.c", "-o", folder / "roof")
    return float(call(*one_core(), folder / "roof").split()[0])


class Peer:
    """A process of peers.py."""

    def __init__(self, python, name, csv):
        self.name = name
        self.process = subprocess.Popen([*one_core(), str(python), str(HERE / "peers.py"), name, str(csv)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline()
        if not ready:
            sys.exit(f"{name} does not start:\n{self.process.stderr.read()}")
        self.versions = json.loads(ready)

    def step(self):
        self.process.stdin.write(f"{STEPS}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline()) / STEPS

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Own:
    """The compiled program: the difference of a long and a short training, so that its start and its end do not count."""

    name, versions = "aml", {}

    def __init__(self, folder):
        self.folder = folder

    def train(self, steps):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        call(*one_core(), self.folder / "digits_step", "train", "--threads", 1, "--quiet", "--length", f"{steps} steps", cwd=self.folder)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    def step(self):
        short = self.train(SHORT)
        taken = self.train(LONG) - short
        shutil.rmtree(self.folder / "runs")
        return taken / (LONG - SHORT)

    def close(self):
        pass


def bench_step(amlc, folder, peers):
    shutil.copy(HERE / "digits_step.aml", folder)
    shutil.copy(ROOT / "examples/digits/data/digits.csv", folder)
    call(amlc, "build", "digits_step.aml", cwd=folder)
    peak = roof(folder)
    runners = [Own(folder)]
    if peers:
        runners += [Peer(peers, name, folder / "digits.csv") for name in ("torch-eager", "torch-fused", "jax-jit")]
    taken = {runner.name: [] for runner in runners}
    for _ in range(ROUNDS):
        for runner in runners + runners[::-1]:
            taken[runner.name].append(runner.step())
    versions = {}
    for runner in runners:
        versions.update(runner.versions)
        runner.close()
    peak = max(peak, roof(folder))
    own = median(taken["aml"])
    print("training step, digits perceptron 64-128-10, batch 64, dropout, AdamW, one thread; processor time, median (least .. most) of", 2 * ROUNDS)
    result = {"versions": versions, "roof_gflops": peak, "flops": STEP_FLOPS, "us": {}}
    for name, values in taken.items():
        middle = median(values)
        result["us"][name] = {"median": 1e6 * middle, "least": 1e6 * min(values), "most": 1e6 * max(values), "ratio": middle / own}
        print(f"  {name:<12} {1e6 * middle:8.1f} us  ({1e6 * min(values):.1f} .. {1e6 * max(values):.1f})  {middle / own:5.1f} x, least {min(values) / min(taken['aml']):5.1f} x")
    print(f"  roof: {peak:.1f} GFLOP/s of f32 multiply-adds; the products of a step alone need {STEP_FLOPS / peak * 1e-3:.1f} us at that rate")
    if not peers:
        print("  (no peers: neither --peers nor AML_PEERS)")
    return result


class OwnNetwork:
    """A compiled training: the difference of a long and a short one, so that its start and its end do not count."""

    def __init__(self, program, threads, steps):
        self.program, self.threads, self.steps = program, threads, steps

    def train(self, steps):
        return seconds(self.program, "train", "--threads", self.threads, "--quiet", "--length", f"{steps} steps", cwd=self.program.parent)

    def step(self):
        taken = self.train(self.steps + 2) - self.train(2)
        shutil.rmtree(self.program.parent / "runs")
        return taken / self.steps


class PeerNetwork(Peer):
    def __init__(self, python, name, threads, steps):
        self.steps = steps
        self.process = subprocess.Popen([str(python), str(HERE / "network_peer.py"), name, str(threads)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        ready = self.process.stdout.readline()
        if not ready:
            sys.exit(f"network_peer.py {name} does not start with {python}")
        self.versions = json.loads(ready)

    def step(self):
        self.process.stdin.write(f"{self.steps}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline()) / self.steps


NETWORKS = {"gpt": (6, "GPT, 4 layers of width 128, 4 heads, 128 tokens, batch 32, AdamW, clipped"),
            "convolution": (12, "the residual network of fashion.aml, batch 128, SGD with momentum"),
            "lstm": (40, "LSTM of width 256, 64 steps, batch 16, SGD")}


def bench_networks(amlc, folder, peers):
    result = {"versions": {}, "ms": []}
    print(f"training step of networks, time that passes, median (least .. most) of {NETWORK_ROUNDS * 2}")
    for name, (steps, title) in NETWORKS.items():
        program = folder / name
        call(amlc, "build", HERE / "networks" / f"{name}.aml", "-o", program)
        for threads in (1, 2):
            runners = {"aml": OwnNetwork(program, threads, steps)}
            if peers:
                runners["torch"] = PeerNetwork(peers, name, threads, steps)
                result["versions"].update(runners["torch"].versions)
            taken = {who: [] for who in runners}
            for _ in range(NETWORK_ROUNDS):
                for who in [*runners, *reversed(runners)]:
                    taken[who].append(1e3 * runners[who].step())
            if peers:
                runners["torch"].close()
            entry = {"name": name, "title": title, "threads": threads}
            for who, values in taken.items():
                entry[who] = {"median": median(values), "least": min(values), "most": max(values)}
            text = "  ".join(f"{who} {v['median']:.1f} ms ({v['least']:.1f} .. {v['most']:.1f})" for who, v in entry.items() if isinstance(v, dict))
            if peers:
                entry["ratio"] = entry["torch"]["median"] / entry["aml"]["median"]
                text += f"  ratio {entry['ratio']:.2f}"
            print(f"  {name:<12} {threads} thread{'s' if threads > 1 else ' '}  {text}", flush=True)
            result["ms"].append(entry)
    return result


# inputs, hidden, layers, outputs, rows, adam, steps in one measurement
PERCEPTRONS = [(784, 128, 1, 10, rows, adam, steps) for rows, steps in ((8, 4000), (64, 1000), (512, 200)) for adam in (0, 1)] + [(4, 64, 2, 2, 32, 0, 20000)]
PERCEPTRON_ROUNDS = 5
PERCEPTRON_PEERS = ("torch-eager", "torch-compile", "jax-jit")


class OwnPerceptron(OwnNetwork):
    """Processor time of a compiled training: the difference of a long and a short one."""

    def train(self, steps):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        call(*one_core(), self.program, "train", "--threads", 1, "--quiet", "--length", f"{steps} steps", cwd=self.program.parent)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


class PeerPerceptron(Peer):
    def __init__(self, python, name, sizes, steps):
        self.name, self.steps = name, steps
        self.process = subprocess.Popen([*one_core(), str(python), str(HERE / "mlp_peer.py"), name, *map(str, sizes)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        ready = self.process.stdout.readline()
        if not ready:
            sys.exit(f"mlp_peer.py {name} does not start with {python}")
        self.versions = json.loads(ready)

    def step(self):
        self.process.stdin.write(f"{self.steps}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline()) / self.steps


def bench_mlp(amlc, folder, peers):
    result = {"versions": {}, "us": []}
    print(f"training step of perceptrons, one thread, processor time, median of {2 * PERCEPTRON_ROUNDS}")
    peak = roof(folder)
    for inputs, hidden, layers, outputs, rows, adam, steps in PERCEPTRONS:
        program = folder / "mlp"
        sizes = {"inputs": inputs, "hidden": hidden, "layers": layers, "outputs": outputs, "rows": rows}
        call(amlc, "build", HERE / "networks/mlp.aml", *[part for k, v in sizes.items() for part in ("-D", f"{k}={v}")],
             "-D", f"adam={'true' if adam else 'false'}", "-o", program)
        runners = {"aml": OwnPerceptron(program, 1, steps)}
        for name in PERCEPTRON_PEERS if peers else ():
            runners[name] = PeerPerceptron(peers, name, (*sizes.values(), adam), max(steps // 10, 50))
            result["versions"].update(runners[name].versions)
        taken = {who: [] for who in runners}
        for _ in range(PERCEPTRON_ROUNDS):
            for who in [*runners, *reversed(runners)]:
                taken[who].append(1e6 * runners[who].step())
        for who in runners:
            if who != "aml":
                runners[who].close()
        # forward, gradients of all weights, of all inputs but the first
        widths = [inputs] + [hidden] * layers + [outputs]
        flops = sum(2 * rows * a * b * (2 if i == 0 else 3) for i, (a, b) in enumerate(zip(widths, widths[1:])))
        entry = {"title": f"{'-'.join(map(str, widths))}, batch {rows}, {'AdamW' if adam else 'SGD'}", "us": {who: median(v) for who, v in taken.items()},
                 "peak": flops / median(taken["aml"]) * 1e-3 / peak}
        print(f"  {entry['title']:<34} " + "  ".join(f"{who} {us:.1f} us ({us / entry['us']['aml']:.1f}x)" for who, us in entry["us"].items())
              + f"  {100 * entry['peak']:.0f}% of the peak", flush=True)
        result["us"].append(entry)
    return result


def bench_start(amlc, folder, _):
    digits = ROOT / "examples/digits"
    call(amlc, "build", digits / "digits_f32.aml", "-o", folder / "trainer")
    call(folder / "trainer", "train", "--quiet", cwd=folder)
    call(amlc, "deploy", digits / "digits_f32.aml", "digits_f32", cwd=folder)
    rows = (digits / "data/digits.csv").read_text().splitlines()[:2]
    (folder / "one.csv").write_text("\n".join(rows) + "\n")
    result = {"ms": {}, "bytes": {}}
    print("start to end of a process, median of 51")
    for title, command in (("trainer --help", [folder / "trainer", "--help"]), ("digits_f32 predict, 1 row", [folder / "digits_f32", "predict", "one.csv"]),
                           ("amlc check digits.aml", [amlc, "check", digits / "digits.aml"])):
        result["ms"][title] = 1e3 * median([seconds(*command, cwd=folder) for _ in range(51)])
        print(f"  {title:<28} {result['ms'][title]:7.2f} ms")
    for name in ("trainer", "digits_f32", "libdigits_f32.so"):
        result["bytes"][name] = (folder / name).stat().st_size
        print(f"  {name:<28} {result['bytes'][name]:7d} bytes")
    print(call(folder / "digits_f32", "bench").rstrip())
    return result


def bench_compile(amlc, folder, _):
    print("compiling, median of 9")
    result = {"ms": {}}
    for name in ("digits.aml", "digits_f32.aml"):
        taken = median([seconds(amlc, "build", ROOT / "examples/digits" / name, "-o", folder / "out") for _ in range(9)])
        result["ms"][f"amlc build {name}"] = 1e3 * taken
        print(f"  amlc build {name:<17} {1e3 * taken:7.1f} ms")
    return result


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    return {"processor": model, "cores": len(os.sched_getaffinity(0)), "system": platform.release(), "load_before": os.getloadavg()[0],
            "date": datetime.date.today().isoformat()}


def write_table(results):
    here = results["machine"]
    text = ["# Benchmarks", "",
            "Written by `tests/bench/run.py BUILD --peers VENV --write`; how it is measured: [tests/bench/README.md](../tests/bench/README.md).", "",
            f"{here['date']}, {here['processor']}, {here['cores']} cores, Linux {here['system']}, load before the run {here['load_before']:.1f}."]
    step = results.get("step")
    if step:
        versions = ", ".join(f"{name} {version}" for name, version in step["versions"].items())
        text += ["", "## A training step", "",
                 f"Digits perceptron 64-128-10, batch 64, 10% dropout, AdamW with decay, cosine rate; f32, one thread; processor time, {2 * ROUNDS} measurements",
                 f"each, interleaved. {versions}.", "", "| | median | least | most | median, times AML's | least, times AML's |", "|---|---|---|---|---|---|"]
        least = step["us"]["aml"]["least"]
        text += [f"| {name} | {t['median']:.1f} µs | {t['least']:.1f} µs | {t['most']:.1f} µs | {t['ratio']:.1f} | {t['least'] / least:.1f} |"
                 for name, t in step["us"].items()]
        floor = step["flops"] / step["roof_gflops"] * 1e-3
        text += ["", f"The core reaches {step['roof_gflops']:.1f} GFLOP/s of f32 multiply-adds in the same run: the products alone need {floor:.1f} µs, so the whole",
                 f"step takes {step['us']['aml']['median'] / floor:.1f} times what a perfect program would spend on its products.", "",
                 "Other work on the machine takes caches away from everybody, from the larger programs more: under load the ratio of the least times",
                 "is the fairer one.", "",
                 "Where this does not show an advantage: large networks, where all three spend their time in products of about the same speed; several",
                 "threads, which a step this small does not use; GPUs."]
    mlp = results.get("mlp")
    if mlp and mlp["versions"]:
        versions = ", ".join(f"{name} {version}" for name, version in mlp["versions"].items())
        text += ["", "## A training step of perceptrons", "",
                 f"f32, one thread; processor time, median of {2 * PERCEPTRON_ROUNDS} measurements each, interleaved. {versions}. In brackets: times AML's.",
                 "", "| | AML | " + " | ".join(PERCEPTRON_PEERS) + " | products, of the f32 peak |", "|---" * (len(PERCEPTRON_PEERS) + 3) + "|"]
        text += [f"| {e['title']} | {e['us']['aml']:.1f} µs | " + " | ".join(f"{e['us'][p]:.1f} µs ({e['us'][p] / e['us']['aml']:.1f})" for p in PERCEPTRON_PEERS)
                 + f" | {100 * e['peak']:.0f}% |" for e in mlp["us"]]
    networks = results.get("networks")
    if networks and networks["versions"]:
        text += ["", "## A training step of networks", "",
                 f"f32; time that passes, median of {2 * NETWORK_ROUNDS} measurements each, interleaved. PyTorch {networks['versions']['torch']} eager. A ratio",
                 "below 1 is a loss.", "", "| | threads | AML | PyTorch | PyTorch, times AML's |", "|---|---|---|---|---|"]
        text += [f"| {e['title']} | {e['threads']} | {e['aml']['median']:.1f} ms | {e['torch']['median']:.1f} ms | {e['ratio']:.2f} |" for e in networks["ms"]]
    for name, title in (("start", "Starting"), ("compile", "Compiling")):
        found = results.get(name)
        if found:
            text += ["", f"## {title}", "", "| | median |", "|---|---|"]
            text += [f"| {what} | {value:.2f} ms |" for what, value in found["ms"].items()]
            text += [f"| size of {what} | {value:,} bytes |" for what, value in found.get("bytes", {}).items()]
    loader = results.get("loader")
    if loader:
        text += ["", "## Loading pictures", "",
                 "JPEG files of about 240 x 200 pixels (flowers) become augmented samples of 64 x 64; libjpeg-turbo alone decodes them from memory.",
                 f"Processor time, median of {ROUNDS} measurements each, interleaved.", "", "| threads | AML | libjpeg-turbo | AML's rate, times libjpeg-turbo's |", "|---|---|---|---|"]
        text += [f"| {e['threads']} | {e['aml_us']:.0f} µs | {e['libjpeg_us']:.0f} µs | {e['ratio']:.2f} |" for e in loader["us"]]
    (ROOT / "docs/benchmarks.md").write_text("\n".join(text) + "\n")


def bench_tables(amlc, folder, peers):
    return tables.measure(amlc.parent, folder, peers, one_core())


def bench_loader(amlc, folder, _):
    """Decoding, preparing and augmenting photographs against decoding them with libjpeg-turbo alone, in processor time."""
    pictures = pathlib.Path(os.environ.get("AML_DATA", ROOT.parent / "shared")) / "data/images/flowers/train"
    if not pictures.is_dir():
        print(f"loader: no folder {pictures}: nothing is measured")
        return None
    call("cc", "-O2", HERE / "jpeg_peer.c", "-o", folder / "peer", "-l:libjpeg.a", "-lpthread")
    call(amlc, "build", HERE / "photographs.aml", "-o", folder / "photographs")
    results = []
    for threads in (1, 2):
        found = {"peer": [], "aml": []}
        for _ in range(ROUNDS):
            found["peer"].append(1e6 / float(call(folder / "peer", pictures, threads, 1).split()[1]))
            out = call(folder / "photographs", "data", "speed", "--loaders", 0, "--threads", threads, "--json", "--dir", pictures.parent, cwd=folder)
            found["aml"].append(json.loads(out)["processor_us"])
        ratio = median([p / a for p, a in zip(found["peer"], found["aml"])])
        results.append({"threads": threads, "aml_us": median(found["aml"]), "libjpeg_us": median(found["peer"]), "ratio": ratio})
        print(f"loader, {threads} threads: {median(found['aml']):.0f} us a picture with augmentation, libjpeg-turbo alone {median(found['peer']):.0f} us: {ratio:.2f} times its rate")
    return {"us": results}


def main():
    benches = {"step": bench_step, "mlp": bench_mlp, "networks": bench_networks, "tables": bench_tables, "start": bench_start, "compile": bench_compile, "loader": bench_loader}
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("names", nargs="*", choices=[*benches, []])
    parser.add_argument("--peers", type=pathlib.Path, default=os.environ.get("AML_PEERS"))
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    peers = options.peers and pathlib.Path(options.peers)
    if peers and peers.is_dir():
        peers = peers / "bin/python"
    results = {"machine": machine()}
    for name in options.names or benches:
        with tempfile.TemporaryDirectory() as folder:
            results[name] = benches[name]((options.build / "amlc").absolute(), pathlib.Path(folder), peers)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    if options.write:
        write_table(results)


if __name__ == "__main__":
    main()

"""What all benchmarks share: running programs, peers in processes of their own, taking turns, the rate of the core."""
import json
import os
import pathlib
import select
import shutil
import subprocess
import tempfile
import time
from statistics import fmean

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/bench"
PATIENCE = 240                  # seconds that a peer has to start (torch.compile) or to answer


class Failed(Exception):
    """Something cannot be measured. The other workloads go on."""


class Bench:
    """What a workload is given."""

    def __init__(self, build, folder, peers, rounds, stock=False):
        self.build, self.amlc, self.folder, self.peers, self.rounds, self.stock = build, build / "amlc", folder, peers, rounds, stock
        self.versions = {}
        self.settings = peer_settings(folder) if peers and not stock else []

    @property
    def python(self):
        """The command of the peers' Python, with what gives their libraries their best kernels."""
        return [*self.settings, self.peers]


class Family:
    """Workloads that are one section of docs/benchmarks.md.

    workloads: name -> function of a Bench that prints and returns what was measured (JSON).
    lines: function of {name: result} for those that were ever measured, giving the lines of the section.
    """

    def __init__(self, name, title, workloads, lines):
        self.name, self.title, self.workloads, self.lines = name, title, workloads, lines


def call(*command, cwd=None, env=None):
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def seconds(*command, cwd=None):
    start = time.monotonic()
    call(*command, cwd=cwd)
    return time.monotonic() - start


def processor_seconds(*command, cwd=None):
    """Of this process alone: a peer may be reaped at any time."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([str(c) for c in command], cwd=cwd, stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise Failed(f"{' '.join(map(str, command))}: exit code {process.returncode}\n{said.read().decode()}")
    return usage.ru_utime + usage.ru_stime


def median(values):
    values = sorted(values)
    return values[len(values) // 2]


def one_core():
    """A command prefix that keeps a process on the last core it may use: the first one serves most interrupts."""
    return ["taskset", "-c", str(max(os.sched_getaffinity(0)))] if shutil.which("taskset") else []


def peer_settings(folder):
    """A command prefix with which MKL and OpenBLAS use AVX-512 also where Intel did not make the processor; nothing where it did."""
    information = pathlib.Path("/proc/cpuinfo").read_text()
    if "GenuineIntel" in information or " avx512vl" not in information:
        return []
    call("cc", "-O2", "-shared", "-fPIC", HERE / "mkl_dispatch.c", "-o", folder / "mkl_dispatch.so")
    return ["env", f"LD_PRELOAD={folder / 'mkl_dispatch.so'}", "OPENBLAS_CORETYPE=SkylakeX"]


def roof(folder, threads=1):
    """The f32 multiply-adds that so many threads reach together, in GFLOP/s."""
    if not (folder / "roof").exists():
        call("cc", "-O3", "-march=native", "-ffp-contract=fast", "-pthread", HERE / "roof.c", "-o", folder / "roof")
    return float(call(*(one_core() if threads == 1 else []), folder / "roof", threads).split()[0])


def bandwidth(folder, threads, update=False):
    """What so many threads read from memory, or move as an optimizer does, in GB/s: the best of some tries, and all of them together."""
    if not (folder / "bandwidth").exists():
        call("cc", "-O3", "-march=native", "-pthread", HERE / "bandwidth.c", "-o", folder / "bandwidth")
    best, every = call(folder / "bandwidth", threads, *(["update"] if update else [])).split()[:2]
    return float(best), float(every)


class Runner:
    """Whoever takes turns: step() gives the seconds of one step."""

    versions = {}

    def calibrate(self):
        """Has a measurement take long enough; nothing here, where the measured program sees to it."""

    def close(self):
        pass


LEAST = 0.06                    # seconds that a measurement takes at first; 0.05 is what is promised


class Counted(Runner):
    """One that does `steps` in a measurement, a multiple of `unit`."""

    unit = 1

    def calibrate(self):
        while (taken := self.step() * self.steps) < LEAST:
            more = max(self.steps + 1, int(self.steps * min(1.2 * LEAST / max(taken, 1e-9), 10)))
            self.steps = -(-more // self.unit) * self.unit


class Peer(Counted):
    """A process that prints its versions as JSON when it is ready, and for each line of standard input one line with an answer.

    `steps` is what it is sent, a multiple of `unit`; its answer are the seconds that they took. `warm` steps are done before each measurement.
    """

    def __init__(self, name, command, steps, log=None, warm=0, unit=1):
        self.name, self.steps, self.log, self.warm, self.unit = name, steps, log, warm, unit
        errors = open(log, "w") if log else subprocess.DEVNULL
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        self.versions = json.loads(self.answer())

    def answer(self):
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.process.kill()
            self.process.wait()
            said = self.log.read_text().strip().splitlines()[-3:] if self.log else []
            raise Failed(f"{self.name}: " + ("no answer" if ready else f"no answer in {PATIENCE} s") + "".join("\n    " + s for s in said))
        return line

    def ask(self, text):
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()
        return self.answer()

    def step(self):
        if self.warm:
            self.ask(self.warm)
        return float(self.ask(self.steps)) / self.steps

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Training(Counted):
    """A compiled training: the difference of a long and a short one, so that its start and its end do not count.

    With one thread it is kept on one core and its processor time is taken; with more, the time that passes.
    """

    name = "aml"

    def __init__(self, program, threads, steps, short=2, arguments=()):
        self.program, self.threads, self.steps, self.short, self.arguments = program, threads, steps, short, arguments

    def train(self, steps):
        command = [self.program, "train", "--threads", self.threads, "--quiet", "--length", f"{steps} steps", *self.arguments]
        folder = self.program.parent
        return processor_seconds(*one_core(), *command, cwd=folder) if self.threads == 1 else seconds(*command, cwd=folder)

    def step(self):
        taken = self.train(self.steps + self.short) - self.train(self.short)
        shutil.rmtree(self.program.parent / "runs")
        return taken / self.steps


class SteadyTraining(Training):
    """A training whose start and end vary by more than its steps take, in the time that passes: one with several threads, or one so large
    that touching its memory first, and writing it at the end, take longer.

    Of one run, profiled, the mean of the steps behind the first ones, as a peer's is: the time that passes, from batch to batch, without
    checkpoints. The last step is left out, since a validation may follow it.
    """

    warm = 4

    def step(self):
        runs = self.program.parent / "runs"
        command = [self.program, "train", "--threads", self.threads, "--quiet", "--profile", "--length", f"{self.warm + self.steps + 1} steps", *self.arguments]
        call(*(one_core() if self.threads == 1 else []), *command, cwd=self.program.parent)
        events = json.loads(next(runs.glob("**/profile.json")).read_text())["traceEvents"]
        shutil.rmtree(runs)
        begin = [i for i, e in enumerate(events) if e["name"] == "making batches"] + [len(events)]
        taken = [sum(e["dur"] for e in events[a:b] if e["name"] != "checkpoints") for a, b in zip(begin, begin[1:])]
        return fmean(taken[self.warm:-1]) * 1e-6


def start_peers(bench, makers):
    """The peers that start, of {name: function that starts it}; the others are told about."""
    started = []
    for name, make in makers.items() if bench.peers else ():
        try:
            peer = make()
            bench.versions.update(peer.versions)
            if bench.settings:
                bench.versions |= {library: "with AVX-512" for library, user in (("MKL", "torch"), ("OpenBLAS", "numpy")) if user in peer.versions}
            started.append(peer)
        except (Failed, OSError, ValueError) as error:
            print(f"    without {name}: {error}", flush=True)
    return started


SETTLE = 0.05                   # seconds in which the threads of who was measured before go to sleep; those of PyTorch spin for 8 ms


def interleave(runners, rounds):
    """{name: seconds of each measurement}: everybody in turns, forwards and backwards. A peer that fails is left out."""
    taken = {runner.name: [] for runner in runners}
    alive = list(runners)

    def attempt(runner, act):
        try:
            if runner in alive:
                act(runner)
        except (Failed, OSError, ValueError) as error:
            if runner.name == "aml":
                raise
            print(f"    without {runner.name}: {error}", flush=True)
            alive.remove(runner)

    def measure(runner):
        time.sleep(SETTLE)
        taken[runner.name].append(runner.step())
    try:
        for runner in runners:
            attempt(runner, lambda runner: runner.calibrate())
        for _ in range(rounds):
            for runner in alive + alive[::-1]:
                attempt(runner, measure)
    finally:
        for runner in runners:
            runner.close()
    return {runner.name: taken[runner.name] for runner in alive}


def summary(taken, unit):
    """{name: median, least, most, ratio}, in the unit that has so many to a second."""
    own = median(taken["aml"])
    return {name: {"median": unit * median(v), "least": unit * min(v), "most": unit * max(v), "ratio": median(v) / own} for name, v in taken.items()}


def best_peer(figures):
    """The peer that takes least, as (name, its figures), or None."""
    others = [(f["median"], name) for name, f in figures.items() if name != "aml"]
    return (min(others)[1], figures[min(others)[1]]) if others else None


def printed(figures, unit):
    return "  ".join(f"{name} {f['median']:.4g} {unit} ({f['least']:.4g} .. {f['most']:.4g})" + (f" {f['ratio']:.2f}x" if name != "aml" else "")
                     for name, f in figures.items())


def told(versions):
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


def digits(value):
    """Four digits, without a power of ten."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def ratios_table(results, unit, peers, extra=(), threads=True):
    """A table of results that have title, threads, figures: AML's time, each peer's with the ratio to AML's, more columns.

    extra: (title, function of a result) of the columns behind. A ratio below 1 is a loss, and is printed bold.
    """
    peers = [p for p in peers if any(p in r["figures"] for r in results)]
    head = ["", *(["threads"] if threads else []), "AML", *peers, *[title for title, _ in extra]]
    text = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for r in results:
        cells = [r["title"], *([str(r["threads"])] if threads else []), f"{digits(r['figures']['aml']['median'])} {unit}"]
        for peer in peers:
            f = r["figures"].get(peer)
            ratio = f and (f"{f['ratio']:.2f}" if f["ratio"] >= 1 else f"**{f['ratio']:.2f}**")
            cells.append(f"{digits(f['median'])} {unit} ({ratio})" if f else "–")
        cells += [str(column(r)) for _, column in extra]
        text.append("| " + " | ".join(cells) + " |")
    return text

"""A training step of the digits perceptron, as a user runs it."""
import shutil

from common import HERE, ROOT, Family, Peer, Training, call, interleave, one_core, printed, roof, start_peers, summary
from losses import compare

ROUNDS = 11                     # each round measures everybody twice: A B C C B A
STEPS = 400                     # of a peer, in one measurement, at least
SHORT, LONG = 1000, 10000       # AML's measurement: the difference of trainings of SHORT + LONG and of SHORT steps
FLOPS = 2 * 64 * (2 * 64 * 128 + 3 * 128 * 10)      # products: forward, gradients of both weights, of the hidden layer


def measure(bench):
    compare(bench, "digits_step.aml", (), ["digits"], dropout="Dropout(10%)")
    shutil.copy(HERE / "digits_step.aml", bench.folder)
    shutil.copy(ROOT / "examples/digits/data/digits.csv", bench.folder)
    call(bench.amlc, "build", "digits_step.aml", cwd=bench.folder)
    peak = roof(bench.folder)
    peers = start_peers(bench, {name: lambda name=name: Peer(name, [*one_core(), *bench.python, HERE / "peers.py", name, bench.folder / "digits.csv"], STEPS)
                                for name in ("torch-eager", "torch-fused", "jax-jit")})
    taken = interleave([Training(bench.folder / "digits_step", 1, LONG, SHORT), *peers], bench.rounds or ROUNDS)
    peak = max(peak, roof(bench.folder))
    figures = summary(taken, 1e6)
    print("  " + printed(figures, "us"))
    print(f"  roof: {peak:.1f} GFLOP/s of f32 multiply-adds; the products of a step alone need {FLOPS / peak * 1e-3:.1f} us at that rate")
    return {"figures": figures, "roof_gflops": peak, "flops": FLOPS, "count": len(taken["aml"])}


def lines(results):
    step = results["digits"]
    figures, least = step["figures"], step["figures"]["aml"]["least"]
    floor = step["flops"] / step["roof_gflops"] * 1e-3
    text = [f"Digits perceptron 64-128-10, batch 64, 10% dropout, AdamW with decay, cosine rate; f32, one thread; processor time, {step['count']} measurements",
            "each, interleaved.", "", "| | median | least | most | median, times AML's | least, times AML's |", "|---|---|---|---|---|---|"]
    text += [f"| {name} | {t['median']:.1f} µs | {t['least']:.1f} µs | {t['most']:.1f} µs | {t['ratio']:.1f} | {t['least'] / least:.1f} |"
             for name, t in figures.items()]
    return text + ["", f"The core reaches {step['roof_gflops']:.1f} GFLOP/s of f32 multiply-adds in the same run: the products alone need {floor:.1f} µs, so the whole",
                   f"step takes {figures['aml']['median'] / floor:.1f} times what a perfect program would spend on its products."]


FAMILY = Family("step", "A training step", {"digits": measure}, lines)

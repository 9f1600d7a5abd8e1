"""Training steps of networks against PyTorch, eager and compiled, in f32 and with bf16 products."""
import os
import pathlib

from common import (HERE, ROOT, Failed, Family, Peer, SteadyTraining, Training, bandwidth, call, interleave, one_core, printed, ratios_table, roof,
                    start_peers, summary)
from losses import BF16, BF16_NORMED, F32, F32_NORMED, compare

ROUNDS = 5
EAGER, BOTH = ("torch-eager",), ("torch-eager", "torch-compile")


class Network:
    """source: of networks/, with its constants; peer: what network_peer.py calls it.

    steps: in one measurement, at least. flops: products of a step, 0: not told. short: steps of AML's shorter training. weights: how many, of a
    network so large that its optimizer's bytes count. steady: measured within one run. dropout: how the source calls it. normed:
    it has batch norms.
    """

    weights, steady, dropout, normed = 0, False, None, False

    def __init__(self, title, source, steps, peer, settings=(), peers=BOTH, bf16=False, flops=0, threads=(1, 2), short=2):
        self.title, self.source, self.steps, self.peer, self.settings, self.peers = title, source, steps, peer, settings, peers
        self.bf16, self.flops, self.threads, self.short = bf16, flops, threads, short

    def half(self, title, steps=None, threads=(1,)):
        """The same with products of bf16."""
        net = Network(title, self.source, steps or self.steps, self.peer, (*self.settings, "half=true"), self.peers, True, 0, threads, self.short)
        net.steady, net.dropout, net.normed = self.steady, self.dropout, self.normed
        return net

    def compare(self, bench):
        limits = ((F32, BF16), (F32_NORMED, BF16_NORMED))[self.normed][self.bf16]
        compare(bench, f"networks/{self.source}.aml", self.settings, [self.peer], limits, self.dropout)


def gpt(title, peer, rows, vocab, width, heads, depth, context, steps):
    # products of the weights, and of queries with keys and weights with values, each three times: forward and both gradients
    flops = 6 * rows * context * (12 * depth * width * width + vocab * width) + 12 * depth * rows * context * context * width
    settings = [f"{name}={value}" for name, value in (("rows", rows), ("vocab", vocab), ("width", width), ("heads", heads), ("depth", depth), ("context", context))]
    net = Network(title, "gpt", steps, peer, settings, flops=flops, short=1)
    if width >= 384:
        net.steady = True
        net.weights = (vocab + context) * width + depth * (12 * width * width + 9 * width) + 2 * width
    return net


LENET = Network("LeNet-5, batch 128, SGD with momentum", "lenet", 40, "lenet", flops=2 * 128 * (3 * 416520 - 117600))
RESNET8 = Network("ResNet-8, 32x32x3, batch 32, SGD with momentum", "resnet8", 20, "resnet8", flops=2 * 32 * (3 * 12501632 - 442368))
CONVOLUTION = Network("the residual network of fashion.aml, batch 128, SGD with momentum", "convolution", 6, "convolution")
CONVOLUTION.dropout = "dropout(30%)"
CONVOLUTION.normed = RESNET8.normed = True
CHAR_GPT = gpt("GPT, 6 layers of width 384, 256 characters, batch 8, AdamW, clipped", "char-gpt", 8, 65, 384, 6, 6, 256, 2)
NETWORKS = {
    "lenet": LENET,
    "lenet-bf16": LENET.half("LeNet-5 with bf16"),
    "resnet8": RESNET8,
    "resnet8-bf16": RESNET8.half("ResNet-8 with bf16"),
    "convolution": CONVOLUTION,
    "fashion": Network("examples/fashion as it is (augmentation, averages, bf16), batch 128", None, 6, "fashion", bf16=True),
    "gpt": gpt("GPT, 4 layers of width 128, 128 characters, batch 32, AdamW, clipped", "gpt", 32, 65, 128, 4, 4, 128, 2),
    "char-gpt": CHAR_GPT,
    "char-gpt-bf16": CHAR_GPT.half("the same GPT with bf16"),
    "gpt2": gpt("GPT-2 of 124M weights, 64 tokens, batch 4, AdamW, clipped", "gpt2", 4, 50257, 768, 12, 12, 64, 1),
    "lstm": Network("LSTM of width 256, 64 steps, batch 16, SGD", "lstm", 20, "lstm", peers=EAGER, flops=6 * 64 * 16 * 4 * 256 * (64 + 256)),
}


def built(bench, name):
    """The program of a network, and what it is given beside the number of steps."""
    net, program = NETWORKS[name], bench.folder / name
    if net.source:
        call(bench.amlc, "build", HERE / "networks" / f"{net.source}.aml", *[part for setting in net.settings for part in ("-D", setting)], "-o", program)
        return program, ()
    pictures = pathlib.Path(os.environ.get("AML_DATA", ROOT.parent / "shared")) / "data/fashion-mnist"
    if not pictures.is_dir():
        raise Failed(f"no folder {pictures}")
    os.environ["AML_DATA"] = str(pictures.parents[1])
    # The example, but for the length of its training, which has to be an option here.
    text = (ROOT / "examples/fashion/fashion.aml").read_text()
    for old, new in (("length:    10 epochs", "length:    length"), ("\noption dir", "\noption length: duration = 10 epochs\noption dir")):
        if text.count(old) != 1:
            raise Failed(f"examples/fashion/fashion.aml has no '{old.strip()}'")
        text = text.replace(old, new)
    (bench.folder / "fashion.aml").write_text(text)
    call(bench.amlc, "build", bench.folder / "fashion.aml", "-o", program)
    return program, ("--dir", pictures)


def measure(bench, name):
    net = NETWORKS[name]
    if net.source:                      # the pictures of the example are cropped and mirrored at random, by other numbers in PyTorch
        net.compare(bench)
    program, arguments = built(bench, name)
    results = []
    for threads in net.threads:
        def peer(who):
            command = [*bench.python, HERE / "network_peer.py", net.peer, who, threads, "bf16" if net.bf16 else "f32"]
            return Peer(who, (one_core() if threads == 1 else []) + command, net.steps, bench.folder / "log", SteadyTraining.warm if threads > 1 else 0)
        chosen = net.peers if threads == 1 else net.peers[-1:]     # with two threads the compiled one alone: starting it takes longest
        peers = start_peers(bench, {who: lambda who=who: peer(who) for who in chosen})
        kind = SteadyTraining if net.steady or threads > 1 else Training
        peak = roof(bench.folder, threads)
        figures = summary(interleave([kind(program, threads, net.steps, net.short, arguments), *peers], bench.rounds or ROUNDS), 1e3)
        peak = max(peak, roof(bench.folder, threads))
        entry = {"title": net.title, "threads": threads, "figures": figures}
        text = f"  {threads} thread{'s' if threads > 1 else ' '} {printed(figures, 'ms')}"
        if net.flops:
            entry["peak"] = net.flops / figures["aml"]["median"] * 1e-6 / peak
            text += f"  {100 * entry['peak']:.0f}% of the f32 peak"
        if net.weights:     # AdamW reads weight, gradient and two moments, and writes all but the gradient
            entry["rates"] = {"flops": peak}
            for key, rate, update in (("roofline", "update", True), ("roofline_read", "read", False)):
                entry["rates"][rate] = bandwidth(bench.folder, threads, update)[0]
                least = net.flops / (peak * 1e9) + 7 * 4 * net.weights / (entry["rates"][rate] * 1e9)
                entry[key] = figures["aml"]["median"] * 1e-3 / least
                text += f"  {entry[key]:.2f} times the products at {peak:.0f} GFLOP/s and the optimizer's bytes at {entry['rates'][rate]:.0f} GB/s ({rate})"
        print(text, flush=True)
        results.append(entry)
    return results


def rooflines(result):
    both = [f"{result[key]:.2f}" for key in ("roofline", "roofline_read") if key in result]
    return f"{both[0]} ({both[1]})" if len(both) == 2 else both[0] if both else "–"


def lines(results):
    return ["With one thread processor time on one core, with two the time that passes; median of the measurements, interleaved. PyTorch has its",
            "pictures channels last, and autocast where AML has bf16. In brackets: times AML's; below 1, in bold, is a loss. An epoch of fashion.aml is",
            "421.9 steps. Products and the optimizer's bytes are at the rates that as many threads reach together in the same run, multiplying, and",
            "reading and writing arrays as AdamW does; in brackets: with the rate of reading alone, where that was measured.", "",
            *ratios_table([r for entry in results.values() for r in entry], "ms", BOTH,
                          [("products, of the f32 peak", lambda r: f"{100 * r['peak']:.0f}%" if "peak" in r else "–"),
                           ("times products and optimizer's bytes", rooflines)])]


FAMILY = Family("networks", "A training step of networks", {name: lambda bench, name=name: measure(bench, name) for name in NETWORKS}, lines)

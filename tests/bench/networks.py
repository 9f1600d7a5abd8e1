"""Training steps of networks against PyTorch, eager and compiled, in f32 and with bf16 products."""
from common import HERE, Family, Failed, Peer, Training, call, interleave, one_core, printed, ratios_table, roof, start_peers, summary

ROUNDS = 5
PEERS = ("torch-eager", "torch-compile")


class Network:
    """file: of networks/; settings: its constants; steps: in one measurement; flops: products of a step, 0 where the roof is not given."""

    def __init__(self, file, steps, title, settings=(), peers=PEERS, bf16=False, flops=0, rounds=ROUNDS, threads=(1, 2)):
        self.file, self.steps, self.title, self.settings, self.peers = file, steps, title, settings, peers
        self.bf16, self.flops, self.rounds, self.threads = bf16, flops, rounds, threads


NETWORKS = {
    "gpt": Network("gpt", 4, "GPT, 4 layers of width 128, 4 heads, 128 tokens, batch 32, AdamW, clipped"),
    "convolution": Network("convolution", 8, "the residual network of fashion.aml, batch 128, SGD with momentum"),
    "lstm": Network("lstm", 20, "LSTM of width 256, 64 steps, batch 16, SGD", peers=("torch-eager",)),
}


def measure(bench, name):
    net, program = NETWORKS[name], bench.folder / name
    call(bench.amlc, "build", HERE / "networks" / f"{net.file}.aml", *[part for setting in net.settings for part in ("-D", setting)],
         "--target=native", "-o", program)
    results = []
    for threads in net.threads:
        def peer(who):
            command = [bench.peers, HERE / "network_peer.py", name, who, threads]
            return Peer(who, (one_core() if threads == 1 else []) + command, net.steps, bench.folder / "log")
        peers = start_peers(bench, {who: lambda who=who: peer(who) for who in net.peers})
        peak = roof(bench.folder)
        figures = summary(interleave([Training(program, threads, net.steps), *peers], bench.rounds or net.rounds), 1e3)
        peak = max(peak, roof(bench.folder)) * threads
        entry = {"title": net.title, "threads": threads, "figures": figures}
        text = f"  {threads} thread{'s' if threads > 1 else ' '} {printed(figures, 'ms')}"
        if net.flops:
            entry["peak"] = net.flops / figures["aml"]["median"] * 1e-6 / peak
            text += f"  {100 * entry['peak']:.0f}% of the f32 peak"
        print(text, flush=True)
        results.append(entry)
    return results


def lines(results):
    return ["With one thread processor time on one core, with two the time that passes; median of the measurements, interleaved. In brackets: times",
            "AML's; below 1, in bold, is a loss.", "",
            *ratios_table([r for entry in results.values() for r in entry], "ms", PEERS,
                          [("products, of the f32 peak", lambda r: f"{100 * r['peak']:.0f}%" if "peak" in r else "–")])]


FAMILY = Family("networks", "A training step of networks", {name: lambda bench, name=name: measure(bench, name) for name in NETWORKS}, lines)

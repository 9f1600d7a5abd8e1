"""Training steps of perceptrons against PyTorch, eager and compiled, and JAX."""
from common import HERE, Family, Peer, Training, call, interleave, one_core, printed, ratios_table, roof, start_peers, summary
from losses import compare

ROUNDS = 5
PEERS = ("torch-eager", "torch-compile", "jax-jit")
# name: inputs, hidden, layers, outputs, rows, adam, steps of AML in one measurement, at least
SIZES = {f"784-128-10-{'adamw' if adam else 'sgd'}-{rows}": (784, 128, 1, 10, rows, adam, steps)
         for rows, steps in ((8, 4000), (64, 1000), (512, 200)) for adam in (0, 1)} | {"4-64-64-2-sgd-32": (4, 64, 2, 2, 32, 0, 20000)}


def measure(bench, name):
    inputs, hidden, layers, outputs, rows, adam, steps = SIZES[name]
    program = bench.folder / "mlp"
    sizes = {"inputs": inputs, "hidden": hidden, "layers": layers, "outputs": outputs, "rows": rows}
    settings = [*[f"{k}={v}" for k, v in sizes.items()], f"adam={'true' if adam else 'false'}"]
    compare(bench, "networks/mlp.aml", settings, ["perceptron", *sizes.values(), adam])
    call(bench.amlc, "build", HERE / "networks/mlp.aml", *[part for setting in settings for part in ("-D", setting)], "-o", program)
    peak = roof(bench.folder)
    peers = start_peers(bench, {who: lambda who=who: Peer(who, [*one_core(), *bench.python, HERE / "mlp_peer.py", who, *sizes.values(), adam], max(steps // 10, 50))
                                for who in PEERS})
    figures = summary(interleave([Training(program, 1, steps), *peers], bench.rounds or ROUNDS), 1e6)
    # forward, gradients of all weights, of all inputs but the first
    widths = [inputs] + [hidden] * layers + [outputs]
    flops = sum(2 * rows * a * b * (2 if i == 0 else 3) for i, (a, b) in enumerate(zip(widths, widths[1:])))
    share = flops / figures["aml"]["median"] * 1e-3 / max(peak, roof(bench.folder))
    print(f"  {printed(figures, 'us')}  {100 * share:.0f}% of the peak", flush=True)
    return {"title": f"{'-'.join(map(str, widths))}, batch {rows}, {'AdamW' if adam else 'SGD'}", "figures": figures, "peak": share}


def lines(results):
    return ["f32, one thread; processor time, median of the measurements, interleaved. In brackets: times AML's.", "",
            *ratios_table(list(results.values()), "µs", PEERS, [("products, of the f32 peak", lambda r: f"{100 * r['peak']:.0f}%")], threads=False)]


FAMILY = Family("mlp", "A training step of perceptrons", {name: lambda bench, name=name: measure(bench, name) for name in SIZES}, lines)

"""Before a training is timed: the losses and the updates of its first steps are those of the same training in f64, by PyTorch."""
import json
import shutil

from common import HERE, Failed, Peer, call

STEPS = 4
# By how much losses may differ, of their size, and what was added to the weights, of its own: without the latter a small rate would hide a
# wrong update. Found were at most 1.5e-7 and 6.7e-5, with operands of bf16 9e-6 and 2.1e-2.
F32, BF16 = (5e-7, 2e-4), (5e-5, 5e-2)
# Behind batch norms gradients are small differences of large numbers: 1.4e-3 and 6.3e-2 were found. PyTorch in f32 is 5e-3 off itself in f64.
F32_NORMED, BF16_NORMED = (5e-7, 5e-3), (5e-4, 0.15)


def training(text, dropout):
    """The same program with one batch as its data, and without dropout."""
    if text.count("ropout(") != (1 if dropout else 0) or (dropout and dropout not in text):
        raise Failed(f"the program's dropout is not {dropout}")
    if dropout:
        text = text.replace(dropout, dropout.partition("(")[0] + "(0%)")
    lines = text.splitlines()
    found = [line.startswith("  source:") for line in lines]
    if sum(found) != 1:
        raise Failed("the program has not one dataset")
    lines = ['  source: npz("batch.npz")' if source else line.partition(" = ")[0] if line.startswith("  field ") else line for line, source in zip(lines, found)]
    return "\n".join(lines) + "\n"


def compare(bench, source, settings, peer, limits=F32, dropout=None):
    """The first losses and updates are PyTorch's in f64, given the same weights, batch and rates. The data are one batch, so its order does not matter.

    source: in this folder, with these settings; dropout: how it calls that, which draws other numbers in PyTorch. peer: what network_losses.py is
    told. Fails where they differ by more than the limits.
    """
    if not bench.peers:
        print("    losses were not compared with PyTorch's, there are no peers", flush=True)
        return
    folder = bench.folder / "losses"
    folder.mkdir(exist_ok=True)
    reference = Peer("the reference in f64", [*bench.python, HERE / "network_losses.py", folder / "batch.npz", *peer, *([0] if dropout else [])], 1, bench.folder / "log")
    try:
        (folder / "net.aml").write_text(training((HERE / source).read_text(), dropout))
        call(bench.amlc, "build", "net.aml", *[part for setting in settings for part in ("-D", setting)], "-o", "net", cwd=folder)
        call("./net", "train", "--quiet", "--length", f"{STEPS} steps", cwd=folder)
        run = next(folder.glob("runs/*/*/metrics.jsonl")).parent
        steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        own = [entry["loss"] for entry in steps]
        weights, after = (str(next((run / f"checkpoints/step-{step:06}").glob("**/weights.safetensors"))) for step in (0, STEPS))
        reached = json.loads(reference.ask(json.dumps({"weights": weights, "rates": [entry["lr"] for entry in steps], "after": after})))
    finally:
        reference.close()
    shutil.rmtree(folder)
    exact, updates = reached["losses"], reached["update_error"]
    apart = max(abs(a - b) / b for a, b in zip(own, exact))
    print(f"    losses of {len(own)} steps are off f64 by {apart:.1e}, what was added to the weights by {updates:.1e}", flush=True)
    if len(own) != STEPS or len(exact) != STEPS or not (apart <= limits[0] and updates <= limits[1]):
        raise Failed(f"this is not the training of PyTorch in f64: the losses are {own} and not {exact}, what was added to the weights is off by {updates:.1e}")

"""Before a training is timed: the losses of its first steps are those of the same training in f64, by PyTorch."""
import json
import shutil

from common import HERE, Failed, Peer, call

STEPS = 4
# By how much losses may differ, of their size, and their fall from the first to the last, of its own: without the latter a small rate would hide
# a wrong update. Found were at most 1.5e-7 and 7.4e-5, with operands of bf16 1.3e-4 and 3.7e-3.
F32, BF16 = (5e-7, 1e-3), (5e-4, 2e-2)


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
    """The first losses are PyTorch's in f64, given the same weights, batch and rates. The data are one batch, so its order does not matter.

    source: in this folder, with these settings; dropout: how it calls that, which draws other numbers in PyTorch. peer: what network_losses.py is
    told. Fails where the losses differ by more than the limits.
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
        weights = next((run / "checkpoints/step-000000").glob("**/weights.safetensors"))
        exact = json.loads(reference.ask(json.dumps({"weights": str(weights), "rates": [entry["lr"] for entry in steps]})))
    finally:
        reference.close()
    shutil.rmtree(folder)
    apart = max(abs(a - b) / b for a, b in zip(own, exact))
    fall = exact[0] - exact[-1]
    fallen = abs(own[0] - own[-1] - fall) / abs(fall)
    print(f"    losses of {len(own)} steps are off f64 by {apart:.1e}, their fall of {fall:.4f} by {fallen:.1e}", flush=True)
    if len(own) != STEPS or len(exact) != STEPS or not (apart <= limits[0] and fallen <= limits[1]):
        raise Failed(f"the losses {own} are not those of PyTorch in f64, {exact}")

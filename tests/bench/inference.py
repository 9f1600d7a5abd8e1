"""Predictions of deployed libraries for one sample, one thread, against ONNX Runtime and PyTorch compile with the same weights."""
import random
import struct

from common import HERE, Failed, Family, Peer, call, interleave, one_core, printed, ratios_table, roof, start_peers, summary

ROUNDS = 5
PEERS = ("onnxruntime", "torch-compile")
ERROR = 1e-4                    # the most that an output may be off, relative to the largest in f64
# name: title, numbers in a sample, outputs, whether it is a classifier, multiply-adds
NETWORKS = {
    "mlp": ("perceptron 4-64-64-2", 4, 2, True, 4 * 64 + 64 * 64 + 64 * 2),
    "autoencoder": ("MLPerf Tiny autoencoder", 640, 640, False, 264192),
    "ds_cnn": ("MLPerf Tiny DS-CNN", 490, 12, True, 2656768),
    "resnet8": ("MLPerf Tiny ResNet-8", 3072, 10, True, 12501632),
    "mobilenet": ("MLPerf Tiny MobileNet 0.25", 27648, 2, True, 7489664),
    "resnet50": ("ResNet-50", 150528, 1000, True, 4089184256),
    "bert": ("BERT-base, 128 tokens", 128, 2, True, 12 * (12 * 768 * 768 * 128 + 2 * 128 * 128 * 768)),
}


def deployed(bench, name):
    """A runner of the deployed network, and the weights that are in it."""
    title, numbers, outputs, classes, _ = NETWORKS[name]
    source, folder = HERE / f"networks/deploy/{name}.aml", bench.folder
    call(bench.amlc, "build", source, "-o", folder / "train", cwd=folder)
    call(folder / "train", "train", "--quiet", cwd=folder)
    call(bench.amlc, "deploy", source, "net", cwd=folder)
    call("cc", "-O2", "-Werror", "-DSAMPLE=" + ("int32_t" if name == "bert" else "float"), f"-DOUTPUTS={outputs}", *(["-DCLASSES"] if classes else []), f"-I{folder}",
         HERE / "inference_run.c", "-o", folder / "run", f"-L{folder}", "-lnet", f"-Wl,-rpath,{folder}")
    random.seed(1)
    values = [random.randrange(30522) for _ in range(numbers)] if name == "bert" else [random.random() for _ in range(numbers)]
    (folder / "sample").write_bytes(struct.pack(f"{numbers}{'i' if name == 'bert' else 'f'}", *values))
    runner = Peer("aml", [*one_core(), folder / "run", folder / "sample", folder / "output"], 1)
    return runner, next(folder.glob("runs/network/*/checkpoints/step*/weights.safetensors"))


def measure(bench, name):
    title, _, _, _, products = NETWORKS[name]
    own, weights = deployed(bench, name)
    folder = bench.folder
    command = [*one_core(), *bench.python, HERE / "inference_peer.py", name]
    peers = start_peers(bench, {who: lambda who=who: Peer(who, [*command, who, weights, folder / "sample", folder / "output"], 1, folder / "log") for who in PEERS})
    for peer in peers:
        errors = peer.versions["errors"]
        bench.versions.pop("errors", None)
        print(f"    off f64 by {errors[0]:.1e}, {peer.name} by {errors[1]:.1e}", flush=True)
        if not max(errors) < ERROR:
            raise Failed(f"{name}: the results differ by too much")
    peak = roof(folder)
    figures = summary(interleave([own, *peers], bench.rounds or ROUNDS), 1e6)
    share = 2 * products / figures["aml"]["median"] * 1e-3 / max(peak, roof(folder))
    size = (folder / "net").stat().st_size
    print(f"  {printed(figures, 'us')}  {100 * share:.0f}% of the peak", flush=True)
    return {"title": title, "figures": figures, "peak": share, "size": size, "weights": weights.stat().st_size}


def lines(results):
    return ["f32, one sample at a time, one thread; processor time, median of the measurements, interleaved. The library is deployed with `target:",
            "cpu(\"native\")`; the peers have the same weights, and all results agree with the network in f64. ONNX Runtime has its buffers bound",
            "once, PyTorch its weights frozen and channels last. In brackets: times AML's; below 1, in bold, is a loss.", "",
            *ratios_table(list(results.values()), "µs", PEERS, [("products, of the f32 peak", lambda r: f"{100 * r['peak']:.0f}%"),
                          ("program, beyond its weights", lambda r: f"{(r['size'] - r['weights']) / 1024:.0f} KiB")], threads=False)]


FAMILY = Family("inference", "A prediction", {name: lambda bench, name=name: measure(bench, name) for name in NETWORKS}, lines)

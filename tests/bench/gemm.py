"""Matrix products of the shapes of deep learning, weights packed, one thread, against oneDNN, OpenBLAS and JAX."""
import math
import random
import struct

from common import HERE, Failed, Family, Peer, call, interleave, one_core, printed, ratios_table, roof, start_peers, summary

ROUNDS = 5
PEERS = ("onednn-packed", "mkl", "openblas", "jax")
ERROR = 1e-5
SHAPES = ((256, 256, 256), (512, 512, 512), (1024, 1024, 1024), (64, 128, 784), (128, 512, 512), (512, 3072, 768), (512, 768, 3072), (128, 768, 768), (32, 10, 128),
          (8, 1024, 1024), (1, 4096, 4096))


def source(m, n, k):
    """A program whose deployed library multiplies m rows of k numbers with a matrix of k x n."""
    return f"""aml 1
use std.nn
use std.optim
use std.data

model Net {{
  dense = Dense({n}, bias: false)
  fn forward(x: float[r, {k}]) -> float[r, {n}] {{ return dense(x) }}
}}

dataset noise {{
  source: synthetic(8, fn(i) = {{ x: random.uniform([{k}]), y: random.uniform([{n}]) }})
  field x: f32[{k}]
  field y: f32[{n}]
  split: {{ train: 50%, valid: 25%, test: 25% }}
  fn prepare(s) {{ return {{ x: s.x, y: s.y }} }}
}}

train network {{
  model: Net()
  data: noise
  loss: mse
  optimizer: sgd(lr: 1e-3)
  length: 1 steps
  batch: 2
}}

deploy net {{
  model: network.last
  target: cpu("native")
  batch: [{m}]
}}
"""


def measure(bench, m, n, k):
    folder = bench.folder
    (folder / "gemm.aml").write_text(source(m, n, k))
    call(bench.amlc, "build", "gemm.aml", "-o", "train", cwd=folder)
    call(folder / "train", "train", "--quiet", cwd=folder)
    call(bench.amlc, "deploy", "gemm.aml", "net", cwd=folder)
    call("cc", "-O2", "-Werror", "-DSAMPLE=float", f"-DROWS={m}", f"-DOUTPUTS={m * n}", f"-I{folder}", HERE / "inference_run.c", "-o", folder / "run", f"-L{folder}", "-lnet",
         f"-Wl,-rpath,{folder}")
    random.seed(1)
    (folder / "sample").write_bytes(struct.pack(f"{m * k}f", *[random.random() - 0.5 for _ in range(m * k)]))
    own = Peer("aml", [*one_core(), folder / "run", folder / "sample", folder / "output"], 1)
    weights = next(folder.glob("runs/network/*/checkpoints/step*/weights.safetensors"))
    peers = start_peers(bench, {who: lambda who=who: Peer(who, [*one_core(), *bench.python, HERE / "gemm_peer.py", who, m, n, k, weights, folder / "sample",
                                                                folder / "output"], 1, folder / "log") for who in PEERS})
    for peer in peers:
        bench.versions.pop("errors", None)
        if not max(peer.versions["errors"]) < ERROR:
            raise Failed(f"the results differ from f64 by {peer.versions['errors']}, AML's and {peer.name}'s")
    peak = roof(folder)
    figures = summary(interleave([own, *peers], bench.rounds or ROUNDS), 1e6)
    rate = 2e-3 * m * n * k / figures["aml"]["median"]
    share = rate / max(peak, roof(folder))
    print(f"  {printed(figures, 'us')}  {rate:.0f} GFLOP/s, {100 * share:.0f}% of the peak", flush=True)
    return {"title": f"{m} x {n} x {k}", "figures": figures, "rate": rate, "peak": share}


def lines(results):
    best = [min(f["ratio"] for name, f in r["figures"].items() if name != "aml") for r in results.values() if len(r["figures"]) > 1]
    text = ["M x N x K; f32, one thread; processor time of a call of the deployed library, median of the measurements, interleaved. The weights are packed by AML and by",
            "oneDNN (PyTorch, frozen); MKL is PyTorch's product, OpenBLAS NumPy's. In brackets: times AML's; below 1, in bold, is a loss.", "",
            *ratios_table(list(results.values()), "µs", PEERS, [("GFLOP/s", lambda r: f"{r['rate']:.0f}"), ("of the f32 peak", lambda r: f"{100 * r['peak']:.0f}%")],
                          threads=False)]
    if best:
        mean = math.exp(sum(map(math.log, best)) / len(best))
        text += ["", f"The best peer of each shape takes {mean:.2f} times AML's time in the geometric mean; AML is the quickest on {sum(b >= 1 for b in best)} of {len(best)} shapes."]
    return text


FAMILY = Family("gemm", "Matrix products", {"x".join(map(str, shape)): lambda bench, shape=shape: measure(bench, *shape) for shape in SHAPES}, lines)

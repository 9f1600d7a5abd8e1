"""A deployed network in int8 against f32 of the same program, and against ONNX Runtime's int8 of the same weights."""
import json
import os

from common import HERE, ROOT, Failed, Family, Peer, Runner, call, interleave, one_core, printed, ratios_table, start_peers, summary

ROUNDS, SECONDS = 11, 0.3
EXAMPLE = ROOT / "examples/fashion/fashion.aml"
BLOCKS = """aml 1

use "{example}"

deploy bench_f32 {{
  model:  net.last
  batch:  [1, 16]
  target: [cpu("x86-64-v4"), cpu("x86-64-v3")]
}}

deploy bench_int8 {{
  model:    net.last
  batch:    [1, 16]
  quantize: int8(calibrate: fashion.train, samples: 1024, weights: per_channel)
}}
"""


class Deployed(Runner):
    """The median of many predictions, from raw pixels to labels, on one core: the program's own `bench`."""

    def __init__(self, name, program, batch):
        self.name, self.program, self.batch = name, program, batch

    def step(self):
        found = json.loads(call(*one_core(), self.program, "bench", "--json", "--seconds", SECONDS))
        return next(entry["median_us"] for entry in found if entry["batch"] == self.batch) * 1e-6


def prepared(bench):
    """The folder with both programs, weights and samples: made once."""
    folder = bench.folder / "deploy"
    if folder.exists():
        return folder
    folder.mkdir()
    environment = {**os.environ, "AML_DATA": os.environ.get("AML_DATA", str(ROOT.parent / "shared"))}
    source = folder / "bench.aml"
    source.write_text(BLOCKS.format(example=EXAMPLE))
    call(bench.amlc, "build", source, "-o", "trainer", cwd=folder, env=environment)
    call(folder / "trainer", "train", "net", "--steps", "100", "--quiet", cwd=folder, env=environment)
    call(folder / "trainer", "data", "samples", "--job", "net", "--part", "train", "--samples", "512", "--output", "samples.safetensors", cwd=folder,
         env=environment)
    for name in ("bench_f32", "bench_int8"):
        call(bench.amlc, "deploy", source, name, cwd=folder, env=environment)
    return folder


def measure(bench, batch):
    folder = prepared(bench)
    weights = max(folder.glob("runs/net/*/checkpoints/step-*/weights.safetensors"))

    def peer(kind):
        return Peer(f"onnxruntime-{kind}", [*one_core(), *bench.python, HERE / "deploy_peer.py", weights, folder / "samples.safetensors", kind, batch],
                    max(8, 400 // batch), folder / "log")
    peers = start_peers(bench, {f"onnxruntime-{kind}": lambda kind=kind: peer(kind) for kind in ("int8", "f32")})
    own = [Deployed("aml", folder / "bench_int8", batch), Deployed("aml-f32", folder / "bench_f32", batch)]
    figures = summary(interleave(own + peers, bench.rounds or ROUNDS), 1e6)
    print(f"  batch {batch:2} {printed(figures, 'us')}", flush=True)
    sizes = {name: (folder / name).stat().st_size for name in ("bench_int8", "bench_f32")}
    if not sizes["bench_int8"]:
        raise Failed("the program is empty")
    return [{"title": f"residual network of fashion.aml, batch {batch}", "threads": 1, "figures": figures, "sizes": sizes}]


def lines(results):
    every = [r for entry in results.values() for r in entry]
    return ["One thread on one core, in turns; of each measurement the median prediction, of these the median. AML: from raw pixels to class and probabilities, int8 and f32 at the best level of the machine. ONNX Runtime:",
            "from prepared pixels to scores, int8 by static quantization of the same weights with samples of the same data, the faster one of its two",
            "forms. In brackets: times AML's int8; below 1, in bold, is a loss.", "",
            *ratios_table(every, "us", ("aml-f32", "onnxruntime-int8", "onnxruntime-f32"),
                          [("executable int8 / f32", lambda r: f"{r['sizes']['bench_int8']:,} / {r['sizes']['bench_f32']:,} bytes")], threads=False)]


FAMILY = Family("deploy", "Predictions of a deployed network", {"batch-1": lambda bench: measure(bench, 1), "batch-16": lambda bench: measure(bench, 16)},
                lines)

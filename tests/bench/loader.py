"""Decoding, preparing and augmenting photographs against decoding them with libjpeg-turbo alone, in processor time."""
import json
import os
import pathlib

from common import HERE, ROOT, Failed, Family, Runner, call, interleave, median

ROUNDS = 5


class Decoder(Runner):
    """libjpeg-turbo alone, for a second."""

    name = "libjpeg-turbo"

    def __init__(self, program, threads, pictures):
        self.command = program, pictures, threads, 1

    def step(self):
        return 1 / float(call(*self.command).split()[1])


class Own(Runner):
    """The pipeline of photographs.aml."""

    name = "aml"

    def __init__(self, program, threads, folder, cwd):
        self.command, self.cwd = (program, "data", "speed", "--loaders", 0, "--threads", threads, "--json", "--dir", folder), cwd

    def step(self):
        return 1e-6 * json.loads(call(*self.command, cwd=self.cwd))["processor_us"]


def measure(bench):
    pictures = pathlib.Path(os.environ.get("AML_DATA", ROOT.parent / "shared")) / "data/images/flowers/train"
    if not pictures.is_dir():
        raise Failed(f"no folder {pictures}")
    peer, own = bench.folder / "peer", bench.folder / "photographs"
    call("cc", "-O2", HERE / "jpeg_peer.c", "-o", peer, "-l:libjpeg.a", "-lpthread")
    call(bench.amlc, "build", HERE / "photographs.aml", "-o", own)
    results = []
    for threads in (1, 2):
        found = interleave([Own(own, threads, pictures.parent, bench.folder), Decoder(peer, threads, pictures)], bench.rounds or ROUNDS)
        alone, whole = (1e6 * median(found[name]) for name in ("libjpeg-turbo", "aml"))
        ratio = median([p / a for p, a in zip(found["libjpeg-turbo"], found["aml"])])
        results.append({"threads": threads, "aml_us": whole, "libjpeg_us": alone, "ratio": ratio})
        print(f"  {threads} threads: {whole:.0f} us a picture with augmentation, libjpeg-turbo alone {alone:.0f} us: {ratio:.2f} times its rate")
    return results


def lines(results):
    return ["JPEG files of about 240 x 200 pixels (flowers) become augmented samples of 64 x 64; libjpeg-turbo alone decodes them from memory.",
            "Processor time, median of the measurements, interleaved.", "", "| threads | AML | libjpeg-turbo | AML's rate, times libjpeg-turbo's |",
            "|---|---|---|---|", *[f"| {e['threads']} | {e['aml_us']:.0f} µs | {e['libjpeg_us']:.0f} µs | {e['ratio']:.2f} |" for e in results["flowers"]]]


FAMILY = Family("loader", "Loading pictures", {"flowers": measure}, lines)

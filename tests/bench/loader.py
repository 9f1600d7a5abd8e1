"""Decoding, preparing and augmenting photographs against decoding them with libjpeg-turbo alone, in processor time."""
import json
import os
import pathlib

from common import HERE, ROOT, Failed, Family, call, median

ROUNDS = 11


def measure(bench):
    pictures = pathlib.Path(os.environ.get("AML_DATA", ROOT.parent / "shared")) / "data/images/flowers/train"
    if not pictures.is_dir():
        raise Failed(f"no folder {pictures}")
    peer, own = bench.folder / "peer", bench.folder / "photographs"
    call("cc", "-O2", HERE / "jpeg_peer.c", "-o", peer, "-l:libjpeg.a", "-lpthread")
    call(bench.amlc, "build", HERE / "photographs.aml", "-o", own)
    results = []
    for threads in (1, 2):
        found = {"peer": [], "aml": []}
        for _ in range(bench.rounds or ROUNDS):
            found["peer"].append(1e6 / float(call(peer, pictures, threads, 1).split()[1]))
            out = call(own, "data", "speed", "--loaders", 0, "--threads", threads, "--json", "--dir", pictures.parent, cwd=bench.folder)
            found["aml"].append(json.loads(out)["processor_us"])
        ratio = median([p / a for p, a in zip(found["peer"], found["aml"])])
        results.append({"threads": threads, "aml_us": median(found["aml"]), "libjpeg_us": median(found["peer"]), "ratio": ratio})
        print(f"  {threads} threads: {median(found['aml']):.0f} us a picture with augmentation, libjpeg-turbo alone {median(found['peer']):.0f} us: {ratio:.2f} times its rate")
    return results


def lines(results):
    return ["JPEG files of about 240 x 200 pixels (flowers) become augmented samples of 64 x 64; libjpeg-turbo alone decodes them from memory.",
            "Processor time, median of the measurements, interleaved.", "", "| threads | AML | libjpeg-turbo | AML's rate, times libjpeg-turbo's |",
            "|---|---|---|---|", *[f"| {e['threads']} | {e['aml_us']:.0f} µs | {e['libjpeg_us']:.0f} µs | {e['ratio']:.2f} |" for e in results["flowers"]]]


FAMILY = Family("loader", "Loading pictures", {"flowers": measure}, lines)

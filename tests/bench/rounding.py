#!/usr/bin/env python3
"""How long deploying GPT-2's shapes with weights of 4 bits takes, to the nearest and compensated, and its memory.

Usage: tests/bench/rounding.py AMLC [DEPTH [VOCAB]]     (12 50257 is GPT-2 small; 1 512 is one block)
"""
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import decode
from common import HERE, call

FORMS = {"nearest": "int4(group: 32)", "compensated": "int4(group: 32, rounding: compensated, calibrate: letters.train)"}


def main():
    amlc, depth, vocab = pathlib.Path(sys.argv[1]).resolve(), int((sys.argv[2:] or [12])[0]), int((sys.argv[3:] or [50257])[0])
    with tempfile.TemporaryDirectory(prefix="aml-rounding-") as name:
        folder = pathlib.Path(name)
        decode.prepare(folder, "gpt2", vocab)
        text = (HERE / "networks/gpt2.aml").read_text()
        text = text.replace("depth:   int = 12", f"depth:   int = {depth}").replace("vocab:   int = 50257", f"vocab:   int = {vocab}")
        text = text[:text.index("\ndeploy ")]
        for form, quantize in FORMS.items():
            text += f"\ndeploy {form} {{ model: gpt.last  entry: write  quantize: {quantize}  target: cpu(\"native\")  emit: [executable] }}\n"
        (folder / "net.aml").write_text(text)
        words = [f"w{i}" for i in range(vocab)]
        (folder / "corpus.txt").write_text(" ".join(words[i * 7919 % vocab] for i in range(20000)))     # enough for 4,096 tokens
        call(amlc, "build", "net.aml", "-o", "train", cwd=folder)
        call(folder / "train", "train", "--quiet", "--steps", "0", cwd=folder)
        for form in FORMS:
            before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            done = subprocess.run([amlc, "deploy", "net.aml", form, "-o", form], cwd=folder, capture_output=True, text=True, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            layers = json.loads(call(folder / form, "info", "--json"))["layers"]
            worst = min(layer["result_db"] for layer in layers)
            print(f"{form}: {time.monotonic() - start:.1f} s ({after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime:.1f} s of processor time), "
                  f"at most {after.ru_maxrss / 1e6:.1f} GB; {len(layers)} matrices" + (f", the worst result at {worst:.1f} dB" if worst > 0 else ""))
            print("  " + next(line.strip() for line in done.stderr.splitlines() if "perplexity" in line))


if __name__ == "__main__":
    main()

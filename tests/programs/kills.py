#!/usr/bin/env python3
"""kill -9 at random moments of the examples' trainings, which are resumed each time: they end in the bytes of a training
that nobody killed, with mixed precision, accumulation, averages of the weights, augmentation and checkpoints that are
written beside the training.

    kills.py AMLC             a few kills of the digits: what the test suite runs
    kills.py AMLC --long [N]  N kills (50) over all examples whose data are there (below $AML_DATA)
"""
import os
import pathlib
import random
import re
import shutil
import sys
import tempfile
import time

from harness import ROOT, Place, check, checkpoints, killed_and_resumed

SETTINGS = {"precision": "mixed(bf16)", "accumulate": "2", "ema": "0.99"}
AUGMENT = "  fn augment(s) { return { x: s.x * uniform_numbers([], 0.9, 1.1), y: s.y } }\n"


class Example:
    """A source below examples/, with how it is made small: constants, options, steps, steps between checkpoints, batch."""

    def __init__(self, path, job, steps, every, batch, needs=None, constants=(), augment=False, replace=()):
        self.path, self.job, self.steps, self.every, self.batch = ROOT / "examples" / path, job, steps, every, batch
        self.needs, self.constants, self.augment, self.replace = needs, constants, augment, replace

    def source(self):
        text = self.path.read_text()
        for old, new in self.replace:
            check(old in text, f"{self.path} has no {old!r} any more")
            text = text.replace(old, new)
        block = re.search(r"^train %s \{\n(.*?)^\}" % self.job, text, re.M | re.S)
        check(block, f"{self.path} has no training {self.job}")
        names = "|".join((*SETTINGS, "length", "checkpoint", "validate", "stop", "batch", "average", "guard"))
        kept = re.sub(r"^  (?:%s):.*\n" % names, "", block.group(1), flags=re.M)
        settings = dict(SETTINGS, length=f"{self.steps} steps", batch=self.batch,
                        checkpoint="{ every: %d steps }" % self.every, validate="{ every: %d steps }" % (3 * self.every + 1))
        kept += "".join(f"  {name}: {value}\n" for name, value in settings.items())
        text = text[:block.start(1)] + kept + text[block.end(1):]
        # blocks that need a training of another form are not what this is about
        text = re.sub(r"^(?:///[^\n]*\n)*(?:deploy|evaluate|generate) \w+ \{.*?^\}\n", "", text, flags=re.M | re.S)
        if self.augment:
            text = re.sub(r"^(  fn prepare\(s\) .*\n)", lambda m: m.group(1) + AUGMENT, text, flags=re.M)
        return text


SMALL = Example("digits/digits.aml", "digits_mlp", 400, 20, 64, augment=True)
EXAMPLES = [
    SMALL,
    Example("fashion/fashion.aml", "net", 30, 4, 32, "data/fashion-mnist", replace=(("width: int = 16", "width: int = 4"),)),
    Example("char_gpt/char_gpt.aml", "char_gpt", 60, 7, 16, "data/tinyshakespeare/input.txt",
            constants=("depth=2", "width=32", "heads=2", "context=32")),
    Example("ett/ett.aml", "forecast", 200, 15, 64, "data/timeseries"),
    Example("adult/adult.aml", "net", 200, 15, 128, "data/adult"),
    Example("flowers/flowers.aml", "net", 16, 3, 8, "data/images"),
    Example("sms_spam/sms_spam.aml", "spam", 60, 7, 16, "data/text"),
    Example("spoken_digits/spoken_digits.aml", "speech", 40, 5, 16, "data/fsdd"),
]


def end_of(folder, job):
    last = checkpoints(folder, job)[-1]
    files = {name: (last / name).read_bytes() for name in ("weights.safetensors", "optimizer.safetensors")}
    files["metrics.jsonl"] = (last.parent.parent / "metrics.jsonl").read_bytes()
    return last.name, files


def kill_one(place, example, kills, chance):
    folder = place.folder / example.path.stem
    folder.mkdir()
    shutil.copytree(example.path.parent, folder / "source", ignore=shutil.ignore_patterns("runs", "*.aml"))
    (folder / "source" / "program.aml").write_text(example.source())
    constants = [part for c in example.constants for part in ("-D", c)]
    environment = {"AML_DATA": os.environ.get("AML_DATA", str(ROOT.parent / "shared"))}
    place.aml("build", "source/program.aml", "-o", "program", *constants, cwd=folder, env=environment)

    def train(where, *options, **more):
        return place.run(folder / "program", "train", example.job, "--quiet", *options, cwd=where, env=environment, timeout=1800, **more)

    whole, killed = folder / "whole", folder / "killed"
    whole.mkdir(), killed.mkdir()
    begin = time.monotonic()
    train(whole, "--steps", "0")
    load = time.monotonic() - begin
    shutil.rmtree(whole / "runs")
    begin = time.monotonic()
    train(whole)
    length = max(time.monotonic() - begin - load, 0.05)
    expected = end_of(whole, example.job)

    def saved():
        return list(killed.glob("runs/*/*/checkpoints/step-*"))

    def finished():
        check(end_of(killed, example.job) == expected, "the killed training ends in other bytes")
        shutil.rmtree(killed / "runs")

    killed_and_resumed([folder / "program", "train", example.job, "--quiet"], killed, saved, finished, length, kills, chance, load=load, env=environment)
    check(end_of(killed, example.job) == expected, "the killed training ends in other bytes")
    print(f"PASS {example.path.stem}: {kills} kills, the same bytes ({length:.1f} s, {load:.1f} s to load)", flush=True)


def main():
    amlc, long = os.path.abspath(sys.argv[1]), "--long" in sys.argv
    kills = int(sys.argv[3]) if len(sys.argv) > 3 else 50
    shared = pathlib.Path(os.environ.get("AML_DATA", ROOT.parent / "shared"))
    chosen = [e for e in (EXAMPLES if long else [SMALL]) if e.path.exists() and (not e.needs or (shared / e.needs).exists())]
    for example in EXAMPLES if long else []:
        if example not in chosen:
            print(f"SKIP {example.path.stem}: no such example, or no data below {shared}")
    failures = 0
    for number, example in enumerate(chosen):
        folder = tempfile.mkdtemp(prefix="aml-kills-")
        share = kills * (number + 1) // len(chosen) - kills * number // len(chosen) if long else 6
        try:
            kill_one(Place(amlc, folder), example, share, random.Random(11 + number))
        except Exception as error:
            failures += 1
            print(f"FAIL {example.path.stem}: {error}", flush=True)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

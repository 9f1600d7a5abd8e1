#!/usr/bin/env python3
"""Tokenizers beside the `tokenizers` package, one thread each, in turns: MB of text per second and the ratio.

Usage: tests/bench/tokenizers.py BUILD DATA PEERS     DATA: a folder with data/tokenizers and data/tinyshakespeare; PEERS: a python with tokenizers

Both encode the text line by line, without special tokens; the peer gets all lines at once (encode_batch, TOKENIZERS_PARALLELISM=false)
and also one by one. The best of five rounds counts.
"""
import json
import os
import pathlib
import subprocess
import sys

PEER = """
import sys, time
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.implementations import ByteLevelBPETokenizer
kind, files, text = sys.argv[1], sys.argv[2:-1], open(sys.argv[-1], encoding="utf-8").read()
if kind == "gpt2":
    t = ByteLevelBPETokenizer(*files)._tokenizer
elif kind == "bert":
    t = Tokenizer(models.WordPiece.from_file(files[0], unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
else:
    t = Tokenizer.from_file(files[0])
lines = text.split("\\n")
best = 1e9
for way in range(10):
    start = time.perf_counter()
    if way % 2:
        tokens = sum(len(e.ids) for e in t.encode_batch_fast(lines, add_special_tokens=False))
    else:
        tokens = sum(len(t.encode(line, add_special_tokens=False).ids) for line in lines)
    best = min(best, time.perf_counter() - start)
print(len(text.encode()) / 1e6 / best, tokens)
"""


def main():
    build, data, peer = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]) / "data", sys.argv[3]
    small = pathlib.Path(__file__).resolve().parents[1] / "tokenizers"
    text = data / "tinyshakespeare/input.txt"
    cases = (("gpt2", data / "tokenizers/gpt2/vocab.json", data / "tokenizers/gpt2/merges.txt"), ("bert", data / "tokenizers/bert-base-uncased/vocab.txt"),
             ("json", small / "small_unigram.json"), ("json", small / "small_llama.json"))
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
    for kind, *files in cases:
        ours, theirs = [], []
        for _ in range(3):
            out = subprocess.run([build / "tests/tokenizer_tool", "speed", kind, *files, text], capture_output=True, text=True, check=True).stdout
            ours.append(json.loads(out)["mb_per_s"])
            out = subprocess.run([peer, "-c", PEER, kind, *files, text], capture_output=True, text=True, check=True, env=environment).stdout
            theirs.append(float(out.split()[0]))
        print(f"{kind:5} {pathlib.Path(files[0]).name:20} {max(ours):6.1f} MB/s, tokenizers {max(theirs):5.1f} MB/s, ratio {max(ours) / max(theirs):.1f}")


if __name__ == "__main__":
    main()

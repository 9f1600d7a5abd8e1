#!/usr/bin/env python3
"""Tokenizers give what the `tokenizers` package gives (golden_*.json, written by golden.py), and refuse broken files.

The vocabularies of GPT-2 and BERT are in $AML_DATA; without them those comparisons are left out.
"""
import json
import os
import pathlib
import random
import string
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(sys.argv[1])
TOOL = BUILD / "tests/tokenizer_tool"
DATA = pathlib.Path(os.environ.get("AML_DATA", HERE.parent.parent.parent / "shared")) / "data/tokenizers"


def verdict(name, good, text=""):
    global failures
    failures += not good
    print(f"{'PASS' if good else 'FAIL'} {name}" + ("" if good else "\n" + text[-4000:]), flush=True)


failures = 0


def run(*words):
    done = subprocess.run([str(TOOL), *map(str, words)], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def same(name, kind, *files):
    code, text = run("check", kind, *files, HERE / f"golden_{name}.json")
    verdict(f"as_tokenizers_{name}", code == 0 and "0 differ" in text, text)


for name in ("bpe", "llama", "tiktoken", "clip", "unigram", "unigram_first", "wordpiece", "words"):
    same(name, "json", HERE / f"small_{name}.json")
same("files", "gpt2", HERE / "small_vocab.json", HERE / "small_merges.txt")
same("bert_small", "bert", HERE / "small_vocab.txt")
if (DATA / "gpt2/vocab.json").is_file():
    same("gpt2", "gpt2", DATA / "gpt2/vocab.json", DATA / "gpt2/merges.txt")
    same("bert", "bert", DATA / "bert-base-uncased/vocab.txt")
    same("cased", "cased", DATA / "bert-base-uncased/vocab.txt")

# ---- vocabularies whose numbers do not fit into 16 bits, with tokens in the order of merges and in another one

def by_merges(word, rank):
    """Byte-pair encoding as it is defined: the neighbours that are earliest in the list, the leftmost first, until none is."""
    parts = list(word)
    while True:
        ranks = [rank.get(pair, len(rank)) for pair in zip(parts, parts[1:])]
        if not ranks or min(ranks) == len(rank):
            return parts
        at = ranks.index(min(ranks))
        parts[at:at + 2] = ["".join(parts[at:at + 2])]


def large(folder, shuffled):
    random.seed(7)
    letters = string.ascii_letters
    merges = [(a, b) for a in letters for b in letters]
    random.shuffle(merges)
    merges += [(a + b, c) for a, b in merges for c in letters[:26]]
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]     # the letters that stand for bytes
    base = [chr(b) for b in shown] + [chr(256 + i) for i in range(256 - len(shown))]
    tokens = base + ["".join(pair) for pair in merges]
    if shuffled:
        random.shuffle(tokens)
    number = {token: i for i, token in enumerate(tokens)}
    rank = {pair: i for i, pair in enumerate(merges)}
    words = ["".join(random.choice(letters) for _ in range(random.randrange(1, 80))) for _ in range(300)]
    (folder / "vocab.json").write_text(json.dumps(number))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    (folder / "golden.json").write_text(json.dumps([{"text": word, "ids": [number[part] for part in by_merges(word, rank)], "decoded": word} for word in words]))
    code, text = run("check", "gpt2", folder / "vocab.json", folder / "merges.txt", folder / "golden.json")
    verdict(f"large_{'shuffled' if shuffled else 'in_order'}", len(tokens) > 65536 and code == 0 and "300 texts, 0 differ" in text, text)


with tempfile.TemporaryDirectory() as folder:
    for shuffled in (False, True):
        large(pathlib.Path(folder), shuffled)

# ---- broken files: what is said about each

with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)

    def refused(name, kind, expected, *contents):
        paths = []
        for i, content in enumerate(contents):
            path = folder / f"{name}{i}"
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            paths.append(path)
        code, text = run("why", kind, *paths)
        verdict(f"refused_{name}", code == 0 and expected in text, f"expected {expected!r}\nfound {text!r} (code {code})")

    vocab, merges = (HERE / "small_vocab.json").read_text(), (HERE / "small_merges.txt").read_text()
    refused("no_json", "gpt2", "line 1, column", "{\"a\": 0,", merges)
    refused("no_object", "gpt2", "expected an object from tokens to numbers", "[1, 2]", merges)
    refused("no_number", "gpt2", "the number of the token 'a' is not a whole number", "{\"a\": \"0\"}", merges)
    refused("same_number", "gpt2", "have the same number, 0", "{\"a\": 0, \"b\": 0}", merges)
    refused("same_key", "gpt2", "duplicate object key", "{\"a\": 0, \"a\": 1}", merges)
    refused("negative_number", "gpt2", "has the number -1, expected 0 to", "{\"a\": -1}", merges)
    refused("huge_number", "gpt2", "has the number 999999999999, expected 0 to", "{\"a\": 999999999999}", merges)
    refused("no_bytes", "gpt2", "no token stands for the byte", "{\"a\": 0, \"b\": 1}", "")
    refused("sparse", "gpt2", "no token stands for the byte", "{\"a\": 0, \"b\": 4000}", "")
    refused("unknown_merge", "gpt2", "is not among the tokens", vocab, "#version: 0.2\nQ Z\n")
    refused("same_merge", "gpt2", "is the same as merge 1", vocab, merges + merges.split("\n")[1] + "\n")
    refused("merge_of_three", "gpt2", "line 2: expected two tokens with a space between, found 'a b c'", vocab, "#version: 0.2\na b c\n")
    refused("merges_not_utf8", "gpt2", "is not UTF-8", vocab, b"#version: 0.2\n\xff\xfe a\n")
    refused("empty_vocab", "bert", "is not among the tokens", "")
    refused("same_token", "bert", "the token 'a' is there twice, as number 1 and as number 3", "[UNK]\na\nb\na\n")
    refused("empty_line", "bert", "line 2 is empty", "[UNK]\n\na\n")
    refused("no_unknown", "bert", "'[UNK]', the token for what is unknown, is not among the tokens", "a\nb\nc\n")
    refused("vocab_not_utf8", "bert", "the byte 0xff at offset 6 is not UTF-8", b"[UNK]\n\xff\n")
    refused("long_token", "bert", "bytes, expected at most", "[UNK]\n" + "a" * 5000 + "\n")

    base = json.loads((HERE / "small_wordpiece.json").read_text())

    def changed(name, expected, **parts):
        refused(name, "json", expected, json.dumps({**base, **parts}))

    changed("holes", "the largest number is 4000, and only 2 tokens have one", model={"type": "WordLevel", "vocab": {"a": 0, "b": 4000}, "unk_token": "a"}, added_tokens=[], post_processor=None,
            decoder=None)
    changed("no_model", "expected an object with a \"model\"", model=None)
    changed("foreign_model", "expected BPE, WordPiece, Unigram or WordLevel, found \"Magic\"", model={"type": "Magic"})
    changed("foreign_normalizer", "found \"Magic\"", normalizer={"type": "Magic"})
    changed("foreign_split", "found \"Magic\"", pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "Magic"}]})
    changed("foreign_decoder", "found \"CTC\"", decoder={"type": "CTC"})
    changed("foreign_around", "found \"Magic\"", post_processor={"type": "Magic"})
    changed("bad_pattern", "is not usable", pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated", "invert": False})
    changed("foreign_behaviour", "there is no behavior \"Sideways\"", pre_tokenizer={"type": "Split", "pattern": {"String": "a"}, "behavior": "Sideways"})
    changed("added_differs", "has the number 7, which is", added_tokens=[{"id": 7, "content": "[NEW]", "special": True}])
    changed("around_unknown", "there is no token 99999", post_processor={"type": "BertProcessing", "sep": ["[SEP]", 99999], "cls": ["[CLS]", 2]})
    changed("level_with_wordpiece", "ByteLevel goes with a BPE model only", pre_tokenizer={"type": "ByteLevel"})
    changed("bad_charsmap", "does not fit into it", normalizer={"type": "Precompiled", "precompiled_charsmap": "////AAAA"})
    changed("no_base64", "is not base64", normalizer={"type": "Precompiled", "precompiled_charsmap": "~~~~"})
    changed("unigram_score", "expected a token and its score", model={"type": "Unigram", "vocab": [["a", "b"]]})
    changed("unigram_unknown", "there is no token 9", model={"type": "Unigram", "vocab": [["a", -1.0], ["b", -2.0]], "unk_id": 9})
    changed("many_steps", "it has 20 steps, expected at most 16", normalizer={"type": "Sequence", "normalizers": [{"type": "NFC"}] * 20})
    refused("cut_json", "json", "line ", json.dumps(base)[:2000])
    refused("deep_json", "json", "maximum parsing depth", "[" * 5000)

print("every comparison was made" if not failures else f"{failures} failed")
sys.exit(failures != 0)

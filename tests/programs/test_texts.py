#!/usr/bin/env python3
"""Texts in columns as tokens: the same ids as the `tokenizers` package, padding, what is cut off, counts, deployed programs."""
import json
import pathlib
import sys

import notes
from harness import ROOT, Skip, check, check_equal, check_in, main, needs_aarch64

VOCABULARIES = ROOT / "tests/tokenizers"


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


def program(place, tokenizer, length, source='csv("notes.csv")', code=0):
    place.write("p.aml", notes.program(tokenizer, length, source))
    for name in ("small_vocab.json", "small_merges.txt", "small_vocab.txt", "small_wordpiece.json", "small_unigram.json", "small_words.json"):
        place.write(name, (VOCABULARIES / name).read_text())
    return place.aml("build", "p.aml", "-o", "p", code=code)


def golden(name, most=400):
    items = json.loads((VOCABULARIES / f"golden_{name}.json").read_text())
    return [item for item in items if item["text"].strip() and "\0" not in item["text"] and "\ufeff" not in item["text"] and len(item["text"]) < most and
            "\r" not in item["text"]]


def rows(place):
    """The ids of each row, and its count."""
    out = [line for line in place.run("./p", "data", "rows").out.splitlines() if line[0] in "0123456789"]
    cells = [line.split(",") for line in out]
    return [[int(float(c)) for c in row[:-2]] for row in cells], [int(float(row[-2])) for row in cells]


def ids_are_those_of_another_implementation(place):
    for name, tokenizer, before, after, pad in (("wordpiece", 'tokenizer_json("small_wordpiece.json")', [2], [3], 0),
                                                ("unigram", 'tokenizer_json("small_unigram.json")', [], [1], 0),
                                                ("bert_small", 'wordpiece("small_vocab.txt")', [2], [3], 0),
                                                ("files", 'bpe("small_vocab.json", "small_merges.txt"), pad: "<|pad|>"', [], [], 1)):
        items = golden(name)
        place.write("notes.csv", "text,class\n" + "".join(f"{quoted(item['text'])},{i % 2}\n" for i, item in enumerate(items)))
        program(place, tokenizer, 48)
        found, counts = rows(place)
        check_equal(len(found), len(items), f"rows of {name}")
        for item, ids, count in zip(items, found, counts):
            room = 48 - len(before) - len(after)
            expected = before + item["ids"][:room] + after
            check_equal(count, len(expected), f"count of {item['text']!r}")
            check_equal(ids, expected + [pad] * (48 - len(expected)), f"tokens of {item['text']!r} ({name})")


NOTES = "text,class\n" + "".join(f"word number {'the ' * (i % 7)}of models,{i % 2}\n" for i in range(20))


def what_does_not_fit(place):
    place.write("notes.csv", NOTES)
    program(place, 'wordpiece("small_vocab.txt"), special: false', 40)
    whole, counts = rows(place)
    program(place, 'wordpiece("small_vocab.txt"), special: false, truncate: left', 5)
    ends, _ = rows(place)
    for text, count, end in zip(whole, counts, ends):
        check_equal(end, text[:count][-5:], "the end of a text")
    program(place, 'wordpiece("small_vocab.txt"), special: false, truncate: error', 5)
    check_in("notes.csv:2:1: column \"text\", field 'ids': expected a text of at most 5 tokens, not one of", place.run("./p", "data", "check", code=1).all)


def quotes_may_be_literal(place):
    place.write("notes.tsv", 'text\tclass\nsay "hello\t0\n"quoted" text\t1\na "" b\t0\n5" disk\t1\n')
    program(place, 'bpe("small_vocab.json", "small_merges.txt"), pad: 1', 30, 'tsv("notes.tsv", quotes: no)')
    vocab = json.loads((VOCABULARIES / "small_vocab.json").read_text())
    found, counts = rows(place)
    quote = vocab['"']
    check_equal([ids.count(quote) + ids.count(vocab.get('\u0120"', -1)) for ids in found][3], 1, "quotes of the last row")
    check(found[1][0] == quote, f"the second text begins with {found[1][0]}, not with a quote ({quote})")


def deployed_programs_take_texts(place):
    place.write("notes.csv", NOTES)
    for tokenizer in ('wordpiece("small_vocab.txt")', 'bpe("small_vocab.json", "small_merges.txt"), pad: "<|pad|>"', "bytes(), pad: 0"):
        program(place, tokenizer, 24)
        place.run("./p", "train", "--quiet")
        place.aml("deploy", "p.aml", "small")
        for name in ("small_vocab.txt", "small_vocab.json", "small_merges.txt"):
            (place.folder / name).unlink()
        expected = place.run("./p", "predict", "notes.csv").out
        check_equal(place.run("./small", "predict", "notes.csv").out, expected, "what the deployed program says")
        check(len(expected.splitlines()) == 21, expected)


def deployed_for_aarch64(place):
    """Under qemu, what the program for this machine says."""
    needs_aarch64(place)
    place.write("notes.csv", NOTES)
    for tokenizer, library in (("bytes(), pad: 0", None), ('wordpiece("small_vocab.txt")', "libutf8proc.a")):
        if library and not pathlib.Path("/usr/lib/aarch64-linux-gnu", library).exists():
            raise Skip(f"{library} for aarch64 is not installed")
        program(place, tokenizer, 24)
        place.run("./p", "train", "--quiet")
        place.aml("deploy", "p.aml", "small")
        expected = [line.split(",") for line in place.run("./small", "predict", "notes.csv").out.splitlines()]
        text = (place.folder / "p.aml").read_text()
        place.write("p.aml", text.replace("deploy small {", 'deploy small { target: cpu("aarch64")'))
        place.aml("deploy", "p.aml", "small")
        check_in("AArch64", place.run("readelf", "-h", "small").out)
        found = [line.split(",") for line in place.run("qemu-aarch64", "./small", "predict", "notes.csv").out.splitlines()]
        check_equal(([row[0] for row in found], len(found)), ([row[0] for row in expected], 21), "the classes")
        worst = max(abs(float(a) - float(b)) for x, y in zip(found[1:], expected[1:]) for a, b in zip(x[1:], y[1:]))
        check(worst < 1e-4, f"the worst difference is {worst}")


def mistakes(place):
    place.write("notes.csv", NOTES)
    for tokenizer, length, part in (('tokenizer_json("small_words.json")', 8, "the vocabulary has no [PAD] or <pad>"),
                                    ('wordpiece("small_vocab.txt")', 2, "2 are put around a text"),
                                    ('wordpiece("small_vocab.txt"), pad: "[NONE]"', 8, "a token of the vocabulary"),
                                    ('csv("x")', 8, "wordpiece(...)")):
        check_in(part, program(place, tokenizer, length, code=1).all)
    place.write("p.aml", (place.folder / "p.aml").read_text().replace('token_count("ids")', 'token_count("idz")').replace('csv("x")', "bytes()"))
    check_in("a field of tokens that stands above", place.aml("build", "p.aml", "-o", "p", code=1).all)
    place.write("notes.csv", b"text,class\nfine,0\nbroken \xff,1\n")
    program(place, "bytes()", 8)
    check_in("notes.csv:3:", place.run("./p", "data", "check", code=1).all)


def folders_of_texts(place):
    place.write("notes.csv", NOTES)
    for i in range(24):
        place.write(f"notes/{'good' if i % 2 else 'bad'}/{i}.txt", f"word number {'the ' * (i % 7)}of models\n")
    source = 'texts("notes")'
    place.write("small_vocab.txt", (VOCABULARIES / "small_vocab.txt").read_text())
    place.write("p.aml", notes.program('wordpiece("small_vocab.txt")', 24, source, "contents()", 'part("label")'))
    place.aml("build", "p.aml", "-o", "p")
    check_in("y: 12 12 rows of class", place.run("./p", "data", "check").out)
    place.run("./p", "train", "--quiet")
    found, counts = rows(place)
    check_equal(len(found), 24, "rows")
    check(all(ids[count - 1] == 3 and set(ids[count:]) <= {0} for ids, count in zip(found, counts)), f"{found} {counts}")
    place.write("notes.csv", "".join(f"{line}\n" for line in ("word number of models", "word")))
    check_in("name it with --data", place.aml("deploy", "p.aml", "small", code=1).all)
    place.aml("deploy", "p.aml", "small", "--data", "notes.csv")
    check_equal(len(place.run("./small", "predict", "notes.csv").out.splitlines()), 3, "lines of predictions")
    place.write("notes/good/broken.txt", b"broken \xff here")
    check_in("notes/good/broken.txt: field 'ids': expected a text that has tokens (expected UTF-8 text, found the byte 0xff)", place.run("./p", "data", "check", code=1).all)


if __name__ == "__main__":
    sys.exit(main([folders_of_texts, ids_are_those_of_another_implementation, what_does_not_fit, quotes_may_be_literal, deployed_programs_take_texts, deployed_for_aarch64, mistakes]))

#!/usr/bin/env python3
"""words(...): a vocabulary made of the training rows, and of them alone; texts in lines of JSON."""
import collections
import json
import random
import re
import sys

import notes
from harness import check, check_equal, check_in, main

CLASS = "  field y: class(2) = column(\"class\")\n"


def texts(count=60):
    """A text with a word of its own for each row, quotes, capitals, signs and letters beyond ASCII."""
    chance = random.Random(7)
    words = ["the", "Cat", "cat", "sat", "ON", "mat", "\u00fcber", 'a "quote"', "5%", "don't", "!!"]
    return [f"row{i} " + " ".join(chance.choices(words, k=chance.randrange(2, 9))) for i in range(count)]


def build(place, source='csv("notes.csv")', where='column("text")', settings="size: 1000, least: 1", fields=CLASS,
          split="train: 50%, test: 50%, seed: 3", code=0):
    place.write("p.aml", notes.program(f"words({settings})", 12, source, where, fields=fields, split=split))
    return place.aml("build", "p.aml", "-o", "p", code=code)


def write_csv(place, rows, name="notes.csv"):
    place.write(name, "text,class,owner\n" + "".join('"' + t.replace('"', '""') + f'",{i % 2},{i // 4}\n' for i, t in enumerate(rows)))


def write_json(place, rows):
    place.write("notes.jsonl", "".join(json.dumps({"note": {"text": t}, "class": i % 2, "owner": i // 4}) + "\n" for i, t in enumerate(rows)))


def ids_of(place):
    out = [line for line in place.run("./p", "data", "rows").out.splitlines() if line[0] in "0123456789"]
    return [[int(float(c)) for c in line.split(",")[:12]] for line in out]


def held_out(place):
    """The numbers from 0 of the rows that the program itself keeps for testing."""
    place.run("./p", "train", "--quiet")
    lines = place.run("./p", "predict", "--held-out", 1000).out.splitlines()[1:]
    return {int(line.split(",")[0]) - 1 for line in lines}


def cut(text, lowercase=True):
    return re.findall(r"\w+|[^\w\s]+", text.lower() if lowercase else text)


def expected_vocabulary(rows, held, least=1, size=1000, lowercase=True):
    """Counted here once more: the most frequent first, equals by their bytes, behind padding and unknown."""
    count = collections.Counter(word for i, text in enumerate(rows) if i not in held for word in cut(text, lowercase))
    order = sorted((w for w in count if count[w] >= least), key=lambda w: (-count[w], w.encode()))
    return {word: 2 + i for i, word in enumerate(order[:size - 2])}


def check_ids(place, rows, held, **how):
    vocabulary = expected_vocabulary(rows, held, **how)
    for text, ids in zip(rows, ids_of(place)):
        tokens = [vocabulary.get(word, 1) for word in cut(text, how.get("lowercase", True))][:12]
        check_equal(ids, tokens + [0] * (12 - len(tokens)), f"tokens of {text!r}")
    return vocabulary


def words_are_those_of_the_training_rows(place):
    rows = texts()
    write_csv(place, rows)
    for split in ("train: 50%, test: 50%, seed: 3", "train: 40%, valid: 20%, test: 40%, seed: 5, stratify: y",
                  "train: 60%, test: 40%, group: owner", "train: 60%, test: 40%, by: time"):
        build(place, fields=CLASS + '  field owner: i32 = column("owner")\n', split=split)
        held = held_out(place)
        check(len(held) >= 20, f"{len(held)} rows are held out")
        found = {i for i, ids in enumerate(ids_of(place)) if ids[0] != 1}
        check(not found & held, f"words of held-out rows are in the vocabulary: {sorted(found & held)}")
        if "valid" not in split:
            check_equal(found, set(range(len(rows))) - held, "the rows whose words are known")
            check_ids(place, rows, held)


def settings_choose_the_words(place):
    rows = texts()
    write_csv(place, rows)
    for settings, how in (("size: 9, least: 1", {"size": 9}), ("least: 3", {"least": 3, "size": 20000}),
                          ("size: 50, least: 2, lowercase: false", {"least": 2, "size": 50, "lowercase": False})):
        build(place, settings=settings)
        check_ids(place, rows, held_out(place), **how)


def texts_in_lines_of_json(place):
    rows = texts()
    write_json(place, rows)
    build(place, 'jsonl("notes.jsonl")', 'column("note.text")')
    held = held_out(place)
    from_json = check_ids(place, rows, held)
    write_csv(place, rows)
    build(place)
    check_equal(held_out(place), held, "the held-out rows of the same data as csv")
    check_equal(check_ids(place, rows, held), from_json, "the vocabulary of the same data as csv")
    place.write("notes.jsonl", (place.folder / "notes.jsonl").read_text().replace('"text": "row5 ', '"text": 7, "other": "row5 '))
    told = build(place, 'jsonl("notes.jsonl")', 'column("note.text")', split="train: 100%", code=1).err
    check_in("notes.jsonl:6:19: key \"note.text\", field 'ids': expected a text, found another value", told)


# Several lines lie in one block of the scanner.
def short_lines_of_json(place):
    for width in (0, 3, 9, 40, 70):
        place.write("notes.jsonl", "".join(json.dumps({"text": f"w{i} " + "x" * (width * (i % 3)), "class": i % 2}) + "\n" for i in range(200)))
        build(place, 'jsonl("notes.jsonl")', split="train: 100%")
        first = [ids[0] for ids in ids_of(place)]
        check_equal(len(first), 200, "rows")
        check(len(set(first)) == 200 and 1 not in first, "a line was read twice, or not at all")
        check_in("200 rows", place.run("./p", "data", "check").all)


def texts_in_folders(place):
    rows = texts(40)
    for i, text in enumerate(rows):
        place.write(f"notes/{'ab'[i % 2]}/{i:03}.txt", text)
    build(place, 'texts("notes")', "contents()", fields='  field y: class(2) = part("label")\n', split="train: 50%, test: 50%, stratify: y")
    held = held_out(place)
    order = [rows[i] for i in sorted(range(40), key=lambda i: (i % 2, i))]      # as the folders are read
    check_ids(place, order, held)


FOLDER = """aml 1
use std.nn
use std.optim
use std.data
model Net(vocab: int) {
  tok = Embedding(vocab, 8)
  fc  = Dense(vocab)
  fn forward(x: class(vocab)[b, t]) -> float[b, t, vocab] { return fc(tok(x)) }
}
dataset book {
  source: text("book", tokenizer: TOKENIZER, window: 9)
  field ids: class(vocab)[9] = tokens
  split: { train: 80%, valid: 20% }
  fn prepare(s) { return { x: s.ids[:-1], y: s.ids[1:] } }
}
train net {
  model: Net(book.vocab)
  data: book
  loss: cross_entropy
  optimizer: sgd(lr: 1e-2)
  length: 6 steps
  batch: 4
}
"""


# A folder is the text that its files make one after the other: the same program, the same run.
def a_folder_is_a_text(place):
    parts = {"a/1.txt": "It was the best of times,\n", "a/2.md": "it was the worst of times", "b.txt": "\ufeffit was the age of wisdom \u00e9\n" * 5}
    for name, text in parts.items():
        place.write("book/" + name, text)
    place.write("book/notes.pdf", "none")
    whole = "".join(t.removeprefix("\ufeff") + ("" if t.endswith("\n") else "\n") for t in parts.values())
    weights = {}
    for tokenizer in ("characters()", "bytes()"):
        for where in ("book", "book.txt"):
            text = whole if tokenizer == "characters()" else whole.replace("it was the age", "\ufeffit was the age", 1)
            place.write("book.txt", text)
            place.write(f"{where}.aml", FOLDER.replace('text("book"', f'text("{where}"').replace("TOKENIZER", tokenizer))
            place.aml("build", f"{where}.aml", "-o", "p")
            place.run("./p", "train", "--quiet", "--runs", f"runs-{where}-{tokenizer[:4]}")
            last = sorted((place.folder / f"runs-{where}-{tokenizer[:4]}").glob("net/*/checkpoints/step-*"))[-1]
            weights[where, tokenizer] = (last / "weights.safetensors").read_bytes()
        check(weights["book", tokenizer] == weights["book.txt", tokenizer], f"{tokenizer}: a folder is read otherwise than its text")
    place.write("book/a/3.txt", b"two lines\nca\xe9\n")
    place.write("q.aml", FOLDER.replace("TOKENIZER", "characters()"))
    check_in("book/a/3.txt:2:3: expected UTF-8 text, found the byte 0xe9", place.aml("build", "q.aml", "-o", "q", code=1).err)
    for path in (place.folder / "book").rglob("*.*"):
        path.unlink()
    check_in("expected texts (.txt, .md), found none", place.aml("build", "q.aml", "-o", "q", code=1).err)


def deployed_program_has_the_words(place):
    write_csv(place, texts())
    build(place)
    place.run("./p", "train", "--quiet")
    place.aml("deploy", "p.aml", "small")
    expected = place.run("./p", "predict", "notes.csv").out
    (place.folder / "notes.csv").rename(place.folder / "other.csv")
    check_equal(place.run("./small", "predict", "other.csv").out, expected, "what the deployed program says")


def mistakes(place):
    build(place, code=1)
    check_in("was not found", build(place, code=1).err)
    write_csv(place, texts())
    check_in("no word is there 500 times", build(place, settings="least: 500", code=1).err)
    check_in("'size' should be 3 to 16777216, found 2", build(place, settings="size: 2", code=1).err)
    place.write("notes.csv", b"text,class,owner\n" + b"".join(b"caf\xe9,%d,0\n" % (i % 2) for i in range(6)))
    check_in("found bytes that are not UTF-8", build(place, code=1).err)
    place.write("notes.csv", "text,class,owner\n")
    check_in("the words of 'ids' cannot be counted", build(place, code=1).err)


if __name__ == "__main__":
    sys.exit(main([words_are_those_of_the_training_rows, settings_choose_the_words, texts_in_lines_of_json, short_lines_of_json, texts_in_folders, a_folder_is_a_text,
                   deployed_program_has_the_words, mistakes]))

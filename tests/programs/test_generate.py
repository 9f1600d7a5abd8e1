#!/usr/bin/env python3
"""Programs that write: texts as data, `generate` blocks, their verb and its options."""
import os
import signal
import subprocess
import sys
import time

from harness import ROOT, check, check_equal, check_in, main

# William Shakespeare, sonnet 18.
SONNET = """Shall I compare thee to a summer's day?
Thou art more lovely and more temperate:
Rough winds do shake the darling buds of May,
And summer's lease hath all too short a date;
Sometime too hot the eye of heaven shines,
And often is his gold complexion dimm'd;
And every fair from fair sometime declines,
By chance or nature's changing course untrimm'd;
But thy eternal summer shall not fade,
Nor lose possession of that fair thou ow'st;
Nor shall death brag thou wander'st in his shade,
When in eternal lines to time thou grow'st:
So long as men can breathe or eyes can see,
So long lives this, and this gives life to thee.
"""

PROGRAM = """aml 1
use std.nn
use std.optim
use std.data

option corpus: string = "sonnet.txt"

model Writer(vocab: int) {
  tok  = Embedding(vocab, 24)
  pos  = LearnedPositions(16)
  body = BODY
  head = Dense(vocab)
  fn forward(ids: class(vocab)[b, t]) -> float[b, t, vocab] { return ids |> tok |> pos |> body |> head }
}

dataset sonnet {
  source: text(corpus, tokenizer: TOKENIZER, window: 17)
  field ids: class(vocab)[17] = tokens
  split: { train: 90%, valid: 10% }
  fn prepare(s) { return { x: s.ids[:-1], y: s.ids[1:] } }
}

train writer {
  model:      Writer(sonnet.vocab)
  data:       sonnet
  loss:       cross_entropy
  optimizer:  adamw(lr: 1e-2)
  length:     60 steps
  batch:      8
  metrics:    { perplexity: perplexity() }
  validate:   { every: 30 steps }
  checkpoint: { every: 30 steps, keep: last(2) }
}

generate write { model: writer.last data: sonnet length: 40 temperature: 0.8 }
"""


def build(place, body="repeat(2, TransformerBlock(24, 2, causal: true))", tokenizer="characters()", name="writer", code=0):
    place.write("sonnet.txt", SONNET)
    place.write(f"{name}.aml", PROGRAM.replace("BODY", body).replace("TOKENIZER", tokenizer))
    return place.aml("build", f"{name}.aml", code=code)


def texts(place, *options, name="writer"):
    return place.run(f"./{name}", "write", "--quiet", *options).out


def trains_resumes_and_writes(place):
    built = build(place)
    check("warning" not in built.err, built.err)
    trained = place.run("./writer", "train", "--runs", "whole", "--threads", "2")
    check_in("perplexity", trained.err)
    place.run("./writer", "train", "--runs", "parts", "--steps", "25", "--threads", "1")
    place.run("./writer", "train", "--runs", "parts", "--resume", "--threads", "1")
    written = texts(place, "--runs", "whole", "--prompt", "Shall", "--length", "60", "--seed", "3")
    check(written.startswith("Shall") and written.endswith("\n") and len(written) in (65, 66), repr(written))
    check(set(written) <= set(SONNET), f"letters that the text does not have: {written!r}")
    for more in (["--runs", "parts"], ["--runs", "whole", "--threads", "1"]):
        check_equal(texts(place, *more, "--prompt", "Shall", "--length", "60", "--seed", "3"), written, f"the text of {more}")
    check(texts(place, "--runs", "whole", "--prompt", "Shall", "--length", "60", "--seed", "4") != written, "another seed writes the same")
    often = [texts(place, "--runs", "whole", "--temperature", "0", "--seed", str(seed)) for seed in (1, 2)]
    check_equal(often[0], often[1], "the most likely text")
    check_equal(texts(place, "--runs", "whole", "--top-k", "1", "--length", "40"), often[0], "the text of --top-k 1")
    check_equal(place.run("./writer", "generate", "write", "--runs", "whole", "--quiet", "--temperature", "0").out, often[0], "the text of `generate write`")
    longer = texts(place, "--runs", "whole", "--temperature", "0", "--length", "90")
    check(longer.startswith(often[0].rstrip("\n")), "a longer text begins otherwise")     # the window slides behind the 16th letter


def without_caches_the_same(place):
    """A mask that the compiler sees through, and the same one hidden from it: the same text, token by token."""
    body = "Masked({})"
    masked = """
model Masked(hidden: bool) {
  q = Dense(24)
  k = Dense(24)
  v = Dense(24)
  fn forward(x: float[b, t, d]) -> float[b, t, d] {
    let later = iota([t, t], 1) - iota([t, t], 0)
    let mask = if hidden then select(max(later, 0) == 0, 0.0, -1e30) else select(iota([t, t], 1) > iota([t, t], 0), -1e30, 0.0)
    return x + softmax(q(x) @ transpose(k(x), axes: [0, 2, 1]) + mask) @ v(x)
  }
}
"""
    place.write("sonnet.txt", SONNET)
    for name, hidden in (("seen", "false"), ("hidden", "true")):
        place.write(f"{name}.aml", PROGRAM.replace("BODY", body.format(hidden)).replace("TOKENIZER", "bytes()") + masked)
        built = place.aml("build", f"{name}.aml")
        check_equal("W0550" in built.err, hidden == "true", f"whether {name} is warned of")
        place.run(f"./{name}", "train", "--quiet", "--runs", f"runs_{name}")
    whole = place.run("./hidden", "write", "--length", "60", "--runs", "runs_hidden")
    check_in("every token computes the whole context", whole.err)
    check_equal(place.run("./seen", "write", "--length", "60", "--runs", "runs_seen").out, whole.out, "the text with caches")
    prompts_in_parts(place)


def mixed_caches_the_same(place):
    """With bf16, keys and values are kept in 16 bits: the most likely text is that of the whole context."""
    model = """
model Wrapped(hidden: bool) {
  block = TransformerBlock(24, 2, causal: true)
  fn forward(x: float[b, t, d]) -> float[b, t, d] {
    let y = block(x)
    return if hidden then y + 0.0 * mean(x, axis: 1, keep: true) else y
  }
}
"""
    place.write("sonnet.txt", SONNET)
    for name, hidden in (("kept", "false"), ("whole", "true")):
        program = PROGRAM.replace("BODY", f"Wrapped({hidden})").replace("TOKENIZER", "bytes()")
        place.write(f"{name}.aml", program.replace("batch:      8", "batch: 8 precision: mixed(bf16)") + model)
        built = place.aml("build", f"{name}.aml")
        check_equal("W0550" in built.err, hidden == "true", f"whether {name} is warned of")
        place.run(f"./{name}", "train", "--quiet", "--runs", f"runs_{name}")
    for prompt in ("Shall", "And summer", "So long as men can breathe"):
        written = [place.run(f"./{name}", "write", "--temperature", "0", "--length", "50", "--prompt", prompt, "--runs", f"runs_{name}").out
                   for name in ("kept", "whole")]
        check_equal(*written, f"the text behind {prompt}")


def prompts_in_parts(place):
    """A prompt is read in parts of four tokens: the same text as without caches, whatever is left of the last part; also one of more tokens than the context has."""
    for length in (1, 3, 4, 5, 15, 16, 17, 41):
        found = [place.run(f"./{name}", "write", "--quiet", "--length", "4", "--temperature", "0", "--runs", f"runs_{name}", "--prompt", SONNET[:length]).out
                 for name in ("seen", "hidden")]
        check(found[0].startswith(SONNET[:length]) and len(found[0]) >= length + 5, repr(found[0]))
        check_equal(found[0], found[1], f"the text behind a prompt of {length} tokens")


def recurrent_models_go_on(place):
    """The state of a recurrent layer is its cache: the same text as from the whole context, also when the context was full."""
    more = """
model Recurrent(hidden: bool) {
  inner = LAYER
  fn forward(x: float[b, t, d]) -> float[b, t, 24] {
    let y = inner(x)
    return if hidden then y + 0.0 * mean(x, axis: 1, keep: true) else y
  }
}
"""
    place.write("sonnet.txt", SONNET)
    for layer in ("LSTM(24, layers: 2)", "GRU(24)", "RNN(24)"):
        for name, hidden in (("seen", "false"), ("hidden", "true")):
            place.write(f"{name}.aml", PROGRAM.replace("BODY", f"Recurrent({hidden})").replace("TOKENIZER", "bytes()") + more.replace("LAYER", layer))
            built = place.aml("build", f"{name}.aml")
            check_equal("W0550" in built.err, hidden == "true", f"whether {name} with {layer} is warned of ({built.err})")
            place.run(f"./{name}", "train", "--quiet", "--runs", f"runs_{name}")
        whole = place.run("./hidden", "write", "--length", "70", "--runs", "runs_hidden")
        check_in("every token computes the whole context", whole.err)
        found = place.run("./seen", "write", "--length", "70", "--runs", "runs_seen")
        check_equal(found.out, whole.out, f"the text of {layer} with its state kept")
        check("whole context" not in found.err, found.err)
        prompts_in_parts(place)


def other_models(place):
    build(place, body="TransformerBlock(24, 2)", name="ahead")
    place.run("./ahead", "train", "--quiet", "--steps", "3", "--runs", "ahead_runs")
    done = place.run("./ahead", "write", "--runs", "ahead_runs", code=1)
    check_in("depend on later tokens", done.err)


def mistakes(place):
    build(place)
    place.run("./writer", "train", "--quiet", "--steps", "1")
    for options, code, text in ((["--prompt", "Sch\u00f6n"], 1, "the prompt:1:4: the character '\u00f6', U+00F6"), (["--prompt", ""], 2, "an empty one"),
                                (["--temperature", "-1"], 2, "not negative"), (["--top-k", "0"], 2, "at least 1"), (["--top-p", "0"], 2, "above 0"),
                                (["--top-p", "2"], 2, "above 0"), (["--length", "0"], 2, "at least 1"), (["--length", "5 steps"], 2, "whole number"),
                                (["--seed", "x"], 2, "whole number"), (["--temperatur", "1"], 2, "did you mean --temperature?"), (["sonnet"], 2, "sonnet")):
        check_in(text, place.run("./writer", "write", *options, code=code).err)
    check_in("did you mean write?", place.run("./writer", "wrte", code=2).err)
    check_in("does not belong to train", place.run("./writer", "train", "--prompt", "a", code=2).err)
    place.write("other.txt", SONNET + "\nx\u00e9")
    check_in("other.txt:16:2: the character '\u00e9', U+00E9", place.run("./writer", "train", "--corpus", "other.txt", code=1).err)
    (place.folder / "other.txt").write_bytes(SONNET.encode() + b"\xff")
    check_in("expected UTF-8 text, found the byte 0xff", place.run("./writer", "data", "check", "--corpus", "other.txt", code=1).all)
    place.write("other.txt", "So")
    check_in("at least the 17 tokens", place.run("./writer", "train", "--corpus", "other.txt", code=1).err)
    check_in("was not found", place.run("./writer", "train", "--corpus", "none.txt", code=1).err)


def vocabulary_when_compiling(place):
    build(place)
    for text, why in ((b"", "it is empty"), (b"aaaa", "one and the same character"), (b"ab\nc\xff", "line 2, column 2 is the byte 0xff")):
        (place.folder / "sonnet.txt").write_bytes(text)
        check_in(why, place.aml("check", "writer.aml", code=1).err)
    (place.folder / "sonnet.txt").unlink()
    check_in("its characters are the vocabulary", place.aml("check", "writer.aml", code=1).err)
    place.write("sonnet.txt", "ab" * 40)
    place.write("prompt.aml", PROGRAM.replace("BODY", "Dense(24)").replace("TOKENIZER", "characters()").replace("length: 40", 'prompt: "c"'))
    check_in("E0551", place.aml("check", "prompt.aml", code=1).err)


def ends_cleanly(place):
    build(place)
    place.run("./writer", "train", "--quiet", "--steps", "1")
    head = subprocess.run("./writer write --length 1000000 | head -c 100 | wc -c; echo ${PIPESTATUS[0]}", shell=True, executable="/bin/bash", cwd=place.folder,
                          capture_output=True, timeout=60)
    check_equal(head.stdout.split(), [b"100", b"0"], "bytes and exit code behind `head`")
    process = subprocess.Popen(["./writer", "write", "--length", "100000000"], cwd=place.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first = os.read(process.stdout.fileno(), 10)
    check(len(first) > 0, "nothing is written at once")
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    check_equal(process.returncode, 130, "the exit code after SIGINT")
    check_in("interrupted after", err.decode())
    check(out.endswith(b"\n"), "the last line is not ended")


def the_example_is_checked(place):
    """The example's program with a small corpus in place of its data: as it is, only the loops shorter."""
    place.write("data/tinyshakespeare/input.txt", SONNET * 3)
    place.aml("build", ROOT / "examples/char_gpt/char_gpt.aml", "-o", "char_gpt", "-D", "context=32", "-D", "width=16", "-D", "depth=2",
              env={"AML_DATA": str(place.folder)})
    place.run("./char_gpt", "train", "--length", "4 steps", "--quiet", env={"AML_DATA": str(place.folder)})
    check(place.run("./char_gpt", "write", "--prompt", "So long", "--length", "50").out.startswith("So long"), "it does not write")
    place.aml("deploy", ROOT / "examples/char_gpt/char_gpt.aml", "char_gpt_int8", "-D", "context=32", "-D", "width=16", "-D", "depth=2",
              env={"AML_DATA": str(place.folder)})
    check(place.run("./char_gpt_int8", "write", "--prompt", "So long", "--length", "50").out.startswith("So long"), "the deployed program does not write")


if __name__ == "__main__":
    sys.exit(main([trains_resumes_and_writes, without_caches_the_same, mixed_caches_the_same, recurrent_models_go_on, other_models, mistakes,
                   vocabulary_when_compiling, ends_cleanly, the_example_is_checked]))

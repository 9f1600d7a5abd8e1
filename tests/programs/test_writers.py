#!/usr/bin/env python3
"""Deploy blocks whose entry is a generate block: programs and libraries that write, and nothing beside them."""
import json
import pathlib
import shutil
import subprocess
import sys
import time

from harness import ROOT, Skip, check, check_equal, check_in, main, needs_aarch64, sanitized
from test_generate import PROGRAM, SONNET

DEPLOY = """
deploy small { model: writer.last entry: write MORE }
"""


def train(place, more="", body="repeat(2, TransformerBlock(24, 2, causal: true))", tokenizer="characters()", options=()):
    place.write("sonnet.txt", SONNET)
    place.write("writer.aml", PROGRAM.replace("BODY", body).replace("TOKENIZER", tokenizer) + DEPLOY.replace("MORE", more))
    place.aml("build", "writer.aml")
    place.run("./writer", "train", "--quiet", "--threads", "1", *options)


def deploy(place, more=None, code=0, name="small"):
    if more is not None:
        text = (place.folder / "writer.aml").read_text()
        place.write("writer.aml", text[:text.index("\ndeploy ")] + DEPLOY.replace("MORE", more))
    return place.aml("deploy", "writer.aml", "small", "-o", name, code=code)


def alone(place, name="small"):
    """A folder with the program and nothing else."""
    folder = place.folder / "alone"
    folder.mkdir(exist_ok=True)
    shutil.copy(place.folder / name, folder / name)
    return folder


def writes_the_same_text(place):
    train(place, "target: cpu(\"native\")")
    done = deploy(place)
    check_in("compared with the training program on", done.err)
    check_in("perplexity", done.err)
    folder = alone(place)
    for options in (["--prompt", "Shall", "--length", "60", "--seed", "3"], ["--temperature", "0"], ["--top-k", "3", "--seed", "9"],
                    ["--top-p", "50%", "--length", "5", "--threads", "1"], ["--shared"], []):
        whole = place.run("./writer", "write", "--quiet", *options).out
        for verb in ("write", "generate"):
            check_equal(place.run("./small", verb, "--quiet", *options, cwd=folder).out, whole, f"the text of {options}")
    facts = json.loads(place.run("./small", "info", "--json", cwd=folder).out)
    check_equal([facts["name"], facts["entry"], facts["context"], facts["vocab"]], ["small", "write", 16, len(set(SONNET))], "facts")
    check(len(facts["weights_hash"]) == 64 and facts["cache_bytes"] > 0, str(facts))
    check_in("with caches", place.run("./small", "info", cwd=folder).out)
    times = json.loads(place.run("./small", "bench", "--json", "--seconds", "0.05", "--threads", "2", cwd=folder).out)
    check(times[0]["tokens_per_second"] > 0 and times[0]["threads"] == 2, str(times))
    check_in("tokens/s", place.run("./small", "bench", "--seconds=0.05", "--length", "4", cwd=folder).out)
    again = place.folder / "again"
    deploy(place, name="again")
    check_equal(again.read_bytes(), (place.folder / "small").read_bytes(), "the second program")


def refuses(place):
    train(place)
    deploy(place)
    for arguments, code, text in ((["write", "--prompt", "Sch\u00f6n"], 1, "the character '\u00f6'"), (["write", "--temperature", "-1"], 2, "not negative"),
                                  (["train"], 2, "this program has write, bench, info and help"), (["bench", "--seconds", "0"], 2, "above 0"),
                                  (["bench", "--length", "17"], 2, "at most 16"), (["write", "--seconds", "1"], 2, "--seconds"),
                                  (["write", "--score", "none.safetensors"], 1, "none.safetensors")):
        check_in(text, place.run("./small", *arguments, code=code).err)
    check_in("bench", place.run("./small").out)
    place.run("./writer", "data", "samples", "--output", "s.safetensors", "--samples", "4")
    one, two = (json.loads(place.run(p, "write", "--quiet", "--score", "s.safetensors", "--length", "40").out) for p in ("./writer", "./small"))
    check(one["tokens"] == 40 and abs(one["loss"] - two["loss"]) < 1e-5, f"{one} {two}")
    text = (place.folder / "s.safetensors").read_bytes()
    place.write("s.safetensors", text[:-3])
    check_in("s.safetensors", place.run("./small", "write", "--score", "s.safetensors", code=1).err)
    place.run("./writer", "data", "samples", "--output", "s.safetensors", "--samples", "4")
    text = (place.folder / "s.safetensors").read_bytes()
    place.write("s.safetensors", text[:-4] + b"\x7f\0\0\0")
    check_in("a token is outside of 0..", place.run("./small", "write", "--score", "s.safetensors", code=1).err)
    done = deploy(place, "require: { size: 10 KiB, memory: 1 KiB }", code=1)
    check_in("E0705", done.err)
    check(not (place.folder / "small").exists(), "the program that missed a requirement is there")


def a_model_without_caches(place):
    train(place, body="LSTM(24)", tokenizer="bytes()")
    deploy(place)
    whole = place.run("./writer", "write", "--quiet", "--length", "20").out
    check_equal(place.run("./small", "write", "--quiet", "--length", "20").out, whole, "the text")


def library(place):
    if sanitized(place.amlc):
        raise Skip("a sanitized runtime cannot be linked into other programs")
    train(place)
    deploy(place)
    (place.folder / "lib").mkdir()
    for name in ("small.h", "libsmall.so"):
        shutil.move(place.folder / name, place.folder / "lib" / name)
    source = ROOT / "tests/programs/tokens_user.c"
    tokens = place.run("./writer", "data", "samples", "--output", "s.safetensors", "--samples", "1") and list(range(5, 15))
    place.write("tokens.txt", " ".join(map(str, tokens)))
    answers = []
    for compiler, language in (("cc", "c"), ("c++", "c++")):
        place.run(compiler, "-x", language, "-Wall", "-Werror", "-I", "lib", source, "-o", f"user_{language}", "-L", "lib", "-lsmall", "-Wl,-rpath,$ORIGIN/lib")
        answers.append(place.run("bash", "-c", f"./user_{language} < tokens.txt").out)
    check_equal(answers[0], answers[1], "what C++ is answered")
    check_equal(len(answers[0].splitlines()), len(tokens) + 1, "lines")
    check_in("small ", answers[0])


def weights_beside(place):
    """The same text from a program whose weights lie in a file; a file that is not there, cut, damaged or another's is told."""
    train(place)
    for more in ("", " quantize: int8(weights_only: true)", " quantize: int4(group: 8)"):
        deploy(place, 'target: [cpu("x86-64-v2"), cpu("x86-64-v3")]' + more)
        inside, layers = (place.folder / "small").stat().st_size, json.loads(place.run("./small", "info", "--json").out)["layers"]
        texts = {options: place.run("./small", "write", "--quiet", *options).out for options in ((), ("--seed", "3", "--length", "40"), ("--threads", "1"))}
        done = deploy(place, 'weights: file target: [cpu("x86-64-v2"), cpu("x86-64-v3")]' + more)
        check_in("compared with the training program on", done.err)
        folder = alone(place)
        (folder / "small.weights").unlink(missing_ok=True)
        check_in("cannot open the weights", place.run("./small", "write", cwd=folder, code=1).err)
        shutil.copy(place.folder / "small.weights", folder)
        for options, text in texts.items():
            check_equal(place.run("./small", "write", "--quiet", *options, cwd=folder).out, text, f"the text of {options} with {more}")
            check_equal(place.run("./small", "write", "--quiet", "--shared", *options, cwd=folder).out, text, f"the same where processes share them")
        check_equal(json.loads(place.run("./small", "info", "--json", cwd=folder).out)["layers"], layers, "the report of weights")
        check(sanitized(place.amlc) or (folder / "small").stat().st_size < inside - 10000, f"{inside} bytes with the weights inside")
    times = json.loads(place.run("./small", "bench", "--json", "--seconds", "0.05", cwd=folder).out)
    check(times[0]["tokens_per_second"] > 0, str(times))
    check_in("--weights FILE", place.run("./small", "help", cwd=folder).out)
    file, good = folder / "small.weights", (folder / "small.weights").read_bytes()
    file.rename(folder / "moved")
    for given in (("--weights", "moved"), ("--weights=moved",)):
        check_equal(place.run("./small", "write", "--quiet", *given, cwd=folder).out, texts[()], f"the text with {given}")
    check_in("--weights needs a file", place.run("./small", "write", "--weights", cwd=folder, code=2).err)

    def refused(data, *texts):
        file.write_bytes(data)
        said = place.run("./small", "write", cwd=folder, code=1)
        for text in ("small.weights", *texts):
            check_in(text, said.err)
        check_equal(said.out, "", "what is written with other weights")
    refused(b"", "found 0 bytes")
    refused(good[:100], "found 100 bytes")
    refused(good[:-1], "the file was cut off")
    refused(good + b"\0", "the file was continued")
    refused(good[:-100] + bytes([good[-100] ^ 1]) + good[-99:], "the file is damaged")
    refused((place.folder / "small").read_bytes(), "another kind of file")
    refused(good[:8] + b"\2" + good[9:], "found 2")
    refused(good[:160] + b"other" + good[165:], "expected the weights of small, found those of other")
    refused(good[:88] + b"aarch64" + bytes(65) + good[160:], "laid out for aarch64")
    refused(good[:255] + b"x" + good[256:], "the file is damaged")
    file.unlink()
    file.mkdir()
    check_in("no regular file", place.run("./small", "write", cwd=folder, code=1).err)
    file.rmdir()
    deploy(place, 'weights: file target: [cpu("x86-64-v2"), cpu("x86-64-v3")]')
    refused((place.folder / "small.weights").read_bytes(), "those of another build of small")
    done = deploy(place, "weights: file require: { size: 10 KiB }", code=1)
    check_in("E0705", done.err)
    check(not (place.folder / "small").exists() and not (place.folder / "small.weights").exists(), "what missed a requirement is there")


def mapped_while_it_runs(place, name, *command):
    """The least bytes of a file that a process has mapped, once it has mapped any, and its exit code."""
    process = subprocess.Popen(command, cwd=place.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    least = None
    while process.poll() is None:
        try:
            lines = pathlib.Path(f"/proc/{process.pid}/maps").read_text().splitlines()
        except OSError:
            continue
        parts = [line.split()[0].split("-") for line in lines if line.endswith(f"/{name}")]
        if parts:
            bytes_now = sum(int(end, 16) - int(begin, 16) for begin, end in parts)
            least = bytes_now if least is None else min(least, bytes_now)
        time.sleep(0.002)
    return least, process.returncode


def large_pages_of_a_file(place):
    """Of a file of 16 MiB and more all whole large pages move to memory of the program's own, unless processes are to share it. The text stays."""
    train(place, body="TransformerBlock(24, 2, hidden: 110000, causal: true)", options=("--steps", "1"))
    deploy(place, 'target: cpu("native")')
    text = place.run("./small", "write", "--quiet", "--length", "30").out
    deploy(place, 'weights: file target: cpu("native")')
    size, large = (place.folder / "small.weights").stat().st_size, 2 << 20
    check(size > 20 << 20, f"{size} bytes of weights")
    enabled = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
    kib = next(int(line.split()[1]) for line in pathlib.Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    moves = enabled.exists() and "[never]" not in enabled.read_text() and kib << 10 > 4 * size
    for options, moved in (((), moves), (("--shared",), False)):
        check_equal(place.run("./small", "write", "--quiet", "--length", "30", *options).out, text, f"the text with {options}")
        least, code = mapped_while_it_runs(place, "small.weights", "./small", "bench", "--seconds", "0.3", *options)
        check_equal(code, 0, f"the exit code with {options}")
        check(least < 2 * large if moved else least >= size, f"{least} of {size} bytes stay in the file with {options}")


USER = """
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "small.h"
int main(int argc, char **argv)
{
    int file = open(argv[1], O_RDONLY), code = 0;
    size_t length = (size_t)lseek(file, 0, SEEK_END);
    void *weights = mmap(NULL, length, PROT_READ, MAP_PRIVATE, file, 0);
    float *score = malloc(SMALL_VOCAB * sizeof *score);
    for (int turn = 0; turn < 2 && !code; turn++) {
        void *memory = malloc(small_context_bytes());
        small_context *context;
        code = small_init(memory, small_context_bytes(), weights, length, &context);
        for (int token = 5; token < 15 && !code; token++) {
            code = small_token(context, token, score);
            for (int v = 0; v < SMALL_VOCAB && !code; v++)
                printf("%.5g ", (double)score[v]);
        }
        free(memory);
    }
    printf("%s\\n", code ? small_message(code) : "end");
    free(score);
    return argc == 2 && code ? 3 : 0;
}
"""


def library_with_weights_beside(place):
    if sanitized(place.amlc):
        raise Skip("a sanitized runtime cannot be linked into other programs")
    train(place)
    more = "emit: [static_library, shared_library, object] quantize: int8(weights_only: true) "
    deploy(place, more)
    plain = USER.replace("weights, length, ", "")
    place.write("plain.c", plain)
    place.run("cc", "-std=gnu11", "-I.", "plain.c", "small.o", "-lm", "-o", "plain")
    expected = place.run("./plain", "small.h").out
    check(len(expected.split()) > 100 and expected.endswith("end\n"), expected[:200])
    deploy(place, more + "weights: file")
    place.write("user.c", USER)
    for form in ("libsmall.a", "small.o", "libsmall.so"):
        place.run("cc", "-std=gnu11", "-I.", "user.c", form, "-lm", "-Wl,-rpath,$ORIGIN", "-o", "user")
        check_equal(place.run("./user", "small.weights").out, expected, f"the scores of {form}")
        check_in("not those that the code was made for", place.run("./user", "small.h", code=3).out)


def for_aarch64(place):
    """Executables and libraries for aarch64, under qemu, with the weights inside and beside: the text of the program for this machine."""
    needs_aarch64(place)
    train(place)
    options = ("--quiet", "--length", "60", "--seed", "3", "--threads", "1")
    for more in ("", "quantize: int8(weights_only: true)", "quantize: int4(group: 8)"):
        deploy(place, more)
        text, before = place.run("./small", "write", *options).out, None
        for beside in ("", " weights: file"):
            done = deploy(place, f'target: cpu("aarch64") emit: [executable, shared_library, static_library, object] {more}{beside}')
            check_in("compared with the training program on", done.err)
            for file in ("small", "small.o", "libsmall.so"):
                check_in("AArch64", place.run("readelf", "-h", file).out)
            check_equal(place.run("qemu-aarch64", "./small", "write", *options).out, text, f"the text with {more}{beside}")
            source = place.write("user.c", USER if beside else USER.replace("weights, length, ", ""))
            for form in ("libsmall.a", "small.o"):
                place.run("aarch64-linux-gnu-gcc", "-static", "-std=gnu11", "-I.", source, form, "-lm", "-o", "user")
                scores = place.run("qemu-aarch64", "./user", "small.weights" if beside else "small.h").out
                check(scores.endswith("end\n") and len(scores.split()) > 100 and before in (None, scores), f"{form}: {scores[:200]}")
                before = scores
    check_in("aarch64", place.run("qemu-aarch64", "./small", "info").out)
    file = place.folder / "small.weights"
    file.write_bytes(file.read_bytes()[:-64])
    check_in("the file was cut off", place.run("qemu-aarch64", "./small", "write", code=1).err)


def perplexities(text):
    line = next(l for l in text.splitlines() if "perplexity" in l)
    return float(line.split()[1]), float(line.split()[-1].rstrip(")"))


def weights_alone(place):
    """Each form of the weights: what is stored is smaller, the perplexity nearly the same, threads and levels of processors agree."""
    train(place)
    deploy(place)
    whole, last = json.loads(place.run("./small", "info", "--json").out), {}
    for form, share, worse in (("int8(weights_only: true, group: 8)", 0.45, 1.01), ("int8(weights_only: true)", 0.4, 1.01),
                               ("int8(weights_only: true, group: 32, symmetric: false)", 0.5, 1.01), ("int4()", 0.4, 1.2),
                               ("int4(group: 8, symmetric: false)", 0.45, 1.2), ("bf16_weights()", 0.7, 1.01), ("f16_weights()", 0.7, 1.001)):
        done = deploy(place, f"quantize: {form}")
        after, before = perplexities(done.err)
        check(before / worse < after < before * worse, f"{form}: perplexity {after}, {before} in the training program")
        facts = json.loads(place.run("./small", "info", "--json").out)
        check_equal(2 * facts["cache_bytes"], whole["cache_bytes"], f"bytes of caches with {form}, doubled")
        names = {layer["name"] for layer in facts["layers"]}
        check_equal(names, {f"body.{i}.{part}" for i in range(2) for part in ("att.qkv", "att.proj", "feed.up", "feed.down")} | {"head"}, "layers")
        check(facts["weights_bytes"] < share * whole["weights_bytes"], f"{form}: {facts['weights_bytes']} bytes of {whole['weights_bytes']}")
        stored = [layer for layer in facts["layers"] if "kept" not in layer]
        check(stored and all(layer["weights_db"] > (35 if "4" not in form.split("(")[0] else 14) for layer in stored), f"{form}: {facts['layers']}")
        texts = {place.run("./small", "write", "--quiet", "--seed", "5", "--threads", threads).out for threads in "12"}
        check_equal(len(texts), 1, "texts of one and two threads")
        last[form] = done.err
    check_in("together", last["int4()"])
    for level in ("x86-64-v2", "x86-64-v3"):
        done = deploy(place, f"quantize: int4() target: cpu(\"{level}\")")
        after, before = perplexities(done.err)
        check(before / 1.2 < after < before * 1.2, f"{level}: {after} and {before}")


def compensated(place):
    """Errors that are made up for: the result is nearer than with rounding to the nearest, on a model with a look-up in the same table."""
    place.write("sonnet.txt", SONNET)
    tied = PROGRAM.replace("|> head }", "|> norm |> scores }").replace("  head = Dense(vocab)\n", "  norm = LayerNorm()\n  fn scores(x) = x @ transpose(tok.table)\n")
    place.write("writer.aml", tied.replace("BODY", "repeat(2, TransformerBlock(24, 2, causal: true))").replace("TOKENIZER", "characters()")
                + DEPLOY.replace("MORE", ""))
    place.aml("build", "writer.aml")
    place.run("./writer", "train", "--quiet", "--threads", "1")
    off, db = {}, {}
    for rounding in ("nearest", "compensated"):
        more = ", calibrate: sonnet.train" if rounding == "compensated" else ""
        done = deploy(place, f"quantize: int4(group: 8, rounding: {rounding}{more})")
        after, before = perplexities(done.err)
        off[rounding] = abs(after - before)
        layers = json.loads(place.run("./small", "info", "--json").out)["layers"]
        check("tok.table" in {layer["name"] for layer in layers if "kept" not in layer}, f"the tied table is not stored: {layers}")
        db[rounding] = [layer["result_db"] for layer in layers if "kept" not in layer]
    check(all(value == 0 for value in db["nearest"]) and all(value > 15 for value in db["compensated"]), f"decibels {db}")
    worst = {}
    for rounding in ("nearest", "compensated"):
        more = ", calibrate: sonnet.train" if rounding == "compensated" else ""
        done = deploy(place, f"quantize: int4(group: 8, rounding: {rounding}{more})")
        worst[rounding] = float(done.err.split("worst difference of a score ")[1].split()[0])
    check(worst["compensated"] < 1.2 * worst["nearest"], f"worst differences {worst}")
    done = deploy(place, "quantize: int8(weights_only: true) require: { perplexity_rise: 5% }")
    check_in("perplexity", done.err)
    done = deploy(place, "quantize: int4(group: 48) require: { perplexity_rise: 0.0001% }", code=1)
    check_in("E0705", done.err)


SEPARATE = """
model Separate(d: int) {
  norm = LayerNorm()
  q    = Dense(d, bias: false)
  k    = Dense(d, bias: false)
  v    = Dense(d)
  proj = Dense(d)
  gate = Dense(2 * d)
  up   = Dense(2 * d, bias: false)
  down = Dense(d)
  fn forward(x: float[b, t, d]) -> float[b, t, d] {
    let h = norm(x)
    let y = attention(reshape(q(h), [b, t, 2, d / 2]), reshape(k(h), [b, t, 2, d / 2]), reshape(v(h), [b, t, 2, d / 2]), causal: true)
    let z = x + proj(reshape(y, [b, t, d]))
    return z + down(silu(gate(z)) * up(z))
  }
}
"""


def products_of_the_same_rows(place):
    """Separate matrices for queries, keys and values, and a gated layer, in a repeat and outside: stored side by side, reported one by one."""
    place.write("sonnet.txt", SONNET)
    for body, prefix in (("repeat(2, Separate(24))", "body.{i}."), ("Separate(24)", "body.")):
        text = PROGRAM.replace("BODY", body).replace("TOKENIZER", "characters()").replace("model Writer", SEPARATE + "\nmodel Writer")
        place.write("writer.aml", text + DEPLOY.replace("MORE", ""))
        shutil.rmtree(place.folder / "runs", ignore_errors=True)
        place.aml("build", "writer.aml")
        place.run("./writer", "train", "--quiet", "--threads", "1")
        parts = ("q", "k", "v", "proj", "gate", "up", "down")
        expected = [prefix.format(i=i) + part for part in parts for i in range(2 if "{i}" in prefix else 1)] + ["head"]
        for form, worse in (("int8(weights_only: true)", 1.01), ("int4(group: 8, rounding: compensated, calibrate: sonnet.train)", 1.2), ("f16_weights()", 1.001)):
            done = deploy(place, f"quantize: {form}")
            after, before = perplexities(done.err)
            check(before / worse < after < before * worse, f"{form}: perplexity {after}, {before} in the training program")
            layers = json.loads(place.run("./small", "info", "--json").out)["layers"]
            check_equal(sorted(layer["name"] for layer in layers), sorted(expected), "layers")
            check(not any("kept" in layer for layer in layers), f"{layers}")
            if "compensated" in form:
                check(all(layer["result_db"] > 15 for layer in layers), f"{layers}")
            texts = {place.run("./small", "write", "--quiet", "--seed", "5", "--threads", threads).out for threads in "12"}
            check_equal(len(texts), 1, "texts of one and two threads")


if __name__ == "__main__":
    sys.exit(main([writes_the_same_text, refuses, a_model_without_caches, library, weights_beside, large_pages_of_a_file, library_with_weights_beside,
                   for_aarch64, weights_alone, compensated, products_of_the_same_rows]))

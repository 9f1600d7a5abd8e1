"""Writing one token after the other with weights of 8 and 4 bits, and reading a prompt, one and two threads, against llama.cpp with models of the same sizes."""
import json
import os

from common import HERE, Family, Peer, Runner, bandwidth, call, interleave, printed, seconds, start_peers, summary

ROUNDS = 5
# name: title, source, vocabulary, width, heads, depth, context, deploy blocks
MODELS = {
    "char_gpt": ("char_gpt, 0.8 million weights", "char", 65, 128, 4, 4, 128),
    "gpt2": ("GPT-2 small, 124 million weights", "gpt2", 50257, 768, 12, 12, 512),
}
FORMS = {"int8": "Q8_0", "int4": "Q4_0"}
TOKENS = 64                     # from an empty context


def prepare(folder, name, vocab):
    """The source, its vocabulary and a text of it."""
    text = (HERE / "networks/gpt2.aml").read_text()
    if name == "char_gpt":
        for old, new in (("depth:   int = 12", "depth:   int = 4"), ("width:   int = 768", "width:   int = 128"), ("heads:   int = 12", "heads:   int = 4"),
                         ("context: int = 512", "context: int = 128"), ("vocab:   int = 50257", "vocab:   int = 65")):
            assert old in text
            text = text.replace(old, new)
    (folder / "net.aml").write_text(text)
    words = [f"w{i}" for i in range(vocab)]
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None, "decoder": None, "model": {"type": "WordLevel", "vocab": {w: i for i, w in enumerate(words)}, "unk_token": "w0"}}))
    (folder / "corpus.txt").write_text(" ".join(words[i * 7919 % vocab] for i in range(2000)))


class Writer(Runner):
    """A deployed program: the mean time of a token."""

    name = "aml"

    def __init__(self, program, threads):
        self.program, self.threads = program, threads

    def step(self):
        found = json.loads(call(self.program, "bench", "--json", "--seconds", "0.6", "--length", TOKENS, "--threads", self.threads, "--quiet"))
        return 1 / found[0]["tokens_per_second"]


class Reader(Writer):
    """The same program: the time of a token of a prompt that fills the context."""

    def step(self):
        found = json.loads(call(self.program, "bench", "--json", "--seconds", "0.5", "--threads", self.threads, "--quiet"))
        return 1 / found[0]["prompt_tokens_per_second"]


class Memory(Runner):
    """The time in which memory gives the weights once, at the rate of about a third of a second: the same mean as that of the tokens."""

    name = "memory"

    def __init__(self, folder, weights_bytes, threads):
        self.folder, self.gigabytes, self.threads, self.best = folder, weights_bytes * 1e-9, threads, 0

    def step(self):
        best, every = bandwidth(self.folder, self.threads)
        self.best = max(best, self.best)
        return self.gigabytes / every


def measure(bench, name):
    title, _, vocab, width, heads, depth, context = MODELS[name]
    folder, result = bench.folder, {"title": title, "forms": {}}
    prepare(folder, name, vocab)
    call(bench.amlc, "build", "net.aml", "-o", "train", cwd=folder)
    call(folder / "train", "train", "--quiet", "--steps", "0", cwd=folder)
    for form, kind in FORMS.items():
        taken = seconds(bench.amlc, "deploy", "net.aml", f"{form}_small", "-o", form, cwd=folder)
        facts = json.loads(call(folder / form, "info", "--json"))
        for threads in sorted({1, min(2, len(os.sched_getaffinity(0)))}):
            command = [*bench.python, HERE / "decode_peer.py", folder / f"{form}.gguf", vocab, width, heads, depth, context, kind, threads, TOKENS]
            peers = start_peers(bench, {"llama.cpp": lambda: Peer("llama.cpp", command, TOKENS, folder / "log", unit=TOKENS)})
            reading = start_peers(bench, {"llama.cpp": lambda: Peer("llama.cpp", [*command[:-1], context, "prompt"], context, folder / "log", unit=context)})
            memory = Memory(folder, facts["weights_bytes"], threads)
            figures = summary(interleave([Writer(folder / form, threads), memory, *peers], bench.rounds or ROUNDS), 1e3)
            share = figures.pop("memory")["ratio"]
            prompt = summary(interleave([Reader(folder / form, threads), *reading], bench.rounds or ROUNDS), 1e3)
            rate = facts["weights_bytes"] / (figures["aml"]["median"] * 1e-3) * 1e-9
            print(f"  {form}, {threads} thread{'s' if threads > 1 else ''}: {printed(figures, 'ms')}  {1e3 / figures['aml']['median']:.0f} tokens/s, "
                  f"{rate:.1f} GB/s: {100 * share:.0f}% of {rate / share:.1f} GB/s, the best was {memory.best:.1f}; deployed in {taken:.0f} s\n    a prompt of {context} tokens: {printed(prompt, 'ms a token')}", flush=True)
            result["forms"][f"{form} {threads}"] = {"figures": figures, "prompt": prompt, "prompt_tokens": context, "share": share, "bandwidth": rate / share, "best_bandwidth": memory.best, "deploy_seconds": taken,
                                                    "weights_bytes": facts["weights_bytes"]}
    return result


def lines(results):
    text = ["Batch 1, tokens 1 to 64 of an empty context, groups of 32 weights. Share: bytes of weights a second of what `bandwidth.c` reads in the same "
            "run, in turns, means on both sides; in brackets of its best pass (a model that fits into the caches is not bound by it).", "",
            "| model | weights | threads | AML ms | tokens/s | share of bandwidth | llama.cpp ms | ratio |", "|---|---|---|---|---|---|---|---|"]
    for result in results.values():
        for key, found in result["forms"].items():
            form, threads = key.split()
            own, peer = found["figures"]["aml"]["median"], found["figures"].get("llama.cpp")
            best = found["share"] * found["bandwidth"] / found.get("best_bandwidth", found["bandwidth"])
            text.append(f"| {result['title']} | {form} | {threads} | {own:.3g} | {1e3 / own:.0f} | {100 * found['share']:.0f}% ({100 * best:.0f}%) | "
                        + (f"{peer['median']:.3g} | {peer['ratio']:.2f} |" if peer else "- | - |"))
    text += ["", "A prompt that fills the context, in parts of 64 tokens (32 of char_gpt) against one batch.", "",
             "| model | weights | threads | tokens | AML tokens/s | llama.cpp tokens/s | ratio |", "|---|---|---|---|---|---|---|"]
    for result in results.values():
        for key, found in result["forms"].items():
            form, threads = key.split()
            if "prompt" in found:
                own, peer = found["prompt"]["aml"]["median"], found["prompt"].get("llama.cpp")
                text.append(f"| {result['title']} | {form} | {threads} | {found['prompt_tokens']} | {1e3 / own:.0f} | "
                            + (f"{1e3 / peer['median']:.0f} | {peer['ratio']:.2f} |" if peer else "- | - |"))
    return text


FAMILY = Family("decode", "Writing with stored weights", {name: lambda bench, name=name: measure(bench, name) for name in MODELS}, lines)

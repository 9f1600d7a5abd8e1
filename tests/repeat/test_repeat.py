#!/usr/bin/env python3
"""repeat(n, part) is one loop and means the same as the part written out n times: weights, gradients, states, optimizers,
checkpoints and deployment. Compilation does not grow with n. Usage: test_repeat.py AMLC
"""
import json
import pathlib
import re
import resource
import shutil
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "programs"))
from harness import DIGITS, check, check_equal, check_in, main  # noqa: E402

LOOP, WRITTEN = "repeat({n}, {part})", "sequence([{part} for i in 0..{n}])"

PROGRAM = """aml 1
use std.nn
use std.optim
use std.data

// The same numbers in each turn, so that a loop and what is written out begin alike.
fn wave(k) = fn(shape) = 0.2 * sin(float(reshape(iota([count_of(shape)], 0), shape)) * 0.7 + k)
fn count_of(shape) = fold(fn(a, b) = a * b, 1, shape)

{block}
model Net {{
  first = Dense(24, input: 64, init: wave(0.1))
  body  = {body}
  last  = Dense(10, init: wave(0.2))
  fn forward(x: float[n, 64]) -> float[n, 10] {{ return last({use}) }}
}}

dataset digits {{
  source: csv("digits.csv")
  field x: f32[64]   = columns(0..63)
  field y: class(10) = column("class")
  split: {{ train: 80%, valid: 10%, test: 10%, stratify: y }}
  fn prepare(s) {{ return {{ x: s.x / 16, y: s.y }} }}
}}

train net {{
  model:      Net()
  data:       digits
  loss:       cross_entropy
  optimizer:  {optimizer}
  length:     6 steps
  batch:      32
  metrics:    {{ accuracy: accuracy() }}
  validate:   {{ every: 3 steps }}
  checkpoint: {{ every: 3 steps }}
  {more}
}}

evaluate held_out {{
  model:   net.last
  data:    digits.test
  metrics: {{ accuracy: accuracy() }}
}}

deploy net_f32 {{
  model: net.last
  batch: [1, 4]
  emit:  [executable]
}}
"""

BLOCK = """model Block(d: int) {{
  norm = {norm}(d)
  up   = Dense(2 * d, activation: relu, init: wave(0.3))
  down = Dense(d, init: wave(0.4))
  fn forward(x: float[n, d]) -> float[n, d] {{ return x + down(up(norm(x))) }}
}}
"""

NESTED = """model Inner(d: int) {{
  turn = Dense(d, activation: tanh, init: wave(0.4))
  fn forward(x: float[n, d]) -> float[n, d] {{ return x + 0.5 * turn(x) }}
}}
model Block(d: int) {{
  norm = BatchNorm(d)
  body = {inner}
  fn forward(x: float[n, d]) -> float[n, d] {{ return norm(body(x)) }}
}}
"""


def program(form, turns=4, norm="LayerNorm", optimizer="adamw(lr: 1e-2, decay: 0.1)", use="body(first(x))", nested=False, more=""):
    block = NESTED.format(inner=form.format(n=3, part="Inner(d)")) if nested else BLOCK.format(norm=norm)
    return PROGRAM.format(block=block, body=form.format(n=turns, part="Block(24)"), optimizer=optimizer, use=use, more=more)


def tensors(path):
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    codes, found = {"F32": "f", "F64": "d", "I64": "q", "I32": "i"}, {}
    for name, entry in json.loads(raw[8:8 + length]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            code = codes[entry["dtype"]]
            values = struct.unpack(f"<{(end - begin) // struct.calcsize(code)}{code}", raw[8 + length + begin:8 + length + end])
            found[name] = (entry["shape"], values)
    return found


def trained(place, name, text, *options):
    """Everything that the last checkpoint holds."""
    folder = place.folder / name
    folder.mkdir()
    shutil.copy(DIGITS / "data" / "digits.csv", folder)
    (folder / "net.aml").write_text(text)
    place.aml("build", "net.aml", cwd=folder)
    place.run(folder / "net", "train", "--quiet", *options, cwd=folder)
    last = sorted(folder.glob("runs/net/*/checkpoints/step-*"))[-1]
    return {**tensors(last / "weights.safetensors"), **tensors(last / "optimizer.safetensors")}


def compare(place, what, tolerance, **settings):
    loop = trained(place, "loop", program(LOOP, **settings))
    written = trained(place, "written", program(WRITTEN, **settings))
    check_equal(sorted(loop), sorted(written), f"{what}: the names of the tensors")
    worst, at = 0.0, ""
    for name, (shape, values) in written.items():
        check_equal(loop[name][0], shape, f"{what}: the shape of {name}")
        size = max([1e-3] + [abs(v) for v in values])  # what should be 0 is only rounding
        off = max(abs(a - b) for a, b in zip(loop[name][1], values)) / size
        if off > worst:
            worst, at = off, name
    print(f"  {what}: {len(loop)} tensors, worst relative difference {worst:.2g} {at}")
    check(worst <= tolerance, f"{what}: {at} differs by {worst}")


def case(name, tolerance=2e-5, **settings):
    def run(place):
        compare(place, name, tolerance, **settings)
    run.__name__ = name
    return run


SAME = [
    case("same_bits", tolerance=0),
    case("lengths_of_one_layer", optimizer="lamb(lr: 1e-3, decay: 0.1)", tolerance=2e-3, more="clip: adaptive(0.1)"),
    case("states_of_a_model", norm="BatchNorm", optimizer="sgd(lr: 1e-2, momentum: 0.9)", more="ema: 0.9"),
    case("repeat_in_a_repeat", nested=True, optimizer="sgd(lr: 1e-2)", more="clip: norm(1.0)\n  penalty: l2(1e-2)"),
    case("used_twice", norm="BatchNorm", use="body(body(first(x)))", optimizer="sgd(lr: 1e-2)"),
    case("one_turn", norm="BatchNorm", use="body(body[1](body[-1](first(x))))", optimizer="sgd(lr: 1e-2)"),
    case("turn_by_turn", use="fold(fn(y, block) = block(y), first(x), list(body))", optimizer="sgd(lr: 1e-2)"),
    case("inside_scan", norm="BatchNorm", optimizer="sgd(lr: 1e-3)",
         use="scan(fn(c, y) = (0.5 * body(c) + y, c), first(x), stack([first(x), 0.5 * first(x)]))[0]"),
]


def attention_is_kept(place):
    """The gradient of a loop keeps what attention computed; it does not compute it again."""
    old = "return x + down(up(norm(x)))"
    new = "let q = reshape(norm(x), [1, n, 2, d / 2])\n    return x + reshape(attention(q, q, q), [n, d]) + down(up(x))"
    loop, written = program(LOOP).replace(old, new), program(WRITTEN).replace(old, new)
    check_equal(trained(place, "loop", loop), trained(place, "written", written), "the weights")
    place.write("net.aml", loop)
    functions = place.aml("build", "net.aml", "--emit=ir:cse").out.split("\nfunction ")
    step = [text for text in functions if " = attend_back " in text]
    check_equal([text.count(" = attend ") for text in step], [1], "attentions in the training step")


def pieces_are_kept(place):
    """Queries, keys and values that lie in each head's piece of their product are cut out of it once, in the forward part: the gradient is given
    the pieces. Those that lie beside each other for all heads are read where they are, in both parts."""
    old, member = "return x + down(up(norm(x)))", "  up   = Dense(2 * d"
    for shape, axis, slices, copied in (("[1, n, 2, 3, d / 2]", 3, 3, 3), ("[1, n, 3, 2, d / 2]", 2, 6, 0)):
        new = (f"let (q, k, v) = qkv(norm(x)) |> reshape({shape}) |> unstack(axis: {axis})\n"
               "    return x + reshape(attention(q, k, v), [n, d]) + down(up(x))")
        loop, written = [program(form).replace(old, new).replace(member, "  qkv  = Dense(3 * d, init: wave(0.5))\n" + member) for form in (LOOP, WRITTEN)]
        check_equal(trained(place, f"loop{axis}", loop), trained(place, f"written{axis}", written), "the weights")
        place.write("net.aml", loop)
        # In a body of a nest, which is one level further in than the turn's instructions, a slice is copied.
        for stage, pattern, expected in (("cse", " = slice ", slices), ("fuse", r"\n      %\d+ = slice ", copied)):
            functions = place.aml("build", "net.aml", f"--emit=ir:{stage}").out.split("\nfunction ")
            step = [text for text in functions if " = attend_back " in text]
            found = [len(re.findall(pattern, text)) for text in step]
            check_equal(found, [expected], f"slices in the training step after {stage}, {shape}")


def changed_type_is_written_out(place):
    """A part that gives another type, and a single turn, have names of their own too."""
    text = program(LOOP).replace("repeat(4, Block(24))", "repeat(3, Dense(16, activation: relu))")
    found = trained(place, "net", text)
    shapes = [found[f"body.{i}.weight"][0] for i in range(3)]
    check_equal(shapes, [[24, 16], [16, 16], [16, 16]], "the shapes of the three")
    check_equal(found["body.1.weight.m"][0], [16, 16], "the shape of a moment")
    frozen = trained(place, "frozen", text.replace("= repeat(3, Dense(16, activation: relu))", "= freeze(repeat(3, Dense(16, activation: relu)))"))
    check_equal(sorted(set(found) - set(frozen)), [f"body.{i}.{w}.{m}" for i in range(3) for w in ("bias", "weight") for m in "mv"], "what freezing leaves out")


def checkpoints_are_the_same_files(place):
    """What was trained written out is evaluated and resumed as a loop: files do not show which it was."""
    written = program(WRITTEN)
    trained(place, "net", written)
    folder = place.folder / "net"
    before = json.loads(place.run(folder / "net", "evaluate", "--json", cwd=folder).out)
    (folder / "net.aml").write_text(program(LOOP))
    place.aml("build", "net.aml", cwd=folder)
    after = json.loads(place.run(folder / "net", "evaluate", "--json", cwd=folder).out)
    check_equal(after, before, "the evaluation")


def resumed_is_the_same(place):
    whole = trained(place, "whole", program(LOOP, norm="BatchNorm"))
    trained(place, "cut", program(LOOP, norm="BatchNorm"))
    folder = place.folder / "cut"
    shutil.rmtree(sorted(folder.glob("runs/net/*/checkpoints/step-*"))[-1])
    place.run(folder / "net", "train", "--quiet", "--resume", cwd=folder)
    last = sorted(folder.glob("runs/net/*/checkpoints/step-*"))[-1]
    check_equal(last.name, "step-000006", "the last checkpoint")
    again = {**tensors(last / "weights.safetensors"), **tensors(last / "optimizer.safetensors")}
    check(again == whole, "a resumed training ends in other numbers")


def deployed_is_the_same(place):
    trained(place, "net", program(LOOP, nested=True))
    done = place.aml("deploy", "net.aml", "net_f32", cwd=place.folder / "net")
    check_in("worst difference 0", done.all)


def turns_draw_their_own_numbers(place):
    text = program(LOOP).split("train net")[0] + """model Drop {
  fn forward(x: float[...]) { return dropout(x, 50%) }
}
model Random { body = repeat(3, Dense(8, input: 8)) fn forward(x: float[n, 8]) -> float[n, 8] { return body(x) } }
model Both {
  drop = repeat(4, Drop())
  net  = Random()
  fn forward(x: float[n, 64]) -> float[n, 8] { return net(drop(x)[:, :8]) }
}
train net {
  models:     { net: Both() }
  optimizers: { net: sgd() }
  data:       digits
  length:     3 steps
  batch:      64
  fn step(batch) {
    let left = net.drop(like(batch.x, 1.0))
    let (cost, slopes) = value_and_grad(fn(m) = mean(square(m(batch.x))), net)
    net <- optimizers.net.update(net, slopes)
    return { loss: cost, left: mean(float(left != 0)) }
  }
}
"""
    found = trained(place, "net", text)
    weights = [found[f"net.net.body.{i}.weight"][1] for i in range(3)]
    check(len(set(weights)) == 3, "turns begin with the same weights")
    lines = [json.loads(line) for path in place.folder.glob("net/runs/*/*/metrics.jsonl") for line in path.read_text().splitlines()]
    left = [line["left"] for line in lines if "left" in line]
    check(left and all(0.02 < share < 0.12 for share in left), f"of ones, {left} are left after four dropouts; expected 1/16")


def nothing_grows_with_depth(place):
    shutil.copy(DIGITS / "data" / "digits.csv", place.folder)
    lines, sizes, seconds = {}, {}, {}
    for turns in (4, 48):
        place.write("net.aml", program(LOOP, turns=turns))
        lines[turns] = len(place.aml("build", "net.aml", "--emit=ir").out.splitlines())
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        place.aml("build", "--no-cache", "net.aml", "-o", f"net{turns}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds[turns] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        sizes[turns] = (place.folder / f"net{turns}").stat().st_size
    print(f"  4 and 48 turns: {lines} lines of IR, {sizes} bytes, {seconds} s of processor time")
    check_equal(lines[48], lines[4], "the number of lines of 48 turns")
    check(sizes[48] < 1.1 * sizes[4], f"sizes {sizes}")
    check(seconds[48] < 1.5 * seconds[4] + 0.2, f"times {seconds}")


if __name__ == "__main__":
    main(SAME + [attention_is_kept, pieces_are_kept, changed_type_is_written_out, checkpoints_are_the_same_files, resumed_is_the_same, deployed_is_the_same,
                 turns_draw_their_own_numbers, nothing_grows_with_depth])

#!/usr/bin/env python3
"""Settings of a training in real programs: averages, wrappers, plateau, parts of a batch, precision, weights from a file."""
import json
import random
import struct
import sys

from harness import check, check_equal, check_in, checkpoints, main

PROGRAM = """aml 1
use std.nn
use std.optim
use std.data
use std.metrics

model Net {
  up   = Dense(24, activation: relu)
  norm = BatchNorm()
  body = repeat(2, Dense(24, input: 24, activation: relu))
  drop = Dropout(10%)
  head = Dense(3)
  fn forward(x: float[n, 4]) -> float[n, 3] { return x |> up |> norm |> body |> drop |> head }
}

dataset points {
  source: csv("points.csv")
  field x: f32[4]   = columns(0..3)
  field y: class(3) = column("class")
  split: { train: 80%, valid: 20%, seed: 3 }
}

train net {
  model:     MODEL
  data:      points
  loss:      cross_entropy
  optimizer: OPTIMIZER
  length:    LENGTH
  batch:     32
  metrics:   { accuracy: accuracy() }
  seed:      5
MORE}

evaluate report {
  model:   net.last
  data:    points.valid
  metrics: { accuracy: accuracy() }
}

deploy net_f32 {
  model: net.last
}
"""


def program(place, name="net", model="Net()", optimizer="adamw(lr: 5e-3)", length="6 epochs", more=(), loss="cross_entropy", plain=False):
    chance = random.Random(4)
    lines = ["a,b,c,d,class"]
    for i in range(400):
        kind = i % 3
        lines.append(",".join(f"{chance.gauss(1.5 * (k == kind), 1):.4f}" for k in range(4)) + f",{kind}")
    place.write("points.csv", "\n".join(lines) + "\n")
    text = PROGRAM.replace("MODEL", model).replace("OPTIMIZER", optimizer).replace("LENGTH", length).replace("loss:      cross_entropy", f"loss:      {loss}")
    if plain:
        text = text.replace(" |> norm", "").replace(" |> drop", "").replace("  norm = BatchNorm()\n", "").replace("  drop = Dropout(10%)\n", "")
    place.write(name + ".aml", text.replace("MORE", "".join(f"  {line}\n" for line in more)))
    place.aml("build", name + ".aml", "-o", name)
    return place.folder / name


def tensors(path):
    """A safetensors file of f32 and i64: name to (shape, values)."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    found = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + at for at in entry["data_offsets"])
        form = {"F32": "f", "F64": "d", "I64": "q"}[entry["dtype"]]
        found[name] = (entry["shape"], list(struct.unpack(f"<{(end - begin) // struct.calcsize(form)}{form}", data[begin:end])))
    return found


def write_tensors(path, named):
    header, data = {}, b""
    for name, (shape, values) in named.items():
        block = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(block)]}
        data += block
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def last_files(folder):
    last = checkpoints(folder, "net")[-1]
    return {name: (last / name).read_bytes() for name in ("weights.safetensors", "optimizer.safetensors")}


EVERYTHING = {
    "optimizer": 'groups([("*.bias", noisy(sgd(lr: 1e-2), strength: 1e-6)), ("norm", lookahead(sgd(lr: 1e-2), every: 3))], '
                 "otherwise: lookahead(adamw(lr: warmup(plateau(5e-3, patience: 0, on: accuracy), over: 4 steps), decay: 0.1)))",
    "more": ("ema:        0.9", "accumulate: 2", "clip:       adaptive(0.1)", "penalty:    l1(1e-5)", "precision:  mixed(bf16)",
             "validate:   { every: 4 steps }"),
}


def interrupted_run_ends_in_the_same_bytes(place):
    net = program(place, **EVERYTHING)
    whole, halves = place.folder / "whole", place.folder / "halves"
    whole.mkdir(), halves.mkdir()
    place.run(net, "train", "--quiet", cwd=whole)
    place.run(net, "train", "--quiet", "--steps", 23, cwd=halves)
    place.run(net, "train", "--quiet", "--resume", "--threads", 1, cwd=halves)
    check(last_files(whole) == last_files(halves), "the interrupted run ends in other bytes")


def averages_are_what_is_measured_and_deployed(place):
    net = program(place, more=("ema: 0.95",))
    done = place.run(net, "train", "--json")
    files = checkpoints(place.folder, "net")[-1]
    weights, rest = tensors(files / "weights.safetensors"), tensors(files / "optimizer.safetensors")
    check_equal(sorted(n + ".raw" for n in weights), sorted(n for n in rest if n.endswith(".raw")), "the weights that have an average")
    check(weights["head.weight"] != rest["head.weight.raw"], "the average is the weight")
    validated = json.loads(done.out.splitlines()[-1])["validation"]["accuracy"]
    check_in(f"{validated:.4f}"[:6], place.run(net, "evaluate").out)
    place.aml("deploy", "net.aml", "net_f32")      # compares what it makes with the program's own predictions


def parts_of_a_batch_need_less_memory(place):
    def step_memory(more):
        text = place.run(program(place, more=more), "plan").out
        return int(next(line for line in text.splitlines() if line.startswith("    step")).split()[1])
    whole, parts = step_memory(()), step_memory(("accumulate: 8",))
    check(parts < 0.75 * whole, f"the step needs {parts} bytes in parts, {whole} as a whole")


def precisions_agree(place):
    losses = {}
    for precision in ("f32", "f64", "mixed(bf16)"):
        net = program(place, more=(f"precision: {precision}",))
        losses[precision] = json.loads(place.run(net, "train", "--json").out.splitlines()[-1])["validation"]["loss"]
    check(abs(losses["f64"] - losses["f32"]) < 1e-3, f"{losses}")
    check(0 < abs(losses["mixed(bf16)"] - losses["f32"]) < 0.03, f"{losses}")


# Where `native` has an instruction for rounding to bf16, and no other ones for products, it ends in a stated level's bytes.
def rounding_is_the_same_with_an_instruction(place):
    more = ("precision: mixed(bf16)",)
    source = (program(place, more=more), place.folder / "net.aml")[1]
    code = place.aml("build", source, "--emit=asm").out
    if "vcvtneps2bf16" not in code or "vdpbf16ps" in code or "tdpbf16ps" in code:
        print("skipped: this processor has no such instruction, or multiplies bf16 with it")
        return
    check("vcvtneps2bf16" not in place.aml("build", source, "--emit=asm", "--target=x86-64-v4").out, "a stated level has the instruction")
    ends = []
    for target in ("native", "x86-64-v4"):
        place.aml("build", source, "-o", "net", f"--target={target}")
        ends.append(files_of(place, place.folder / "net")[0])
    check(ends[0] == ends[1], "the instruction rounds differently")


# What a batch norm reads, forwards and backwards, is stored in 16 bits where products take 16 bits.
def norms_read_what_is_stored_short(place):
    net = """aml 1
use std.nn
use std.optim
use std.data

model Net {
  one = Conv2d(8, kernel: 3, bias: false)
  two = Conv2d(8, kernel: 3, bias: false)
  norm = BatchNorm()
  even = BatchNorm()
  head = Dense(2)
  fn forward(x: float[n, 3, 8, 8]) -> float[n, 2] { return x |> one |> norm |> relu |> two |> even |> relu |> flatten |> head }
}
dataset images {
  source: synthetic(64, fn(i) = { x: random.uniform([3, 8, 8]), y: i64(2.0 * random.uniform([])) })
  field x: f32[3, 8, 8]
  field y: class(2)
  split: { train: 100% }
  fn prepare(s) { return { x: s.x, y: s.y } }
}
train net { model: Net()  data: images  loss: cross_entropy  optimizer: sgd(lr: 1e-2)  length: 1 steps  batch: 16  precision: PRECISION }
"""
    def stored(precision):
        place.write("norms.aml", net.replace("PRECISION", precision))
        text = place.aml("build", "norms.aml", "--emit=ir:fuse").out
        step = text[text.index("function @net_step"):]
        lines = step[:step.index("\n}")].splitlines()
        bodies = [i for i, line in enumerate(lines) if " = conv" in line and "conv_weight" not in line]
        ends = [next(line for line in lines[i:] if line.startswith("  }")) for i in bodies]
        return sorted(end.split()[2].split("[")[0] for end in ends)
    check_equal(stored("mixed(bf16)"), ["bf16"] * 3, "what convolutions between norms store")
    check_equal(stored("mixed(f16)"), ["f16"] * 3, "what convolutions between norms store")
    check_equal(stored("f32"), ["f32"] * 3, "what convolutions between norms store")


def files_of(place, net, *arguments):
    folder = place.folder / ("run" + str(len(list(place.folder.glob("run*")))))
    folder.mkdir()
    place.run(net, "train", "--quiet", *arguments, cwd=folder)
    return last_files(folder), checkpoints(folder, "net")[-1]


# Operands of f16 end at 6e-8 and 65504. A loss of 1e-6 has gradients below that, and a scale of 2^24 takes those of an
# ordinary one beyond it.
def f16_scales_its_loss(place):
    small = {"optimizer": "sgd(lr: 3e4)", "loss": "fn(s, y) = 1e-6 * cross_entropy(s, y)"}
    moved = {}
    for precision in ("f32", "mixed(f16)", "mixed(f16, start: 1.0)"):
        net = program(place, more=(f"precision: {precision}",), **small)
        _, first = files_of(place, net, "--steps", 0)
        _, last = files_of(place, net)
        before, after = (tensors(at / "weights.safetensors")["up.weight"][1] for at in (first, last))
        moved[precision] = max(abs(a - b) for a, b in zip(before, after))
    check(moved["mixed(f16)"] > 0.5 * moved["f32"], f"gradients were lost: {moved}")
    check(moved["mixed(f16, start: 1.0)"] < 0.1 * moved["f32"], f"nothing is lost without a scale: {moved}")


def f16_leaves_out_steps_that_overflow(place):
    net = program(place, more=("precision: mixed(f16, start: 16777216.0, every: 5)", "ema: 0.9", "accumulate: 2"))
    first, at = files_of(place, net, "--steps", 0)
    one, after = files_of(place, net, "--steps", 1)
    check_equal(one["weights.safetensors"], first["weights.safetensors"], "the weights after a step that overflows")
    kept, rest = tensors(at / "optimizer.safetensors"), tensors(after / "optimizer.safetensors")
    check_equal({n for n in kept if kept[n] != rest[n]}, {"loss_scale.scale", "loss_scale.skipped"}, "the states that it changes")
    folder = place.folder / "counted"
    folder.mkdir()
    summary = json.loads(place.run(net, "train", "--json", cwd=folder).out.splitlines()[-1])
    last = tensors(checkpoints(folder, "net")[-1] / "optimizer.safetensors")
    check_equal(last["loss_scale.skipped"][1], [summary["skipped_steps"]], "the count in the checkpoint")
    check(0 < summary["skipped_steps"] < 30, f"{summary}")
    halves = place.folder / "f16halves"
    halves.mkdir()
    place.run(net, "train", "--quiet", "--steps", 23, cwd=halves)
    place.run(net, "train", "--quiet", "--resume", "--threads", 1, cwd=halves)
    check(last_files(folder) == last_files(halves), "the interrupted run ends in other bytes")


# Sums over the batch are made in another order: a few last bits. What batch norm sees of a batch is another thing (its
# part), so the model has none; and dropout draws other numbers.
def parts_of_a_batch_are_the_batch(place):
    def after(more, *arguments):
        net = program(place, optimizer="sgd(lr: 0.1)", more=more, plain=True)
        return tensors(files_of(place, net, "--steps", 1, *arguments)[1] / "weights.safetensors")
    for precision, most in (("f32", 2e-6), ("f64", 1e-14), ("mixed(bf16)", 2e-6), ("mixed(f16)", 2e-6)):
        whole = after((f"precision: {precision}",))
        for parts in (4,):
            more = (f"precision: {precision}", f"accumulate: {parts}")
            found = after(more)
            check_equal(found, after(more, "--threads", 1), f"{precision} in {parts} parts on one thread")
            for name, (_, values) in whole.items():
                apart = max(abs(a - b) for a, b in zip(values, found[name][1]))
                check(apart <= most * max(1, *map(abs, values)), f"{precision} in {parts} parts: {name} differs by {apart}")


def frozen_weights_stay(place):
    net = program(place, model='freeze(Net(), only: ["body", "up.weight"])', optimizer="adamw(lr: 5e-3)")
    place.run(net, "train", "--quiet", "--steps", 0)
    before = tensors(checkpoints(place.folder, "net")[-1] / "weights.safetensors")
    place.run(net, "train", "--quiet", "--resume")
    last = checkpoints(place.folder, "net")[-1]
    after, kept = tensors(last / "weights.safetensors"), tensors(last / "optimizer.safetensors")
    changed = sorted(name for name in before if before[name] != after[name] and "running" not in name)
    check_equal(changed, ["head.bias", "head.weight", "norm.scale", "norm.shift", "up.bias"], "the weights that changed")
    check(not [name for name in kept if "body" in name], "an optimizer keeps something for frozen weights")


def weights_come_from_a_file(place):
    net = program(place)
    place.run(net, "train", "--quiet", "--steps", 10)
    source = tensors(checkpoints(place.folder, "net")[-1] / "weights.safetensors")
    renamed = {"encoder." + name: value for name, value in source.items() if not name.startswith("head")}
    rows, columns = source["up.weight"][0]
    values = source["up.weight"][1]
    renamed["encoder.up.weight"] = ([columns, rows], [values[r * columns + c] for c in range(columns) for r in range(rows)])
    write_tensors(place.folder / "w.safetensors", {**renamed, "steps": ([1], [3.0])})
    found = place.aml("check", program_text(place, 'load(Net(), "w.safetensors", map: [("*", "encoder.*")], unused: ["steps"])'), code=1)
    for part in ("up.weight is f32[4, 24]", "'encoder.up.weight' of the file is f32[24, 4]", "[1, 0]", "head.weight (f32[24, 3]) is not in the file"):
        check_in(part, found.all)
    fits = 'load(Net(), "w.safetensors", map: [("up.weight", "encoder.up.weight", [1, 0]), ("*", "encoder.*")], missing: ["head"], unused: ["steps"])'
    tuned = program(place, "tuned", model=fits, length="1 steps", optimizer="sgd(lr: 1e-30)", more=("ema: 0.5",))
    told = place.run(tuned, "train", "--steps", 1).err
    named = sum(not name.startswith("head") for name in source)
    check_in(f"w.safetensors: {named} tensors; not in it and left as they begin: head.", told)
    check_in("; in it and used by nothing: steps", told)
    last = checkpoints(place.folder, "net")[-1]
    weights, rest = tensors(last / "weights.safetensors"), tensors(last / "optimizer.safetensors")
    for name in ("up.weight", "body.1.weight", "norm.scale"):
        check_equal(weights[name], source[name], name)
        check_equal(rest[name + ".raw"], source[name], name + ".raw")
    check(weights["head.weight"] != source["head.weight"], "head.weight was not to be loaded")
    write_tensors(place.folder / "w.safetensors", renamed | {"encoder.up.bias": ([3], [1.0, 2.0, 3.0]), "steps": ([1], [3.0])})
    check_in("up.bias is f32[24], 'encoder.up.bias' of the file is f32[3]", place.run(tuned, "train", code=None).err)
    (place.folder / "w.safetensors").write_bytes(b"no such file")
    check(place.run(tuned, "train", code=None).code != 0, "a file that is no safetensors file is accepted")
    (place.folder / "w.safetensors").unlink()
    check_in("w.safetensors", place.run(tuned, "train", code=None).err)


# Without `keep: best(...)`: the best is kept because it is restored. The last checkpoint has its states, the optimizer's too.
def restored_run_ends_with_its_best(place):
    stop = "stop:       early(on: accuracy, patience: 3 epochs, restore: true)"
    net = program(place, optimizer="adamw(lr: 0.1)", length="30 epochs", more=(stop, "ema: 0.5"))
    halves, late = place.folder / "halves", place.folder / "late"
    halves.mkdir(), late.mkdir()
    summary = json.loads(place.run(net, "train", "--json").out.splitlines()[-1])
    check(summary["stopped_early"], "it was to be ended early")
    steps = [int(at.name[5:]) for at in checkpoints(place.folder, "net")]
    check_equal(steps[-1], summary["step"], "the last checkpoint")
    check(summary["best"]["step"] in steps and summary["best"]["step"] < summary["step"], f"{summary['best']} of {steps}")
    best, last = (checkpoints(place.folder, "net")[steps.index(s)] for s in (summary["best"]["step"], summary["step"]))
    for name in ("weights.safetensors", "optimizer.safetensors"):
        check(tensors(last / name) == tensors(best / name), f"{name} of the last checkpoint is not the best's")
    measured = {c: json.loads(place.run(net, "evaluate", "--json", "--checkpoint", at).out)["metrics"] for c, at in (("best", best), ("last", last))}
    check_equal(measured["last"], measured["best"], "what is measured of the last")
    check_equal(measured["last"]["accuracy"], summary["best"]["accuracy"], "the accuracy")
    place.run(net, "train", "--quiet", "--steps", summary["step"] - 3, cwd=halves)
    place.run(net, "train", "--quiet", "--resume", cwd=halves)
    check(last_files(halves) == last_files(place.folder), "the interrupted run ends in other bytes")
    # the last validation is the best one: nothing is restored
    rising = program(place, "rising", length="2 epochs", optimizer="sgd(lr: 1e-3)", more=("stop:       early(restore: true)",))
    done = place.run(rising, "train", cwd=late)
    check("restored" not in done.all, "a training whose end is its best was restored")
    names = [at.name for at in checkpoints(late, "net")]
    check_equal(json.loads((checkpoints(late, "net")[-1] / "MANIFEST.json").read_text())["step"], int(names[-1][5:]), "its last step")


def program_text(place, model):
    text = (place.folder / "net.aml").read_text().replace("model:     Net()", "model:     " + model)
    return place.write("wrong.aml", text)


if __name__ == "__main__":
    sys.exit(main([interrupted_run_ends_in_the_same_bytes, averages_are_what_is_measured_and_deployed, parts_of_a_batch_need_less_memory,
                   precisions_agree, rounding_is_the_same_with_an_instruction, norms_read_what_is_stored_short, f16_scales_its_loss, f16_leaves_out_steps_that_overflow, parts_of_a_batch_are_the_batch,
                   frozen_weights_stay, weights_come_from_a_file, restored_run_ends_with_its_best]))

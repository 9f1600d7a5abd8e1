#!/usr/bin/env python3
"""Trainings with `prune`: how many weights are zero and when, that they stay so, and what is stored of them."""
import json
import shutil
import sys

from harness import DIGITS, check, check_equal, check_in, checkpoints, main
from test_quantize import tensors_of

SOURCE = """aml 1
use "digits.aml"
use std.nn
use std.optim
use std.metrics

train whole {
  model:     Mlp()
  data:      digits
  loss:      cross_entropy
  optimizer: adamw(lr: 2e-3)
  length:    200 steps
  batch:     64
  metrics:   { accuracy: accuracy() }
}

train pruned {
  model:     Mlp()
  init:      whole.last
  data:      digits
  loss:      cross_entropy
  optimizer: adamw(lr: 1e-3)
  length:    100 steps
  batch:     64
  checkpoint: { every: 10 steps, keep: last(10) }
  prune:     SETTING
  MORE
  metrics:   { accuracy: accuracy() }
}

deploy small { model: pruned.last DEPLOY }
"""


def place_source(place, setting, more="", deploy=""):
    shutil.copytree(DIGITS, place.folder / "source", dirs_exist_ok=True)
    shutil.rmtree(place.folder / "runs", ignore_errors=True)
    text = SOURCE.replace("SETTING", setting).replace("MORE", more).replace("DEPLOY", deploy)
    source = place.write("source/pruned.aml", text)
    place.aml("build", source, "-o", "pruned")
    place.run(place.folder / "pruned", "train", "whole", "--quiet")
    return source


def matrices(folder):
    return {name: values for name, (shape, values) in tensors_of(folder / "weights.safetensors").items() if len(shape) > 1}


def share_of_zeros(weights):
    values = [v for part in weights.values() for v in part]
    return sum(v == 0 for v in values) / len(values)


def expected_share(step):
    """Zhu and Gupta's cubic schedule with an end at 60 of 100 steps, looked at every 10: after `step` steps."""
    at = (step - 1) // 10 * 10
    t = min((at + 1) / 61, 1)
    return 0.8 * (1 - (1 - t) ** 3)


def share_follows_the_schedule(place):
    """At each checkpoint the share is that of the formula; what is zero stays so, also in an average."""
    for more in ("", "ema: 0.9"):
        place_source(place, "magnitude(80%, every: 10 steps)", more)
        place.run(place.folder / "pruned", "train", "pruned", "--quiet")
        before = None
        for folder in checkpoints(place.folder, "pruned"):
            step, weights = int(folder.name[-6:]), matrices(folder)
            share = share_of_zeros(weights)
            check(abs(share - expected_share(step)) < 2e-4, f"step {step}: {share:.4f} are zero, expected {expected_share(step):.4f}")
            if before:
                check(all(v == 0 for name in weights for u, v in zip(before[name], weights[name]) if u == 0), "a weight came back")
            before = weights


def smallest_go_first(place):
    """The first mask, of the weights after one step, is that of a sort; by layer each has its share."""
    for over in ("all", "layer"):
        place_source(place, f"magnitude(50%, over: {over}, end: 0%)")
        place.run(place.folder / "pruned", "train", "pruned", "--quiet", "--steps", "1")
        pruned = matrices(checkpoints(place.folder, "pruned")[-1])
        check_equal(len(pruned), 2, "matrices")
        if over == "layer":
            shares = [sum(v == 0 for v in part) / len(part) for part in pruned.values()]
            check(all(abs(share - 0.5) < 1e-3 for share in shares), f"shares by layer: {shares}")
        else:
            check(abs(share_of_zeros(pruned) - 0.5) < 1e-3, f"{share_of_zeros(pruned)} are zero")
            started = matrices(checkpoints(place.folder, "whole")[-1])
            gone = [abs(u) for name in pruned for u, v in zip(started[name], pruned[name]) if v == 0]
            kept = [abs(u) for name in pruned for u, v in zip(started[name], pruned[name]) if v != 0]
            check(max(gone) < min(kept) + 3e-3, f"{max(gone)} went and {min(kept)} stayed")      # one step moves a weight by 1e-3


def resumed_is_the_same(place):
    """Masks are in the checkpoint: an interrupted training ends in the same bits."""
    place_source(place, "magnitude(80%, every: 10 steps)")
    place.run(place.folder / "pruned", "train", "pruned", "--quiet")
    whole = (checkpoints(place.folder, "pruned")[-1] / "weights.safetensors").read_bytes()
    shutil.rmtree(place.folder / "runs/pruned")
    place.run(place.folder / "pruned", "train", "pruned", "--quiet", "--steps", "35")
    place.run(place.folder / "pruned", "train", "pruned", "--quiet", "--resume", "--steps", "100")
    check((checkpoints(place.folder, "pruned")[-1] / "weights.safetensors").read_bytes() == whole, "the resumed training ended otherwise")


def stored_without_zeros(place):
    """Zeros and halves of bytes are not in the program, and what it predicts is the same."""
    cases = (("", "", "floats"), ("quantize: int8", "quantize: int8", "bytes"),
             ("quantize: int8(weight_bits: 4)", "quantize: int8", "nibbles"))
    size = {}
    for more, deploy, what in cases:
        for setting in ("magnitude(1%)", "magnitude(90%)"):
            source = place_source(place, setting, more, deploy + " target: cpu(\"x86-64-v3\") batch: [1, 16]")
            place.run(place.folder / "pruned", "train", "pruned", "--quiet")
            err = place.aml("deploy", source, "small").err
            line = next(line for line in err.splitlines() if "compared with" in line)
            # a sum that lies between two bytes may be rounded to the other one: a few steps of 1/255 of a range
            limit = 1e-5 if what == "floats" else 2e-3
            check(float(line.split("worst difference ")[1].split(",")[0]) < limit, f"{what}: {line}")
            sparse = "90" in setting
            check_equal("stored:" in err, sparse or what == "nibbles", f"{what}, {setting}: whether it is told about")
            if "stored:" in err:
                if sparse:
                    before, after = map(float, err.split("them with 0; ")[1].split(" us for")[0].split(" -> "))
                    # a gain is 1.05 times; the times are printed rounded
                    told = "there is no gain in time" in err
                    check(told or before / after > 1.04, f"{before} us, {after} us: no gain, and it is not told")
                    check(not told or before / after < 1.06, f"{before} us, {after} us: a gain, and it is told that there is none")
                else:
                    check_in("and not faster", err)
                check_equal("% of them with 0" in err, sparse, "whether products with 0 are counted")
            info = json.loads(place.run(place.folder / "small", "info", "--json").out)
            size[what, sparse] = info["weights_bytes"]
            if sparse and deploy:
                weights = matrices(checkpoints(place.folder, "pruned")[-1])
                for layer in info["layers"]:
                    values = weights[layer["name"] + ".weight"]
                    channels = 128 if layer["name"] == "fc1" else 10
                    check(layer["bytes_after"] <= len(values) / 8 + sum(v != 0 for v in values) + 4 * channels, f"{what}: {layer}")
    print("  bytes of weights, whole and 90% pruned: " + ", ".join(f"{what} {size[what, False]} {size[what, True]}" for _, _, what in cases))
    for what, limit in (("floats", 0.2), ("bytes", 0.4), ("nibbles", 0.65)):
        check(size[what, True] < limit * size[what, False], f"{what}: {size}")
    check(size["nibbles", False] < 0.65 * size["bytes", False], f"{size}")


def many_weights(place):
    """As many masks as a model has matrices go into the branch that leaves them as they are."""
    shutil.copytree(DIGITS, place.folder / "source")
    layers = "\n".join(f"  l{i} = Dense(16)" for i in range(12))
    chain = " |> ".join(f"l{i} |> relu" for i in range(12))
    place.write("source/deep.aml", f"""aml 1
use "digits.aml"
use std.nn
use std.optim

model Deep {{
{layers}
  head = Dense(10)
  fn forward(x: float[batch, 64]) -> float[batch, 10] {{ return x |> {chain} |> head }}
}}

train deep {{
  model:     Deep()
  data:      digits
  loss:      cross_entropy
  optimizer: sgd(lr: 1e-2)
  length:    2 steps
  prune:     magnitude(25%, over: layer, end: 0%)
}}
""")
    place.aml("build", "source/deep.aml", "-o", "deep")
    place.run(place.folder / "deep", "train", "deep", "--quiet")
    for name, values in matrices(checkpoints(place.folder, "deep")[-1]).items():
        check(abs(sum(v == 0 for v in values) / len(values) - 0.25) < 5e-3, f"{name} has {sum(v == 0 for v in values)} zeros")


if __name__ == "__main__":
    sys.exit(main([share_follows_the_schedule, smallest_go_first, resumed_is_the_same, many_weights, stored_without_zeros]))

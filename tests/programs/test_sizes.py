#!/usr/bin/env python3
"""How large deployed programs are: weights are inside once, whatever levels and batch sizes there is code for."""
import shutil
import sys

from harness import ROOT, check, check_in, main, sanitized
from test_examples import write_clothes

SOURCE = """aml 1

use "fashion.aml"

train plain {
  model:     Net()
  data:      fashion
  loss:      cross_entropy
  optimizer: sgd(lr: 0.01)
  length:    2 steps
  batch:     16
}

deploy rounded_one   { model: net.last   quantize: int8(calibrate: fashion.train, samples: 64) target: cpu("x86-64-v3") }
deploy rounded_three {
  model:    net.last
  quantize: int8(calibrate: fashion.train, samples: 64)
  target:   [cpu("x86-64-v2"), cpu("x86-64-v3"), cpu("x86-64-v4-vnni")]
}
deploy floats_one   { model: net.last   target: cpu("x86-64-v3") }
deploy floats_three { model: net.last   target: [cpu("x86-64-v2"), cpu("x86-64-v3"), cpu("x86-64-v4")] }
deploy last_two     { model: plain.last target: [cpu("x86-64-v3"), cpu("x86-64-v4")]   batch: [1, 16] }
"""
WEIGHTS = 77658  # of the network; after two steps they are nearly as at the beginning, spread evenly, which packs less than trained ones


def trained(place):
    write_clothes(place)
    folder = place.folder / "data/fashion-mnist"
    folder.mkdir(parents=True)
    for path in place.folder.glob("*.gz"):
        path.rename(folder / path.name)
    shutil.copy(ROOT / "examples/fashion/fashion.aml", place.folder)
    path = place.write("sizes.aml", SOURCE)
    place.aml("build", path, "-o", "trainer")
    for job in ("net", "plain"):
        place.run(place.folder / "trainer", "train", job, "--steps", 2, "--quiet", timeout=300)

    def deploy(name):
        err = place.aml("deploy", path, name).err
        size = (place.folder / name).stat().st_size
        print(f"  {name}: {size} bytes")
        check("code for x86-64-v3: worst difference" in err or name.endswith("_one"), f"{name}: {err}")
        return size
    return deploy


def a_level_adds_its_code_only(place):
    """Registers of 4, 8 and 16 floats read the same weights; each level is compared with the training program as well."""
    deploy = trained(place)
    one, three = deploy("rounded_one"), deploy("rounded_three")
    floats, floats_three = deploy("floats_one"), deploy("floats_three")
    if sanitized(place.amlc):
        return
    check(three - one < 30_000, f"two levels more are {three - one} bytes")
    check(floats_three - floats < 45_000, f"two levels more are {floats_three - floats} bytes, and the weights are {4 * WEIGHTS}")
    check(one < WEIGHTS + 25_000, f"{one - WEIGHTS} bytes more than the weights have in 8 bits")
    check(one < 0.28 * floats, f"int8 has {100 * one / floats:.1f}% of the bytes of f32")


def channels_last_share_as_well(place):
    """Plans of products by patches and of other tiles: the code of both levels computes the same."""
    trained(place)("last_two")


WIDE = """aml 1

use std.nn
use std.optim
use std.data
use std.text

model Net() {
  table = Embedding(40000, 8)
  first = Conv2d(160, 3, padding: same)
  conv  = Conv2d(160, 3, padding: same)
  head  = Dense(4)

  fn forward(x: float[n, 8, 8, 8], ids: class(40000)[n]) -> float[n, 4] {
    let seen = relu(conv(relu(first(x))))
    return head(concat([mean(mean(seen, axis: 3), axis: 2), table(ids)], axis: 1))
  }
}

dataset noise {
  source: synthetic(64, fn(i) = { x: random.uniform([8, 8, 8]), ids: i64(40000.0 * random.uniform([])), y: i64(4.0 * random.uniform([])) })
  field x:   f32[8, 8, 8]
  field ids: class(40000)
  field y:   class(4)
  split: { train: 50%, valid: 25%, test: 25% }

  fn prepare(s) { return { x: s.x, ids: s.ids, y: s.y } }
}

train wide {
  model:     Net()
  data:      noise
  loss:      cross_entropy
  optimizer: adamw(lr: 1e-3)
  length:    2 steps
  batch:     4
}

deploy quick      { model: wide.last   target: cpu("x86-64-v3") }
deploy small      { model: wide.last   target: cpu("x86-64-v3")   optimize: size }
deploy two_levels { model: wide.last   target: [cpu("x86-64-v2"), cpu("x86-64-v3")]   optimize: size }
deploy beside     { model: wide.last   target: cpu("x86-64-v3")   optimize: size   weights: file }
deploy narrow     { model: wide.last   target: cpu("x86-64-v3")   require: { size: 1 MiB } }
deploy rounded    { model: wide.last   target: cpu("x86-64-v3")   quantize: int8(calibrate: noise.train, samples: 32) }
"""
WIDE_BYTES = 4 * (40000 * 8 + 160 * 8 * 9 + 160 + 160 * 160 * 9 + 160 + 168 * 4 + 4)


def large_networks_can_be_small(place):
    """Winograd's weights of 1.8 or 4 times the room are made when the program starts, where the block prefers size; what is computed is
    compared with the training program. Tables of a program of bytes have 8 bits."""
    path = place.write("wide.aml", WIDE)
    place.aml("build", path, "-o", "trainer")
    place.run(place.folder / "trainer", "train", "--quiet", timeout=300)
    size, err = {}, {}
    for name in ("quick", "small", "two_levels", "beside", "rounded"):
        err[name] = place.aml("deploy", path, name).err
        size[name] = (place.folder / name).stat().st_size
        print(f"  {name}: {size[name]} bytes, {WIDE_BYTES} of weights")
    check_in("code for x86-64-v2: worst difference", err["two_levels"])
    check_in("a table: int8/8", err["rounded"])
    refused = place.aml("deploy", path, "narrow", code=1).err
    check_in("`optimize: size` makes programs smaller", refused)
    check_in("`quantize: int8(calibrate: ...)` keeps weights as bytes", refused)
    beside = (place.folder / "beside.weights").stat().st_size
    check(beside < WIDE_BYTES + 20_000, f"the file has {beside} bytes")
    if sanitized(place.amlc):
        return
    check(size["quick"] > WIDE_BYTES + 700_000, f"{size['quick']} bytes with transformed weights")
    check(size["small"] < WIDE_BYTES + 150_000, f"{size['small'] - WIDE_BYTES} bytes more than the weights")
    check(size["two_levels"] < WIDE_BYTES + 150_000, f"{size['two_levels'] - WIDE_BYTES} bytes more than the weights")
    check(size["beside"] < 150_000, f"{size['beside']} bytes beside the weights")
    check(size["rounded"] < 0.31 * WIDE_BYTES + 60_000, f"{size['rounded']} bytes of bytes")


if __name__ == "__main__":
    sys.exit(main([a_level_adds_its_code_only, channels_last_share_as_well, large_networks_can_be_small]))

#!/usr/bin/env python3
"""How large deployed programs are: weights are inside once, whatever levels and batch sizes there is code for."""
import shutil
import sys

from harness import ROOT, check, main, sanitized
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


if __name__ == "__main__":
    sys.exit(main([a_level_adds_its_code_only, channels_last_share_as_well]))

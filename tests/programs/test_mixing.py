#!/usr/bin/env python3
"""mixup and cutmix as settings of a training, and RandAugment in a data set."""
import json
import pathlib

from harness import check, check_equal, check_in, main

PROGRAM = """aml 1
use std.nn
use std.optim
use std.data
use std.metrics
use std.image

model Net {
  fc = Dense(3)
  fn forward(x: float[n, 3, 6, 6]) -> float[n, 3] { return fc(flatten(x)) }
}

dataset patterns {
  source: synthetic(240, fn(i) = { x: random.uniform([3, 6, 6]) * 0.5 + float(mod(i, 3)) * 0.25, y: mod(i, 3) })
  field x: f32[3, 6, 6]
  field y: class(3)
  split: { train: 100% }
  fn prepare(s) { return { x: s.x, y: s.y } }
  AUGMENT
}

train net {
  model:     Net()
  data:      patterns
  loss:      LOSS
  optimizer: sgd(lr: 0.2)
  length:    30 steps
  batch:     24
  seed:      3
  SETTINGS
}
"""


def build(place, settings="", augment="", loss="cross_entropy", code=0):
    place.write("patterns.aml", PROGRAM.replace("SETTINGS", settings).replace("AUGMENT", augment).replace("LOSS", loss))
    return place.aml("build", "patterns.aml", code=code)


def losses(place, *more):
    found = place.run("./patterns", "train", "--runs", "runs", *more)
    run = sorted((place.folder / "runs" / "net").iterdir())[-1]
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines() if "loss" in json.loads(line)], found


def mixing_is_a_setting(place):
    seen = {}
    for settings in ("", "mixup: 0.4", "cutmix: 1.0", "mixup: 0.4\\n  cutmix: 1.0"):
        build(place, settings.replace("\\n", "\n"))
        seen[settings], _ = losses(place)
        check(sum(seen[settings][-5:]) < sum(seen[settings][:5]), f"{settings}: the loss does not fall")
        again, _ = losses(place, "--threads", "1")
        check_equal(again, seen[settings], f"{settings}: losses of another run")
    check_equal(len({tuple(v) for v in seen.values()}), 4, "the number of different courses")
    check(sum(seen["mixup: 0.4"][-5:]) > sum(seen[""][-5:]), "mixed targets cannot be learnt as well as plain ones")


def parts_of_a_batch_change_nothing(place):
    for loss in ("cross_entropy", "fn(s, y) = cross_entropy(s, y, smoothing: 10%, weights: [1, 2, 4])"):
        build(place, "mixup: 0.4", loss=loss)
        whole, _ = losses(place)
        build(place, "mixup: 0.4\n  accumulate: 4", loss=loss)
        parts, _ = losses(place)
        worst = max(abs(a - b) / abs(a) for a, b in zip(whole, parts))
        check(worst < 2e-5, f"{loss}: losses differ by {worst}")


def wrong_settings_are_refused(place):
    check_in("'mixup'", build(place, "mixup: 0", code=1).err)
    check_in("a number above 0 and at most 1", build(place, "cutmix: 1.5", code=1).err)


def changes_are_drawn(place):
    build(place, augment="fn augment(s) { return { x: rand_augment(s.x, count: 2, magnitude: 9), y: s.y } }")
    first, _ = losses(place, "--loaders", "0")
    again, _ = losses(place, "--loaders", "3")
    check_equal(again, first, "losses with other threads")
    build(place)
    plain, _ = losses(place)
    check(plain != first, "the augmentation changes nothing")
    build(place, augment="fn augment(s) { return { x: s.x |> color_jitter(brightness: 0.4, contrast: 0.4, saturation: 0.4, turn: 0.1) |> random_resized_crop([6, 6], area: [0.5, 1.0]), y: s.y } }")
    losses(place)


if __name__ == "__main__":
    raise SystemExit(main([mixing_is_a_setting, parts_of_a_batch_change_nothing, wrong_settings_are_refused, changes_are_drawn]))

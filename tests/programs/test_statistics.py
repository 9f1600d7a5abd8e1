#!/usr/bin/env python3
"""Batch norm in a training against its definition in doubles: statistics and both gradients, for images of odd sizes, with means that
are a thousand times their deviation, in f32 and with bf16, for several levels of processors; and the same bits with any number of threads."""
import math
import random
import struct
import sys

from harness import check, check_equal, checkpoints, main
from test_arrays import npy
from test_quantize import tensors_of

SOURCE = """aml 1
use std.nn
use std.optim
use std.data
use std.loss

model Net {
  first = CONV
  norm  = BatchNorm()
  fn forward(x: float[n, c, ...]) -> float[n, OUT] {
    let y = norm(first(x))
    return mean(reshape(y * y * y, [n, OUT, prod(shape(y)[2..rank(y)])]), axes: [2])
  }
}

dataset images {
  source: npy("images", labels: "labels")
  field x: f32[SHAPE] = values
  field y: class(2) = labels
  split: { train: 100% }
  fn prepare(s) { return { x: s.x, y: s.y } }
}

train net {
  model:     Net()
  data:      images
  loss:      fn(out, y) = mse(out, 0 * out)
  optimizer: sgd(lr: 1.0)
  length:    1 steps
  batch:     COUNT
  precision: PRECISION
  seed:      1
}
"""


def rounded(x):
    """To bf16 and back; ties to even."""
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    return struct.unpack("<f", struct.pack("<I", (bits + 0x7fff + (bits >> 16 & 1)) >> 16 << 16))[0]


def convolved(images, shape, weights, channels):
    """3 x 3 with a border of zeros, in doubles. weights: [channels, from, 3, 3], flat."""
    depth, rows, columns = shape
    out = []
    for image in images:
        planes = []
        for c in range(channels):
            plane = [0.0] * (rows * columns)
            for d in range(depth):
                for i in range(9):
                    w, dy, dx = weights[(c * depth + d) * 9 + i], i // 3 - 1, i % 3 - 1
                    for y in range(max(0, -dy), min(rows, rows - dy)):
                        to, at = y * columns, (d * rows + y + dy) * columns + dx
                        for x in range(max(0, -dx), min(columns, columns - dx)):
                            plane[to + x] += w * image[at + x]
            planes.append(plane)
        out.append(planes)
    return out


def by_definition(images, scale, shift, lr):
    """What one step makes of a norm: running mean and variance, scale, shift. images: [n][channels][positions]"""
    n, channels, places = len(images), len(images[0]), len(images[0][0])
    found = []
    for c in range(channels):
        values = [v for image in images for v in image[c]]
        mean = math.fsum(values) / len(values)
        variance = math.fsum((v - mean) ** 2 for v in values) / len(values)
        root = math.sqrt(variance + 1e-5)
        dscale, dshift = [], []
        for image in images:
            hat = [(v - mean) / root for v in image[c]]
            ys = [h * scale + shift for h in hat]
            out = math.fsum(y ** 3 for y in ys) / places
            slope = 2 * out / (n * channels)            # of the mean of squares
            dys = [slope * 3 * y * y / places for y in ys]
            dscale.append(math.fsum(d * h for d, h in zip(dys, hat)))
            dshift.append(math.fsum(dys))
        found.append((0.1 * mean, 0.9 + 0.1 * variance * len(values) / (len(values) - 1), scale - lr * math.fsum(dscale), shift - lr * math.fsum(dshift),
                      math.sqrt(variance), math.fsum(map(abs, dscale)) + math.fsum(map(abs, dshift))))
    return found


def trained(place, shape, images, channels, precision, target="native", mean=0):
    """The norm's tensors after one step, and the weights of the convolution before it; None: none is in front."""
    count = len(images)
    text = SOURCE.replace("SHAPE", ", ".join(map(str, shape))).replace("COUNT", str(count)).replace("PRECISION", precision)
    text = text.replace("OUT", str(channels or shape[0]))
    text = text.replace("CONV", f"Conv2d({channels}, kernel: 3, padding: same, bias: false)" if channels else "Identity()")
    place.write("net.aml", text)
    flat = [v for image in images for v in image]
    (place.folder / "images").write_bytes(npy("<f4", (count, *shape), struct.pack(f"<{len(flat)}f", *flat)))
    (place.folder / "labels").write_bytes(npy("|u1", (count,), bytes(i % 2 for i in range(count))))
    place.aml("build", "net.aml", "-o", "net", f"--target={target}")
    files = []
    for threads in (1, 2, 3):
        place.run("./net", "train", "--quiet", "--threads", threads, "--runs", f"of-{threads}/runs")
        files.append(checkpoints(place.folder / f"of-{threads}", "net")[-1] / "weights.safetensors")
    for file in files[1:]:
        check_equal(file.read_bytes(), files[0].read_bytes(), "the weights with several threads")
    place.run("./net", "train", "--quiet", "--steps", 0, "--runs", "before/runs")
    before = tensors_of(checkpoints(place.folder / "before", "net")[-1] / "weights.safetensors")
    return tensors_of(files[0]), before.get("first.weight", (0, None))[1]


def compared(place, shape, count, channels, precision, mean, target="native", tolerance=2e-6, slopes=2e-6):
    random.seed(repr((shape, count)))
    images = [[struct.unpack("<f", struct.pack("<f", random.gauss(mean, 1)))[0] for _ in range(math.prod(shape))] for _ in range(count)]
    found, weights = trained(place, shape, images, channels, precision, target)
    seen = rounded if "bf16" in precision else float
    places = math.prod(shape[1:])
    images = [[seen(v) for v in image] for image in images]
    if channels:
        planes = convolved(images, shape, [seen(w) for w in weights], channels)
        planes = [[[seen(v) for v in plane] for plane in image] for image in planes]
    else:
        planes = [[image[c * places:(c + 1) * places] for c in range(shape[0])] for image in images]
    worst = {}
    for c, (centre, spread, scale, shift, deviation, size) in enumerate(by_definition(planes, 1.0, 0.0, 1.0)):
        for name, expected, unit in (("running_mean", centre, deviation), ("running_variance", spread, deviation ** 2), ("scale", scale, size), ("shift", shift, size)):
            off = abs(found[f"norm.{name}"][1][c] - expected) / unit
            worst[name] = max(worst.get(name, 0), off)
    print(f"  {shape} x {count}, {channels} channels, {precision}, mean {mean}, {target}: " + ", ".join(f"{name} {off:.1e}" for name, off in worst.items()))
    for name, off in worst.items():
        check(off <= (tolerance if "running" in name else slopes), f"{name} is off by {off:.2e}")


def of_images(place):
    for shape, count in (((3, 5, 7), 6), ((4, 33, 31), 20), ((2, 19), 9), ((2, 3, 4, 5), 5)):
        compared(place, shape, count, 0, "f32", 0)
    compared(place, (4, 33, 31), 20, 0, "mixed(bf16)", 0, slopes=1e-3)


def of_large_means(place):
    """An f32 near 1,000 is off by up to 3e-5 of a deviation of 1, and so are the normalised values; the variance is not."""
    for shape, count in (((3, 5, 7), 6), ((4, 33, 31), 20)):
        compared(place, shape, count, 0, "f32", 1000, tolerance=1e-5, slopes=5e-3)
    compared(place, (4, 33, 31), 20, 0, "f32", -1000, "x86-64-v3", tolerance=1e-5, slopes=5e-3)
    compared(place, (4, 33, 31), 20, 0, "mixed(bf16)", 100, slopes=5e-3)


def behind_convolutions(place):
    """A result that is stored in 16 bits may be the next number where a sum in doubles is nearly halfway."""
    for target in ("native", "x86-64-v3", "x86-64-v2"):
        compared(place, (2, 13, 11), 6, 5, "f32", 0, target)
    for shape, channels in (((3, 16, 16), 6), ((2, 28, 28), 16), ((1, 9, 8), 33)):
        compared(place, shape, 8, channels, "f32", 0, tolerance=1e-5, slopes=1e-5)
        compared(place, shape, 8, channels, "mixed(bf16)", 0, tolerance=1e-4, slopes=1e-3)


if __name__ == "__main__":
    sys.exit(main([of_images, of_large_means, behind_convolutions]))

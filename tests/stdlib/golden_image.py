#!/usr/bin/env python3
"""Writes golden_image.json: what torchvision gives where std.image gives the same. Needs torch and torchvision.
Usage: golden_image.py > golden_image.json
"""
import json

import numpy
import torch
import torch.nn.functional as F
import torchvision.transforms.functional as T
from torchvision.transforms import InterpolationMode

torch.set_default_dtype(torch.float64)
draw = numpy.random.default_rng(11)


def tensor(array):
    """As it stands in the file."""
    array = numpy.asarray(array)
    values = [float(f"{v:.13g}") for v in array.reshape(-1)]
    return {"shape": list(array.shape), "values": [int(v) if v == int(v) else v for v in values]}


image = numpy.round(draw.uniform(size=(3, 7, 9)) * 255) / 256      # exact in f32
image[:, 2, 3] = [1, 1, 1]
image[:, 5, 5] = [0.25, 0.25, 0.25]
x = torch.tensor(image)
BILINEAR = InterpolationMode.BILINEAR


def resized(h, w):
    return F.interpolate(x[None], (h, w), mode="bilinear", antialias=True, align_corners=False)[0]


def posterized(bits):
    """torchvision's is for bytes."""
    levels = torch.floor(x * 255 + 0.001).to(torch.uint8)
    return T.posterize(levels, bits).double() / 255


CASES = {
    "resize_smaller": resized(3, 5), "resize_larger": resized(15, 11), "resize_mixed": resized(20, 4),
    "pad_all": T.pad(x, [2], fill=0.5), "pad_sides": T.pad(x, [3, 1, 4, 2]),
    "rotate_by": T.affine(x, 30, [0, 0], 1, [0, 0], BILINEAR), "rotate_back": None,
    "affine_all": T.affine(x, 20, [-2, 1], 1.25, [10, -5], BILINEAR), "affine_lean": None,
    "brightness_up": T.adjust_brightness(x, 1.5), "brightness_down": T.adjust_brightness(x, 0.25), "contrast_up": T.adjust_contrast(x, 1.75),
    "contrast_down": T.adjust_contrast(x, 0.5), "saturation_up": T.adjust_saturation(x, 2), "saturation_down": T.adjust_saturation(x, 0.25),
    "hue_turned": T.adjust_hue(x, 0.2), "hue_back": T.adjust_hue(x, -0.35), "sharpness_up": T.adjust_sharpness(x, 1.75),
    "sharpness_down": T.adjust_sharpness(x, 0.25), "solarize_half": T.solarize(x, 0.5), "posterize_three": posterized(3),
    "auto_contrast_all": T.autocontrast(x), "normalise_channels": T.normalize(x, [0.5, 0.25, 0.75], [0.5, 2, 0.25]),
    "flip_both": T.vflip(T.hflip(x)), "center_of": T.center_crop(x, [5, 5]),
}


def around(value, *where):
    """What is interpolated with `value` outside: torchvision's own fill is not interpolated."""
    one = torch.ones_like(x)
    return T.affine(x - value, *where, BILINEAR) + value + 0 * one


CASES["rotate_back"] = around(0.25, -75.5, [0, 0], 1, [0, 0])
CASES["affine_lean"] = around(1, 0, [0, 0], 1, [25, 0])

# many pixels for 256 levels, few levels, and a channel with one level only
many = numpy.floor(numpy.random.default_rng(12).beta([[[2.0]], [[0.5]], [[3.0]]], 4.0, size=(3, 24, 31)) * 256).clip(0, 255)
many[1] = numpy.floor(many[1] / 64) * 64
many[2] = 77
EVEN = [{"name": name, "inputs": [tensor(picture / 256)],      # as x: levels are floor(255 x)
         "output": tensor(T.equalize(torch.tensor(numpy.floor(picture / 256 * 255 + 0.001)).to(torch.uint8)).double() / 255)}
        for name, picture in (("equalize_all", many), ("equalize_gray", many[:1]))]
for case, picture in zip(EVEN, (many, many[:1])):       # what stays keeps its value, not its level
    stays = [k for k in range(len(picture)) if len(numpy.unique(picture[k])) == 1]
    values = numpy.array(case["output"]["values"]).reshape(picture.shape)
    values[stays] = picture[stays] / 256
    case["output"] = tensor(values)

# the loss of two targets by their shares is that of the mixed target
scores, own, other = numpy.round(draw.normal(size=(5, 4)) * 256) / 256, numpy.array([0, 3, 1, 2, 3]), numpy.array([3, 0, 3, 1, 2])
mixed = 0.3 * F.one_hot(torch.tensor(own), 4) + 0.7 * F.one_hot(torch.tensor(other), 4)
MIXED = [{"name": name, "inputs": [tensor(scores), tensor(own), tensor(other)],
          "output": tensor(F.cross_entropy(torch.tensor(scores), mixed.double(), label_smoothing=smoothing))}
         for name, smoothing in (("mixed_target", 0), ("mixed_smoothed", 0.1))]
print(json.dumps({"program": "image_functions.aml", "functions": [{"name": name, "inputs": [tensor(x)], "output": tensor(y),
                                                                            **({"tolerance64": 1e-6} if name.startswith("hue") else {})}     # it turns in f32
                                                                           for name, y in CASES.items()] + EVEN + MIXED}))

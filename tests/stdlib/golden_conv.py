#!/usr/bin/env python3
"""Writes golden_conv.json: the functions of conv_functions.aml, and ten steps of the model of conv_layers.aml, by PyTorch.

Needs torch and numpy. Usage: golden_conv.py > golden_conv.json
"""
import json

import numpy
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
draw = numpy.random.default_rng(11)


def single(array):
    """Rounded to multiples of 1/64: few digits, and the same numbers in f32, in f64 and in the file."""
    return numpy.round(numpy.asarray(array) * 64) / 64


def tensor(array):
    """As it stands in the file."""
    array = numpy.asarray(array)
    values = [float(f"{v:.13g}") for v in array.reshape(-1)]
    return {"shape": list(array.shape), "values": [int(v) if v == int(v) else v for v in values]}


cases = []


def case(name, f, *shapes, values=None):
    """The result and, for each input, the gradient of its sum with weights -3/4 to 3/4, in one line."""
    inputs = [single(draw.normal(size=s)) for s in shapes] if values is None else values
    tensors = [torch.tensor(i, requires_grad=True) for i in inputs]
    y = f(*tensors)
    shares = ((torch.arange(y.numel()) % 7 - 3) / 4).reshape(y.shape)
    slopes = torch.autograd.grad((y * shares).sum(), tensors)
    line = torch.cat([y.detach().reshape(-1)] + [s.reshape(-1) for s in slopes])
    cases.append({"name": name, "inputs": [tensor(i) for i in inputs], "output": tensor(line)})


def padded(low, high, f):
    """f of x with zeros around it: F.pad takes the last axis first."""
    pads = [n for pair in reversed(list(zip(low, high))) for n in pair]
    return lambda x, w, b: f(F.pad(x, pads), w, b)


def functions():
    case("conv1d_strided", lambda x, w, b: F.conv1d(x, w, b, stride=2, padding=2, dilation=2), (2, 2, 9), (3, 2, 3), (3,))
    case("conv1d_pairs", padded([3], [0], F.conv1d), (2, 2, 5), (2, 2, 4), (2,))
    case("conv2d_valid", F.conv2d, (2, 2, 5, 4), (3, 2, 3, 2), (3,))
    case("conv2d_same", lambda x, w, b: F.conv2d(x, w, b, padding="same"), (1, 2, 4, 5), (2, 2, 3, 3), (2,))
    case("conv2d_same_strided", padded([0, 1], [1, 1], lambda x, w, b: F.conv2d(x, w, b, stride=2)), (1, 2, 6, 5), (2, 2, 3, 3), (2,))
    case("conv2d_lists", lambda x, w, b: F.conv2d(x, w, b, stride=(1, 2), padding=(2, 1), dilation=(2, 1)), (1, 2, 4, 5), (2, 2, 3, 3), (2,))
    case("conv2d_grouped", lambda x, w, b: F.conv2d(x, w, b, padding=1, groups=2), (1, 4, 3, 3), (4, 2, 3, 3), (4,))
    case("conv2d_depthwise", lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1, groups=4), (1, 4, 5, 4), (4, 1, 3, 3), (4,))
    case("conv2d_multiplied", lambda x, w, b: F.conv2d(x, w, b, padding=1, groups=2), (1, 2, 3, 3), (4, 1, 3, 3), (4,))
    case("conv2d_point", lambda x, w, b: F.conv2d(x, w, b, stride=2), (2, 3, 4, 3), (2, 3, 1, 1), (2,))
    case("conv3d_of", lambda x, w, b: F.conv3d(x, w, b, stride=(1, 2, 1), padding=1), (1, 2, 3, 4, 3), (2, 2, 2, 3, 2), (2,))
    case("transposed1d", lambda x, w, b: F.conv_transpose1d(x, w, b, stride=3, padding=1, output_padding=1, dilation=2), (2, 2, 4), (2, 3, 3), (3,))
    case("transposed2d", lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1), (1, 2, 3, 2), (2, 3, 3, 3), (3,))
    case("transposed2d_grouped", lambda x, w, b: F.conv_transpose2d(x, w, b, stride=(2, 1), groups=2), (1, 4, 2, 3), (4, 1, 2, 3), (2,))
    case("transposed2d_same", lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2)[:, :, :6, :4], (1, 2, 3, 2), (2, 2, 3, 3), (2,))
    case("transposed3d", lambda x, w, b: F.conv_transpose3d(x, w, b, stride=2), (1, 2, 2, 2, 2), (2, 2, 2, 2, 1), (2,))
    case("max_pool1d_of", lambda x: F.max_pool1d(x, 3, stride=2, padding=1, dilation=2), (2, 2, 9))
    case("max_pool2d_of", lambda x: F.max_pool2d(x, 2), (2, 2, 5, 4))
    case("max_pool2d_padded", lambda x: F.max_pool2d(x, 3, stride=(2, 1), padding=1), (1, 2, 5, 4))
    case("max_pool2d_ties", lambda x: F.max_pool2d(x, (2, 3), stride=1), values=[draw.integers(0, 3, size=(1, 2, 5, 6)).astype(float)])
    case("max_pool2d_same", lambda x: F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-99.0), 2), (1, 2, 5, 3))
    case("max_pool3d_of", lambda x: F.max_pool3d(x, 2), (1, 2, 4, 2, 3))
    case("avg_pool1d_of", lambda x: F.avg_pool1d(x, 3, stride=2, padding=1), (2, 2, 7))
    case("avg_pool2d_of", lambda x: F.avg_pool2d(x, 2, stride=(1, 2), padding=1), (1, 2, 3, 4))
    case("avg_pool2d_inside", lambda x: F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False), (1, 2, 5, 4))
    case("avg_pool3d_of", lambda x: F.avg_pool3d(x, 2), (1, 2, 2, 4, 3))
    case("adaptive_avg_of", lambda x: F.adaptive_avg_pool2d(x, (3, 4)), (1, 2, 7, 6))
    case("adaptive_avg3d_of", lambda x: F.adaptive_avg_pool3d(x, (2, 1, 2)), (1, 2, 3, 2, 4))
    case("adaptive_max_of", lambda x: F.adaptive_max_pool2d(x, (3, 4)), values=[draw.permutation(84).reshape(1, 2, 7, 6) / 16])
    case("global_avg_of", lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1), (2, 3, 3, 2))
    case("nearest_of", lambda x: F.interpolate(x, scale_factor=(2, 3), mode="nearest"), (1, 2, 2, 3))
    case("bilinear_of", lambda x: F.interpolate(x, scale_factor=(2, 3), mode="bilinear"), (1, 2, 3, 3))
    case("linear_of", lambda x: F.interpolate(x, scale_factor=4, mode="linear"), (1, 2, 4))
    case("shuffled", lambda x: F.pixel_shuffle(x, 2), (1, 8, 2, 3))
    case("unshuffled", lambda x: F.pixel_unshuffle(x, 2), (1, 2, 4, 6))


class Layers(torch.nn.Module):
    def __init__(self):
        super().__init__()
        nn = torch.nn
        self.wave, self.plane, self.norm = nn.Conv1d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2, bias=False), nn.BatchNorm2d(4)
        self.own, self.depth, self.point = nn.Conv2d(4, 4, (2, 3), groups=4), nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.Conv2d(4, 6, 1)
        self.back, self.room = nn.ConvTranspose2d(6, 3, 4, stride=2, padding=1, groups=3), nn.Conv3d(1, 2, (1, 3, 3))
        self.head = nn.Linear(12, 4)

    def forward(self, x):
        a = self.plane(F.pad(self.wave(x[:, None]).reshape(-1, 4, 6, 6), (0, 1, 0, 1)))
        a = F.relu(self.point(self.depth(self.own(F.pad(self.norm(a), (1, 1, 1, 0))))))
        a = self.room(self.back(F.max_pool2d(a, 2, stride=1))[:, None])
        return self.head(F.adaptive_avg_pool3d(a, (3, 1, 2)).flatten(1))

    def named(self):
        """name in AML: (parameter, whether it is transposed)"""
        names = {"norm.weight": "norm.scale", "norm.bias": "norm.shift", "norm.running_mean": "norm.running_mean",
                 "norm.running_var": "norm.running_variance", "depth.weight": "mixed.depth.weight", "point.weight": "mixed.point.weight",
                 "point.bias": "mixed.point.bias"}
        found = {names.get(name, name): (p, name == "head.weight") for name, p in self.named_parameters()}
        return found | {names[f"norm.{name}"]: (p, False) for name, p in self.norm.named_buffers() if name != "num_batches_tracked"}


def shown(named):
    return {name: tensor((p.T if turned else p).detach()) for name, (p, turned) in named.items()}


def training():
    net = Layers()
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.tensor(single(draw.uniform(-0.7, 0.7, size=p.shape))))
        net.norm.weight.copy_(torch.tensor([1, 1.25, 0.75, 1.5]))
    start = shown(net.named())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    batches, losses = [], []
    for _ in range(10):
        x, y = single(draw.normal(size=(8, 36))), draw.integers(0, 4, size=8)
        loss = F.cross_entropy(net(torch.tensor(x)), torch.tensor(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        batches.append({"x": tensor(x), "y": tensor(y)})
        losses.append(float(loss.detach()))
    return {"program": "conv_layers.aml", "job": "layers", "start": start, "batches": batches, "losses": losses, "norms": [], "final": shown(net.named())}


functions()
print(json.dumps({"program": "conv_functions.aml", "functions": cases, "made with": {"torch": torch.__version__, "numpy": numpy.__version__},
                  "trainings": [training()]}, indent=None, separators=(",", ":")).replace('{"name"', '\n{"name"').replace('[{"program"', '[\n{"program"'))

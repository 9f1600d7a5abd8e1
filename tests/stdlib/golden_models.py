#!/usr/bin/env python3
"""Writes golden_models.json: some steps of the models of models.aml, made of PyTorch's own modules.

Needs torch and numpy; the tests only read the file that this makes. Usage: golden_models.py > golden_models.json
"""
import json

import numpy
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(3)
torch.set_default_dtype(torch.float64)
draw = numpy.random.default_rng(3)


def single(array):
    """Rounded to multiples of 1/256: few digits, and the same numbers in f32, in f64 and in the file."""
    return numpy.round(numpy.asarray(array) * 256) / 256


def tensor(array):
    """As it stands in the file."""
    array = numpy.asarray(array)
    values = [float(f"{v:.13g}") for v in array.reshape(-1)]
    return {"shape": list(array.shape), "values": [int(v) if v == int(v) else v for v in values]}


class Links:
    """Where AML's weights are in PyTorch's modules. One of a repeated layer has as many places as there are turns."""

    def __init__(self):
        self.at = {}

    def add(self, name, place, turned=False):
        self.at.setdefault(name, ([], turned))[0].append(place)

    def dense(self, name, module, first=0, last=None):
        """Rows first..last of a linear module."""
        self.add(name + ".weight", module.weight.data[first:last], turned=True)
        if module.bias is not None:
            self.add(name + ".bias", module.bias.data[first:last])

    def norm(self, name, module):
        self.add(name + ".scale", module.weight.data)
        self.add(name + ".shift", module.bias.data)
        if hasattr(module, "running_mean"):
            self.add(name + ".running_mean", module.running_mean)
            self.add(name + ".running_variance", module.running_var)

    def conv(self, name, module):
        self.add(name + ".weight", module.weight.data)
        if module.bias is not None:
            self.add(name + ".bias", module.bias.data)

    def attention(self, name, module, own):
        size = module.embed_dim
        rows = {"qkv": (0, 3 * size)} if own else {"query": (0, size), "key": (size, 2 * size), "value": (2 * size, 3 * size)}
        for part, (first, last) in rows.items():
            self.add(f"{name}.{part}.weight", module.in_proj_weight.data[first:last], turned=True)
            self.add(f"{name}.{part}.bias", module.in_proj_bias.data[first:last])
        self.dense(name + ".proj", module.out_proj)

    def block(self, name, layer):
        self.norm(name + ".norm1", layer.norm1)
        self.attention(name + ".att", layer.self_attn, True)
        self.norm(name + ".norm2", layer.norm2)
        if hasattr(layer, "multihead_attn"):
            self.attention(name + ".cross", layer.multihead_attn, False)
            self.norm(name + ".norm3", layer.norm3)
        self.dense(name + ".feed.up", layer.linear1)
        self.dense(name + ".feed.down", layer.linear2)

    def unit(self, name, module):
        """A convolution and its BatchNorm."""
        self.conv(name + ".conv", module[0])
        self.norm(name + ".even", module[1])

    def start(self):
        """New numbers for everything that is learned."""
        for name, (places, _) in self.at.items():
            for place in places:
                if "running" not in name:
                    scale = 1 / numpy.sqrt(max(place.numel() / len(place), 1)) if place.dim() > 1 else 0.2
                    middle = 1 if name.endswith("scale") else 0
                    place.copy_(torch.tensor(single(middle + scale * draw.normal(size=tuple(place.shape)))))

    def values(self):
        read = {}
        for name, (places, turned) in self.at.items():
            parts = [place.T if turned else place for place in places]
            read[name] = tensor(torch.stack(parts) if "#" in name else parts[0])
        return read


def batches(count, inputs):
    return [(inputs(), draw.integers(0, 3, size=6)) for _ in range(count)]


words = batches(10, lambda: draw.integers(0, 9, size=(6, 5)))
images = batches(4, lambda: numpy.round(draw.normal(size=(6, 2, 8, 8)) * 16) / 16)


def training(job, module, links, inputs, shown=lambda y: y):
    links.start()
    start, losses = links.values(), []
    module.train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01 if inputs is words else 0.1)
    for x, y in inputs:
        loss = F.cross_entropy(shown(module(torch.tensor(x))), torch.tensor(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return {"program": "models.aml", "job": job, "start": start, "batches": "words" if inputs is words else "images", "losses": losses, "norms": [], "final": links.values()}


class Sequences(nn.Module):
    def __init__(self):
        super().__init__()
        last = {"batch_first": True, "dropout": 0.0, "layer_norm_eps": 0.1}
        first = {**last, "norm_first": True}
        self.tok = nn.Embedding(9, 4)
        self.read = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6, activation="gelu", **first), 2, nn.LayerNorm(4, eps=0.1), enable_nested_tensor=False)
        self.tell = nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 6, activation="gelu", **first), 2, nn.LayerNorm(4, eps=0.1))
        self.late = nn.TransformerEncoderLayer(4, 2, 6, activation="relu", **last)
        self.last = nn.TransformerDecoderLayer(4, 2, 6, activation="gelu", **last)
        self.head = nn.Linear(4, 3)

    def forward(self, ids):
        x = self.tok(ids)
        hidden = torch.arange(5)[:, None] + torch.arange(5) == 4
        later = torch.triu(torch.ones(3, 3, dtype=torch.bool), 1)
        context = self.read(x, mask=hidden)
        y = self.tell(x[:, :3], context, tgt_mask=later, memory_mask=hidden[:3])
        return self.head(self.last(self.late(y), context, tgt_mask=later).mean(1))

    def links(self):
        links = Links()
        links.add("tok.table", self.tok.weight.data)
        for name, stack in (("read", self.read), ("tell", self.tell)):
            for layer in stack.layers:
                links.block(name + ".body.#", layer)
            links.norm(name + ".norm", stack.norm)
        links.block("late", self.late)
        links.block("last", self.last)
        links.dense("head", self.head)
        return links


def unit(before, channels, kernel=3, stride=1, groups=1):
    return nn.Sequential(nn.Conv2d(before, channels, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(channels))


class Residual(nn.Module):
    """relu(body(x) + skip(x)); the activation stands between the units of the body."""

    def __init__(self, units, skip=None, last=F.relu, between=F.relu):
        super().__init__()
        self.units, self.skip, self.last, self.between = nn.ModuleList(units), skip, last, between

    def forward(self, x):
        y = x
        for i, own in enumerate(self.units):
            y = own(y) if i == len(self.units) - 1 else self.between(own(y))
        if self.skip is False:
            return y
        return self.last(y + (x if self.skip is None else self.skip(x)))

    def link(self, links, name, names):
        for own, short in zip(self.units, names):
            links.unit(f"{name}.{short}", own)
        if self.skip:
            links.unit(name + ".skip", self.skip)


class Pooled(nn.Module):
    """A stem, blocks, the mean over positions, a dense layer."""

    def __init__(self, stem, blocks, width):
        super().__init__()
        self.stem, self.blocks, self.head = stem, nn.ModuleList(blocks), nn.Linear(width, 3)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


def residual():
    net = Pooled(nn.Sequential(unit(2, 2), nn.ReLU()),
                 [Residual([unit(2, 2), unit(2, 2)]), Residual([unit(2, 2), unit(2, 2)]), Residual([unit(2, 4, stride=2), unit(4, 4)], unit(2, 4, 1, 2))], 4)
    links = Links()
    links.unit("stem", net.stem[0])
    for block, name in zip(net.blocks, ("body.0.0", "body.0.1", "body.1.0")):
        block.link(links, name, "ab")
    links.dense("head", net.head)
    return training("residual", net, links, images)


def bottleneck():
    net = Pooled(nn.Sequential(unit(2, 2, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)), [Residual([unit(2, 2, 1), unit(2, 2), unit(2, 8, 1)], unit(2, 8, 1))], 8)
    links = Links()
    links.unit("stem.0", net.stem[0])
    net.blocks[0].link(links, "body.0.0", "abc")
    links.dense("head", net.head)
    return training("bottleneck", net, links, images)


def mobile():
    same = lambda x: x
    first = Residual([unit(2, 6, 1), unit(6, 6, groups=6), unit(6, 2, 1)], last=same, between=F.relu6)
    second = Residual([unit(2, 4, 1), unit(4, 4, stride=2, groups=4), unit(4, 3, 1)], skip=False, between=F.relu6)
    net, links = nn.Sequential(first, second, nn.AdaptiveAvgPool2d(1), nn.Flatten()), Links()
    for i, block in enumerate((first, second)):
        block.link(links, str(i), ("widen", "filter", "narrow"))
    return training("mobile", net, links, images)


class Unet(nn.Module):
    def __init__(self):
        super().__init__()
        self.before, self.below, self.after = ([unit(a, b), unit(b, b)] for a, b in ((2, 2), (2, 4), (4, 2)))
        self.parts = nn.ModuleList(self.before + self.below + self.after)
        self.up, self.head = nn.ConvTranspose2d(4, 2, 2, 2), nn.Conv2d(2, 3, 1)

    def forward(self, x):
        def both(units, x):
            for own in units:
                x = F.relu(own(x))
            return x
        kept = both(self.before, x)
        up = self.up(both(self.below, F.max_pool2d(kept, 2)))
        return self.head(both(self.after, torch.cat([kept, up], 1)))

    def links(self):
        links = Links()
        for name in ("before", "below", "after"):
            for i, own in enumerate(getattr(self, name)):
                links.unit(f"body.{name}.{i}", own)
        links.conv("body.up", self.up)
        links.conv("head", self.head)
        return links


class Vit(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Conv2d(2, 4, 4, 4), nn.Linear(4, 3)
        self.first, self.positions = nn.Parameter(torch.zeros(1, 4)), nn.Parameter(torch.zeros(5, 4))
        self.body = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6, activation="gelu", batch_first=True, dropout=0.0, norm_first=True,
                                                                     layer_norm_eps=1e-6), 2, nn.LayerNorm(4, eps=1e-6), enable_nested_tensor=False)

    def forward(self, x):
        squares = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(len(x), 1, 4), squares], 1) + self.positions
        return self.head(self.body(x)[:, 0])

    def links(self):
        links = Links()
        links.add("embed.weight", self.embed.weight.data.view(4, 32), turned=True)
        links.add("embed.bias", self.embed.bias.data)
        links.add("class_token", self.first.data)
        links.add("positions", self.positions.data)
        for layer in self.body.layers:
            links.block("body.body.#", layer)
        links.norm("body.norm", self.body.norm)
        links.dense("head", self.head)
        return links


sequences, unet, vit = Sequences(), Unet(), Vit()
cases = [
    training("sequences", sequences, sequences.links(), words), residual(), bottleneck(), mobile(),
    training("pixels", unet, unet.links(), images, shown=lambda y: y.mean((2, 3))), training("squares", vit, vit.links(), images),
]
print(json.dumps({"made with": {"torch": torch.__version__, "numpy": numpy.__version__}, "program": "models.aml",
                  **{name: [{"x": tensor(x), "y": tensor(y)} for x, y in rows] for name, rows in (("words", words), ("images", images))},
                  "trainings": cases},
                 separators=(",", ":")).replace('{"program"', '\n{"program"'))

#!/usr/bin/env python3
"""Writes golden_recurrent.json: ten steps with PyTorch of the recurrent models of recurrent.aml, and its CTC.

Needs torch and numpy. Usage: golden_recurrent.py > golden_recurrent.json
"""
import json

import numpy
import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

torch.set_default_dtype(torch.float64)
draw = numpy.random.default_rng(7)


def single(array):
    """Rounded to multiples of 1/256: few digits, and the same numbers in f32, in f64 and in the file."""
    return numpy.round(numpy.asarray(array) * 256) / 256


def tensor(array):
    """As it stands in the file."""
    array = numpy.asarray(array)
    values = [float(f"{v:.13g}") for v in array.reshape(-1)]
    return {"shape": list(array.shape), "values": [int(v) if v == int(v) else v for v in values]}


class Steps(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words = torch.nn.LSTM(3, 3, num_layers=2, bidirectional=True, batch_first=True)
        self.more = torch.nn.GRU(6, 3, num_layers=2, batch_first=True)
        self.both = torch.nn.GRU(3, 2, bidirectional=True, bias=False, batch_first=True)
        self.plain = torch.nn.RNN(4, 3, nonlinearity="relu", batch_first=True)
        self.head = torch.nn.Linear(12 + 3 + 3, 4)

    def forward(self, x):
        lengths = 1 + torch.floor(torch.clamp(x[:, 0].abs() * 2, max=3)).long()

        def packed(layer, y):
            ys, last = layer(pack_padded_sequence(y, lengths, batch_first=True, enforce_sorted=False))
            return pad_packed_sequence(ys, batch_first=True, total_length=4)[0], last
        ys, (h, c) = packed(self.words, x.reshape(-1, 4, 3))
        zs, ends = self.more(ys, c[1:3].contiguous())
        ws = self.plain(packed(self.both, zs)[0])[0].flatten(1)
        return self.head(torch.cat([ws, ends[1], h[3]], 1))

    def named(self):
        """name in AML: (parameter, whether it is transposed)"""
        kinds = {"weight_ih": "input_weight", "weight_hh": "hidden_weight", "bias_ih": "input_bias", "bias_hh": "hidden_bias"}
        found = {}
        for name, p in self.named_parameters():
            layer, rest = name.split(".")
            if layer == "head":
                found[name] = (p, rest == "weight")
                continue
            kind, where = rest.split("_l")
            direction = "back" if where.endswith("_reverse") else "ahead"
            found[f"{layer}.{direction}.{where.split('_')[0]}.{kinds[kind]}"] = (p, p.ndim == 2)
        return found


def shown(named):
    return {name: tensor((p.T if turned else p).detach()) for name, (p, turned) in named.items()}


def training():
    net = Steps()
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.tensor(single(draw.uniform(-0.7, 0.7, size=p.shape))))
    start = shown(net.named())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    batches, losses = [], []
    for _ in range(10):
        x, y = single(draw.normal(size=(8, 12))), draw.integers(0, 4, size=8)
        loss = F.cross_entropy(net(torch.tensor(x)), torch.tensor(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        batches.append({"x": tensor(x), "y": tensor(y)})
        losses.append(float(loss.detach()))
    first = torch.tensor(batches[0]["x"]["values"]).to(torch.float64).reshape(8, 12)
    return {"program": "recurrent.aml", "job": "steps", "start": start, "batches": batches, "losses": losses, "norms": [],
            "final": shown(net.named()), "predicted": tensor(torch.softmax(net(first), 1).detach())}


def ctc():
    """Values and slopes: all steps and labels; then of several lengths, with repeated labels and another blank."""
    x, w = single(draw.normal(size=(3, 7, 5)) * 2), [3, 1, 2]
    y, z = numpy.array([[1, 2, 2], [4, 1, 3], [3, 3, 1]]), numpy.array([[0, 0, 2], [4, 1, 1], [2, 4, 1]])
    steps = [7, 4, 6]
    cases = []

    def case(name, labels, blank, lengths, times):
        scores = torch.tensor(x, requires_grad=True)
        loss = F.ctc_loss(F.log_softmax(scores, 2).transpose(0, 1), torch.tensor(labels), times, lengths, blank=blank)
        slope, = torch.autograd.grad(loss, scores)
        inputs = [tensor(x), tensor(labels)] + ([tensor(lengths), tensor(times)] if lengths is w else [])
        cases.append({"name": name + "_of", "inputs": inputs, "output": tensor(loss.detach())})
        cases.append({"name": name + "_slope", "inputs": inputs, "output": tensor(slope)})
    case("ctc", y, 0, [3] * 3, [7] * 3)
    case("ctc_lengths", z, 3, w, steps)
    return cases


print(json.dumps({"program": "recurrent_functions.aml", "functions": ctc(), "made with": {"torch": torch.__version__, "numpy": numpy.__version__}, "trainings": [training()]},
                 indent=None, separators=(",", ":")).replace('{"name"', '\n{"name"').replace('[{"program"', '[\n{"program"'))

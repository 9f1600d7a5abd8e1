#!/usr/bin/env python3
"""Writes golden_training.json: ten steps with PyTorch of what training.aml trains.

Averages of weights, optimizers made of others, clipping, groups, penalties, accumulation and plateau.
Needs torch and numpy. Usage: golden_training.py > golden_training.json
"""
import json

import numpy
import torch
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

torch.set_default_dtype(torch.float64)
draw = numpy.random.default_rng(5)
NAMES = {"up.weight": (3, 5), "up.bias": (5,), "norm.scale": (5,), "norm.shift": (5,), "head.weight": (5, 4), "head.bias": (4,)}


def single(array):
    """Rounded to multiples of 1/256: few digits, and the same numbers in f32, in f64 and in the file."""
    return numpy.round(numpy.asarray(array) * 256) / 256


def tensor(array):
    """As it stands in the file."""
    array = numpy.asarray(array)
    values = [float(f"{v:.13g}") for v in array.reshape(-1)]
    return {"shape": list(array.shape), "values": [int(v) if v == int(v) else v for v in values]}


class Net(torch.nn.Module):
    def __init__(self, start):
        super().__init__()
        self.keys = list(start)
        self.p = torch.nn.ParameterList([torch.nn.Parameter(torch.tensor(v)) for v in start.values()])

    def named(self):
        return dict(zip(self.keys, self.p))

    def forward(self, x):
        p = self.named()
        y = torch.tanh(x @ p["up.weight"] + p["up.bias"])
        return F.layer_norm(y, [5], p["norm.scale"], p["norm.shift"]) @ p["head.weight"] + p["head.bias"]


def sgd(net, **more):
    return torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, **more)


def length(net):
    return torch.sqrt(sum((p.grad ** 2).sum() for p in net.parameters()))


class Tied(Net):
    def forward(self, x):
        p = self.named()
        y = torch.tanh(x @ p["up.weight"] + p["up.bias"]) @ p["up.weight"].T + p["down.bias"]
        return y @ p["head.weight"] + p["head.bias"]


def training(job, make=sgd, after=None, slopes=None, penalty=None, averages=None, measured=None, scheduler=None, model=Net, names=NAMES):
    """`after(net, step)`: what follows a step; `averages`: an AveragedModel's maker, and the steps at which it is updated."""
    start = {name: single(draw.normal(size=shape) * 0.5 + (name == "norm.scale")) for name, shape in names.items()}
    net = model(start)
    optimizer = make(net)
    plateau = scheduler(optimizer) if scheduler else None
    average = averages[0](net) if averages else None
    if job == "averaged":
        average.update_parameters(net)      # the first update copies: averages begin as the first weights
    batches, losses, norms = [], [], []
    for step in range(10):
        x, y = single(draw.normal(size=(8, 3))), draw.integers(0, 4, size=8)
        loss = F.cross_entropy(net(torch.tensor(x)), torch.tensor(y))
        for p in net.parameters():
            p.grad = None
        (loss + (penalty(net) if penalty else 0)).backward()
        if slopes:
            norms.append(float(length(net)))
            slopes(net)
        optimizer.step()
        if after:
            after(net, step)
        if average and averages[1](step):
            average.update_parameters(net)
        if plateau:
            plateau.step(measured[step])
        batches.append({"x": tensor(x), "y": tensor(y)})
        losses.append(float(loss.detach()))
    kept = average.module.named() if average else {}
    final = {name: tensor(kept.get(name, p).detach()) for name, p in net.named().items()}
    final.update({name + ".raw": tensor(net.named()[name].detach()) for name in kept})
    begin = {name: tensor(value) for name, value in start.items()}
    begin.update({name + ".raw": tensor(start[name]) for name in kept})
    # a slow copy begins as the weight does
    begin.update({name + ".slow": tensor(start[name]) for name in start if job == "looks_ahead"})
    case = {"program": "training.aml", "job": job, "start": begin, "batches": batches, "losses": losses, "norms": norms, "final": final}
    return {**case, "measured": measured} if measured else case


def scaled(net, unit):
    """Adaptive clipping as in arXiv:2102.06171, equation 3, units as the library has them: columns of [inputs, outputs]."""
    for p in net.parameters():
        axes = [0]
        weight = torch.clamp(torch.sqrt((p.detach() ** 2).sum(axes, keepdim=True)), min=1e-3)
        slope = torch.sqrt((p.grad ** 2).sum(axes, keepdim=True))
        p.grad *= torch.where(slope > unit * weight, unit * weight / slope, 1.0)


def looking_ahead():
    slow = {}

    def after(net, step):
        with torch.no_grad():
            for name, p in net.named().items():
                if (step + 1) % 4 == 0:
                    slow[name] += 0.6 * (p - slow[name])
                    p.copy_(slow[name])

    def make(net):
        slow.update({name: p.detach().clone() for name, p in net.named().items()})
        return sgd(net)
    return make, after


def groups(net):
    p = net.named()
    return torch.optim.SGD([
        {"params": [p["up.bias"], p["head.bias"]], "lr": 0.2}, {"params": [p["head.weight"]], "lr": 0.05, "weight_decay": 0.1},
        {"params": [p["up.weight"]], "lr": 0.1, "momentum": 0.9},
    ], lr=0.1)


def maml():
    """Gradients through two inner steps, as in maml.aml."""
    shapes = {"m.up.weight": (1, 6), "m.up.bias": (6,), "m.down.weight": (6, 1), "m.down.bias": (1,)}
    start = {name: single(draw.normal(size=shape) * 0.7) for name, shape in shapes.items()}
    p = {name: torch.tensor(value, requires_grad=True) for name, value in start.items()}

    def apply(w, x):
        return torch.tanh(x @ w["m.up.weight"] + w["m.up.bias"]) @ w["m.down.weight"] + w["m.down.bias"]

    def task_loss(task):
        sx, sy, qx, qy = (part[:, None] for part in task.reshape(4, 5))
        w = p
        for _ in range(2):
            slopes = torch.autograd.grad(((apply(w, sx) - sy) ** 2).mean(), list(w.values()), create_graph=True)
            w = {name: value - 0.1 * slope for (name, value), slope in zip(w.items(), slopes)}
        return ((apply(w, qx) - qy) ** 2).mean()

    batches, losses = [], []
    for _ in range(10):
        high, shift = draw.uniform(0.5, 3, size=(4, 1)), draw.uniform(0, 3, size=(4, 1))
        sx, qx = draw.uniform(-3, 3, size=(2, 4, 5))
        x = single(numpy.concatenate([sx, high * numpy.sin(sx + shift), qx, high * numpy.sin(qx + shift)], 1))
        loss = torch.stack([task_loss(torch.tensor(task)) for task in x]).mean()
        slopes = torch.autograd.grad(loss, list(p.values()))
        with torch.no_grad():
            for value, slope in zip(p.values(), slopes):
                value -= 0.05 * slope
        batches.append({"x": tensor(x)})
        losses.append(float(loss.detach()))
    return {"program": "maml.aml", "job": "maml", "start": {n: tensor(v) for n, v in start.items()}, "batches": batches, "losses": losses,
            "norms": [], "final": {n: tensor(v.detach()) for n, v in p.items()}}


def everything():
    look, after = looking_ahead()

    def shortened(net):     # clip_grad_norm_ divides by the length + 1e-6
        share = min(0.4 / float(length(net)), 1)
        for p in net.parameters():
            p.grad *= share
    return [
        training("averaged", averages=(lambda n: AveragedModel(n, multi_avg_fn=get_ema_multi_avg_fn(0.9)), lambda step: True)),
        training("averaged_late", averages=(AveragedModel, lambda step: step in (6, 8))),
        training("looks_ahead", look, after),
        training("clipped_norm", slopes=shortened),
        training("clipped_value", slopes=lambda n: torch.nn.utils.clip_grad_value_(n.parameters(), 0.05)),
        training("clipped_units", slopes=lambda n: scaled(n, 0.05)),
        training("grouped", groups),
        training("with_l1", penalty=lambda n: 0.01 * sum(p.abs().sum() for p in n.parameters() if p.ndim > 1)),
        training("with_l2", lambda n: torch.optim.SGD(n.parameters(), lr=0.1), penalty=lambda n: 0.05 * sum((p ** 2).sum() for p in n.parameters() if p.ndim > 1)),
        training("in_parts", penalty=lambda n: 0.01 * sum(p.abs().sum() for p in n.parameters() if p.ndim > 1)),
        maml(),
        training("tied", model=Tied, names={"up.weight": (3, 5), "up.bias": (5,), "down.bias": (3,), "head.weight": (3, 4), "head.bias": (4,)}),
        training("frozen", lambda n: torch.optim.AdamW([n.named()[k] for k in ("norm.scale", "head.weight", "head.bias")], lr=0.05, weight_decay=0)),
        training("plateau_job", lambda n: torch.optim.SGD(n.parameters(), lr=0.4), measured=[1.0, 0.9, 0.95, 0.899999, 0.91, 0.92, 0.93, 0.5, 0.6, 0.7],
                 scheduler=lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, factor=0.3, patience=1, cooldown=1, min_lr=0.01)),
    ]



print(json.dumps({"made with": {"torch": torch.__version__, "numpy": numpy.__version__}, "trainings": everything()},
                 indent=None, separators=(",", ":")).replace('{"program"', '\n{"program"'))

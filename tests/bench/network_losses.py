#!/usr/bin/env python3
"""The losses and updates that a training of networks/*.aml must have, by PyTorch in f64: what is timed was checked before.

Usage: network_losses.py BATCH.npz WORKLOAD [ARGUMENT ...]     a workload of network_models.py with its arguments
Writes one batch, under the names of the dataset's fields, and prints a line of JSON with the versions. Then, for each line
{"weights": a file of safetensors, "rates": [...], "after": another} on standard input, it trains from these weights, on that batch alone, a step for
each rate, and prints a line of JSON: the losses, and how far the weights in the second file are from what was reached, of how far these have gone
(roots of sums of squares).
"""
import json
import sys

import numpy as np

from peer_common import tensors

import torch
import torch.nn.functional as F
from torch import nn

from network_models import WORKLOADS

# How a layer's parameter is called in AML, and whether it is the other way round there.
NORM = {"weight": ("scale", False), "bias": ("shift", False)}
NAMES = {
    nn.Linear: {"weight": ("weight", True), "bias": ("bias", False)},
    nn.Conv2d: {"weight": ("weight", False), "bias": ("bias", False)},
    nn.BatchNorm2d: NORM,
    nn.LayerNorm: NORM,
    nn.Embedding: {"weight": ("table", False)},
    nn.LSTM: {f"{kind}_{part}_l0": (f"ahead.0.{whole}_{kind}", kind == "weight") for kind in ("weight", "bias") for part, whole in (("ih", "input"), ("hh", "hidden"))},
}


def stored_for(model, path):
    """[(parameter, what AML stored for it)], each exactly once."""
    found = []
    stored = {name: value for name, value in tensors(path).items() if not name.endswith((".running_mean", ".running_variance"))}
    for place, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            own, turned = NAMES[type(module)][name]
            value = stored.pop(f"{place}.{own}")
            value = value.T if turned else value
            if value.shape != parameter.shape:
                sys.exit(f"{place}.{name} is {tuple(parameter.shape)}, AML's {value.shape}")
            found.append((parameter, torch.from_numpy(value.astype(np.float64))))
    if stored:
        sys.exit(f"the model has no {', '.join(stored)}")
    return found


def trained(workload, fields, weights, rates, after):
    model = workload.model.double()
    begin = stored_for(model, weights)
    with torch.no_grad():
        for parameter, value in begin:
            parameter.copy_(value)
    optimizer = workload.optimizer(False)
    x, y = workload.batch({name: value.double() if value.is_floating_point() else value for name, value in fields.items()})
    found = []
    for rate in rates:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if workload.clip:
            nn.utils.clip_grad_norm_(model.parameters(), workload.clip)
        optimizer.step()
        found.append(loss.item())
    with torch.no_grad():
        off = sum(((end - parameter) ** 2).sum().item() for parameter, end in stored_for(model, after))
        gone = sum(((parameter - start) ** 2).sum().item() for parameter, start in begin)
    return {"losses": found, "update_error": (off / gone) ** 0.5}


def main():
    path, name, *arguments = sys.argv[1:]
    torch.manual_seed(1)
    workload = WORKLOADS[name](*map(int, arguments))
    fields = workload.fields()
    np.savez(path, **{name: value.numpy() for name, value in fields.items()})
    print(json.dumps({"torch": torch.__version__}), flush=True)
    for line in sys.stdin:
        print(json.dumps(trained(workload, fields, **json.loads(line))), flush=True)


main()

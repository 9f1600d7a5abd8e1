#!/usr/bin/env python3
"""Prints how many seconds torch.compile needs for the model of compiling.py.

Usage: compile_peer.py BLOCKS
The first compiled forward and backward pass, less an eager one.
"""
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

from compiling import width

widths = [64] + [width(i) for i in range(int(sys.argv[1]))]
layers = []
for a, b in zip(widths, widths[1:]):
    layers += [nn.LayerNorm(a), nn.Linear(a, b), nn.Tanh()]
model = nn.Sequential(*layers, nn.Linear(widths[-1], 10))
x, y = torch.rand(16, 64), torch.randint(0, 10, (16,))


def step(call):
    start = time.monotonic()
    F.cross_entropy(call(x), y).backward()
    return time.monotonic() - start


step(model)
eager = step(model)
print(step(torch.compile(model)) - eager)

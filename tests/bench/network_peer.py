#!/usr/bin/env python3
"""The PyTorch side of the benchmark of networks, in a process of its own, driven by run.py over a pipe.

Usage: network_peer.py WORKLOAD torch-eager|torch-compile THREADS f32|bf16
Prints one JSON line with the versions when it is ready; then, for each line with a number on standard input, runs that many
training steps and prints the seconds that passed. The steps are those of networks/*.aml (network_models.py), with random data that are
in memory.
"""
import json
import os
import sys
import time

from peer_common import torch_with

NAME, MODE, THREADS, HALF = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "bf16"
torch = torch_with(THREADS)
import torch.nn.functional as F
from torch import nn

from network_models import WORKLOADS


def fashion():
    """What gives batches of examples/fashion: of the pictures, cropped and mirrored at random."""
    import gzip
    import pathlib

    import numpy as np
    folder = pathlib.Path(os.environ["AML_DATA"]) / "data/fashion-mnist"
    pixels = torch.from_numpy(np.frombuffer(gzip.open(folder / "train-images-idx3-ubyte.gz").read(), np.uint8, offset=16).copy()).view(-1, 28, 28)
    labels = torch.from_numpy(np.frombuffer(gzip.open(folder / "train-labels-idx1-ubyte.gz").read(), np.uint8, offset=8).copy()).long()
    order = torch.randperm(54000)
    place = 0

    def made(x, shift, mirror):
        x = F.pad((x.float() / 255 - 0.286) / 0.353, (2, 2, 2, 2), value=-0.286 / 0.353)
        rows, columns = shift[:, :1] + torch.arange(28), shift[:, 1:] + torch.arange(28)
        columns = torch.where(mirror, columns.flip(1), columns)
        return x[torch.arange(len(x))[:, None, None], rows[:, :, None], columns[:, None, :]][:, None]
    if MODE == "torch-compile":
        made = torch.compile(made)

    def batch():
        nonlocal place, order
        if place + 128 > len(order):
            place, order = 0, torch.randperm(54000)
        chosen = order[place:place + 128]
        place += 128
        x = made(pixels[chosen], torch.randint(0, 5, (128, 2)), torch.rand(128, 1) < 0.5)
        return x.to(memory_format=torch.channels_last), labels[chosen]
    return batch


def main():
    # The training of examples/fashion smooths its labels, clips, and averages its weights.
    example = NAME == "fashion"
    workload = WORKLOADS["convolution" if example else NAME]()
    model, optimizer = workload.model, workload.optimizer(MODE == "torch-compile")
    batch = fashion() if example else lambda: workload.batch(workload.fields())
    smoothing, clip = (0.05, 1.0) if example else (0, workload.clip)
    average = [p.detach().clone() for p in model.parameters()] if example else []

    def forward_backward(x, y):
        with torch.autocast("cpu", torch.bfloat16, enabled=HALF):
            loss = F.cross_entropy(model(x).float(), y, label_smoothing=smoothing)
        loss.backward()

    def update():
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        with torch.no_grad():
            if average:
                torch._foreach_lerp_(average, list(model.parameters()), 0.001)
    # The loss with its gradients and the update are compiled each by itself, as PyTorch's manual recommends.
    if MODE == "torch-compile":
        forward_backward, update = torch.compile(forward_backward), torch.compile(update)
    x, y = batch()

    def run(steps):
        nonlocal x, y
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            if example:
                x, y = batch()
            forward_backward(x, y)
            update()
    run(3)
    print(json.dumps({"torch": torch.__version__}), flush=True)
    for line in sys.stdin:
        before = time.process_time() if THREADS == 1 else time.monotonic()
        run(int(line))
        print((time.process_time() if THREADS == 1 else time.monotonic()) - before, flush=True)


main()

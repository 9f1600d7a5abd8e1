#!/usr/bin/env python3
"""The PyTorch side of the benchmark of networks, in a process of its own, driven by run.py over a pipe.

Usage: network_peer.py WORKLOAD torch-eager|torch-compile THREADS f32|bf16
Prints one JSON line with the versions when it is ready; then, for each line with a number on standard input, runs that many
training steps and prints the seconds that passed. The steps are those of networks/*.aml: same shapes, loss and optimizer,
random data that are in memory.

With `losses` in place of torch-eager and WEIGHTS TOKENS RATES behind: the losses of the first steps of a GPT whose weights are that file
of safetensors, on the batch in that npy file, with these rates, as JSON.
"""
import json
import os
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

NAME, MODE, THREADS, HALF = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "bf16"
torch.set_num_threads(THREADS)


class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads, self.ln1, self.ln2 = heads, nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, d)
        x = x + self.proj(y)
        return x + self.down(F.gelu(self.up(self.ln2(x))))


class Gpt(nn.Module):
    def __init__(self, vocab, d, heads, depth, context):
        super().__init__()
        self.tok, self.pos, self.norm = nn.Embedding(vocab, d), nn.Embedding(context, d), nn.LayerNorm(d)
        self.body = nn.Sequential(*[Block(d, heads) for _ in range(depth)])

    def forward(self, ids):
        return (self.norm(self.body(self.tok(ids) + self.pos.weight)) @ self.tok.weight.T).flatten(0, 1)


def same(x, kernel, stride):
    total = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
    return F.pad(x, (total // 2, total - total // 2) * 2)


class ConvBn(nn.Module):
    def __init__(self, inputs, channels, stride=1):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(inputs, channels, 3, stride, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x):
        return F.relu(self.norm(self.conv(same(x, 3, self.conv.stride[0]))))


class Residual(nn.Module):
    def __init__(self, inputs, channels, stride):
        super().__init__()
        self.a, self.b = ConvBn(inputs, channels, stride), ConvBn(channels, channels)
        self.skip = nn.Identity() if stride == 1 else nn.Conv2d(inputs, channels, 1, stride)

    def forward(self, x):
        return F.relu(self.b(self.a(x)) + self.skip(x))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(ConvBn(1, 16), Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 64, 4))
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(F.dropout(self.body(x).mean((2, 3)), 0.3))


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(64, 256, batch_first=True), nn.Linear(256, 10)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(),
                                  nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10))

    def forward(self, x):
        return self.body(x)


class ResNet8(nn.Module):
    """networks/resnet8.aml; its convolutions have padding 1 at both sides."""

    class Block(nn.Module):
        def __init__(self, inputs, channels, stride):
            super().__init__()
            self.a = nn.Sequential(nn.Conv2d(inputs, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())
            self.b = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))
            self.skip = nn.Identity() if stride == 1 else nn.Conv2d(inputs, channels, 1, stride)

        def forward(self, x):
            return F.relu(self.b(self.a(x)) + self.skip(x))

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), self.Block(16, 16, 1), self.Block(16, 32, 2), self.Block(32, 64, 2))
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


def gpt(rows, vocab, width, heads, depth, context):
    model = Gpt(vocab, width, heads, depth, context)
    groups = [{"params": [p for p in model.parameters() if (p.dim() > 1) == decays], "weight_decay": 0.1 * decays} for decays in (True, False)]
    # A step that is compiled wants its rate as a tensor; else the fused one is quicker.
    options = {"lr": torch.tensor(1e-3), "capturable": True} if MODE == "torch-compile" else {"lr": 1e-3, "fused": True}
    return (model, torch.optim.AdamW(groups, betas=(0.9, 0.99), **options), 1.0,
            lambda: (torch.randint(0, vocab, (rows, context)), torch.randint(0, vocab, (rows * context,))))


def images(model, rows, *shape, momentum=0.9, **options):
    model = model.to(memory_format=torch.channels_last)
    batch = torch.rand(rows, *shape).to(memory_format=torch.channels_last)
    target = torch.randint(0, 10, (rows,))
    return model, torch.optim.SGD(model.parameters(), 1e-2, momentum, **options), None, lambda: (batch, target)


def fashion():
    """The training of examples/fashion: batches of the pictures, cropped and mirrored at random; labels smoothed; weights averaged."""
    import gzip
    import pathlib

    import numpy as np
    folder = pathlib.Path(os.environ["AML_DATA"]) / "data/fashion-mnist"
    pixels = torch.from_numpy(np.frombuffer(gzip.open(folder / "train-images-idx3-ubyte.gz").read(), np.uint8, offset=16).copy()).view(-1, 28, 28)
    labels = torch.from_numpy(np.frombuffer(gzip.open(folder / "train-labels-idx1-ubyte.gz").read(), np.uint8, offset=8).copy()).long()
    model, optimizer, _, _ = images(Net(), 128, 1, 28, 28, weight_decay=5e-4, nesterov=True)
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
    return model, optimizer, 1.0, batch


def workload(name):
    """The model, its optimizer, the norm that gradients are clipped to, and what gives a batch."""
    if name == "gpt":
        return gpt(32, 65, 128, 4, 4, 128)
    if name == "char-gpt":
        return gpt(8, 65, 384, 6, 6, 256)
    if name == "gpt2":
        return gpt(4, 50257, 768, 12, 12, 64)
    if name == "convolution":
        return images(Net(), 128, 1, 28, 28, weight_decay=5e-4, nesterov=True)
    if name == "lenet":
        return images(LeNet(), 128, 1, 28, 28)
    if name == "resnet8":
        return images(ResNet8(), 32, 3, 32, 32)
    if name == "fashion":
        return fashion()
    model = Lstm()
    batch = torch.rand(16, 64, 64), torch.randint(0, 10, (16,))
    return model, torch.optim.SGD(model.parameters(), 1e-2), None, lambda: batch


def named_weights(model, path):
    """Of each parameter the tensor that AML keeps it in; matrices of a layer are the other way round there."""
    from safetensors.torch import load_file
    stored = load_file(path)
    own = {"tok.weight": "tok.table", "pos.weight": "pos.table"}
    for name, parameter in model.named_parameters():
        layer, _, kind = name.rpartition(".")
        part = layer.rpartition(".")[2]
        kind = {"weight": "scale", "bias": "shift"}[kind] if part in ("ln1", "ln2", "norm") else kind
        place = f"{layer[:-len(part)]}att.{part}.{kind}" if part in ("qkv", "proj") else f"{layer}.{kind}"
        value = stored[own.get(name, place)]
        yield parameter, value if name in own or value.dim() < 2 else value.T


def losses(weights, tokens, rates):
    import numpy as np
    model, optimizer, clip, _ = workload(NAME)
    with torch.no_grad():
        for parameter, value in named_weights(model, weights):
            parameter.copy_(value)
    ids = torch.from_numpy(np.load(tokens))
    found = []
    for rate in json.loads(rates):
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(ids[:, :-1]), ids[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        found.append(loss.item())
    print(json.dumps(found))


def main():
    if MODE == "losses":
        losses(*sys.argv[5:8])
        return
    model, optimizer, clip, batch = workload(NAME)
    smoothing = 0.05 if NAME == "fashion" else 0
    average = [p.detach().clone() for p in model.parameters()] if NAME == "fashion" else []

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
            if NAME == "fashion":
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

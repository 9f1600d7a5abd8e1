#!/usr/bin/env python3
"""The PyTorch side of the benchmark of networks, in a process of its own, driven by run.py over a pipe.

Usage: network_peer.py WORKLOAD torch-eager|torch-compile THREADS
Prints one JSON line with the versions when it is ready; then, for each line with a number on standard input, runs that many
training steps and prints the seconds that passed. The steps are those of networks/*.aml: same shapes, loss and optimizer,
random data that are in memory.
"""
import json
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

NAME, MODE, THREADS = sys.argv[1], sys.argv[2], int(sys.argv[3])
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
    def __init__(self, vocab=65, d=128, heads=4, depth=4, context=128):
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


def workload(name):
    if name == "gpt":
        model = Gpt()
        return (model, torch.optim.AdamW(model.parameters(), 1e-3, (0.9, 0.99), weight_decay=0.1), 1.0,
                torch.randint(0, 65, (32, 128)), torch.randint(0, 65, (32 * 128,)))
    if name == "convolution":
        model = Net().to(memory_format=torch.channels_last)
        return (model, torch.optim.SGD(model.parameters(), 1e-2, 0.9, weight_decay=5e-4, nesterov=True), None,
                torch.rand(128, 1, 28, 28), torch.randint(0, 10, (128,)))
    model = Lstm()
    return model, torch.optim.SGD(model.parameters(), 1e-2), None, torch.rand(16, 64, 64), torch.randint(0, 10, (16,))


def main():
    model, optimizer, clip, x, y = workload(NAME)

    def forward_backward():
        F.cross_entropy(model(x), y).backward()

    def update():
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
    # The loss with its gradients and the update are compiled each by itself, as PyTorch's manual recommends.
    if MODE == "torch-compile":
        forward_backward, update = torch.compile(forward_backward), torch.compile(update)

    def run(steps):
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            forward_backward()
            update()
    run(3)
    print(json.dumps({"torch": torch.__version__}), flush=True)
    for line in sys.stdin:
        before = time.process_time() if THREADS == 1 else time.monotonic()
        run(int(line))
        print((time.process_time() if THREADS == 1 else time.monotonic()) - before, flush=True)


main()

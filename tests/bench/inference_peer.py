#!/usr/bin/env python3
"""A peer of the benchmark of predictions, in a process of its own, driven by inference.py over a pipe. One thread.

Usage: inference_peer.py NETWORK torch-compile|onnxruntime WEIGHTS.safetensors SAMPLE OUTPUT
The network is that of networks/deploy/NETWORK.aml with the weights of a training of it. Prints one JSON line when it is ready: versions, and
`errors`, how far AML's OUTPUT and the peer's own are from the network in f64, relative to its largest output. Then, for each line with
a number on standard input, it predicts so often and prints the seconds of processor time that this took.
"""
import json
import os
import sys
import tempfile
import time

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
import numpy as np

from peer_common import onnx_options, tensors, torch_with

torch = torch_with(1)
import torch.nn.functional as F
from torch import nn

torch.set_num_interop_threads(1)
torch.set_grad_enabled(False)
NETWORK, MODE, WEIGHTS, SAMPLE, OUTPUT = sys.argv[1:]


W = {}


class Dense(nn.Module):
    def __init__(self, path):
        super().__init__()
        self.weight, self.bias = nn.Parameter(W[path + ".weight"].T.contiguous()), nn.Parameter(W[path + ".bias"])

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)


def norm(path):
    made = nn.BatchNorm1d(len(W[path + ".scale"])) if NETWORK == "autoencoder" else nn.BatchNorm2d(len(W[path + ".scale"]))
    made.weight, made.bias = nn.Parameter(W[path + ".scale"]), nn.Parameter(W[path + ".shift"])
    made.running_mean, made.running_var = W[path + ".running_mean"], W[path + ".running_variance"]
    return made


class Conv(nn.Module):
    """A convolution, a norm if there is one, an activation; padding None: as much as gives ceil(size / stride)."""

    def __init__(self, path, stride=1, padding=None, groups=1, relu=True, even=None):
        super().__init__()
        weight, bias = W[path + ".weight"], W.get(path + ".bias")
        self.same = padding is None
        self.conv = nn.Conv2d(weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:]), stride, 0 if self.same else padding, groups=groups, bias=bias is not None)
        self.conv.weight = nn.Parameter(weight)
        if bias is not None:
            self.conv.bias = nn.Parameter(bias)
        self.norm = norm(even) if even else nn.Identity()
        self.act = nn.ReLU() if relu else nn.Identity()

    def forward(self, x):
        if self.same:
            pad = []
            for size, kernel, stride in zip(x.shape[:1:-1], self.conv.kernel_size[::-1], self.conv.stride[::-1]):
                total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
                pad += [total // 2, total - total // 2]
            x = F.pad(x, pad)
        return self.act(self.norm(self.conv(x)))


def unit(path, stride=1, groups=1, relu=True):
    """ConvUnit of std.models."""
    return Conv(path + ".conv", stride, (W[path + ".conv.weight"].shape[2] - 1) // 2, groups, relu, path + ".even")


class Head(nn.Module):
    def __init__(self, path="head"):
        super().__init__()
        self.dense = Dense(path)

    def forward(self, x):
        return self.dense(x.mean((2, 3))).softmax(1)


class Basic(nn.Module):
    def __init__(self, path, stride):
        super().__init__()
        self.a, self.b = unit(path + ".a", stride), unit(path + ".b", relu=False)
        self.skip = Conv(path + ".skip", stride, 0, relu=False) if stride != 1 else nn.Identity()

    def forward(self, x):
        return F.relu(self.b(self.a(x)) + self.skip(x))


class Bottleneck(nn.Module):
    def __init__(self, path, stride):
        super().__init__()
        self.a, self.b, self.c = unit(path + ".a"), unit(path + ".b", stride), unit(path + ".c", relu=False)
        self.skip = unit(path + ".skip", stride, relu=False) if path + ".skip.conv.weight" in W else nn.Identity()

    def forward(self, x):
        return F.relu(self.c(self.b(self.a(x))) + self.skip(x))


class Encoder(nn.Module):
    """A block of BERT: attention and feed-forward, each added and then normalised."""

    def __init__(self, path):
        super().__init__()
        self.qkv, self.proj, self.up, self.down = (Dense(path + p) for p in (".att.qkv", ".att.proj", ".feed.up", ".feed.down"))
        self.norms = nn.ModuleList(layer_norm(path + p) for p in (".norm1", ".norm2"))

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, 12, d // 12).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, d)
        x = self.norms[0](x + self.proj(y))
        return self.norms[1](x + self.down(F.gelu(self.up(x))))


def layer_norm(path):
    made = nn.LayerNorm(768, eps=1e-12)
    made.weight, made.bias = nn.Parameter(W[path + ".scale"]), nn.Parameter(W[path + ".shift"])
    return made


class Bert(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.places, self.kinds = (nn.Parameter(W[f"{p}.table"]) for p in ("words", "places", "kinds"))
        self.norm, self.body = layer_norm("norm"), nn.Sequential(*[Encoder(f"body.body.{i}") for i in range(12)])
        self.pool, self.head = Dense("pool"), Dense("head")

    def forward(self, ids):
        x = F.embedding(ids, self.words) + self.places[:ids.shape[1]] + self.kinds[0]
        return self.head(torch.tanh(self.pool(self.body(self.norm(x))[:, 0]))).softmax(1)


def network():
    """The model, and a sample of it."""
    if NETWORK == "mlp":
        return nn.Sequential(Dense("body.0"), nn.ReLU(), Dense("body.1"), nn.ReLU(), Dense("head"), nn.Softmax(1)), (1, 4)
    if NETWORK == "autoencoder":
        units = [part for i in range(9) for part in (Dense(f"body.{i}.dense"), norm(f"body.{i}.even"), nn.ReLU())]
        return nn.Sequential(*units, Dense("head")), (1, 640)
    if NETWORK == "ds_cnn":
        parts = [Conv("stem", 2, even="even")]
        for i in range(4):
            parts += [unit(f"body.{i}.depth", groups=64), unit(f"body.{i}.point")]
        return nn.Sequential(*parts, Head()), (1, 1, 49, 10)
    if NETWORK == "mobilenet":
        parts = [unit("stem", 2)]
        for i, stride in enumerate([1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]):
            parts += [unit(f"body.{i}.depth", stride, len(W[f"body.{i}.depth.conv.weight"])), unit(f"body.{i}.point")]
        return nn.Sequential(*parts, Head()), (1, 3, 96, 96)
    if NETWORK == "resnet8":
        return nn.Sequential(unit("stem"), Basic("body.0", 1), Basic("body.1", 2), Basic("body.2", 2), Head()), (1, 3, 32, 32)
    if NETWORK == "resnet50":
        parts = [unit("net.stem.0", 2), nn.MaxPool2d(3, 2, 1)]
        for stage, count in enumerate((3, 4, 6, 3)):
            parts += [Bottleneck(f"net.body.{stage}.{i}", 2 if stage and i == 0 else 1) for i in range(count)]
        return nn.Sequential(*parts, Head("net.head")), (1, 3, 224, 224)
    return Bert(), (1, 128)


def main():
    W.update({name: torch.from_numpy(value.copy()) for name, value in tensors(WEIGHTS).items()})
    model, shape = network()
    model.eval()
    sample = torch.from_numpy(np.fromfile(SAMPLE, np.int32 if NETWORK == "bert" else np.float32).reshape(shape))
    sample = sample.long() if NETWORK == "bert" else sample
    exact = model.double()(sample if NETWORK == "bert" else sample.double()).numpy().copy()
    model.float()
    versions = {"torch": torch.__version__}
    if MODE == "onnxruntime":
        import onnxruntime
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "net.onnx")
            torch.onnx.export(model, (sample,), path, input_names=["x"], output_names=["y"], dynamo=True, verbose=False)
            session = onnxruntime.InferenceSession(path, onnx_options(), providers=["CPUExecutionProvider"])
        # Bound once, so that a call copies nothing.
        binding = session.io_binding()
        output = np.zeros(exact.shape, np.float32)
        binding.bind_cpu_input("x", sample.numpy())
        value = onnxruntime.OrtValue.ortvalue_from_numpy(output)
        binding.bind_ortvalue_output("y", value)

        def predict():
            session.run_with_iobinding(binding)
            return value
        own = predict().numpy()
        versions = {"onnxruntime": onnxruntime.__version__}
    else:
        from torch._inductor import config
        config.freezing = True      # weights are constants: they are packed, norms are folded
        if len(shape) == 4:
            model, sample = model.to(memory_format=torch.channels_last), sample.to(memory_format=torch.channels_last)
        compiled = torch.compile(model)

        def predict():
            return compiled(sample)
        own = predict().numpy()
    largest = np.abs(exact).max()
    aml = np.fromfile(OUTPUT, np.float32).reshape(exact.shape)
    versions["errors"] = [float(np.abs(found - exact).max() / largest) for found in (aml, own)]
    for _ in range(3):
        predict()
    print(json.dumps(versions), flush=True)
    for line in sys.stdin:
        before = time.process_time()
        for _ in range(int(line)):
            predict()
        print(time.process_time() - before, flush=True)


main()

"""PyTorch's side of what AML trains in the benchmarks: same shapes, loss and optimizer. For the peers that are timed, and for reference losses.

Parts of a model have the names that they have in AML (networks/*.aml), so that weights are found by name.
"""
import torch
import torch.nn.functional as F
from torch import nn


class SelfAttention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, d))


class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.ln1, self.att, self.ln2 = nn.LayerNorm(d), SelfAttention(d, heads), nn.LayerNorm(d)
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        x = x + self.att(self.ln1(x))
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


class Fashion(nn.Module):
    """The network of fashion.aml and networks/convolution.aml; drop: the rate of its dropout."""

    def __init__(self, drop):
        super().__init__()
        self.drop, self.stem, self.head = drop, ConvBn(1, 16), nn.Linear(64, 10)
        self.body = nn.Sequential(Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 64, 4))

    def forward(self, x):
        return self.head(F.dropout(self.body(self.stem(x)).mean((2, 3)), self.drop))


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(64, 256, batch_first=True), nn.Linear(256, 10)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Module()
        self.net.conv1, self.net.conv2, self.net.pool = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5), nn.AvgPool2d(2)
        self.net.head = nn.ModuleList([nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)])

    def forward(self, x):
        net = self.net
        x = net.pool(torch.tanh(net.conv2(net.pool(torch.tanh(net.conv1(x)))))).flatten(1)
        return net.head[2](torch.tanh(net.head[1](torch.tanh(net.head[0](x)))))


class ConvUnit(nn.Module):
    """ConvUnit of std.models: with padding 1 at both sides."""

    def __init__(self, inputs, channels, stride=1, relu=True):
        super().__init__()
        self.conv, self.even = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels)
        self.act = nn.ReLU() if relu else nn.Identity()

    def forward(self, x):
        return self.act(self.even(self.conv(x)))


class ResNet8(nn.Module):
    class Block(nn.Module):
        def __init__(self, inputs, channels, stride):
            super().__init__()
            self.a, self.b = ConvUnit(inputs, channels, stride), ConvUnit(channels, channels, relu=False)
            self.skip = nn.Identity() if stride == 1 else nn.Conv2d(inputs, channels, 1, stride)

        def forward(self, x):
            return F.relu(self.b(self.a(x)) + self.skip(x))

    def __init__(self):
        super().__init__()
        self.stem, self.body = ConvUnit(3, 16), nn.Sequential(self.Block(16, 16, 1), self.Block(16, 32, 2), self.Block(32, 64, 2))
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(self.body(self.stem(x)).mean((2, 3)))


class Perceptron(nn.Module):
    def __init__(self, widths):
        super().__init__()
        self.body, self.head = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:-1])), nn.Linear(*widths[-2:])

    def forward(self, x):
        for layer in self.body:
            x = F.relu(layer(x))
        return self.head(x)


class Digits(nn.Module):
    """The perceptron of digits_step.aml; drop: the rate of its dropout."""

    def __init__(self, drop):
        super().__init__()
        self.fc1, self.drop, self.fc2 = nn.Linear(64, 128), nn.Dropout(drop), nn.Linear(128, 10)

    def forward(self, x):
        return self.fc2(self.drop(F.relu(self.fc1(x))))


class Workload:
    """A model; `optimizer`, a function of whether it is compiled; the norm that gradients are clipped to, or none; `fields`, a function that
    draws a batch, as {name: tensor}, of the dataset's fields in AML; `prepare`, what the dataset makes of x."""

    def __init__(self, model, optimizer, fields, clip=None, prepare=lambda x: x):
        self.model, self.optimizer, self.fields, self.clip, self.prepare = model, optimizer, fields, clip, prepare

    def batch(self, fields):
        """What goes into the model, and what should come out."""
        if "ids" in fields:
            return fields["ids"][:, :-1].contiguous(), fields["ids"][:, 1:].flatten()
        return self.prepare(fields["x"]), fields["y"]


def groups(model, decay):
    """Weights with two or more axes decay, biases and scales do not."""
    if not decay:
        return model.parameters()
    return [{"params": [p for p in model.parameters() if (p.dim() > 1) == decays], "weight_decay": decay * decays} for decays in (True, False)]


def adamw(model, decay, betas=(0.9, 0.999), rate=1e-3):
    # A step that is compiled wants its rate as a tensor; else the fused one is quicker.
    return lambda compiled: torch.optim.AdamW(groups(model, decay), betas=betas,
                                              **({"lr": torch.tensor(rate), "capturable": True} if compiled else {"lr": rate, "fused": True}))


def sgd(model, decay=0, **options):
    return lambda compiled: torch.optim.SGD(groups(model, decay), 1e-2, **options)


def classified(rows, classes, *shape):
    return lambda: {"x": torch.rand(rows, *shape), "y": torch.randint(0, classes, (rows,))}


def gpt(rows, vocab, width, heads, depth, context):
    model = Gpt(vocab, width, heads, depth, context)
    return Workload(model, adamw(model, 0.1, (0.9, 0.99)), lambda: {"ids": torch.randint(0, vocab, (rows, context + 1))}, clip=1.0)


def images(model, rows, *shape, **options):
    model = model.to(memory_format=torch.channels_last)
    drawn = classified(rows, 10, *shape)

    def fields():
        found = drawn()
        return found | {"x": found["x"].to(memory_format=torch.channels_last)}
    return Workload(model, sgd(model, momentum=0.9, **options), fields)


def convolution(drop=0.3):
    return images(Fashion(drop), 128, 1, 28, 28, decay=5e-4, nesterov=True)


def lstm():
    model = Lstm()
    return Workload(model, sgd(model), classified(16, 10, 64, 64))


def perceptron(inputs, hidden, layers, outputs, rows, adam):
    model = Perceptron([inputs] + [hidden] * layers + [outputs])
    return Workload(model, adamw(model, 0.01) if adam else sgd(model), classified(rows, outputs, inputs))


def digits(drop=0.1):
    model = Digits(drop)
    fields = classified(64, 10, 64)

    def pixels():
        found = fields()
        return found | {"x": torch.floor(17 * found["x"])}
    return Workload(model, adamw(model, 0.01), pixels, prepare=lambda x: x / 16)


WORKLOADS = {
    "gpt": lambda: gpt(32, 65, 128, 4, 4, 128),
    "char-gpt": lambda: gpt(8, 65, 384, 6, 6, 256),
    "gpt2": lambda: gpt(4, 50257, 768, 12, 12, 64),
    "convolution": convolution,
    "lenet": lambda: images(LeNet(), 128, 1, 28, 28),
    "resnet8": lambda: images(ResNet8(), 32, 3, 32, 32),
    "lstm": lstm,
    "perceptron": perceptron,
    "digits": digits,
}

#!/usr/bin/env python3
"""Writes golden.json: what PyTorch, NumPy and scikit-learn give where the standard library gives the same.

Needs torch, numpy and scikit-learn; the tests only read the file that this makes.
Usage: golden.py > golden.json
"""
import json
import math

import numpy
import sklearn
import sklearn.metrics
import torch
import torch.nn.functional as F

torch.manual_seed(1)
torch.set_default_dtype(torch.float64)
random = numpy.random.default_rng(1)


def single(array):
    """Rounded to f32, so that both sides start from the same numbers."""
    return numpy.asarray(array, dtype=numpy.float32).astype(numpy.float64)


def tensor(array):
    array = numpy.asarray(array)
    return {"shape": list(array.shape), "values": [float(v) for v in array.reshape(-1)]}


def functions():
    x = single(random.normal(size=(5, 4)) * 2)
    t = single(random.uniform(size=(5, 4)))
    y = random.integers(0, 4, size=5)
    tx, tt, ty = torch.tensor(x), torch.tensor(t), torch.tensor(y)
    cases = []

    def case(name, expected, *inputs, tolerance=2e-6):
        cases.append({"name": name, "inputs": [tensor(i) for i in inputs], "output": tensor(expected), "tolerance": tolerance})

    one = {
        "relu_of": F.relu(tx), "leaky_relu_of": F.leaky_relu(tx, 0.2), "elu_of": F.elu(tx), "softplus_of": F.softplus(tx),
        "log_sigmoid_of": F.logsigmoid(tx), "gelu_of": F.gelu(tx), "gelu_tanh_of": F.gelu(tx, approximate="tanh"),
        "silu_of": F.silu(tx), "mish_of": F.mish(tx), "softmax_of": F.softmax(tx, 1), "log_softmax_of": F.log_softmax(tx, 1),
        "logsumexp_of": torch.logsumexp(tx, 0), "variance_of": torch.var(tx, 1, unbiased=False),
        "clamp_of": torch.clamp(tx, -0.5, 1.5), "argmin_of": torch.argmin(tx, 1),
    }
    for name, expected in one.items():
        case(name, expected, x)
    case("one_hot_of", F.one_hot(ty, 4), y)
    case("cross_entropy_of", F.cross_entropy(tx, ty), x, y)
    case("cross_entropy_smoothed", F.cross_entropy(tx, ty, label_smoothing=0.1), x, y)
    case("binary_cross_entropy_of", F.binary_cross_entropy_with_logits(tx, tt), x, t)
    case("mse_of", F.mse_loss(tx, tt), x, t)
    case("mae_of", F.l1_loss(tx, tt), x, t)

    def cosine(step, peak, warm, low, total=100):
        if step < warm:
            return peak * (step + 1) / warm
        return low + (peak - low) * 0.5 * (1 + math.cos(math.pi * min((step - warm) / (total - warm), 1)))

    for step in (0, 5, 9, 10, 11, 37, 55, 99, 100, 120):
        case("cosine_schedule", cosine(step, 0.4, 10, 0.01), step)
        case("cosine_epochs", cosine(step, 0.4, 10, 0.0), step)
        case("linear_schedule", 1.0 - 0.9 * min(step / 40, 1), step)
        case("linear_whole", 1.0 - min(step / 100, 1), step)
        case("warmed_schedule", (1.0 - min(step / 40, 1)) * min((step + 1) / 8, 1), step)
        case("decayed_schedule", 0.5 ** (step // 30), step)
    return cases


def training(program, make, clip=None, schedule=None):
    """Ten steps of a linear classifier float[8, 3] -> 4 classes, with the weights after the last one."""
    weight, bias = single(random.normal(size=(3, 4)) * 0.3), single(random.normal(size=4) * 0.1)
    w, b = torch.tensor(weight, requires_grad=True), torch.tensor(bias, requires_grad=True)
    optimizer = make([{"params": [w], "decays": True}, {"params": [b], "decays": False}])
    batches, losses, norms = [], [], []
    for step in range(10):
        x, y = single(random.normal(size=(8, 3))), random.integers(0, 4, size=8)
        loss = F.cross_entropy(torch.tensor(x) @ w + b, torch.tensor(y))
        optimizer.zero_grad()
        loss.backward()
        if clip:
            norms.append(float(torch.nn.utils.clip_grad_norm_([w, b], clip)))
        if schedule:
            for group in optimizer.param_groups:
                group["lr"] = schedule(step)
        optimizer.step()
        batches.append({"x": tensor(x), "y": tensor(y)})
        losses.append(float(loss))
    return {"program": program, "start": {"fc.weight": tensor(weight), "fc.bias": tensor(bias)}, "batches": batches, "losses": losses,
            "norms": norms, "final": {"fc.weight": tensor(w.detach()), "fc.bias": tensor(b.detach())}}


def grouped(optimizer, decay, **arguments):
    def make(groups):
        return optimizer([{"params": g["params"], "weight_decay": decay if g["decays"] else 0.0} for g in groups], **arguments)
    return make


def trainings():
    return [
        training("adamw.aml", grouped(torch.optim.AdamW, 0.1, lr=0.05, betas=(0.9, 0.99), eps=1e-8)),
        training("sgd.aml", grouped(torch.optim.SGD, 0.0, lr=0.1)),
        training("momentum.aml", grouped(torch.optim.SGD, 0.05, lr=0.1, momentum=0.9)),
        training("nesterov.aml", grouped(torch.optim.SGD, 0.05, lr=0.1, momentum=0.9, nesterov=True), clip=0.5,
                 schedule=lambda step: 0.1 * (step + 1) / 4 if step < 4 else 0.1 * 0.5 * (1 + math.cos(math.pi * (step - 4) / 6))),
    ]


def metrics():
    rows = 37
    scores = single(random.normal(size=(rows, 4)))
    y = random.choice(4, size=rows, p=[0.45, 0.3, 0.15, 0.1])
    scores[numpy.arange(rows), y] += random.uniform(0, 2, size=rows)
    scores = single(scores)
    scores[:, 3] -= 4                                   # the last class is never predicted
    scores = single(scores)
    found = scores.argmax(1)
    probability = torch.softmax(torch.tensor(scores, dtype=torch.float32), 1).double().numpy()
    probability /= probability.sum(1, keepdims=True)

    def f1(average):
        return sklearn.metrics.f1_score(y, found, average=average)

    def auc(average):
        if average == "micro":
            return sklearn.metrics.roc_auc_score(numpy.eye(4)[y].ravel(), torch.softmax(torch.tensor(scores), 1).numpy().ravel())
        return sklearn.metrics.roc_auc_score(y, probability, multi_class="ovr", average=average)

    return {
        "program": "metrics.aml", "x": tensor(scores), "y": tensor(y),
        "values": {
            "accuracy": tensor(sklearn.metrics.accuracy_score(y, found)),
            "f1_macro": tensor(f1("macro")), "f1_micro": tensor(f1("micro")), "f1_weighted": tensor(f1("weighted")),
            "confusion": tensor(sklearn.metrics.confusion_matrix(y, found)),
        },
        "collected": {"auc_macro": auc("macro"), "auc_micro": auc("micro"), "auc_weighted": auc("weighted")},
        "loss": float(F.cross_entropy(torch.tensor(scores), torch.tensor(y))),
    }


print(json.dumps({
    "made with": {"torch": torch.__version__, "numpy": numpy.__version__, "scikit-learn": sklearn.__version__},
    "functions": functions(), "trainings": trainings(), "metrics": metrics(),
}, indent=None, separators=(",", ":")).replace('{"name"', '\n{"name"').replace('{"program"', '\n{"program"'))

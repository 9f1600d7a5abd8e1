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
    """Rounded to multiples of 1/256: few digits, and the same numbers in f32, in f64 and in the file."""
    return numpy.round(numpy.asarray(array) * 256) / 256


def tensor(array):
    """As it stands in the file."""
    array = numpy.asarray(array)
    values = [float(f"{v:.13g}") for v in array.reshape(-1)]
    return {"shape": list(array.shape), "values": [int(v) if v == int(v) else v for v in values]}


def functions():
    x = single(random.normal(size=(5, 4)) * 2)
    t = single(random.uniform(size=(5, 4)))
    y = random.integers(0, 4, size=5)
    tx, tt, ty = torch.tensor(x), torch.tensor(t), torch.tensor(y)
    cases = []

    def case(name, expected, *inputs):
        cases.append({"name": name, "inputs": [tensor(i) for i in inputs], "output": tensor(expected)})

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

    steps = numpy.array([0, 5, 9, 10, 11, 37, 55, 99, 100, 120])

    def rates(name, f):
        case(name, numpy.array([f(step) for step in steps]), steps)

    rates("cosine_schedule", lambda step: cosine(step, 0.4, 10, 0.01))
    rates("cosine_epochs", lambda step: cosine(step, 0.4, 10, 0.0))
    rates("linear_schedule", lambda step: 1.0 - 0.9 * min(step / 40, 1))
    rates("linear_whole", lambda step: 1.0 - min(step / 100, 1))
    rates("warmed_schedule", lambda step: (1.0 - min(step / 40, 1)) * min((step + 1) / 8, 1))
    rates("decayed_schedule", lambda step: 0.5 ** (step // 30))
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
            # clip_grad_norm_ divides by the norm + 1e-6
            norms.append(float(torch.sqrt((w.grad ** 2).sum() + (b.grad ** 2).sum())))
            for slopes in (w.grad, b.grad):
                slopes *= min(clip / norms[-1], 1)
        if schedule:
            for group in optimizer.param_groups:
                group["lr"] = schedule(step)
        optimizer.step()
        batches.append({"x": tensor(x), "y": tensor(y)})
        losses.append(float(loss.detach()))
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
            **{f"iou_{average}": tensor(sklearn.metrics.jaccard_score(y, found, average=average)) for average in ("macro", "micro", "weighted")},
            "iou_each": tensor(sklearn.metrics.jaccard_score(y, found, average=None, labels=range(4))),
        },
        "collected": {"auc_macro": auc("macro"), "auc_micro": auc("micro"), "auc_weighted": auc("weighted"), **{
            f"precision_{average}": sklearn.metrics.average_precision_score(numpy.eye(4)[y], probability, average=average)
            for average in ("macro", "micro", "weighted")}, "precision_1": sklearn.metrics.average_precision_score(y == 1, probability[:, 1])},
        "loss": float(F.cross_entropy(torch.tensor(scores), torch.tensor(y))),
    }


def slope(f, x, *others):
    x = torch.tensor(x, requires_grad=True)
    f(x, *[torch.tensor(o) for o in others]).backward()
    return x.grad


def more_functions(draw):
    """Activations, losses, schedules, layers without weights and initializers; draw makes the numbers."""
    cases = []

    def case(name, expected, *inputs, **tolerances):
        """Compared with 1e-5 in f32 and 1e-10 in f64, unless `tolerance`, `tolerance64` say otherwise."""
        expected = expected.detach() if isinstance(expected, torch.Tensor) else expected
        cases.append({"name": name, "inputs": [tensor(i) for i in inputs], "output": tensor(expected), **tolerances})

    def both(name, f, x, *others):
        """A loss: its value and its slope with respect to x."""
        case(name + "_of", f(torch.tensor(x), *[torch.tensor(o) for o in others]), x, *others)
        case(name + "_slope", slope(f, x, *others), x, *others)

    x, w = single(draw.normal(size=(5, 4)) * 2), single(draw.normal(size=(5, 4)))
    activations = {
        "selu": F.selu, "celu": lambda a: F.celu(a, 1.5), "relu6": lambda a: F.relu6(a * 4), 
        # by its definition: the slope of F.hardsigmoid is 1/6 rounded to f32
        "hard_sigmoid": lambda a: torch.clamp(a * 2 / 6 + 0.5, 0, 1),
        "hard_swish": lambda a: F.hardswish(a * 2), "hard_tanh": F.hardtanh, "softsign": F.softsign, "tanh_shrink": F.tanhshrink,
    }
    for name, f in activations.items():
        case(name + "_of", f(torch.tensor(x)), x)
        case(name + "_slope", slope(lambda a, b: (f(a) * b).sum(), x, w), x, w)
    case("glu_of", F.glu(torch.tensor(x)), x)
    case("glu_silu", torch.tensor(x[:, :2]) * F.silu(torch.tensor(x[:, 2:])), x)
    case("glu_slope", slope(lambda a: (F.glu(a) * 1.5).sum(), x), x)

    t = single(draw.uniform(size=(5, 4)))
    hard = single(draw.integers(0, 2, size=(5, 4)))
    shares = single(draw.dirichlet([0.5] * 4, size=5))
    shares[2] = [0, 0.25, 0.75, 0]                      # a target of 0 contributes nothing
    y = numpy.array([0, 3, 1, 1, 2])
    ty, weights = torch.tensor(y), torch.tensor([1, 0.5, 2, 3])
    both("huber", lambda a, b: F.huber_loss(a, b, delta=0.7), x, t)
    case("mse_slope", slope(F.mse_loss, x, t), x, t)
    case("mae_slope", slope(F.l1_loss, x, t), x, t)
    case("quantile_of", sklearn.metrics.mean_pinball_loss(t.ravel(), x.ravel(), alpha=0.2), x, t)
    case("quantile_slope", slope(lambda a, b: torch.maximum(0.2 * (b - a), -0.8 * (b - a)).mean(), x, t), x, t)
    case("binary_slope", slope(F.binary_cross_entropy_with_logits, x, t), x, t)

    def positive(a, b):
        return F.binary_cross_entropy_with_logits(a, b, pos_weight=torch.tensor(3.0))

    def focal(a, b, gamma=2.0, balance=0.25):           # torchvision.ops.sigmoid_focal_loss
        p = torch.sigmoid(a)
        cost = F.binary_cross_entropy_with_logits(a, b, reduction="none") * (1 - (p * b + (1 - p) * (1 - b))) ** gamma
        return (cost if balance is None else cost * (balance * b + (1 - balance) * (1 - b))).mean()

    case("binary_positive", positive(torch.tensor(x), torch.tensor(t)), x, t)
    case("binary_positive_slope", slope(positive, x, t), x, t)
    both("focal", focal, x, hard)
    case("focal_plain", focal(torch.tensor(x), torch.tensor(hard), 1.5, None), x, hard)
    case("kl_of", F.kl_div(F.log_softmax(torch.tensor(x), 1), torch.tensor(shares), reduction="batchmean"), x, shares)
    case("kl_slope", slope(lambda a, b: F.kl_div(a, b, reduction="batchmean"), x, shares), x, shares)
    apart = lambda a, b: F.cosine_embedding_loss(a, b, torch.ones(5))
    case("cosine_of_pair", apart(torch.tensor(x), torch.tensor(w)), x, w)
    case("cosine_slope", slope(apart, x, w), x, w)
    case("hinge_of", F.multi_margin_loss(torch.tensor(x), ty), x, y)
    case("hinge_slope", slope(lambda a: F.multi_margin_loss(a, ty, margin=0.8), x), x, y)
    logs = F.log_softmax(torch.tensor(x), 1)
    case("nll_of", F.nll_loss(logs, ty), x, y)
    case("nll_weighted", F.nll_loss(logs, ty, weight=weights, ignore_index=1), x, y)
    case("nll_slope", slope(lambda a: F.nll_loss(a, ty), x), x, y)
    everything = lambda a: F.cross_entropy(a, ty, label_smoothing=0.1, weight=weights, ignore_index=1)
    case("cross_entropy_slope", slope(lambda a: F.cross_entropy(a, ty, label_smoothing=0.1), x), x, y)
    case("cross_entropy_weighted", F.cross_entropy(torch.tensor(x), ty, weight=weights), x, y)
    case("cross_entropy_ignored", F.cross_entropy(torch.tensor(x), ty, ignore_index=1), x, y)
    case("cross_entropy_all", everything(torch.tensor(x)), x, y)
    case("cross_entropy_all_slope", slope(everything, x), x, y)
    case("cross_entropy_none_left", 0.0, single(draw.normal(size=(2, 1))), numpy.array([0, 0]))
    sequences, words = single(draw.normal(size=(2, 3, 4))), numpy.array([[0, 3, 2], [1, 2, 3]])
    flat = lambda a, **more: F.cross_entropy(a.reshape(6, 4), torch.tensor(words.ravel()), **more)
    case("cross_entropy_sequences", flat(torch.tensor(sequences), label_smoothing=0.1, ignore_index=2), sequences, words)
    case("cross_entropy_sequences_slope", slope(flat, sequences), sequences, words)
    case("triplet_of", F.triplet_margin_loss(torch.tensor(x), torch.tensor(w), torch.tensor(t)), x, w, t)
    case("triplet_slope", slope(lambda a, b, c: F.triplet_margin_loss(a, b, c, margin=0.9), x, w, t), x, w, t)
    info = lambda a, b, heat=0.1: F.cross_entropy(F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / heat, torch.arange(5))
    case("contrastive_of", info(torch.tensor(x), torch.tensor(w)), x, w)
    case("contrastive_slope", slope(lambda a, b: info(a, b, 0.5), x, w), x, w)

    def rate(make, step, **arguments):
        """What a scheduler of PyTorch gives after `step` steps of an optimizer whose rate is 0.4."""
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
        scheduler = make(optimizer, **arguments)
        for _ in range(step):
            optimizer.step()
            scheduler.step()
        return optimizer.param_groups[0]["lr"]

    schedulers = torch.optim.lr_scheduler
    steps = numpy.array([0, 1, 5, 9, 10, 11, 15, 16, 29, 30, 31, 34, 35, 54, 60, 76, 98, 99])

    def rates(name, f):
        case(name, numpy.array([f(step) for step in steps]), steps)

    def scheduled(name, make, factor=1.0, added=0.0, **arguments):
        rates(name, lambda step: added + factor * rate(make, step, **arguments))

    scheduled("multi_step_schedule", schedulers.MultiStepLR, milestones=[30, 60], gamma=0.5)
    scheduled("exponential_schedule", schedulers.ExponentialLR, gamma=0.5 ** (1 / 25))
    rates("inverse_time_schedule", lambda step: 0.4 / (1 + 0.5 * step / 20))
    rates("inverse_sqrt_schedule", lambda step: 0.4 * min((step + 1) / 10, math.sqrt(10 / (step + 1))))
    scheduled("polynomial_schedule", schedulers.PolynomialLR, added=0.1, factor=0.75, total_iters=60, power=2.0)
    scheduled("polynomial_whole", schedulers.PolynomialLR, total_iters=100, power=1.0)
    scheduled("restarts_schedule", schedulers.CosineAnnealingWarmRestarts, T_0=11, eta_min=0.01)
    scheduled("restarts_longer", schedulers.CosineAnnealingWarmRestarts, T_0=5, T_mult=2)
    scheduled("one_cycle_schedule", schedulers.OneCycleLR, max_lr=0.4, total_steps=100)
    scheduled("one_cycle_early", schedulers.OneCycleLR, max_lr=0.4, total_steps=100, pct_start=0.1, div_factor=10, final_div_factor=100)
    scheduled("cyclic_schedule", schedulers.CyclicLR, base_lr=0.01, max_lr=0.4, step_size_up=10, step_size_down=20)
    scheduled("cyclic_halving", schedulers.CyclicLR, base_lr=0.01, max_lr=0.4, step_size_up=11, mode="triangular2")
    rates("followed_schedule", lambda step: 0.4 * step / 10 if step < 10 else rate(schedulers.CosineAnnealingWarmRestarts, step - 10, T_0=45))

    z, u = single(draw.normal(size=(2, 3, 4)) * 2), single(draw.normal(size=(2, 3, 4)))
    norms = {
        "layer_norm": lambda a: F.layer_norm(a, [4]), "rms_norm": lambda a: F.rms_norm(a, [4], eps=1e-6), "instance_norm": F.instance_norm,
    }
    for name, f in norms.items():
        case(name + "_of", f(torch.tensor(z)), z)
        case(name + "_slope", slope(lambda a, b: (f(a) * b).sum(), z, u), z, u)

    table = torch.zeros(5, 8)
    for i in range(4):
        table[:, 2 * i] = torch.sin(torch.arange(5) / 10000 ** (2 * i / 8))
        table[:, 2 * i + 1] = torch.cos(torch.arange(5) / 10000 ** (2 * i / 8))
    case("sinusoidal_of", table, 1.0)
    wide = single(draw.normal(size=(2, 5, 8)))
    case("positions_added", torch.tensor(wide) + table, wide)

    def rotary(a, start):                               # torch has none: by complex numbers
        half = a.shape[3] // 2
        angle = (start + torch.arange(a.shape[1]))[:, None] / 10000 ** (torch.arange(half) / half)
        turned = torch.complex(a[..., :half], a[..., half:]) * torch.exp(1j * angle)[None, :, None, :]
        return torch.cat([turned.real, turned.imag], 3)

    q, k, v = (single(draw.normal(size=s)) for s in ((2, 3, 2, 4), (2, 3, 2, 4), (2, 3, 2, 4)))
    g = single(draw.normal(size=(2, 3, 2, 4)))
    case("rotary_of", rotary(torch.tensor(q), 3), q)
    case("rotary_slope", slope(lambda a, b: (rotary(a, 0) * b).sum(), q, g), q, g)

    def attention(q, k, v, **more):
        q, k, v = (torch.as_tensor(a).transpose(1, 2) for a in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, enable_gqa=q.shape[1] != k.shape[1], **more).transpose(1, 2)

    long_k, long_v = single(draw.normal(size=(2, 5, 2, 4))), single(draw.normal(size=(2, 5, 2, 3)))
    q4 = single(draw.normal(size=(2, 3, 4, 4)))
    seen = numpy.array([[1, 0, 1], [0, 1, 1], [1, 1, 0]])
    per_sample = numpy.array([[[1, 0, 1], [0, 1, 1], [1, 1, 0]], [[0, 0, 1], [1, 1, 1], [1, 0, 0]]])
    per_head = single(draw.normal(size=(2, 4, 3, 3)))
    later = torch.tril(torch.ones(3, 3, dtype=torch.bool))
    case("attention_of", attention(q, k, v), q, k, v)
    case("attention_of", attention(q, long_k, long_v), q, long_k, long_v)
    case("attention_of", attention(q4, k, v), q4, k, v)
    case("attention_causal", attention(q, k, v, is_causal=True), q, k, v)
    case("attention_causal", attention(q4, k, v, is_causal=True), q4, k, v)
    case("attention_causal", attention(q, long_k, long_v, attn_mask=torch.tril(torch.ones(3, 5, dtype=torch.bool), 2)), q, long_k, long_v)
    case("attention_masked", attention(q, k, v, attn_mask=torch.tensor(seen > 0)), q, k, v, seen)
    case("attention_per_sample", attention(q4, k, v, attn_mask=torch.tensor(per_sample > 0)[:, None], scale=0.3), q4, k, v, per_sample)
    case("attention_added", attention(q4, k, v, attn_mask=torch.where(later, torch.tensor(per_head), -1e30)), q4, k, v, per_head)
    real = numpy.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1]])
    case("attention_of_real_keys", attention(q, long_k, long_v, attn_mask=torch.tensor(real > 0)[:, None, None]), q, long_k, long_v, real)
    for queries in (q, q4):
        parts = [torch.tensor(a, requires_grad=True) for a in (queries, k, v)]
        weight = single(draw.normal(size=queries.shape))
        (attention(*parts, is_causal=True) * torch.tensor(weight)).sum().backward()
        case("attention_slope", torch.cat([p.grad.reshape(-1) for p in parts]), queries, k, v, weight)

    def bounds(name, tolerance, initialize, which=slice(None)):
        """The largest element and the root of the mean square of what PyTorch draws for 300 inputs and 200 results."""
        drawn = torch.empty(200, 300)
        initialize(drawn)
        case(name, numpy.array([float(drawn.abs().max()), float((drawn ** 2).mean().sqrt())])[which], 1.0, tolerance=tolerance,
             tolerance64=tolerance)

    init = torch.nn.init
    bounds("xavier_uniform_spread", 5e-3, lambda a: init.xavier_uniform_(a, gain=2.0))
    bounds("he_uniform_spread", 5e-3, lambda a: init.kaiming_uniform_(a, nonlinearity="relu"))
    bounds("lecun_uniform_spread", 5e-3, lambda a: init.kaiming_uniform_(a, nonlinearity="linear"))
    bounds("xavier_normal_deviation", 1e-2, init.xavier_normal_, 1)
    bounds("he_normal_deviation", 1e-2, lambda a: init.kaiming_normal_(a, nonlinearity="relu"), 1)
    bounds("lecun_normal_deviation", 1e-2, lambda a: init.kaiming_normal_(a, nonlinearity="linear"), 1)
    bounds("truncated_spread", 1e-2, lambda a: init.trunc_normal_(a, std=0.5, a=-1, b=1))
    points = numpy.array([-1 + 2 ** -20, -0.9921875, -0.703125, -0.125, -(2 ** -20), 0, 0.3125, 0.5, 0.90625, 0.9990234375, 1 - 2 ** -17])
    case("inverse_erf_of", torch.erfinv(torch.tensor(points)), points, tolerance64=1e-5)
    rows = single(draw.normal(size=(3, 2)))
    case("mixed_back", numpy.zeros((3, 2)), rows, tolerance=1e-6)
    case("shares_of_mixing", numpy.ones(3), rows)
    case("cut_back", numpy.zeros((3, 2)), rows, tolerance=1e-6)
    case("beta_spread", numpy.array([0.5, 0.125]), 1.0, tolerance=0.12, tolerance64=0.12)     # the mean and variance of Beta(1/2, 1/2)
    case("orthogonal_wide", torch.eye(7), 0.0)
    case("orthogonal_square", 9 * torch.eye(40), 0.0)
    return cases


class Lion(torch.optim.Optimizer):
    """As in arXiv:2302.06675, algorithm 2."""

    def __init__(self, groups, lr, betas, weight_decay=0.0):
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                c = group["betas"][0] * m + (1 - group["betas"][0]) * p.grad
                p -= group["lr"] * (torch.sign(c) + group["weight_decay"] * p)
                m.mul_(group["betas"][1]).add_(p.grad, alpha=1 - group["betas"][1])


class Lamb(torch.optim.Optimizer):
    """As in arXiv:1904.00962, algorithm 2, with phi(z) = z."""

    def __init__(self, groups, lr, betas, weight_decay=0.0):
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            (b1, b2), decay = group["betas"], group["weight_decay"]
            for p in group["params"]:
                state = self.state[p]
                state["t"] = t = state.get("t", 0) + 1
                state["m"] = m = b1 * state.get("m", 0) + (1 - b1) * p.grad
                state["v"] = v = b2 * state.get("v", 0) + (1 - b2) * p.grad ** 2
                r = m / (1 - b1 ** t) / (torch.sqrt(v / (1 - b2 ** t)) + 1e-6) + decay * p
                p -= group["lr"] * p.norm() / r.norm() * r


class Lars(torch.optim.Optimizer):
    """As in arXiv:1708.03888, algorithm 1, for matrices; other weights have the rate itself."""

    def __init__(self, groups, lr, momentum, trust, weight_decay=0.0):
        super().__init__(groups, {"lr": lr, "momentum": momentum, "trust": trust, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            decay = group["weight_decay"]
            for p in group["params"]:
                v = self.state[p].setdefault("v", torch.zeros_like(p))
                local = group["trust"] * p.norm() / (p.grad.norm() + decay * p.norm()) if p.dim() > 1 else 1
                v.mul_(group["momentum"]).add_(group["lr"] * local * (p.grad + decay * p))
                p -= v


def orthogonalized(grad, coefficients, turns, epsilon):
    """torch's own, without its rounding to bf16."""
    a, b, c = coefficients
    x = grad.T if grad.size(0) > grad.size(1) else grad
    x = x / x.norm().clamp(min=epsilon)
    for _ in range(turns):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if grad.size(0) > grad.size(1) else x


class MuonAndAdamW(torch.optim.Optimizer):
    """Matrices by torch's Muon, which has them as [size, input]; others by AdamW."""

    def __init__(self, groups, lr, lr_others, betas, weight_decay=0.0, **arguments):
        super().__init__(groups, {"lr": lr})
        self.matrices = [p for g in groups for p in g["params"] if p.dim() > 1]
        self.turned = [torch.nn.Parameter(p.detach().T.clone()) for p in self.matrices]
        self.muon = torch.optim.Muon(self.turned, lr=lr, weight_decay=0.1, **arguments)
        self.adamw = torch.optim.AdamW([p for g in groups for p in g["params"] if p.dim() == 1], lr=lr_others, betas=betas, weight_decay=0.0)

    @torch.no_grad()
    def step(self):
        torch.optim._muon._zeropower_via_newtonschulz = orthogonalized
        for p, own in zip(self.matrices, self.turned):
            own.grad = p.grad.T.clone()
        self.muon.step()
        self.adamw.step()
        for p, own in zip(self.matrices, self.turned):
            p.copy_(own.T)


def more_trainings():
    def one(job, make):
        return {**training("optimizers.aml", make), "job": job + "_job"}

    o = torch.optim
    return [
        one("adam", grouped(o.Adam, 0.1, lr=0.05)), one("amsgrad", grouped(o.Adam, 0.0, lr=0.05, betas=(0.8, 0.9), amsgrad=True)),
        one("adagrad", grouped(o.Adagrad, 0.1, lr=0.1, lr_decay=0.1, initial_accumulator_value=0.2)),
        one("adagrad_plain", grouped(o.Adagrad, 0.0, lr=0.1)),
        one("rmsprop", grouped(o.RMSprop, 0.1, lr=0.02)),
        one("rmsprop_all", grouped(o.RMSprop, 0.1, lr=0.02, alpha=0.9, momentum=0.8, centered=True)),
        one("adadelta", grouped(o.Adadelta, 0.1, lr=1.0)), one("adamax", grouped(o.Adamax, 0.1, lr=0.05)),
        one("nadam", grouped(o.NAdam, 0.1, lr=0.05)), one("radam", grouped(o.RAdam, 0.1, lr=0.05)),
        one("lion", grouped(Lion, 0.1, lr=0.02, betas=(0.9, 0.99))), one("lamb", grouped(Lamb, 0.1, lr=0.02, betas=(0.9, 0.999))),
        one("lars", grouped(Lars, 0.1, lr=0.5, momentum=0.8, trust=0.1)),
        one("adafactor", grouped(o.Adafactor, 0.1, lr=0.4)), one("adafactor_clipped", grouped(o.Adafactor, 0.0, lr=0.2, beta2_decay=-0.5, d=1.1, eps=(None, 0.5))),
        one("muon", grouped(MuonAndAdamW, 0.1, lr=0.02, lr_others=0.05, betas=(0.9, 0.99))),
        one("muon_plain", grouped(MuonAndAdamW, 0.1, lr=0.02, lr_others=0.05, betas=(0.9, 0.99), momentum=0.8, nesterov=False, ns_steps=3)),
    ]


def layers(program, job, draw, start, states, inputs, forward):
    """Ten steps of plain gradient descent with rate 0.1, and the
    probabilities that the model then gives to the first batch. forward(p, s, x, training)."""
    p = {name: torch.tensor(value, requires_grad=True) for name, value in start.items()}
    s = {name: torch.tensor(value) for name, value in states.items()}
    batches, losses = [], []
    for _ in range(10):
        x, y = inputs(), draw.integers(0, 4, size=8)
        loss = F.cross_entropy(forward(p, s, torch.tensor(x), True), torch.tensor(y))
        slopes = torch.autograd.grad(loss, list(p.values()))
        with torch.no_grad():
            for weight, change in zip(p.values(), slopes):
                weight -= 0.1 * change
        batches.append({"x": tensor(x), "y": tensor(y)})
        losses.append(float(loss.detach()))
    final = {name: tensor(value.detach()) for name, value in {**p, **s}.items()}
    predicted = forward(p, s, torch.tensor(batches[0]["x"]["values"]).to(torch.tensor(x).dtype).reshape(x.shape), False).detach()
    return {"program": program, "job": job, "start": {n: tensor(v) for n, v in {**start, **states}.items()}, "batches": batches,
            "losses": losses, "norms": [], "final": final, "predicted": tensor(torch.softmax(predicted, 1))}


def layer_trainings(draw):
    def dense(name, rows, columns, bias=True):
        made = {name + ".weight": single(draw.normal(size=(rows, columns)) / math.sqrt(rows))}
        return {**made, name + ".bias": single(draw.normal(size=columns) * 0.1)} if bias else made

    def affine(name, size, shift=True):
        made = {name + ".scale": single(1 + 0.2 * draw.normal(size=size))}
        return {**made, name + ".shift": single(draw.normal(size=size) * 0.1)} if shift else made

    def apply(p, name, x):
        return x @ p[name + ".weight"] + p.get(name + ".bias", 0)

    def norms(p, s, x, training):
        x = F.batch_norm(x.reshape(-1, 4, 3), s["batch.running_mean"], s["batch.running_variance"], p["batch.scale"], p["batch.shift"],
                         training=training, momentum=0.1)
        x = F.group_norm(x, 2, p["group.scale"], p["group.shift"]).reshape(-1, 12)
        x = F.layer_norm(apply(p, "up", x), [6], p["layer.scale"], p["layer.shift"])
        x = F.prelu(x, p["bend.slope"].reshape(1))
        x = F.batch_norm(x, s["flat.running_mean"], s["flat.running_variance"], p["flat.scale"], p["flat.shift"], training=training, momentum=0.2)
        return apply(p, "down", F.rms_norm(x, [6], p["root.scale"], eps=1e-6))

    zeros, ones = (lambda n: numpy.zeros(n)), (lambda n: numpy.ones(n))
    first = layers("layers.aml", "norms", draw, {
        **affine("batch", 4), **affine("group", 4), **dense("up", 12, 6), **affine("layer", 6), "bend.slope": single(0.25), **affine("flat", 6),
        **affine("root", 6, shift=False), **dense("down", 6, 4),
    }, {
        "batch.running_mean": zeros(4), "batch.running_variance": ones(4), "flat.running_mean": zeros(6), "flat.running_variance": ones(6),
    }, lambda: single(draw.normal(size=(8, 12)) + 0.5), norms)

    def heads(x, count):
        return x.reshape(x.shape[0], x.shape[1], count, -1).transpose(1, 2)

    def turned(x):
        half = x.shape[3] // 2
        angle = torch.arange(x.shape[2])[:, None] / 10000 ** (torch.arange(half) / half)
        y = torch.complex(x[..., :half], x[..., half:]) * torch.exp(1j * angle)
        return torch.cat([y.real, y.imag], 3)

    def attend(q, k, v, **more):
        y = F.scaled_dot_product_attention(q, k, v, enable_gqa=True, **more).transpose(1, 2)
        return y.reshape(y.shape[0], y.shape[1], -1)

    def self_attention(p, name, x, count, causal):
        q, k, v = apply(p, name + ".qkv", x).chunk(3, dim=2)
        return apply(p, name + ".proj", attend(heads(q, count), heads(k, count), heads(v, count), is_causal=causal))

    def transformer(p, s, x, training):
        x = F.embedding(x.long(), p["tok.table"]) + p["pos.table"][:5]
        context = x[:, :3]
        x = x + self_attention(p, "own", x, 2, True)
        x = x + apply(p, "shared.proj", attend(turned(heads(apply(p, "shared.query", x), 4)), turned(heads(apply(p, "shared.key", x), 2)),
                                               heads(apply(p, "shared.value", x), 2), is_causal=True))
        x = x + apply(p, "cross.proj", attend(heads(apply(p, "cross.query", x), 2), heads(apply(p, "cross.key", context), 2),
                                              heads(apply(p, "cross.value", context), 2)))
        x = x + self_attention(p, "block.att", F.layer_norm(x, [8], p["block.norm1.scale"], p["block.norm1.shift"]), 2, False)
        y = F.layer_norm(x, [8], p["block.norm2.scale"], p["block.norm2.shift"])
        x = x + apply(p, "block.feed.down", F.gelu(apply(p, "block.feed.up", y)))
        return apply(p, "head", x.mean(1))

    second = layers("layers.aml", "transformer", draw, {
        "tok.table": single(draw.normal(size=(9, 8))), "pos.table": single(draw.normal(size=(6, 8)) * 0.3),
        **dense("own.qkv", 8, 24), **dense("own.proj", 8, 8),
        **dense("shared.query", 8, 8, False), **dense("shared.key", 8, 4, False), **dense("shared.value", 8, 4, False), **dense("shared.proj", 8, 8, False),
        **dense("cross.query", 8, 8), **dense("cross.key", 8, 8), **dense("cross.value", 8, 8), **dense("cross.proj", 8, 8),
        **affine("block.norm1", 8), **dense("block.att.qkv", 8, 24), **dense("block.att.proj", 8, 8), **affine("block.norm2", 8),
        **dense("block.feed.up", 8, 12), **dense("block.feed.down", 12, 8), **dense("head", 8, 4),
    }, {}, lambda: draw.integers(0, 7, size=(8, 5)), transformer)
    return [first, second]


def classification(draw):
    rows, m = 41, sklearn.metrics
    scores = single(draw.normal(size=(rows, 4)))
    y = draw.choice(4, size=rows, p=[0.45, 0.3, 0.15, 0.1])
    scores[numpy.arange(rows), y] += draw.uniform(0, 2, size=rows)
    scores[:, 3] -= 4                                   # the last class is never predicted
    scores = single(scores)
    found, p = scores.argmax(1), torch.softmax(torch.tensor(scores), 1).numpy()
    values = {f"{name}_{average}": f(y, found, average=average, zero_division=0)
              for name, f in (("precision", m.precision_score), ("recall", m.recall_score)) for average in ("macro", "micro", "weighted")}
    sure, error = p.max(1), 0.0
    for i in range(10):
        inside = (numpy.minimum((sure * 10).astype(int), 9) == i)
        if inside.any():
            error += inside.mean() * abs(sure[inside].mean() - (found == y)[inside].mean())
    values.update(top_2=m.top_k_accuracy_score(y, scores, k=2), log_loss=m.log_loss(y, p), perplexity=math.exp(m.log_loss(y, p)), calibration=error)
    return {"program": "more_metrics.aml", "x": tensor(scores), "y": tensor(y), "values": {n: tensor(v) for n, v in values.items()}, "collected": {},
            "tolerance": 2e-7, "loss": float(F.cross_entropy(torch.tensor(scores), torch.tensor(y)))}


def regression(draw):
    rows, m = 37, sklearn.metrics
    y = single(draw.normal(size=(rows, 3)) * [1, 3, 10] + [0, 5, -2])
    x = single(y + draw.normal(size=(rows, 3)) * [0.5, 2, 3])
    values = {"mean_absolute": m.mean_absolute_error(y, x), "mean_squared": m.mean_squared_error(y, x), "r2": m.r2_score(y, x),
              "root_mean_squared": math.sqrt(m.mean_squared_error(y, x)),
              "cosine": float(F.cosine_similarity(torch.tensor(x), torch.tensor(y)).mean())}
    return {"program": "regression.aml", "x": tensor(x), "y": tensor(y), "values": {n: tensor(v) for n, v in values.items()}, "collected": {},
            "tolerance": 1e-9, "loss": m.mean_squared_error(y, x)}


def everything():
    first = {"functions": functions(), "trainings": trainings(), "metrics": [metrics()]}
    first["trainings"] += more_trainings()
    draw = numpy.random.default_rng(2)
    first["functions"] += more_functions(draw)
    first["trainings"] += layer_trainings(draw)
    first["metrics"] += [classification(draw), regression(draw)]
    return first


print(json.dumps({
    "made with": {"torch": torch.__version__, "numpy": numpy.__version__, "scikit-learn": sklearn.__version__}, **everything(),
}, indent=None, separators=(",", ":")).replace('{"name"', '\n{"name"').replace('{"program"', '\n{"program"'))

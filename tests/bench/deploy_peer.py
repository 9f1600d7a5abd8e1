#!/usr/bin/env python3
"""The ONNX Runtime side of the benchmark of deployed networks, in a process of its own, driven by run.py over a pipe.

Usage: deploy_peer.py WEIGHTS SAMPLES f32|int8 BATCH
WEIGHTS: weights.safetensors of a checkpoint of fashion.aml. SAMPLES: prepared samples as safetensors, for calibration. The
network is built from the weights with onnx.helper, int8 by ONNX Runtime's static quantization (per channel, activations u8,
weights i8), in both of its forms, of which the faster one is taken. One thread.
Prints one JSON line with the versions when it is ready; then, for each line with a number on standard input, predicts that
many batches and prints the median time of one, times their number.
"""
import json
import pathlib
import statistics
import sys
import tempfile
import time

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from peer_common import onnx_options, tensors

WEIGHTS, SAMPLES, KIND, BATCH = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])


NORM = ("scale", "shift", "running_mean", "running_variance")


class Builder:
    """The network of fashion.aml as a graph."""

    def __init__(self, weights):
        self.weights, self.nodes, self.constants, self.count = weights, [], [], 0

    def constant(self, name):
        self.constants.append(numpy_helper.from_array(self.weights[name].astype(numpy.float32), name))
        return name

    def node(self, op, inputs, **attributes):
        self.count += 1
        out = f"v{self.count}"
        self.nodes.append(helper.make_node(op, inputs, [out], **attributes))
        return out

    def conv(self, x, path, size, stride, bias):
        kernel = self.weights[path + ".weight"].shape[2]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads = [total // 2] * 2 + [total - total // 2] * 2
        inputs = [x, self.constant(path + ".weight")] + ([self.constant(path + ".bias")] if bias else [])
        return self.node("Conv", inputs, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)

    def conv_bn(self, x, path, size, stride):
        x = self.conv(x, path + ".conv", size, stride, False)
        return self.node("BatchNormalization", [x] + [self.constant(f"{path}.norm.{part}") for part in NORM], epsilon=1e-5)

    def residual(self, x, path, size, stride):
        skip = self.conv(x, path + ".skip", size, stride, True) if path + ".skip.weight" in self.weights else x
        y = self.node("Relu", [self.conv_bn(x, path + ".a", size, stride)])
        y = self.conv_bn(y, path + ".b", -(-size // stride), 1)
        return self.node("Relu", [self.node("Add", [y, skip])]), -(-size // stride)

    def model(self):
        x, size = self.node("Relu", [self.conv_bn("x", "stem", 28, 1)]), 28
        for i, stride in enumerate((1, 2, 4)):
            x, size = self.residual(x, f"body.{i}", size, stride)
        x = self.node("Flatten", [self.node("GlobalAveragePool", [x])])
        x = self.node("Gemm", [x, self.constant("head.weight"), self.constant("head.bias")])
        self.nodes.append(helper.make_node("Identity", [x], ["scores"]))
        graph = helper.make_graph(self.nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [BATCH, 1, 28, 28])],
                                  [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [BATCH, 10])], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def session(path):
    options = onnx_options()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Reader(CalibrationDataReader):
    def __init__(self, samples):
        self.batches = iter([{"x": samples[i:i + BATCH]} for i in range(0, len(samples) - BATCH + 1, BATCH)][:256])

    def get_next(self):
        return next(self.batches, None)


def timed(run, x, turns):
    taken = []
    for i in range(turns):
        before = time.perf_counter()
        run.run(None, {"x": x[i % len(x)]})
        taken.append(time.perf_counter() - before)
    return statistics.median(taken) * turns


weights = tensors(WEIGHTS)
samples = tensors(SAMPLES)["x"].astype(numpy.float32)
samples = samples[:len(samples) // BATCH * BATCH]
with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    onnx.save(Builder(weights).model(), folder / "f32.onnx")
    candidates = [session(folder / "f32.onnx")]
    if KIND == "int8":
        quant_pre_process(str(folder / "f32.onnx"), str(folder / "ready.onnx"))
        candidates = []
        for form in (QuantFormat.QDQ, QuantFormat.QOperator):
            quantize_static(str(folder / "ready.onnx"), str(folder / "int8.onnx"), Reader(samples), quant_format=form, per_channel=True,
                            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
            candidates.append(session(folder / "int8.onnx"))
batches = [samples[i:i + BATCH] for i in range(0, len(samples), BATCH)][:64]
for candidate in candidates:
    timed(candidate, batches, 50)
run = min(candidates, key=lambda candidate: min(timed(candidate, batches, 100) for _ in range(3)))
print(json.dumps({"onnxruntime": onnxruntime.__version__}), flush=True)
for line in sys.stdin:
    print(timed(run, batches, int(line)), flush=True)

"""What processes of peers share: how PyTorch and ONNX Runtime are set up, and reading what AML wrote."""
import json

import numpy as np


def torch_with(threads):
    """PyTorch with so many threads. Called before it has computed anything, since its threads inherit how this one treats subnormal numbers.

    They count as zero, as in AML's compiled programs and in JAX: AdamW's second moments become that small, and some processors take a
    hundred cycles for each such number, with which a step of a small network took more than twice as long.
    """
    import torch
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    return torch


def onnx_options():
    """One thread, all optimizations, and subnormal numbers as in the others."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return options


def tensors(path):
    """{name: array} of a file of safetensors."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    types = {"F32": np.float32, "I32": np.int32, "I64": np.int64, "U8": np.uint8}
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            found[name] = np.frombuffer(data[begin:end], types[entry["dtype"]]).reshape(entry["shape"])
    return found

#!/usr/bin/env python3
"""Writes golden_arrays.json: files as NumPy itself writes them, in base64, and the samples that are in them. Needs numpy."""
import base64
import io
import json
import pathlib

import numpy as np


def npy(array, version=None):
    out = io.BytesIO()
    np.lib.format.write_array(out, array, version=version)
    return base64.b64encode(out.getvalue()).decode()


base = np.arange(4 * 2 * 3).reshape(4, 2, 3) * 5 - 40
files = []
for dtype in ("f2", "f4", "f8", ">f4", ">f8", "i1", "<i2", ">i2", "i4", ">i4", "i8", "u1", "u2", ">u4", "u8", "?"):
    array = (base % 2 == 0) if dtype == "?" else np.abs(base).astype(dtype) if "u" in dtype else base.astype(dtype)
    for order in "CF":
        for version in ((1, 0), (2, 0), (3, 0)) if dtype in ("f4", "u1") else (None,):
            files.append({"name": f"{dtype} {order} {version}", "npy": npy(np.asarray(array, order=order), version),
                          "rows": [[float(v) for v in np.ravel(sample)] for sample in array]})
archives = []
for save in (np.savez, np.savez_compressed):
    out = io.BytesIO()
    save(out, x=base.astype("f4"), y=np.array([2, 0, 1, 2]), other=np.zeros(3))
    archives.append(base64.b64encode(out.getvalue()).decode())
result = {"numpy": np.__version__, "files": files, "archives": archives, "rows": [[float(v) for v in np.ravel(sample)] for sample in base], "labels": [2, 0, 1, 2]}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=0) + "\n")

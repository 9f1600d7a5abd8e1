#!/usr/bin/env python3
"""Writes golden_features.json: rows, and what scikit-learn makes of them when it is fitted on the first 64.

Run it with a Python that has scikit-learn; the tests need only the file. Numbers are multiples of 1/256, which are the same in f32
and in a short text; a missing value is null.
"""
import json
import pathlib

import numpy as np
from sklearn.decomposition import PCA
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.metrics import mutual_info_score
from sklearn.preprocessing import KBinsDiscretizer, MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

ROWS, FITTED = 80, 64
rng = np.random.default_rng(7)
y = rng.integers(0, 3, ROWS)
x = np.round(np.stack([rng.normal(3, 20, ROWS), rng.normal(0, 1, ROWS) + 2 * y, rng.exponential(5, ROWS) + 3 * (y == 1), rng.integers(0, 5, ROWS) * 1.0,
                       rng.uniform(-1, 1, ROWS), np.full(ROWS, 2.5)], axis=1) * 256) / 256
full = x.copy()
holes = rng.random(x.shape) < [0.15, 0.1, 0.1, 0.2, 0, 0]
x[holes] = np.nan


def fitted(tool, data=x):
    return tool.fit(data[:FITTED]).transform(data)


def bins(strategy, count):
    tool = KBinsDiscretizer(count, encode="ordinal", strategy=strategy, quantile_method="linear", subsample=None) if strategy == "quantile" else \
        KBinsDiscretizer(count, encode="ordinal", strategy=strategy, subsample=None)
    return fitted(tool, full[:, :5])


def iqr(limit):
    low, high = np.nanquantile(x[:FITTED], [0.25, 0.75], axis=0)
    return np.clip(x, low - limit * (high - low), high + limit * (high - low))


def z_score(limit):
    mean, deviation = np.nanmean(x[:FITTED], axis=0), np.nanstd(x[:FITTED], axis=0)
    return np.clip(x, mean - limit * deviation, mean + limit * deviation)


scaled = fitted(StandardScaler(), fitted(SimpleImputer(strategy="median")))
cut = bins("quantile", 4)
information = [mutual_info_score(y[:FITTED], cut[:FITTED, i]) for i in range(5)]
best = sorted(np.argsort(information)[::-1][:2].tolist())
spread = sorted(np.argsort(full[:FITTED].var(axis=0))[::-1][:3].tolist())
expected = {
    "standardize": fitted(StandardScaler()),
    "min_max": fitted(MinMaxScaler((-1, 1))),
    "max_abs": fitted(MaxAbsScaler()),
    "robust": fitted(RobustScaler()),
    "log1p": np.log1p(np.abs(x)),
    "quantile_bins": cut,
    "uniform_bins": bins("uniform", 4),
    "impute_mean": fitted(SimpleImputer(strategy="mean")),
    "impute_median": fitted(SimpleImputer(strategy="median")),
    "impute_most_frequent": fitted(SimpleImputer(strategy="most_frequent")),
    "impute_constant": fitted(SimpleImputer(strategy="constant", fill_value=-4)),
    "impute_nearest": fitted(KNNImputer(n_neighbors=3)),
    "pca": fitted(PCA(3), scaled[:, :5]),
    "whitened": fitted(PCA(2, whiten=True), scaled[:, :5]),
    "informative": full[:, best],
    "varying": full[:, spread],
    "clip_iqr": iqr(1.5),
    "clip_z_score": z_score(2.0),
    "missing": np.isnan(x).astype(float),
}


def plain(a):
    return [[None if np.isnan(v) else float(v) for v in row] for row in a]


path = pathlib.Path(__file__).with_suffix(".json")
with open(path, "w") as file:
    json.dump({"fitted": FITTED, "x": plain(x), "full": plain(full), "y": y.tolist(), "expected": {k: plain(v) for k, v in expected.items()}}, file)
    file.write("\n")

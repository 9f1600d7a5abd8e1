#!/usr/bin/env python3
"""Writes golden_folds.h: how scikit-learn cuts the same made-up rows into folds.

The labels are formulas of the row number, so that folds_test.c has the same ones. Needs scikit-learn; the tests do not.
"""
import numpy as np
import sklearn
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold, TimeSeriesSplit

ROWS, FOLDS, CLASSES = 203, 5, 4
i = np.arange(ROWS)
classes = np.minimum(i * i % 97 % 11, CLASSES - 1)       # most rows are of the last one
groups = i * i % 53 // 2 + i % 3 * 100                   # of very different sizes


def counts(cut):
    return [[int((classes[test] == k).sum()) for k in range(CLASSES)] for _, test in cut]


def spread(table):
    """The largest distance of a class's share of a fold's rows from its share of all rows."""
    share = np.bincount(classes, minlength=CLASSES) / ROWS
    return max(abs(n / sum(row) - share[k]) for row in table for k, n in enumerate(row))


def array(name, values, kind="int"):
    values = np.asarray(values)
    sizes = "".join(f"[{n}]" for n in values.shape)
    body = str(values.tolist()).replace("[", "{").replace("]", "}")
    return f"static const {kind} {name}{sizes} = {body};\n"


rng = np.zeros(ROWS)
plain = [len(test) for _, test in KFold(FOLDS).split(rng)]
stratified = counts(StratifiedKFold(FOLDS).split(rng, classes))
grouped = sorted(len(test) for _, test in GroupKFold(FOLDS).split(rng, groups=groups))
both = counts(StratifiedGroupKFold(FOLDS).split(rng, classes, groups))
time = [[len(train), int(test[0]), int(test[-1]) + 1] for train, test in TimeSeriesSplit(FOLDS).split(rng)]
print(f"// Written by golden_folds.py with scikit-learn {sklearn.__version__}.\n")
print(f"enum {{ ROWS = {ROWS}, FOLDS = {FOLDS}, CLASSES = {CLASSES} }};\n")
print(array("kfold_sizes", plain))
print(array("stratified_counts", stratified))
print(array("grouped_sizes", grouped))
print(f"static const double stratified_group_spread = {spread(both):.6f};\n")
print("// rows trained on, first and last held out + 1")
print(array("time_spans", time), end="")

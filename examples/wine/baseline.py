#!/usr/bin/env python3
"""The accuracy that scikit-learn reaches on the same table, by stratified cross-validation with five folds.

usage: baseline.py winequality-red.csv
"""
import sys

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

table = np.loadtxt(sys.argv[1], delimiter=",", skiprows=1)
x, y = table[:, :11], table[:, 11].astype(int)
print(f"scikit-learn {sklearn.__version__}, {len(y)} rows")
for model in (LogisticRegression(max_iter=2000), MLPClassifier((32,), learning_rate_init=3e-3, batch_size=32, max_iter=30, random_state=1)):
    found = cross_val_score(make_pipeline(StandardScaler(), model), x, y, cv=StratifiedKFold(5, shuffle=True, random_state=1))
    print(f"{type(model).__name__:20} {found.mean():.4f} +- {found.std(ddof=1):.4f}")

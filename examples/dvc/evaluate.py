"""Test a trained model: metrics/<model>.json, and what it took each image for, plots/<model>.csv."""

from __future__ import annotations

import csv
import json
import pickle
import sys
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    name = sys.argv[1]
    data = np.load("data/test.npz")
    model = pickle.loads(Path("models", name, "model.pkl").read_bytes())
    found = model.predict(data["images"])
    for folder in ("metrics", "plots"):
        Path(folder).mkdir(exist_ok=True)
    wrong = int((found != data["labels"]).sum())
    metrics = {"accuracy": round(1 - wrong / len(found), 4), "wrong": wrong}
    Path("metrics", f"{name}.json").write_text(json.dumps(metrics) + "\n")
    with open(f"plots/{name}.csv", "w", newline="") as file:
        csv.writer(file).writerows([("digit", "found"), *zip(data["labels"], found, strict=True)])
    print(f"{name}: {metrics}")

"""Train a classifier on more and more images. An ordinary Hydra app: it knows nothing of Ray, S3 or DVC."""

from __future__ import annotations

import csv
import logging
import pickle
from pathlib import Path

import hydra
import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    data = np.load(cfg.data)
    images, labels = data["images"], data["labels"]
    held_out = len(images) // 5
    out = Path(cfg.out)
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "curve.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["examples", "accuracy"])
        for examples in cfg.curve:
            model = instantiate(cfg.model)
            model.fit(images[held_out:][:examples], labels[held_out:][:examples])
            accuracy = float(model.score(images[:held_out], labels[:held_out]))
            rows.writerow([examples, round(accuracy, 4)])
    log.info("%s: %.4f of %d held-out images", type(model).__name__, accuracy, held_out)
    (out / "model.pkl").write_bytes(pickle.dumps(model))
    return round(accuracy, 4)


if __name__ == "__main__":
    main()

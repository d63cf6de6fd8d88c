"""Fit a curve to points. An ordinary Hydra app: it knows nothing of Ray or S3."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import hydra
import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    x, y = np.loadtxt(cfg.data.path, delimiter=",", skiprows=1, unpack=True)
    model = instantiate(cfg.model)
    model.fit(x[::2], y[::2])
    error = model.error(x[1::2], y[1::2])  # of the points that it has not seen
    log.info("degree %d, numpy %s: error %.4f", model.degree, np.__version__, error)
    fit = {"error": error, "coefficients": list(model.coefficients)}
    Path(cfg.fit.path).write_text(json.dumps(fit) + "\n")
    return round(error, 4)


if __name__ == "__main__":
    main()

"""Fits a line. The layout, and the root that the script sets when it is imported, are lightning-hydra-template's."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

ROOT = Path(__file__).resolve().parents[1]
os.environ["PROJECT_ROOT"] = str(ROOT)  # as rootutils.setup_root does, and so is the next line
sys.path.insert(0, str(ROOT))

log = logging.getLogger(__name__)


def read(path: str) -> list[tuple[float, float]]:
    """Points, one a line."""
    rows = (line.split(",") for line in Path(path).read_text().splitlines())
    return [(float(x), float(y)) for x, y in rows]


@hydra.main(version_base="1.3", config_path="../configs", config_name="train")
def main(cfg: DictConfig) -> float:
    """Fit, save the model where ``model_path`` says, and return the error."""
    points = read(cfg.data.path)
    model = hydra.utils.instantiate(cfg.model)
    for epoch in range(cfg.epochs):
        error = model.step(points)
        if epoch % cfg.log_every == 0:
            log.info("epoch %d: %.4f", epoch, error)
    Path(cfg.model_path).write_text(json.dumps(model.weights()) + "\n")
    log.warning("error: %.4f", error)
    return float(error)


if __name__ == "__main__":
    main()

"""Train a classifier on images of digits. An ordinary Hydra app: it knows nothing of Ray or S3."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import hydra
import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from sklearn.model_selection import train_test_split

log = logging.getLogger(__name__)

OmegaConf.register_new_resolver("app_dir", lambda: str(Path(__file__).resolve().parent))


def read_images(directory: Path) -> tuple[np.ndarray, np.ndarray]:
    """The images below <directory>/<label>/, one row of pixels each, and their labels."""
    files = sorted(directory.glob("*/*.png"))
    if not files:
        raise FileNotFoundError(f"no images in {directory}; run prepare.py first")
    images = np.stack([np.asarray(Image.open(file)).ravel() for file in files]) / 255
    return images, np.array([int(file.parent.name) for file in files])


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    images, labels = read_images(Path(cfg.data.path))
    train_x, test_x, train_y, test_y = train_test_split(
        images, labels, test_size=cfg.data.test_size, random_state=cfg.seed, stratify=labels
    )
    model = instantiate(cfg.model.classifier)
    model.fit(train_x, train_y)
    accuracy = float(model.score(test_x, test_y))
    log.info("%s: %.4f of %d test images", type(model).__name__, accuracy, len(test_y))

    Path(cfg.model.path).write_bytes(pickle.dumps(model))
    metrics = {"accuracy": accuracy, "train": len(train_y), "test": len(test_y)}
    Path(cfg.metrics.path).write_text(json.dumps(metrics, indent=2) + "\n")
    return accuracy


if __name__ == "__main__":
    main()

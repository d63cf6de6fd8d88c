"""Write the data of the pipeline: images of digits with noise added, in two parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

if __name__ == "__main__":
    params = OmegaConf.load("conf/params.yaml")
    images, labels = load_digits(return_X_y=True)
    images = images + np.random.default_rng(params.seed).normal(0, params.noise, images.shape)
    parts = train_test_split(
        images, labels, test_size=params.test_size, random_state=params.seed, stratify=labels
    )
    Path("data").mkdir(exist_ok=True)
    np.savez("data/train.npz", images=parts[0], labels=parts[2])
    np.savez("data/test.npz", images=parts[1], labels=parts[3])
    print(f"{len(parts[0])} images to train on, {len(parts[1])} to test on")

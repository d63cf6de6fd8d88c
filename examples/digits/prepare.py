"""Write scikit-learn's handwritten digits as 1,797 PNG files: data/digits/<label>/<index>.png."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

HERE = Path(__file__).resolve().parent


def prepare(directory: Path) -> int:
    """Write the images that are not there yet; how many there are in all. The same bytes every time."""
    digits = load_digits()
    for index, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        file = directory / str(label) / f"{index:04}.png"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part")
            Image.fromarray((pixels * 15).astype(np.uint8)).save(part, format="png")  # 0…16 -> 0…240
            part.replace(file)
    return len(digits.target)


if __name__ == "__main__":
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "data" / "digits"
    print(f"{prepare(data)} images in {data}")

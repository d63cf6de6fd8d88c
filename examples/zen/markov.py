"""A model of which letter follows which, and the task that fits it. Knows nothing of Hydra or Ray."""

from __future__ import annotations

import json
import os
import random
from collections import Counter, defaultdict
from pathlib import Path


class Markov:
    """Counts what follows each ``order`` letters; says in which process it was built."""

    def __init__(self, order: int) -> None:
        print(f"a model of order {order} is built in process {os.getpid()}")
        self.order = order
        self.followers: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def fit(self, text: str) -> None:
        for end in range(self.order, len(text)):
            self.followers[text[end - self.order : end]][text[end]] += 1

    def write(self, length: int, seed: int) -> str:
        """So many letters as the text might have had them."""
        chance = random.Random(seed)
        text = next(iter(self.followers))
        while len(text) < length and (known := self.followers.get(text[-self.order :])):
            text += chance.choices(list(known), list(known.values()))[0]
        return text


def train(model: Markov, text: str, model_path: str, seed: int = 1) -> str:
    """Fit ``model`` to the file ``text``, keep what it learnt in ``model_path``, and let it write a line."""
    model.fit(Path(text).read_text())
    Path(model_path).write_text(json.dumps(model.followers))
    line = model.write(60, seed).replace("\n", " ")
    print(line)
    return line

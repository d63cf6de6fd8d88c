"""Count the words of three texts, each in a call of its own on Ray. The data stays on this disk."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

from ray_decorator import ray_decorator

HERE = Path(__file__).resolve().parent


@ray_decorator(deps=["text"], outs=["counts"])
def count_words(text: Path, counts: Path) -> int:
    """Count the words in the file ``text``, write them to ``counts``, and return how many there are."""
    words = Counter(re.findall(r"[a-z]+", text.read_text().lower()))
    counts.write_text(json.dumps(dict(words.most_common()), indent=1) + "\n")
    return words.total()


def main() -> None:
    texts = sorted((HERE / "texts").glob("*.txt"))
    counts = [HERE / "counts" / f"{text.stem}.json" for text in texts]
    totals = count_words.map(zip(texts, counts, strict=True))
    for text, file, total in zip(texts, counts, totals, strict=True):
        print(f"{text.stem}: {total} words, {len(json.loads(file.read_text()))} of them different")


if __name__ == "__main__":
    main()

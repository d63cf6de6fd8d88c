"""The README's claims that no other test holds it to."""

from __future__ import annotations

import re
from pathlib import Path

from hydra_plugins.hydra_ray_s3_launcher.config import RayS3LauncherConf

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def commands(text: str) -> list[str]:
    return re.findall(r"^    (pip install .*)$", text, re.M)


def test_it_offers_two_commands_to_a_newcomer() -> None:
    first, second = commands(README.partition("## ")[0])
    # run by tests/test_example_digits.py, and by .ci/run
    assert first.endswith("examples/digits/train.py hydra/launcher=cluster model=logistic,svm,forest")
    assert second == "pip install -e '.[test]' && pytest"


def test_its_first_screen_shows_them() -> None:
    lines = README.splitlines()
    assert lines.index("    " + commands(README)[0]) < 12


def test_its_table_has_every_key_of_the_launcher() -> None:
    keys = [key for key in RayS3LauncherConf.__dataclass_fields__ if not key.startswith("_")]
    assert re.findall(r"^\| `(\w+)` \|", README, re.M) == keys


def test_every_file_it_links_to_is_there() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link

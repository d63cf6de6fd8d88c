"""The claims of README.md, and of the pages that it leads to, that no other test holds them to."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from hydra_plugins.hydra_ray_s3_launcher.config import RayS3LauncherConf
from ray_decorator.core.options.settings import OptionArguments

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "examples").glob("*/README.md"))]
ON_THIS_MACHINE = "Ray runs on this machine alone, and data stays where it is; for a cluster set "


def commands(text: str) -> list[str]:
    return re.findall(r"^    (pip install .*)$", text, re.M)


def test_it_is_one_page() -> None:
    assert len(README.splitlines()) <= 150


def test_it_offers_two_commands_to_a_newcomer() -> None:
    first, second = commands(README.partition("## ")[0])
    # run by test_example_digits.py, and by .ci/run
    assert first.endswith("examples/digits/train.py hydra/launcher=cluster model=logistic,svm,forest")
    assert second == "pip install -e '.[test]' && pytest"


def test_its_first_screen_shows_them() -> None:
    lines = README.splitlines()
    assert lines.index("    " + commands(README)[0]) < 12


def test_its_table_has_every_key_of_the_launcher() -> None:
    keys = [key for key in RayS3LauncherConf.__dataclass_fields__ if not key.startswith("_")]
    assert re.findall(r"^\| `(\w+)` \|", README, re.M) == keys


def test_its_layout_names_every_package_and_a_file_of_it() -> None:
    rows = re.findall(r"^\| `([\w/]+)/` \| .* \| \[`([\w/]+\.py)`\]\((.*)\) \|$", README, re.M)
    packages = {f"ray_decorator/{each.parent.name}" for each in ROOT.glob("ray_decorator/*/__init__.py")}
    plugins = {f"hydra_plugins/{each.parent.name}" for each in ROOT.glob("hydra_plugins/*/__init__.py")}
    assert {package for package, _, _ in rows} == packages | plugins
    assert all(path == f"{package}/{file}" for package, file, path in rows)


def test_it_shows_what_the_launcher_prints() -> None:
    session = ROOT / "ray_decorator/run/session.py"
    strings = [
        node.value
        for node in ast.walk(ast.parse(session.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    [line] = [string for string in strings if string.startswith(ON_THIS_MACHINE)]
    assert f"[HYDRA] {line}\n" in README


@pytest.mark.parametrize("example", ["decorator", "zen"])
def test_the_front_doors_name_all_options(example: str) -> None:
    page = (ROOT / "examples" / example / "README.md").read_text()
    for option in OptionArguments.__annotations__:
        assert f"`{option}`" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_something(page: Path) -> None:
    for link, _, anchor in re.findall(r"\]\(([^)#:]*)(#([^)]+))?\)", page.read_text()):
        target = page.parent / link if link else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), f"{link}#{anchor}"


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}

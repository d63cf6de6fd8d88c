"""DVC's configuration, merged from all its files: the same as the real dvc's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dvc.config import Config

from ray_decorator.core.errors import InputError
from ray_decorator.dvc import config


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def real(root: Path) -> dict[str, Any]:
    found = Config(str(root / ".dvc"), validate=False)
    return {name: found.get(name, {}) for name in ("core", "cache", "remote")}


def test_each_file_is_over_those_before_it(root: Path, tmp_path: Path) -> None:
    texts = {
        "system": "[core]\nremote = first\nanalytics = false\n['remote \"first\"']\nurl = s3://a/b\njobs = 3\n",
        "global": "['remote \"First\"']\n  URL = s3://other/c\n  profile = mine # why\n",
        "repo": "[core]\nremote = \"Second\"\n['remote \"second\"']\nurl = ../store with space\n"
        "[cache]\ndir = ../shared\n",
        "local": "['remote \"first\"']\nsecret_access_key = \"a#b,c\"\n['remote \"third\"']\nurl = remote://first/x\n"
        "credentialpath = keys\nconfigpath = /abs/config\n[other]\nx = 1, 2\n",
    }  # fmt: skip
    for file, text in zip(config.files(str(root)), texts.values(), strict=True):
        write(file, text)
    ours = config.load(str(root))
    assert {name: ours[name] for name in ("core", "cache", "remote")} == real(root)
    assert ours["remote"]["first"]["secret_access_key"] == "a#b,c"
    assert ours["remote"]["second"]["url"] == str(root / "store with space")


@pytest.mark.parametrize(
    "url",
    [
        "~/store",
        "store",
        "../../x",
        "/abs/./x",
        "s3://b/p",
        "file:///x/y",
        "C:/x",
        "ssh://u@h/p",
        "a:b",
        "~nobody_/x",
    ],
)
def test_paths_are_made_absolute_as_dvc_does(root: Path, url: str) -> None:
    write(root / ".dvc" / "config", f"['remote \"r\"']\n  url = {url}\n  credentialpath = {url}\n")
    assert config.load(str(root))["remote"] == real(root)["remote"]


@pytest.mark.parametrize(
    "variables", [{}, {"XDG_CONFIG_HOME": "/x/home", "XDG_CONFIG_DIRS": "/x/one:/x/two"}]
)
def test_the_files_are_where_dvc_has_them(
    root: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name in ("DVC_SYSTEM_CONFIG_DIR", "DVC_GLOBAL_CONFIG_DIR", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert [str(file) for file in config.files(str(root))] == list(Config(str(root / ".dvc")).files.values())


def test_a_file_that_is_spoilt_is_an_error_that_names_it(root: Path) -> None:
    write(root / ".dvc" / "config.local", "[core\n")
    with pytest.raises(InputError, match=r"config\.local: cannot be read as DVC's configuration"):
        config.load(str(root))

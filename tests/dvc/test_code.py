"""Code that travels is a DVC repository on the other side: the real dvc reads its parameters there."""

from __future__ import annotations

import shutil
from pathlib import Path

import dvc_repositories
import pytest
from dvc_repositories import Dvc
from trees import tree

from ray_decorator.dvc.code import config_for

ASK = "import dvc.api; print(dvc.api.params_show(), dvc.api.read('notes.txt'))"
STAGE = "stages:\n  train:\n    cmd: python src/train.py\n    params: [lr]\n    deps: [src/train.py]\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_dvcs_api_answers_there_as_at_home(dvc: Dvc, tmp_path: Path) -> None:
    root = dvc_repositories.init(tmp_path / "home" / "project")
    texts = {
        "params.yaml": b"lr: 0.5\n",
        "dvc.yaml": STAGE.encode(),
        "src/train.py": b"",
        "notes.txt": b"hello",
    }
    tree(root, texts)
    (root / ".dvc" / "config.local").write_text(
        "['remote \"r\"']\nurl = s3://b/p\nsecret_access_key = SECRET\n"
    )
    files = [(f"project/{name}", str(root / name)) for name in texts]
    files += config_for(files, root / "src")
    there = tmp_path / "there"
    for place, path in files:
        (there / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, there / place)
    assert not any(b"SECRET" in path.read_bytes() for path in there.rglob("*") if path.is_file())
    at_home, far = (dvc.answers(directory, ASK) for directory in (root, there / "project"))
    assert far == at_home == "{'lr': 0.5} hello\n"


def test_nothing_is_added_where_there_is_no_repository_or_its_code_does_not_travel(tmp_path: Path) -> None:
    tree(tmp_path / "plain", {"a.py": b""})
    assert config_for([("a.py", str(tmp_path / "plain" / "a.py"))], tmp_path / "plain") == []
    root = dvc_repositories.init(tmp_path / "repository")
    assert config_for([("a.py", str(tmp_path / "plain" / "a.py"))], root) == []
    tree(root, {"deep/a.py": b""})
    [(place, _)] = config_for([("deep/a.py", str(root / "deep" / "a.py"))], root)
    assert place == ".dvc/config"
    assert config_for([("a.py", str(root / "deep" / "a.py"))], root) == []  # the code's root is inside of it

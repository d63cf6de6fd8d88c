"""A DVC repository for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import dvc_repositories
import pytest


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that no configuration of this machine's reaches."""
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(tmp_path / "system"))
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    return dvc_repositories.init(tmp_path / "repository")

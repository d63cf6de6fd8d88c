"""A node and a store of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ray_decorator.core.values.stores import Location
from ray_decorator.store.identity import locate
from ray_decorator.store.store import Store, open_store


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The node's own directory."""
    monkeypatch.setenv("RAY_S3_NODE_DIR", str(tmp_path / "node"))
    return tmp_path / "node"


@pytest.fixture
def where(tmp_path: Path) -> Location:
    return locate((tmp_path / "store").as_uri())


@pytest.fixture
def shop(where: Location) -> Store:
    return open_store(where)

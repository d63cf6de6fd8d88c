"""A package index and a node's Python, for what is asked of both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from package_index import Index, Node, make_venv, make_wheel, serve


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """alpha 1.0, 2.0 (needs beta), beta 1.0, gamma 1.0, and what tests add."""
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "alpha", "1.0")
    make_wheel(wheels, "alpha", "2.0", ("beta",))
    make_wheel(wheels, "beta", "1.0")
    make_wheel(wheels, "gamma", "1.0")
    yield from serve(Index(wheels))


@pytest.fixture
def node(tmp_path: Path, index: Index) -> Node:
    """Has alpha 1.0 and beta 1.0."""
    wheels = [index.wheels / f"{name}-1.0-py3-none-any.whl" for name in ("alpha", "beta")]
    (tmp_path / "home").mkdir()
    return Node(make_venv(tmp_path / "cluster", *wheels), tmp_path / "root", tmp_path / "home")

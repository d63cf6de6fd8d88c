"""What is kept on a node is listed and read there, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest
from trees import tree

from ray_decorator.node import kept


def test_files_of_the_nodes_own_directory_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_S3_NODE_DIR", str(tmp_path / "node"))
    root = tree(tmp_path / "node" / "kept" / "j", {"a": b"12345", "sub/b": b"6"})
    (tmp_path / "node").chmod(0o700)
    (root / "a").chmod(0o700)
    (root / "out").symlink_to(tmp_path)
    rows = kept.listed(str(root))
    assert rows is not None and sorted((name, size) for name, size, _ in rows) == [("a", 5), ("sub/b", 1)]
    assert kept.listed(str(root / "a")) == [("", 5, 0o700)]
    assert kept.read(str(root), "a", 1, 3) == b"234" and kept.read(str(root / "a"), "", 4, 9) == b"5"
    (tmp_path / "other").write_bytes(b"secret")
    for path in (tmp_path / "other", root / "out", tmp_path / "node", root / ".." / ".." / ".." / "other"):
        assert kept.listed(str(path)) is None
        with pytest.raises(FileNotFoundError):
            kept.read(str(path), "", 0, 1)


def test_nothing_of_a_directory_that_others_can_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_S3_NODE_DIR", str(tmp_path / "node"))
    root = tree(tmp_path / "node" / "kept" / "j", {"a": b"planted"})
    (tmp_path / "node").chmod(0o777)
    with pytest.raises(PermissionError, match=r"node can be written to by others .*RAY_S3_NODE_DIR"):
        kept.listed(str(root))
    with pytest.raises(PermissionError, match="node can be written to by others"):
        kept.read(str(root), "a", 0, 7)

"""A change below a path shows without reading a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from trees import tree

from ray_decorator.content.looking.fingerprint import fingerprint


def rewritten(root: Path) -> None:
    before = (root / "a").stat()
    (root / "a").write_bytes(b"x")
    os.utime(root / "a", ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "bytes, with the time put back": rewritten,
    "a new file": lambda root: (root / "sub" / "new").touch(),
    "a file removed": lambda root: (root / "sub" / "b").unlink(),
    "a file renamed": lambda root: (root / "a").rename(root / "c"),
    "the file behind a link": lambda root: (root.parent / "behind").write_bytes(b"other"),
    "a mode": lambda root: (root / "a").chmod(0o600),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_shows(tmp_path: Path, change: str) -> None:
    root = tree(tmp_path / "data", {"a": b"1", "sub/b": b"2"})
    (tmp_path / "behind").write_bytes(b"first")
    (root / "link").symlink_to("../behind")
    (root / "gone").symlink_to("nowhere")
    before = fingerprint(str(root))
    assert fingerprint(str(root)) == before != ""
    CHANGES[change](root)
    assert fingerprint(str(root)) != before


def test_of_a_file_and_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"1")
    before = fingerprint(str(tmp_path / "f"))
    (tmp_path / "f").write_bytes(b"22")
    assert "" != fingerprint(str(tmp_path / "f")) != before
    assert fingerprint(str(tmp_path / "nothing")) == ""

"""A snapshot asks what counts, folder by folder, and takes that alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trees import QUIET, numbered, settle, tree

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.content.looking.selection import Selection
from ray_decorator.content.looking.snapshot import snapshot


@dataclass
class Without:
    """Leaves out what has this name, below the folder that it is in."""

    name: str
    folder: str = ""

    def leaves_out(self, name: str, is_folder: bool) -> bool:
        return name == self.name and bool(self.folder)

    def within(self, name: str) -> Selection:
        return Without(self.name, f"{self.folder}{name}/")


def test_it_is_asked_in_each_folder(tmp_path: Path, hashes: HashCache) -> None:
    source = tree(tmp_path / "t", {"x": b"1", "a/x": b"2", "a/y": b"3", "b/x/z": b"4"})
    taken = snapshot(source, hashes, QUIET, selection=Without("x"))
    assert {entry.relpath for entry in taken.entries} == {"x", "a/y"}
    assert snapshot(source, hashes, QUIET).content.files == 4


def test_what_the_cache_knows_of_a_large_directory_is_of_what_counted(
    tmp_path: Path, hashes: HashCache
) -> None:
    source = tree(tmp_path / "t", numbered(2_000, 8))
    settle()
    whole = snapshot(source, hashes, QUIET)
    part = snapshot(source, hashes, QUIET, selection=Without("7.bin"))
    assert (whole.content.files, part.content.files) == (2_000, 1_999)
    assert snapshot(source, hashes, QUIET).content == whole.content
    assert snapshot(source, hashes, QUIET, selection=Without("7.bin")).content == part.content

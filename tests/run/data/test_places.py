"""What was left on this machine, taken from where it is."""

from __future__ import annotations

import os
from pathlib import Path

from trees import read, tree

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.content.looking.fingerprint import fingerprint
from ray_decorator.content.looking.snapshot import snapshot
from ray_decorator.core.progress import NoProgress
from ray_decorator.core.records.records import Left
from ray_decorator.run.data.places import Removal, bring_all, is_as_it_was


def left(path: Path, hashes: HashCache | None = None) -> Left:
    content = snapshot(path, hashes, NoProgress(), lenient=True).content if hashes else None
    return Left("out", content, str(path), fingerprint(str(path)))


def test_what_has_not_changed_is_as_it_was(tmp_path: Path, hashes: HashCache) -> None:
    place = tree(tmp_path / "out", {"a": b"1", "sub/b": b"2"})
    there = left(place)
    assert is_as_it_was(there, {str(place)}, hashes)
    (place / "a").write_bytes(b"another")
    assert not is_as_it_was(there, {str(place)}, hashes)
    (place / "a").unlink()
    assert not is_as_it_was(there, {str(place)}, hashes)


def test_the_same_bytes_in_other_files_are_as_they_were_where_they_are_known(
    tmp_path: Path, hashes: HashCache
) -> None:
    place = tree(tmp_path / "out", {"a": b"1"})
    sealed, hashed = left(place), left(place, hashes)
    (place / "new").write_bytes(b"1")
    os.replace(place / "new", place / "a")  # as DVC does, which links files into its cache
    assert not is_as_it_was(sealed, {str(place)}, hashes)
    assert is_as_it_was(hashed, {str(place)}, hashes)


def test_a_receipt_leads_nowhere_but_to_where_jobs_have_written(tmp_path: Path, hashes: HashCache) -> None:
    secret = tree(tmp_path / "secret", {"key": b"1"})
    os.symlink(secret, tmp_path / "out")
    for place in (secret, tmp_path / "out"):
        assert not is_as_it_was(left(place, hashes), {str(tmp_path / "out")}, hashes)
    assert not is_as_it_was(Left("out", None, str(tmp_path / "gone"), ""), {str(tmp_path / "gone")}, hashes)


def test_two_that_change_places(tmp_path: Path) -> None:
    """The sweep's jobs come in another order: each directory is where another one belongs."""
    first, second = tree(tmp_path / "0", {"a": b"first"}), tree(tmp_path / "1", {"a": b"second", "b": b""})
    errors = bring_all(
        [Removal(left(first), second), Removal(left(second), first), Removal(left(first), first)]
    )
    assert errors == [None, None, None]
    assert (read(first), read(second)) == ({"a": b"second", "b": b""}, {"a": b"first", "b": b""})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


def test_a_single_file_and_what_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"m")
    (tmp_path / "taken").mkdir()
    errors = bring_all(
        [Removal(left(tmp_path / "model"), tmp_path / "new" / name) for name in ("model", "again")]
        + [Removal(left(tmp_path / "model"), tmp_path / "taken")]
    )
    assert errors[:2] == [None, None] and "is a directory" in str(errors[2])
    assert read(tmp_path / "new") == {"model": b"m", "again": b"m"}
    assert (tmp_path / "model").read_bytes() == b"m"

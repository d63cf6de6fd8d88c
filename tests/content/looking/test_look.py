"""What is at and below a path: what counts, and what does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from whole_trees import TREES, build

from ray_decorator.content.looking.look import Look, look
from ray_decorator.core.errors import InputError


def seen(root: Path) -> Look:
    return look(os.path.realpath(root), root)


@pytest.mark.parametrize("name", TREES)
def test_all_of_a_tree_is_seen(tmp_path: Path, name: str) -> None:
    root = build(tmp_path / "t", TREES[name])
    found = seen(root).found
    links = {key for key, entry in TREES[name].items() if isinstance(entry, str)}
    assert set(found.links) == links
    assert all(not os.path.isabs(target) for target in found.links.values())
    # read through, as DVC does, also where they are links
    files = {relpath for relpath, _ in found.files}
    assert files == {
        str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and "round" not in p.parts
    }
    looked = seen(root)
    assert not (looked.bad or looked.led_out or looked.not_followed or looked.skipped)


def test_only_directories_that_are_empty_are_named(tmp_path: Path) -> None:
    root = build(tmp_path / "t", TREES["empty directories"])
    assert seen(root).found.folders == {"a", "b/c/d", "e/g"}


def test_a_directory_of_what_does_not_count_is_empty(tmp_path: Path) -> None:
    root = build(tmp_path / "t", {"a/.git/config": b"c", "b/out": "/usr", "c/.hg/x": b"x", "d/f": b"f"})
    os.mkfifo(root / "fifo")
    looked = seen(root)
    assert looked.found.folders == {"a", "b", "c"}
    assert sorted(looked.skipped) == ["a/.git", "c/.hg"]
    assert looked.not_followed == {"b/out": "/usr"}
    assert list(looked.bad) == [str(root / "fifo")]


def test_a_link_counts_only_where_what_it_leads_to_does(tmp_path: Path) -> None:
    build(tmp_path / "elsewhere", {"f": b"f"})
    root = build(
        tmp_path / "t",
        {
            ".git/HEAD": b"ref",
            "head": ".git/HEAD",
            "git": ".git",
            "out": str(tmp_path / "elsewhere/f"),
            "through": "out",
            "step/w": b"w",
            "hop": "../back",
            "odd": "jump/../w",
            "deep/er/w": b"w",
            "jump": "deep/er",
            "round": "../file",
            "gone": str(tmp_path / "elsewhere/f"),
        },
    )
    (tmp_path / "file").symlink_to("t/w")
    (tmp_path / "back").symlink_to("t/step")
    (root / "deep/w").write_bytes(b"another")
    (root / "w").write_bytes(b"not this one")
    looked = seen(root)
    (root / "gone").unlink()
    assert looked.found.links == {"hop": "step", "jump": "deep/er", "odd": "deep/w", "round": "w"}
    assert looked.led_out == {"out": str(tmp_path / "elsewhere/f"), "through": "out"}
    assert looked.not_followed == {"git": ".git"}
    assert {"head", "out", "through"} < {relpath for relpath, _ in looked.found.files}


def test_what_must_stay_for_a_tree_to_be_the_same(tmp_path: Path) -> None:
    root = build(tmp_path / "t", {"f": b"f", "e/": 0o755, "l": "f"})
    prints = [seen(root).found.fingerprint()]
    for change in (
        lambda: (root / "e2").mkdir(),
        lambda: (root / "l").unlink(),
        lambda: (root / "l").symlink_to("e"),
        lambda: (root / "e").chmod(0o700),
    ):
        change()
        prints.append(seen(root).found.fingerprint())
    assert len(set(prints)) == len(prints)
    assert seen(root).found.fingerprint() == prints[-1]


def test_nothing_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file or directory"):
        seen(tmp_path / "nothing")

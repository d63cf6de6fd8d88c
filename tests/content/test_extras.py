"""What a manifest cannot say: read from modes and links, and never trusted."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ray_decorator.content.extras import Modes, check, close, closed_bits, inward, make_link
from ray_decorator.core.errors import CorruptObjectError
from ray_decorator.core.values.contents import Content, Extras

MODES = [
    (stat.S_IFREG, 0o644, 0),
    (stat.S_IFREG, 0o666, 0),
    (stat.S_IFREG, 0o755, 0),
    (stat.S_IFREG, 0o600, 0o077),
    (stat.S_IFREG, 0o700, 0o077),
    (stat.S_IFREG, 0o640, 0o007),
    (stat.S_IFREG, 0o604, 0o070),
    (stat.S_IFREG, 0o622, 0o077),
    (stat.S_IFDIR, 0o755, 0),
    (stat.S_IFDIR, 0o775, 0),
    (stat.S_IFDIR, 0o700, 0o077),
    (stat.S_IFDIR, 0o750, 0o007),
    (stat.S_IFDIR, 0o711, 0o066),
    (stat.S_IFDIR, 0o744, 0o033),
]


@pytest.mark.parametrize(("kind", "mode", "bits"), MODES)
def test_what_others_may_not_do(kind: int, mode: int, bits: int) -> None:
    assert oct(closed_bits(kind | mode)) == oct(bits)


LINKS = [
    ("latest", "step", "step"),
    ("latest", "./step/", "step"),
    ("a/b", "../c", "../c"),
    ("a/b", "..", ".."),
    ("a/b", "../..", None),
    ("l", ".", "."),
    ("l", "..", None),
    ("l", "../root/x", "x"),
    ("l", "a/../../x", None),
    ("a/l", "../../root/x", "../x"),
    ("a/l", "../a/x", "../a/x"),
    ("l", "/root/a", "a"),
    ("a/b/l", "/root/c", "../../c"),
    ("l", "/root", "."),
    ("l", "/rooted", None),
    ("l", "/etc/passwd", None),
    ("l", "...", "..."),
    ("l", "..x", "..x"),
]


@pytest.mark.parametrize(("link", "leads_to", "target"), LINKS)
def test_where_a_link_leads(link: str, leads_to: str, target: str | None) -> None:
    assert inward("/root", link, leads_to) == target


HOSTILE = [
    Extras(links=(("l", "../x"),)),
    Extras(links=(("l", "/etc"),)),
    Extras(links=(("l", ""),)),
    Extras(links=(("l", "a/../../x"),)),
    Extras(links=(("l", "a/../b"),)),
    Extras(links=(("l", "./a"),)),
    Extras(links=(("../l", "a"),)),
    Extras(links=(("/l", "a"),)),
    Extras(links=(("a//l", "a"),)),
    Extras(links=(("", "a"),)),
    Extras(links=(("l\0", "a"),)),
    Extras(links=(("l", "a\0"),)),
    Extras(links=(("a/l", "../../d/x"),)),
    Extras(links=(("file", "."), ("file/deep", "x"))),
    Extras(links=(("sub", "."),)),
    Extras(links=(("e", "."),), folders=("e",)),
    Extras(links=(("e", "."),), folders=("e/f",)),
    Extras(folders=("../e",)),
    Extras(folders=("/e",)),
    Extras(folders=("a/../../e",)),
    Extras(folders=("",)),
    Extras(folders=("file/e",)),
    Extras(folders=("file",)),
]


@pytest.mark.parametrize("extras", HOSTILE, ids=lambda extras: repr(extras)[7:])
def test_what_could_lead_out_is_refused(extras: Extras) -> None:
    with pytest.raises(CorruptObjectError):
        check(extras, ["file", "sub/file"])


def test_what_stays_inside_is_not() -> None:
    check(Extras(links=(("l", "."), ("sub/up", "../file"), ("file", "sub/file"))), ["file", "sub/file"])
    check(Extras(private=(("/", 0o077),), folders=("e/f", "g")), ["sub/file"])


def test_modes_are_those_of_most_without_what_is_private() -> None:
    modes = Modes(Content("d.dir", 1, 3, ("run", "tool"), Extras((("key", 0o077), ("run", 0o007)))))
    assert [oct(modes.of(name)) for name in ("plain", "key", "run", "tool")] == [
        "0o666",
        "0o600",
        "0o770",
        "0o777",
    ]
    assert [oct(modes.of(name, 0o444)) for name in ("plain", "key", "run")] == ["0o444", "0o400", "0o550"]


def test_a_file_is_closed(tmp_path: Path) -> None:
    (tmp_path / "f").touch(0o644)
    close(str(tmp_path / "f"), 0o077)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600


def test_a_link_takes_the_place_of_a_file_or_a_link_whole(tmp_path: Path) -> None:
    path = str(tmp_path / "l")
    for target in ("a", "b"):
        make_link(path, target)
        assert os.readlink(path) == target
    before = os.lstat(path)
    make_link(path, "b")
    assert os.lstat(path).st_ino == before.st_ino
    os.unlink(path)
    (tmp_path / "l").write_text("a file")
    make_link(path, "c")
    assert os.readlink(path) == "c" and os.listdir(tmp_path) == ["l"]
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        make_link(str(tmp_path / "folder"), "c")
    assert sorted(os.listdir(tmp_path)) == ["folder", "l"]

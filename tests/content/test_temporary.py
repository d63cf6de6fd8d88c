"""Temporaries say whose they are: those of the dead are cleared, and nobody takes one for a file."""

from __future__ import annotations

import os
import time
from pathlib import Path

from trees import killed_process_leaves

from ray_decorator.content.temporary import beside, clear_stale, is_temporary


def test_names(tmp_path: Path) -> None:
    one, other = beside(str(tmp_path / "f")), beside(str(tmp_path / "f"))
    assert one != other
    assert Path(one).parent == tmp_path
    assert is_temporary(Path(one).name)
    assert not is_temporary(".ray_s3-notes.tmp")
    assert not is_temporary("f")


def test_those_of_the_living_stay(tmp_path: Path) -> None:
    dead, own = killed_process_leaves(tmp_path), Path(beside(str(tmp_path / "f")))
    own.write_text("mine")
    (tmp_path / "f").write_text("the user's")
    clear_stale([str(tmp_path), str(tmp_path / "none")])
    assert not dead.exists()
    assert sorted(os.listdir(tmp_path)) == sorted([own.name, "f"])


def test_those_of_another_machine_stay_for_a_day(tmp_path: Path) -> None:
    names = [f".ray_s3-0123abcd-1-{number}.tmp" for number in range(2)]
    for name, age in zip(names, (23, 25), strict=True):
        (tmp_path / name).write_text("half")
        os.utime(tmp_path / name, (0, time.time() - age * 3600))
    clear_stale([str(tmp_path)])
    assert os.listdir(tmp_path) == names[:1]


def test_a_directory_of_the_dead_goes_with_all_in_it(tmp_path: Path) -> None:
    dead = killed_process_leaves(tmp_path)
    dead.unlink()
    (dead / "sub").mkdir(parents=True)
    (dead / "sub" / "a").write_text("half")
    clear_stale([str(tmp_path)])
    assert os.listdir(tmp_path) == []

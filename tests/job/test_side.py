"""What a process on the driver's machine sees of home, and that nothing is opened before it is needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ray_decorator.core.machine.this_machine import path_id
from ray_decorator.core.values.model import Dep, Home, Out
from ray_decorator.core.values.stores import Location
from ray_decorator.job.side import Side


def test_only_at_home_deps_are_read_in_place_and_outs_moved(tmp_path: Path, where: Location) -> None:
    here = path_id(tmp_path)
    assert here is not None
    dep, out = Dep("d", "d", None, home=here), Out("o", "o", home=Home(str(tmp_path / "o"), here))
    at_home, elsewhere = Side(where, None, True), Side(where, None, False)
    assert at_home.sees(dep) and at_home.reaches(out)
    assert not elsewhere.sees(dep) and not elsewhere.reaches(out)
    another = replace(here, inode=here.inode + 1)
    assert not at_home.sees(replace(dep, home=another)) and not at_home.sees(replace(dep, home=None))


def test_the_store_is_opened_when_it_is_needed(tmp_path: Path, where: Location) -> None:
    side = Side(where, None, False)
    assert not (tmp_path / "store").exists()
    side.store.put("key", b"bytes")
    assert side.store is side.store and (tmp_path / "store/key").read_bytes() == b"bytes"

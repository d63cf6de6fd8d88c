"""Which machine this is, and whether two processes see the same path on it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ray_decorator.core.machine import this_machine as machine
from ray_decorator.core.machine.this_machine import boot_id, is_same_path, path_id


def test_another_process_recognises_a_path(tmp_path: Path) -> None:
    marked = path_id(tmp_path)
    assert marked is not None
    program = f"from ray_decorator.core.machine.this_machine import *; print(is_same_path({marked!r}))"
    program = f"from ray_decorator.core.values.model import PathId; {program}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_what_took_a_paths_place_is_not_it(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.mkdir()
    marked = path_id(path)
    assert marked is not None and is_same_path(marked)
    assert not is_same_path(replace(marked, boot_id="of another machine"))
    assert not is_same_path(replace(marked, inode=marked.inode + 1))
    path.rename(tmp_path / "moved")
    assert not is_same_path(marked)
    shutil.copytree(tmp_path / "moved", path)
    assert not is_same_path(marked)
    assert path_id(tmp_path / "nowhere") is None


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's own boot id")
def test_the_boot_id_is_the_kernels() -> None:
    assert boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_without_proc_it_is_what_sysctl_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_proc(path: str) -> None:
        raise FileNotFoundError(path)

    monkeypatch.setattr(machine, "open", no_proc, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert boot_id() == __import__("platform").node()
    (tmp_path / "sysctl").write_text('#!/bin/sh\n[ "$*" = "-n kern.bootsessionuuid" ] && echo THE-UUID\n')
    (tmp_path / "sysctl").chmod(0o755)
    assert boot_id() == "THE-UUID"

"""What a job changes of its process is put back."""

from __future__ import annotations

import importlib
import importlib.abc
import linecache
import logging
import os
import signal
import sys
from pathlib import Path

import pytest

from ray_decorator.core.values.inherited import Inherited
from ray_decorator.job.process.inheritance import take_over
from ray_decorator.job.process.process_state import restored, working_directory


def test_all_is_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAYS", "as it was")
    cwd, path, environ, umask = os.getcwd(), list(sys.path), dict(os.environ), os.umask(0o022)
    os.umask(umask)
    root, level = logging.getLogger(), logging.getLogger().level
    handlers, on_usr1 = list(root.handlers), signal.getsignal(signal.SIGUSR1)
    with pytest.raises(RuntimeError, match="the job's own"), restored(cwd, [], tmp_path):
        os.chdir(tmp_path)
        os.environ["STAYS"] = "changed"
        os.environ["NEW"] = "new"
        os.umask(0o077)
        sys.path.insert(0, "/job")
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_VIRTUAL, 600)
        root.addHandler(logging.NullHandler())
        linecache.cache["<a cell of the job's>"] = (1, None, ["1"], "<a cell of the job's>")
        root.setLevel(level + 1)
        raise RuntimeError("the job's own")
    now = os.umask(umask)
    assert (os.getcwd(), sys.path, dict(os.environ), now) == (cwd, path, environ, umask)
    assert (root.handlers, root.level) == (handlers, level)
    assert signal.getsignal(signal.SIGUSR1) is on_usr1 and signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)
    assert "<a cell of the job's>" not in linecache.cache


def test_finders_of_modules_that_libraries_add_stay(tmp_path: Path) -> None:
    """As that of `six.moves`, whose modules later jobs import, too."""

    class Finder(importlib.abc.MetaPathFinder): ...

    added, before = Finder(), list(sys.meta_path)
    try:
        with restored(os.getcwd(), [], tmp_path):
            take_over(Inherited(modules={"tp_by_path": str(tmp_path / "odd-name.py")}), at_home=True)
            (tmp_path / "odd-name.py").write_text("VALUE = 7\n")
            assert importlib.import_module("tp_by_path").VALUE == 7
            sys.meta_path.append(added)
        assert sys.meta_path == [*before, added]
    finally:
        sys.meta_path[:] = before
        sys.modules.pop("tp_by_path", None)


def test_the_drivers_directory_and_paths_where_they_exist(tmp_path: Path) -> None:
    at_home, otherwise = tmp_path / "home", tmp_path / "otherwise"
    for folder in (at_home, otherwise):
        folder.mkdir()
    with restored(str(at_home), [str(at_home), "/not/here"], otherwise):
        assert Path.cwd() == at_home
        assert sys.path[0] == str(at_home)
        assert "/not/here" not in sys.path
    with restored("/not/here", [], otherwise):
        assert Path.cwd() == otherwise


def test_where_the_processs_own_directory_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("gone", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert working_directory() is None
    with restored(str(tmp_path / "home"), [], tmp_path):
        assert working_directory() == str(tmp_path / "home")
    assert working_directory() == "/"
    monkeypatch.chdir(tmp_path / "home")
    with restored(str(tmp_path), [], tmp_path):
        (tmp_path / "home").rmdir()  # by the job, say
    assert working_directory() == str(tmp_path)


def test_sigterm_ends_the_job_as_at_home(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with restored(os.getcwd(), [], tmp_path):
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("is_shared", [False, True])
def test_who_has_a_process_group_of_its_own_can_be_interrupted(
    is_shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its children, too. In a group that is the driver's, Ctrl-C is for the driver alone."""
    monkeypatch.setattr(os, "getpgid", lambda pid: os.getpid() + is_shared)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # as Ray does
    try:
        with restored(os.getcwd(), [], tmp_path):
            assert (signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])) == is_shared
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

"""Which session a call gets, and how those of a process end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ray_decorator.core.errors import InputError
from ray_decorator.core.options.settings import Settings
from ray_decorator.display.progress import make_progress
from ray_decorator.run import sessions

SETTINGS = Settings("local", "file:///x", False)


@dataclass
class Told:
    """Stands in for a Session: it connects to nothing, and remembers how it was closed."""

    settings: Settings
    show_progress: Any = None
    usable: bool = True
    closed: list[bool] = field(default_factory=list)
    on_close: Any = None

    def close(self, *, cancel: bool = False) -> None:
        self.closed.append(cancel)
        if self.on_close is not None:
            self.on_close()


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sessions, "Session", Told)
    monkeypatch.setattr(sessions, "_sessions", {})
    monkeypatch.setattr(sessions, "_prepare_the_end", lambda: None)
    yield
    sessions._interrupted.clear()


def session_for(settings: Settings = SETTINGS) -> Any:
    return sessions.session_for(settings, make_progress)


def test_equal_settings_in_one_directory_share_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = session_for()
    assert session_for(Settings("local", "file:///x", False)) is one
    assert session_for(Settings("local", "file:///y", False)) is not one
    monkeypatch.chdir(tmp_path)
    assert session_for() is not one


def test_a_process_that_a_job_has_started_is_refused_unless_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_S3_JOB", "7")
    with pytest.raises(InputError) as caught:
        sessions.refuse_to_nest()
    assert str(caught.value).startswith(
        "this process was started by a job that runs on Ray already (RAY_S3_JOB is 7"
    )
    assert "hydra/launcher=basic" in str(caught.value) and "RAY_S3_NESTED=1" in str(caught.value)
    monkeypatch.setenv("RAY_S3_NESTED", "1")
    sessions.refuse_to_nest()
    monkeypatch.delenv("RAY_S3_NESTED")
    monkeypatch.setenv("RAY_S3_JOB", str(os.getpid()))  # the job itself
    sessions.refuse_to_nest()


def test_another_identity_gets_a_session_of_its_own_and_no_key_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-first")
    one = session_for()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-second")
    assert session_for() is not one
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-first")
    assert session_for() is one
    assert "of-the" not in repr(list(sessions._sessions))


def test_one_that_lost_its_ray_is_closed_and_replaced() -> None:
    lost = session_for()
    lost.usable = False
    assert session_for() is not lost
    assert lost.closed == [True]


def test_all_are_closed_once_and_waited_for() -> None:
    all_of_them = [session_for(Settings("local", url, False)) for url in ("file:///x", "file:///y")]
    sessions.close_all()
    sessions.close_all()
    assert [one.closed for one in all_of_them] == [[False], [False]]


def test_after_an_interrupt_nobody_waits() -> None:
    one = session_for()
    sessions._interrupted.set()
    sessions.close_all()
    assert one.closed == [True]


def test_an_interrupt_while_one_is_waited_for_cancels_the_others() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    first, second = (session_for(Settings("local", url, False)) for url in ("file:///x", "file:///y"))
    first.on_close = interrupted
    sessions.close_all()
    assert (first.closed, second.closed) == ([False], [True])


def test_a_forked_child_has_no_sessions() -> None:
    code = (
        "import os; from ray_decorator.run import sessions\n"
        "sessions._prepare_the_end(); sessions._sessions['key'] = None\n"
        "child = os.fork()\n"
        "if not child: os._exit(len(sessions._sessions))\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(sessions._sessions))\n"
        "sessions._sessions.clear()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("0 1\n", "")

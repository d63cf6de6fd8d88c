"""Which functions registered with ``atexit`` are the job's, and how they are called."""

from __future__ import annotations

import atexit
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ray_decorator.job.process import exits

STDLIB = os.path.dirname(os.__file__)


def registering(file: str, func: Callable[..., Any], *args: Any) -> None:
    """``atexit.register(func, *args)`` in code of this file."""
    exec(
        compile("register(func, *args)", file, "exec"),
        {"register": atexit.register, "func": func, "args": args},
    )


@pytest.fixture
def called() -> list[Any]:
    return []


def test_they_are_called_last_first_and_what_they_raise_is_printed(
    called: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise SystemExit("not at the end")

    with exits.noted(bool) as registered:

        @atexit.register
        def first() -> None:
            called.append("first")

        atexit.register(fails)
        atexit.register(called.append, "taken back")
        atexit.unregister(called.append)
        assert atexit.register(called.extend, ["last"]) == called.extend
        with pytest.raises(TypeError, match="must be callable"):
            atexit.register(3)  # type: ignore[call-overload]
        assert called == []
        registered.call_all()
        registered.call_all()
    assert called == ["last", "first"]
    said = capsys.readouterr().err
    assert said.startswith(f"Exception ignored in atexit callback: {fails!r}\nTraceback")
    assert said.endswith("SystemExit: not at the end\n")


@pytest.mark.parametrize(
    ("file", "is_the_jobs"),
    [
        ("/home/me/train.py", True),
        ("/venv/lib/python3.11/site-packages/wandb/sdk/lib/service.py", True),
        (f"{STDLIB}/site-packages/wandb/sdk/lib/service.py", True),
        ("/venv/lib/python3.11/site-packages/ray/_private/worker.py", False),
        ("/venv/lib/python3.11/site-packages/tqdm/_monitor.py", False),
        ("/node/runtime/1f/ray_decorator/job/aws/identity.py", False),
        (f"{STDLIB}/weakref.py", False),
    ],
)
def test_pythons_own_and_those_of_a_process_s_helpers_are_left_to_it(
    called: list[Any], file: str, is_the_jobs: bool
) -> None:
    with exits.noted(bool) as registered:
        registering(file, called.append, 1)
        registered.call_all()
    atexit.unregister(called.append)
    assert called == [1] * is_the_jobs


@pytest.mark.parametrize(
    ("folder", "module", "expected"),
    [
        (".", "a_users", [[3, 2, 1], [2], [2]]),
        ("site-packages", "a_library", [[3, 2], [2], [2]]),
        ("site-packages", "mlflow.tracking.fluent", [[3, 2, 1], [2, 1], [2, 1]]),
    ],
)
def test_what_a_module_registers_when_it_is_imported(
    folder: str, module: str, expected: list[list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path / folder))
    file = tmp_path / folder / f"{module.replace('.', '/')}.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        "from atexit import register, unregister\ncalled = []\n"
        "register(called.append, 1)\nregister(called.clear)\nunregister(called.clear)\n"
        "def begin():\n    register(called.append, 2)\n"
    )
    before = exits.libraries_ended()
    exits.begin()  # the task's pickle imports it
    imported = importlib.import_module(module)
    told = []
    for job in range(3):  # the module stays, and holds what register was then
        with exits.noted(bool) as registered:
            imported.begin()
            if not job:
                atexit.register(imported.called.append, 3)
            registered.add_imported()
            registered.call_all()
        told.append(imported.called[:])
        imported.called.clear()
    atexit.unregister(imported.called.append)
    assert told == expected
    assert exits.libraries_ended() - before == (1 if folder == "." else 3)


def test_a_library_that_asks_for_the_exit_code_learns_of_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[Any] = []

    def leave(code: Any = None) -> None:
        codes.append(code)
        raise SystemExit(code)

    with exits.noted(bool) as registered:
        registered.tell_exit(1)
        monkeypatch.setattr(sys, "exit", leave)
        registered.tell_exit(1)
    assert codes == [1]


def test_a_child_that_the_job_forks_registers_for_itself(called: list[Any]) -> None:
    with exits.noted(bool) as registered:
        if (pid := os.fork()) == 0:
            atexit.register(called.append, 1)
            registered.call_all()
            os._exit(len(called))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

"""The traceback of a job that failed, as its user would have seen it at home."""

from __future__ import annotations

import pytest

from hydra_plugins.hydra_ray_s3_launcher._tracebacks import added_here, of_the_user, wanted_in_full
from ray_decorator.core.errors import RemoteTraceback

TEXT = """Traceback (most recent call last):
  File "/node/runtime/1f/hydra_plugins/hydra_ray_s3_launcher/_task.py", line 70, in task
    return task_function(config)
           ^^^^^^^^^^^^^^^^^^^^^
  File "/home/me/ray/hydra/train.py", line 3, in main
    fit()
  File "/venv/lib/python3.11/site-packages/torch/nn.py", line 8, in fit
    raise ValueError("first line
      File of a kind")
ValueError: first line
second line
"""


def test_frames_that_are_not_the_users_are_left_out() -> None:
    error = ValueError("x")
    error.__cause__ = RemoteTraceback(TEXT)
    assert of_the_user(error) == TEXT.replace(TEXT[TEXT.index("  File") : TEXT.index('  File "/home')], "")


def test_an_error_that_no_worker_raised_has_its_own_line() -> None:
    assert of_the_user(KeyError("a")) == "KeyError: 'a'\n"


def test_what_the_driver_has_added_comes_last_and_what_the_worker_had_once() -> None:
    error = ValueError("x")
    error.__cause__ = RemoteTraceback("ValueError: x\nthe worker's\n")
    for note in ("the worker's", "the driver's"):
        error.add_note(note)
    assert of_the_user(error) == "ValueError: x\nthe worker's\nthe driver's\n"


def test_what_the_driver_has_added_is_found_below_any_cause() -> None:
    error = ValueError("x")
    error.add_note("the driver's")
    assert added_here(error) == ["the driver's"]
    error.add_note("the worker's")
    error.__cause__ = KeyError("y")
    error.__cause__.__cause__ = RemoteTraceback("ValueError: x\nthe worker's\n")
    assert added_here(error) == ["the driver's"]
    error.__cause__.__cause__ = error  # goes round
    assert added_here(error) == ["the driver's", "the worker's"]


@pytest.mark.parametrize(("given", "full"), [(None, False), ("0", False), ("1", True)])
def test_hydras_variable_asks_for_all(monkeypatch: pytest.MonkeyPatch, given: str | None, full: bool) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    if given is not None:
        monkeypatch.setenv("HYDRA_FULL_ERROR", given)
    assert wanted_in_full() is full

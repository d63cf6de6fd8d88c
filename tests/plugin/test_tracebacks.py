"""The traceback of a job that failed, as its user would have seen it at home."""

from __future__ import annotations

import pytest
from hydra.errors import InstantiationException

from hydra_plugins.hydra_ray_s3_launcher._tracebacks import (
    added_here,
    is_message_enough,
    of_the_user,
    wanted_in_full,
)
from ray_decorator.core.errors import InputError, JobError, RemoteTraceback
from ray_decorator.core.serialization.failures import failure_of, rebuilt

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


GROUP = """  + Exception Group Traceback (most recent call last):
  |   File "/venv/lib/python3.11/site-packages/hydra/core/utils.py", line 1, in run_job
  |     task()
  |     ^^^^^^
  |   File "/home/me/train.py", line 3, in main
  |     fit()
  | ExceptionGroup: g (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/home/me/train.py", line 4, in f
    |     return c.x
    |   File "/venv/lib/python3.11/site-packages/omegaconf/base.py", line 2, in get
    |     raise it
    |   [Previous line repeated 9 more times]
    | ValueError: v
    +------------------------------------
"""


def test_a_group_has_frames_at_its_margins_and_some_are_repeated() -> None:
    error = ExceptionGroup("g", [ValueError("v")])
    error.__cause__ = RemoteTraceback(GROUP)
    left = GROUP.replace(GROUP[GROUP.index('  |   File "/venv') : GROUP.index('  |   File "/home')], "")
    left = left.replace(left[left.index('    |   File "/venv') : left.index("    | ValueError")], "")
    assert of_the_user(error) == left


def in_a_job() -> None:
    try:
        raise KeyError("a")
    except KeyError as exc:
        raise RuntimeError("x") from exc


def test_an_error_with_a_cause_shows_the_frames_of_both() -> None:
    with pytest.raises(RuntimeError) as caught:
        in_a_job()
    shown = of_the_user(rebuilt(failure_of(caught.value)))
    assert shown.count("in in_a_job") == 2 and shown.endswith("RuntimeError: x\n")
    assert "KeyError: 'a'\n\nThe above exception was the direct cause" in shown


def test_a_message_is_enough_for_hydras_compact_errors_and_ours_but_not_for_one_that_could_not_travel() -> (
    None
):
    assert is_message_enough(InstantiationException("x")) and is_message_enough(InputError("x"))
    assert not is_message_enough(ValueError("x"))
    error = JobError("#0 ended with SystemExit: 3")
    assert is_message_enough(error)
    error.__cause__ = SystemExit(3)
    error.__cause__.__cause__ = RemoteTraceback(TEXT)
    assert is_message_enough(error)
    error.__cause__ = RemoteTraceback("ray_decorator.core.errors.JobError: home is full\n")
    assert is_message_enough(error)
    error.__cause__ = RemoteTraceback(TEXT)
    assert not is_message_enough(error)


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

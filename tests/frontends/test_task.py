"""What runs on the worker for a plain function: its paths filled in, and nothing of its own left behind."""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from ray_decorator.core.serialization import pickling
from ray_decorator.core.values.model import Paths
from ray_decorator.frontends import hydra_state
from ray_decorator.frontends.script import main_module
from ray_decorator.frontends.script import settings as script_settings
from ray_decorator.frontends.task import Arguments, Task, own_sessions
from ray_decorator.run import sessions

MAIN = main_module.Main({}, {}, None, None, script_settings.captured())


def called(function: Any, arguments: Arguments, *paths: str, hydra: bytes | None = None) -> Any:
    """As it travels: pickled with the function, and with the payload apart."""
    task = pickle.loads(pickling.dumps(Task(function, hydra, MAIN), "the task"))
    payload = pickling.dumps(arguments, "an argument")
    return task(payload, Paths(paths[:1], paths[1:]))


def test_paths_are_filled_in_deps_first() -> None:
    slots = (("kwargs", "data", "path"), ("args", 1))
    arguments = Arguments((3, Path("out")), {"data": {"path": "d"}, "n": 1}, slots)
    args, kwargs = called(lambda *args, **kwargs: (args, kwargs), arguments, "/there/d", "/there/out")
    assert args == (3, Path("/there/out"))
    assert kwargs == {"data": {"path": "/there/d"}, "n": 1}


def test_as_many_paths_as_slots() -> None:
    with pytest.raises(ValueError):
        called(print, Arguments((), {}, ()), "/there/d")


def test_configs_find_the_drivers_resolvers() -> None:
    OmegaConf.register_new_resolver("twice", lambda n: 2 * n)
    try:
        state = hydra_state.captured()
    finally:
        OmegaConf.clear_resolver("twice")
    config = OmegaConf.create({"n": 3, "double": "${twice:${n}}"})
    assert called(lambda cfg: cfg.double, Arguments((config,), {}, ()), hydra=state) == 6
    assert not OmegaConf.has_resolver("twice")


def test_a_partial_is_a_function() -> None:
    assert called(partial(max, 2), Arguments((1,), {}, ())) == 2


@dataclass
class Open:
    closed: list[bool] = field(default_factory=list)

    def close(self, *, cancel: bool = False) -> None:
        self.closed.append(cancel)


def test_sessions_that_a_job_opened_are_closed_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: Any = Open()
    monkeypatch.setattr(sessions, "_sessions", {("", ""): opened})
    with pytest.raises(KeyError), own_sessions():
        raise KeyError("the job's own")
    assert opened.closed == [False]
    monkeypatch.delitem(sys.modules, "ray_decorator.run.sessions")
    with own_sessions():  # a job that made no calls has not even imported it
        pass
    assert "ray_decorator.run.sessions" not in sys.modules

"""What a job takes over travels as it is, and is never shown."""

from __future__ import annotations

import pickle

from ray_decorator.core.inherited import Inherited, Variable


def test_it_travels_and_nothing_of_it_is_shown() -> None:
    keys = {"AWS_SECRET_ACCESS_KEY": Variable("hunter2")}
    inherited = Inherited({"TOKEN": Variable("hunter2", "/hunter2")}, ("app.py", "password=hunter2"), keys)
    assert "hunter2" not in repr(inherited) + repr(inherited.environ)
    assert pickle.loads(pickle.dumps(inherited)) == inherited

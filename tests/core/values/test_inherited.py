"""What a job takes over travels as it is, and is never shown."""

from __future__ import annotations

import pickle

from ray_decorator.core.values.inherited import Inherited, Variable


def test_of_who_the_driver_is_an_s3_stores_job_knows_the_profiles_name_alone() -> None:
    names = ("AWS_PROFILE", "AWS_SECRET_ACCESS_KEY", "AWS_ROLE_ARN", "AWS_REGION", "AWS_CA_BUNDLE")
    aws = {name: Variable(name.lower()) for name in (*names, "AWS_DEFAULT_PROFILE")}
    given = Inherited({"X": Variable("x")}, aws=aws, aws_everywhere=frozenset(names)).without_aws_identity()
    assert given.environ.keys() == {"X", "AWS_PROFILE", "AWS_REGION"}
    assert (given.aws, given.aws_everywhere, given.profiles) == (None, frozenset(), {"aws_profile"})
    unset = Inherited(aws={"AWS_PROFILE": Variable(None)}, aws_everywhere=frozenset({"AWS_PROFILE"}))
    assert unset.without_aws_identity().profiles == Inherited().profiles == frozenset()


def test_it_travels_and_nothing_of_it_is_shown() -> None:
    keys = {"AWS_SECRET_ACCESS_KEY": Variable("hunter2")}
    inherited = Inherited({"TOKEN": Variable("hunter2", "/hunter2")}, ("app.py", "password=hunter2"), keys)
    assert "hunter2" not in repr(inherited) + repr(inherited.environ)
    assert pickle.loads(pickle.dumps(inherited)) == inherited

"""Equal problems of many jobs are one, which names the jobs."""

from __future__ import annotations

import pytest

from ray_decorator.core.errors import InputError, Missing, MissingDepError
from ray_decorator.core.problems import Problems, in_jobs


def test_without_problems_nothing_is_raised() -> None:
    problems = Problems()
    problems.add("#0", [])
    assert not problems
    problems.raise_if_any()


def test_equal_problems_are_grouped_in_the_order_in_which_they_were_met() -> None:
    problems = Problems()
    problems.add("#0 x=1", ["a is wrong", "b is wrong"])
    problems.add("#1 x=2", ["c is wrong", "a is wrong"])
    assert problems
    with pytest.raises(InputError) as caught:
        problems.raise_if_any()
    assert caught.value.problems == (
        "a is wrong (2 jobs: #0 x=1, #1 x=2)",
        "b is wrong (job #0 x=1)",
        "c is wrong (job #1 x=2)",
    )


def test_missing_deps_of_several_jobs_are_a_missing_dep_error() -> None:
    problems = Problems()
    problems.add("#0", [Missing("a is gone", "/a")])
    problems.add("#1", [Missing("a is gone", "/a"), Missing("b is gone", "/b")])
    with pytest.raises(MissingDepError) as caught:
        problems.raise_if_any()
    assert caught.value.problems == ("a is gone (2 jobs: #0, #1)", "b is gone (job #1)")
    problems.add("#2", ["c is wrong"])
    with pytest.raises(InputError) as mixed:
        problems.raise_if_any()
    assert not isinstance(mixed.value, FileNotFoundError)


def test_of_many_jobs_three_are_named() -> None:
    assert in_jobs([f"#{n}" for n in range(3)]) == "3 jobs: #0, #1, #2"
    assert in_jobs([f"#{n}" for n in range(300)]) == "300 jobs: #0, #1, #2, …"

"""What a user asks of a front door, and the mark by which the launcher knows such a function."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from ray_decorator.core.errors import InputError
from ray_decorator.core.options.settings import Options
from ray_decorator.frontends.terms import (
    Mark,
    Terms,
    as_task,
    config_parameter,
    is_the_task,
    make_terms,
    mark_of,
)


def test_terms_over_others_have_the_keys_of_both_once() -> None:
    mine = Terms(("a", "b"), ("o",), Options(packages="none"))
    other = Terms(("b", "c"), (), Options(packages="auto", code="none"))
    assert mine.over(other) == Terms(("a", "b", "c"), ("o",), Options(packages="none", code="none"))


class TestMake:
    def test_options_by_name_and_by_position_in_the_order_of_options(self) -> None:
        made = make_terms(["a"], None, ["local", "file:///x"], {"max_concurrent": 3})
        options = Options(ray_address="local", s3_base_path="file:///x", max_concurrent=3)
        assert made == Terms(("a",), (), options)

    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            ("data", r"deps is 'data'; expected a list of keys, such as \['data_dir'\], or dvc"),
            ({"data": 1}, r"deps is {'data': 1}; expected a list of keys, such as \['data_dir'\]"),
            (print, r"deps is <built-in .*>; expected a list of keys. Write @ray_decorator\(\) to give none"),
        ],
    )
    def test_keys_that_are_no_list_are_refused(self, keys: Any, message: str) -> None:
        with pytest.raises(InputError, match=message):
            make_terms(keys, None, [], {})

    def test_too_many_by_position_are_refused_with_the_names_there_are(self) -> None:
        with pytest.raises(
            TypeError, match=r"12 options by position; there are 11: ray_address, s3_base_path"
        ):
            make_terms(None, None, [None] * 12, {})

    def test_an_option_that_there_is_not(self) -> None:
        with pytest.raises(TypeError, match="max_concurent"):
            make_terms(None, None, [], {"max_concurent": 3})  # type: ignore[typeddict-unknown-key]


class TestMark:
    def test_keys_of_the_parameter_are_the_configs_own(self) -> None:
        mark = Mark(Terms(("cfg.data.path",), ("cfg.out",)), "cfg")
        assert mark.in_config() == Terms(("data.path",), ("out",))

    def test_without_a_parameter_they_are_so_already(self) -> None:
        mark = Mark(Terms(("data.path",)))
        assert mark.in_config() is mark.terms

    def test_all_keys_that_reach_elsewhere_are_named(self) -> None:
        with pytest.raises(InputError) as caught:
            Mark(Terms(("other.path", "cfg.data"), ("cfg",)), "cfg").in_config()
        assert caught.value.problems == (
            "deps key 'other.path' of @ray_decorator is no key of 'cfg', the one argument that Hydra passes. "
            "With hydra/launcher=ray_s3, name keys such as 'cfg.data.path'",
            "outs key 'cfg' of @ray_decorator is no key of 'cfg', the one argument that Hydra passes. "
            "With hydra/launcher=ray_s3, name keys such as 'cfg.data.path'",
        )

    def test_it_is_found_below_other_decorators(self) -> None:
        def task(cfg: Any) -> None: ...

        @functools.wraps(task)
        def wrapped(cfg: Any) -> None: ...

        assert mark_of(task) is None
        mark = Mark(Terms())
        task.__ray_s3__ = mark  # type: ignore[attr-defined]
        assert mark_of(functools.wraps(task)(lambda cfg: None)) is mark
        wrapped.__ray_s3__ = "something else"  # type: ignore[attr-defined]
        assert mark_of(wrapped) is None

    def test_the_config_is_the_first_parameter(self) -> None:
        assert config_parameter(lambda cfg, other=1: None) == "cfg"
        assert config_parameter(lambda: None) == ""


def test_a_task_is_called_in_its_own_process_once() -> None:
    mark, other = Mark(Terms()), Mark(Terms())

    def task(cfg: Any) -> None: ...

    task.__ray_s3__ = mark  # type: ignore[attr-defined]
    assert not is_the_task(mark)
    with as_task(task):
        assert not is_the_task(other)
        assert is_the_task(mark)
        assert not is_the_task(mark)  # calls that the task makes are their own
    with as_task(task):
        pass
    assert not is_the_task(mark)

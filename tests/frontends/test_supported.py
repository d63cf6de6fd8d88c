"""Coroutine and generator functions are refused before anything runs, with what to do instead."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from ray_decorator import InputError, ray_decorator, ray_zen
from ray_decorator.frontends.supported import check_supported, is_coroutine_function


async def coroutine(x: int) -> int:
    return 2 * x


def generator(x: int) -> Iterator[int]:
    yield 2 * x


async def both(x: int) -> AsyncIterator[int]:
    yield 2 * x


class Fit:
    async def coroutine(self, x: int) -> int:
        return 2 * x

    @staticmethod
    def generator(x: int) -> Iterator[int]:
        yield 2 * x


class Callable_:
    async def __call__(self, x: int) -> int:
        return 2 * x


class Yields:
    def __call__(self, x: int) -> Iterator[int]:
        yield 2 * x


COROUTINES = [
    coroutine,
    Fit().coroutine,
    functools.partial(coroutine, 1),
    Callable_(),
    functools.partial(Callable_()),
]
GENERATORS = [generator, Fit.generator, functools.partial(generator, 1), Yields()]
SYNC: list[Callable[..., Any]] = [
    print,
    len,
    int,
    Fit,
    Callable_,
    functools.partial(int, base=2),
    lambda: None,
]


@pytest.mark.parametrize("function", COROUTINES)
def test_a_coroutine_function_is_to_be_wrapped(function: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"is a coroutine function.* Wrap it: def run.*asyncio\.run\("):
        ray_decorator()(function)
    assert is_coroutine_function(function)
    check_supported(function, coroutines=True)


@pytest.mark.parametrize("function", GENERATORS)
@pytest.mark.parametrize("front_door", [ray_decorator(), ray_zen])
def test_a_generator_function_is_to_return_a_list(function: Callable[..., Any], front_door: Any) -> None:
    with pytest.raises(
        InputError, match=r"is a generator function.* Return a list, or wrap it: def run.*list\("
    ):
        front_door(function)


@pytest.mark.parametrize("front_door", [ray_decorator(), ray_zen])
def test_an_async_generator_function_is_to_return_a_list(front_door: Any) -> None:
    with pytest.raises(
        InputError, match=r"^both is an async generator function.* return asyncio\.run\(…\) of that"
    ):
        front_door(both)


@pytest.mark.parametrize("function", SYNC)
def test_all_others_are_as_they_were(function: Callable[..., Any]) -> None:
    check_supported(function)
    assert not is_coroutine_function(function)


def test_what_wraps_one_is_what_it_is_itself() -> None:
    @functools.wraps(coroutine)
    def runs_it(x: int) -> int:
        return asyncio.run(coroutine(x))

    assert inspect.iscoroutinefunction(inspect.unwrap(runs_it))
    check_supported(runs_it)


def test_the_cure_that_is_named_works(ray_session: str) -> None:
    def run(*args: Any, **kwargs: Any) -> int:
        return asyncio.run(coroutine(*args, **kwargs))

    assert ray_decorator()(run)(4) == 8


@pytest.mark.parametrize(
    ("task", "kind", "cure"),
    [
        (coroutine, "coroutine", "asyncio.run"),
        (generator, "generator", "list"),
        (both, "async_generator", "a list"),
    ],
)
def test_one_that_is_hidden_is_said_to_have_run_nothing(
    ray_session: str, task: Any, kind: str, cure: str
) -> None:
    @functools.wraps(task)
    def hides(x: int) -> Any:
        return task(x)

    with pytest.raises(TypeError, match=f"the task returned a {kind}.*nothing of it has run: return {cure}"):
        ray_decorator()(hides)(4)

"""What a user asks of a front door, and the mark by which the Hydra launcher knows such a function.

The mark is ``function.__ray_s3__``; functools.wraps hands it on, so the launcher finds it below other decorators
as well.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..core.errors import InputError
from ..core.options.settings import OptionArguments, Options

OF_THE_STAGE = "dvc"
"""In place of a list of keys: what the DVC stage that runs reads, or writes."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What to carry, as keys, and where and how to run.

    ``from_stage`` has ``deps``, ``outs`` or both, where those of the DVC stage that runs are carried as well.
    """

    deps: tuple[str, ...] = ()
    outs: tuple[str, ...] = ()
    options: Options = field(default_factory=Options)
    from_stage: frozenset[str] = frozenset()

    def over(self, other: Terms) -> Terms:
        """The keys of both; options that are not set here come from ``other``."""
        return Terms(
            deps=tuple(dict.fromkeys((*self.deps, *other.deps))),
            outs=tuple(dict.fromkeys((*self.outs, *other.outs))),
            options=self.options.over(other.options),
            from_stage=self.from_stage | other.from_stage,
        )


def make_terms(
    deps: Sequence[str] | None,
    outs: Sequence[str] | None,
    in_order: Sequence[Any],
    options: OptionArguments,
) -> Terms:
    """Terms from a front door's arguments. ``in_order`` are options by position.

    Raises InputError where deps or outs are neither a list of keys nor the word dvc, TypeError for options that
    there are not.
    """
    names = [each.name for each in fields(Options)]
    if len(in_order) > len(names):
        raise TypeError(f"{len(in_order)} options by position; there are {len(names)}: {', '.join(names)}")
    by_position: Any = dict(zip(names, in_order, strict=False))
    from_stage = frozenset(kind for kind, keys in (("deps", deps), ("outs", outs)) if keys == OF_THE_STAGE)
    return Terms(_keys("deps", deps), _keys("outs", outs), Options(**by_position, **options), from_stage)


def _keys(kind: str, keys: Any) -> tuple[str, ...]:
    if keys is None or keys == OF_THE_STAGE:
        return ()
    if callable(keys):
        raise InputError(f"{kind} is {keys!r}; expected a list of keys. Write @ray_decorator() to give none")
    if isinstance(keys, str) or not isinstance(keys, Sequence):
        raise InputError(
            f"{kind} is {keys!r}; expected a list of keys, such as ['data_dir'], or dvc for those of the DVC stage"
        )
    return tuple(keys)


@dataclass(frozen=True, eq=False, slots=True)
class Mark:
    """What a front door's function tells the launcher; every function has one of its own.

    ``parameter`` is the name of the parameter that the keys begin with and that takes Hydra's config;
    None where the keys are the config's own.
    """

    terms: Terms
    parameter: str | None = None

    def in_config(self) -> Terms:
        """The terms with the config's own keys. Raises InputError for a key that reaches elsewhere."""
        if self.parameter is None:
            return self.terms
        problems: list[str] = []
        deps = tuple(self._in_config("deps", key, problems) for key in self.terms.deps)
        outs = tuple(self._in_config("outs", key, problems) for key in self.terms.outs)
        if problems:
            raise InputError(tuple(problems))
        return replace(self.terms, deps=deps, outs=outs)

    def _in_config(self, kind: str, key: str, problems: list[str]) -> str:
        parameter, _, rest = key.partition(".")
        if parameter != self.parameter or not rest:
            problems.append(
                f"{kind} key {key!r} of @ray_decorator is no key of {self.parameter!r}, the one argument "
                f"that Hydra passes. With hydra/launcher=ray_s3, name keys such as "
                f"'{self.parameter}.data.path'"
            )
        return rest


def config_parameter(function: Callable[..., Any]) -> str:
    """The parameter that takes the config when Hydra calls ``function``: its first; "" if there is none."""
    return next(iter(inspect.signature(function).parameters), "")


def mark_of(function: Any) -> Mark | None:
    """The mark of a front door's function, None for any other."""
    mark = getattr(function, "__ray_s3__", None)
    return mark if isinstance(mark, Mark) else None


_task: ContextVar[Mark | None] = ContextVar("_task", default=None)


@contextlib.contextmanager
def as_task(function: Any) -> Iterator[None]:
    """``function`` is a launcher's task, and on its worker already: its next call stays in this process."""
    token = _task.set(mark_of(function))
    try:
        yield
    finally:
        _task.reset(token)


def is_the_task(mark: Mark) -> bool:
    """Whether a launcher's job calls its task now. True once: calls that the task makes are their own."""
    if _task.get() is not mark:
        return False
    _task.set(None)
    return True

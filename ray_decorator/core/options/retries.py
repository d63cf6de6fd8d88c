"""When a job is run again: one counter for crashes, lost nodes, out-of-memory kills and exceptions alike.

Ray itself retries nothing: it would do so without looking at what an attempt has left, and count each cause apart.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import operator
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from ..errors import InputError, JobCancelledError, JobDiedError, text_of
from ..serialization.failures import add_note, kinds_of
from ..values.model import Job

MOST_ATTEMPTS = 100
"""So many attempts back, an earlier run's newest checkpoint is looked for."""


@dataclass(frozen=True, slots=True)
class Retries:
    """``most`` attempts may follow the first, None: any number.

    ``on`` are the dotted names of the exception classes after which one follows.
    """

    most: int | None = 0
    on: tuple[str, ...] = ()

    @property
    def bound(self) -> int:
        """How many attempts there may be; where any number, those that are looked for."""
        return MOST_ATTEMPTS if self.most is None else self.most + 1

    def another(self, attempt: int) -> bool:
        """Whether another one may follow this attempt. The first is number 1."""
        return self.most is None or attempt <= self.most

    def job(self, job: Job, attempt: int) -> Job:
        """``job`` as its attempt with this number. Each has an id of its own, so that none meets another's files."""
        on = self.on if self.another(attempt) else ()
        own_id = job.id if attempt == 1 else f"{job.id}-{attempt}"
        return replace(job, id=own_id, attempt=attempt, retry_on=on)

    def next_one(self, name: str, attempt: int, error: BaseException) -> str:
        """What to say, in one line, of an attempt that met ``error`` and is replaced. ``name`` is the job's."""
        text = (text_of(error).strip() or "no message").splitlines()[0].removeprefix(f"{name} ")
        why = text if isinstance(error, JobDiedError) else f"{type(error).__name__}: {text}"
        of = "" if self.most is None else f" of {self.most + 1}"
        return f"{name}: attempt {attempt}{of} failed, and is replaced by another one ({why})"

    def exhausted(self, error: BaseException, attempts: int) -> BaseException:
        """The error of the last of several attempts, which says how many there were."""
        if attempts > 1 and not isinstance(error, JobCancelledError):
            add_note(error, f"This was attempt {attempts}: ray_remote_kwargs.max_retries is {self._most()}")
        return error

    def _most(self) -> int:
        return -1 if self.most is None else self.most


NO_RETRIES = Retries()


def retries_of(options: Mapping[str, Any]) -> Retries:
    """What ``ray_remote_kwargs`` say of retries.

    ``max_retries`` is how often a job may be run again, -1 for without bound, as for Ray; 0 where it is not
    set. ``retry_exceptions`` is true for every Exception, or a list of classes and dotted names of such. Raises
    InputError with all that is wrong with them.
    """
    problems: list[str] = []
    most = options.get("max_retries") or 0
    if not isinstance(most, int) or isinstance(most, bool) or most < -1:
        problems.append(
            f"ray_remote_kwargs.max_retries is {options['max_retries']!r}; expected how often a job may be run "
            "again: 0 or more, or -1 for without bound"
        )
    on = _names(options.get("retry_exceptions") or (), problems)
    if on and most == 0 and not problems:
        problems.append(
            "ray_remote_kwargs.retry_exceptions is set, but max_retries is 0. Set ray_remote_kwargs.max_retries "
            "to how often a job may be run again"
        )
    if problems:
        raise InputError(tuple(problems))
    return Retries(None if most == -1 else most, on)


def _names(given: Any, problems: list[str]) -> tuple[str, ...]:
    if given is True:
        return (kinds_of(Exception)[0],)
    if isinstance(given, str) or not isinstance(given, Sequence):
        problems.append(
            f"ray_remote_kwargs.retry_exceptions is {given!r}; expected true, or a list of exception classes or of "
            "their dotted names, such as ['requests.ConnectionError']"
        )
        return ()
    found = [_class(each, problems) for each in given]
    return tuple(kinds_of(each)[0] for each in found if each is not None)


def _class(given: Any, problems: list[str]) -> type[Exception] | None:
    """The class that is given or named: what it is called where it is defined may be another name."""
    try:
        found = _named(given) if isinstance(given, str) else given
    except Exception as exc:  # a module can do anything when it is imported
        problems.append(
            f"ray_remote_kwargs.retry_exceptions names {given!r}, which cannot be found here "
            f"({type(exc).__name__}: {exc}). Give its dotted name, such as 'requests.ConnectionError'"
        )
        return None
    if isinstance(found, type) and issubclass(found, Exception):
        return found
    problems.append(f"ray_remote_kwargs.retry_exceptions names {given!r}, which is no subclass of Exception")
    return None


def _named(name: str) -> Any:
    module, _, rest = name.partition(".")
    if not rest:
        return getattr(builtins, name)
    found = _module(module)
    while True:
        try:
            return operator.attrgetter(rest)(found)
        except AttributeError:
            head, _, tail = rest.partition(".")
            if not tail:
                raise
            found, rest = _module(f"{found.__name__}.{head}"), tail


def _module(name: str) -> ModuleType:
    """The module; the running script by its file's name, too: its exceptions are `__main__`'s, not an import's."""
    main = sys.modules["__main__"]
    if name not in sys.modules and (file := getattr(main, "__file__", None)) is not None:
        spec = importlib.util.find_spec(name)
        if (
            spec is not None
            and spec.origin is not None
            and os.path.realpath(spec.origin) == os.path.realpath(file)
        ):
            return main
    return importlib.import_module(name)

"""What a script has set up for its whole process before its task runs: warnings, logging, a few of Python's limits.

The script is not run again on a worker, so these settings go along:

    warnings    the filters, and logging.captureWarnings
    logging     levels, names of levels, propagate, disabled, filters; handlers that write to stdout or stderr;
                logging.disable, the script's class of loggers, and who makes records
    Python      the recursion limit, and the umask (Linux)
    libraries   defaults of Python's own and of numpy (`defaults`)

Files and servers that handlers write to are the driver's own. Seeds stay, too: all jobs of a sweep would draw the
same numbers.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import pickle
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from ...core.serialization import pickling
from . import defaults as script_defaults

_OTHERS = re.compile(r"(ray|ray_decorator|hydra_plugins\.hydra_ray_s3_launcher)(\..*)?")
"""Loggers whose settings there are not the script's."""
_LEVELS = frozenset(("CRITICAL", "FATAL", "ERROR", "WARN", "WARNING", "INFO", "DEBUG", "NOTSET"))


@dataclass(frozen=True, slots=True)
class _Handler:
    """A `logging.StreamHandler` on descriptor 1 or 2. ``parts`` are its formatter and filters, pickled."""

    descriptor: int
    level: int
    parts: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Logger:
    """``handlers`` are those that can travel. None where there are others only: those of the node stay then.

    ``filters`` are pickled, those that can be, and so is ``kind``, a class of the script's own.
    """

    level: int
    propagate: bool
    disabled: bool
    handlers: tuple[_Handler, ...] | None
    filters: tuple[bytes, ...] = field(default=(), repr=False)
    kind: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """``filters`` are `warnings.filters`, with module and name of each category; ``loggers`` has the root as ''.

    ``disabled`` is the level that `logging.disable` was given. ``record_factory`` is pickled if it is not Python's,
    ``logger_class`` where it is the script's.
    """

    filters: Sequence[tuple[Any, ...]]
    captures_warnings: bool
    loggers: Mapping[str, _Logger]
    level_names: Mapping[str, int]
    recursion_limit: int
    umask: int | None
    defaults: Mapping[str, Any]
    disabled: int = logging.NOTSET
    record_factory: bytes | None = field(default=None, repr=False)
    logger_class: bytes | None = field(default=None, repr=False)


def captured() -> Settings:
    """This process's."""
    named = dict(logging.root.manager.loggerDict)
    loggers = {name: _logger(each) for name, each in named.items() if _is_set_up(each)}
    return Settings(
        [_named(each) for each in warnings.filters if _travels(each)],
        getattr(logging, "_warnings_showwarning", None) is not None,  # it has no public name
        {"": _logger(logging.root)}
        | {name: each for name, each in loggers.items() if not _OTHERS.fullmatch(name)},
        {name: number for name, number in logging.getLevelNamesMapping().items() if name not in _LEVELS},
        sys.getrecursionlimit(),
        _umask(),
        script_defaults.captured(),
        logging.root.manager.disable,
        _pickled(factory) if (factory := logging.getLogRecordFactory()) is not logging.LogRecord else None,
        _kind(logging.getLoggerClass()),
    )


@contextlib.contextmanager
def installed(settings: Settings) -> Iterator[None]:
    """They are this process's for the time being."""
    limit = sys.getrecursionlimit()
    with warnings.catch_warnings(), _logging(settings), script_defaults.installed(settings.defaults):
        filters = [each for each in map(_with_category, settings.filters) if each is not None]
        warnings.resetwarnings()
        warnings.filters.extend(filters)  # type: ignore[attr-defined]
        umask = None if settings.umask is None else os.umask(settings.umask)
        sys.setrecursionlimit(max(limit, settings.recursion_limit))
        try:
            yield
        finally:
            sys.setrecursionlimit(limit)
            if umask is not None:
                os.umask(umask)


def _travels(found: tuple[Any, ...]) -> bool:
    """Without its category, which goes by its name. All filters that `warnings` makes do."""
    action, message, _, *rest = found
    return all(part is None or isinstance(part, str | int | re.Pattern) for part in (action, message, *rest))


def _named(found: tuple[Any, ...]) -> tuple[Any, ...]:
    action, message, category, *rest = found
    return action, message, (category.__module__, category.__qualname__), *rest


def _with_category(found: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """None where nothing here can be of its category."""
    action, message, (module, name), *rest = found
    try:
        category: Any = importlib.import_module(module)
        for part in name.split("."):
            category = getattr(category, part)
    except Exception:  # what is imported may raise anything
        return None
    return action, message, category, *rest


def _is_set_up(logger: object) -> TypeGuard[logging.Logger]:
    """Whether anything of it is not as Python makes it."""
    if not isinstance(logger, logging.Logger):
        return False
    return bool(
        logger.level
        or logger.handlers
        or logger.filters
        or logger.disabled
        or not logger.propagate
        or type(logger).__module__ == "__main__"
    )


def _logger(logger: logging.Logger) -> _Logger:
    handlers = [_handler(each) for each in logger.handlers]
    known = tuple(each for each in handlers if each is not None)
    lost = bool(handlers) and not known
    filters = tuple(each for each in map(_pickled, logger.filters) if each is not None)
    handed_on = None if lost else known
    return _Logger(logger.level, logger.propagate, logger.disabled, handed_on, filters, _kind(type(logger)))


def _kind(kind: type[logging.Logger]) -> bytes | None:
    """A library makes loggers of its own class itself, when it is imported there."""
    return _pickled(kind) if kind.__module__ == "__main__" else None


def _pickled(part: object) -> bytes | None:
    # plainly first: so what the script has made is the same there as for its jobs
    for dumps in (pickle.dumps, pickling.pickled):
        with contextlib.suppress(Exception):  # a filter may be anything
            return dumps(part)
    return None


def _unpickled(*parts: bytes | None) -> Iterator[Any]:
    """Those that there are, and can be had here: what is imported for one may raise anything."""
    for part in parts:
        with contextlib.suppress(Exception):
            if part is not None:
                yield pickling.loads(part)


def _handler(handler: logging.Handler) -> _Handler | None:
    if type(handler) is not logging.StreamHandler:
        return None
    try:
        parts = pickling.pickled((handler.formatter, list(handler.filters)))
        descriptor = handler.stream.fileno()
    except Exception:  # a stream, formatter or filter may be anything
        return None
    return _Handler(descriptor, handler.level, parts) if descriptor in (1, 2) else None


def _made(handler: _Handler) -> logging.Handler:
    made = logging.StreamHandler(sys.stdout if handler.descriptor == 1 else sys.stderr)
    made.setLevel(handler.level)
    with contextlib.suppress(
        Exception
    ):  # what is imported may raise anything: its lines come unformatted then
        made.formatter, filters = pickling.loads(handler.parts)
        made.filters.extend(filters)
    return made


@contextlib.contextmanager
def _logging(settings: Settings) -> Iterator[None]:
    for name, number in settings.level_names.items():
        logging.addLevelName(number, name)
    loggers = {logging.getLogger(name or None): each for name, each in settings.loggers.items()}
    before = [
        (each, type(each), each.level, each.propagate, each.disabled, [*each.handlers], [*each.filters])
        for each in loggers
    ]
    disabled, factory = logging.root.manager.disable, logging.getLogRecordFactory()
    logger_class = logging.getLoggerClass()
    for logger, found in loggers.items():
        logger.setLevel(found.level)
        logger.disabled = found.disabled
        logger.filters.extend(_unpickled(*found.filters))
        for kind in _unpickled(found.kind):
            logger.__class__ = kind
        if found.handlers is not None:
            logger.propagate = found.propagate
            logger.handlers[:] = map(_made, found.handlers)
    if settings.captures_warnings:
        logging.captureWarnings(True)
    logging.disable(max(disabled, settings.disabled))
    for theirs in _unpickled(settings.record_factory):
        logging.setLogRecordFactory(theirs)
    for kind in _unpickled(settings.logger_class):
        logging.setLoggerClass(kind)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        logging.disable(disabled)
        logging.setLogRecordFactory(factory)
        logging.setLoggerClass(logger_class)
        for logger, logger.__class__, level, propagate, is_disabled, handlers, filters in before:
            logger.setLevel(level)
            logger.propagate, logger.disabled = propagate, is_disabled
            logger.handlers[:], logger.filters[:] = handlers, filters


def _umask() -> int | None:
    """As Linux tells it: asking Python for it changes it for a moment, for all threads."""
    try:
        found = re.search(r"^Umask:\s*([0-7]+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1], 8) if found else None

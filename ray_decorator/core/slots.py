"""Dotted keys: read paths from, and fill paths into, dicts, DictConfigs, lists, partials and objects.

A key is `data.path`, `data.files.0` or `data.*.path` (a `*` stands for every key or index of its level).
The value may be a path, a list or dict of paths (every leaf is then a slot of its own), or null (skipped).
"""

from __future__ import annotations

import contextlib
import difflib
import os
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException

from .errors import InputError, Missing
from .values.model import PathSlot, Slot

_NEAREST_FROM = 2000


def find(
    root: Any, keys: Sequence[str], *, kind: str, start: Path, hidden: str = ""
) -> tuple[tuple[PathSlot, ...], tuple[str, ...]]:
    """The paths that ``keys`` name in ``root``, each once, made absolute from ``start``; and the problems.

    ``kind`` is "deps" or "outs", for messages. ``hidden`` is a key of ``root`` itself that no key may name. A
    problem is a key that does not exist (showing the nearest ones), or a value that is not a path.
    """
    found: dict[Slot, PathSlot] = {}
    problems: list[str] = []
    for key in keys:
        try:
            found |= {path.slot: path for path in _find(root, key, kind, start, hidden)}
        except InputError as exc:
            problems += exc.problems
    return tuple(found.values()), tuple(problems)


def paths(root: Any, *, start: Path, hidden: str = "") -> Iterator[tuple[Slot, str, Path]]:
    """Every value in ``root`` that may be a path: its slot, its key, and the path, made absolute from ``start``.

    What has no value (``???``, an interpolation that leads nowhere) is passed over. ``hidden`` is as in `find`.
    """
    for name in _names(root) if _is_container(root) else ():
        if name != hidden:
            yield from _paths(root, (name,), start, frozenset())


def absent(deps: Iterable[PathSlot]) -> list[str]:
    """What is wrong with the deps that are not there, one message for each."""
    return [
        Missing(
            f"deps key {dep.key!r} is {dep.value}, which does not exist. Fetch it first (with DVC: "
            f"`dvc pull {os.path.relpath(dep.value)}`), or correct the key's value",
            str(dep.value),
        )
        for dep in deps
        if not os.path.lexists(dep.value)
    ]


def fill(root: Any, slot: Slot, value: str) -> Any:
    """``root`` with ``value`` at ``slot``: changed in place where it can be, else a changed copy.

    A slot that held a ``Path`` gets a ``Path``, one that held a string gets a string.
    """
    if not slot:
        return Path(value) if isinstance(root, Path) else value
    head, rest = slot[0], slot[1:]
    if isinstance(root, DictConfig | ListConfig):
        return _fill_config(root, slot, value)
    if isinstance(root, partial):
        return _fill_partial(root, head, rest, value)
    if isinstance(root, tuple):
        items = [fill(item, rest, value) if i == int(head) else item for i, item in enumerate(root)]
        return type(root)(*items) if hasattr(root, "_fields") else type(root)(items)
    if isinstance(root, Mapping | list):
        index: Any = _index(root, head)
        root[index] = fill(root[index], rest, value)  # type: ignore[index]
        return root
    object.__setattr__(root, str(head), fill(getattr(root, str(head)), rest, value))
    return root


def _find(root: Any, key: str, kind: str, start: Path, hidden: str) -> Iterator[PathSlot]:
    if not isinstance(key, str) or not all(key.split(".")):
        raise InputError(f"{kind} key {key!r} is not a dotted key such as 'data.path'")
    parts = tuple(key.split("."))
    matches = [] if parts[0] == hidden else list(_walk(root, parts, (), kind, hidden))
    if not matches:
        raise InputError(f"{kind} key {key!r} does not exist.{_nearest(root, key, hidden)}")
    for slot, node in matches:
        for leaf, value in _leaves(node, slot, kind):
            yield PathSlot.at(leaf, _dotted(leaf), start / value)


def _walk(
    node: Any, parts: tuple[str, ...], done: Slot, kind: str, hidden: str = ""
) -> Iterator[tuple[Slot, Any]]:
    if not parts:
        yield done, node
        return
    for name in [name for name in _names(node) if name != hidden] if parts[0] == "*" else [parts[0]]:
        found, child = _child(node, name, f"{kind} key {_dotted((*done, name))!r}")
        if found:
            yield from _walk(child, parts[1:], (*done, name), kind)


def _names(node: Any) -> list[Any]:
    if isinstance(node, Mapping):
        return list(node.keys())
    if isinstance(node, partial):
        return list(node.keywords)
    if isinstance(node, ListConfig | list | tuple):
        return list(range(len(node)))
    return [name for name in getattr(node, "__dict__", {}) if not name.startswith("_")]


def _dotted(slot: Slot) -> str:
    return ".".join(_written(name) for name in slot)


def _written(name: Any) -> str:
    return name.name if isinstance(name, Enum) else str(name)


def _child(node: Any, name: Any, shown: str) -> tuple[bool, Any]:
    if node is None or isinstance(node, str | os.PathLike | int | float):
        return False, None
    if isinstance(node, DictConfig | ListConfig):
        return _config_child(node, name, shown)
    if isinstance(node, partial):
        return (True, node.keywords[name]) if name in node.keywords else (False, None)
    if isinstance(node, Mapping | list | tuple):
        try:
            return True, node[_index(node, name)]
        except (KeyError, IndexError, ValueError):
            return False, None
    return (True, getattr(node, str(name))) if hasattr(node, str(name)) else (False, None)


def _config_child(node: DictConfig | ListConfig, name: Any, shown: str) -> tuple[bool, Any]:
    try:
        index = _index(node, name)
    except (KeyError, ValueError):
        return False, None
    if isinstance(node, ListConfig) and not -len(node) <= index < len(node):
        return False, None
    try:
        return True, node[index]
    except OmegaConfBaseException as exc:
        raise InputError(f"{shown} has no value: {str(exc).splitlines()[0]}") from exc


def _index(node: Any, name: Any) -> Any:
    """What to look up in ``node`` for ``name``, which may be a key as the user writes it: `1` for 1."""
    if isinstance(node, ListConfig | Sequence):
        return int(name)
    if not isinstance(node, Mapping):
        return name
    keys = node.keys()  # a DictConfig itself says of a null or ??? value that it is not in it
    if name in keys:
        return name
    for key in keys:
        if _written(key) == name:
            return key
    raise KeyError(name)


def _leaves(node: Any, slot: Slot, kind: str) -> Iterator[tuple[Slot, Path]]:
    key = _dotted(slot)
    if node is None:
        return
    if isinstance(node, str | os.PathLike):
        yield slot, _as_path(node, key, kind)
    elif isinstance(node, Mapping | list | tuple | ListConfig):
        for name in _names(node):
            found, child = _child(node, name, f"{kind} key {f'{key}.{_written(name)}'!r}")
            if not found:
                raise InputError(f"{kind} key {key!r} has no entry {name!r} any more")
            yield from _leaves(child, (*slot, name), kind)
    else:
        raise InputError(
            f"{kind} key {key!r} is {node!r} ({type(node).__name__}); "
            "expected a path, a list or dict of paths, or null"
        )


def _as_path(value: str | os.PathLike[str], key: str, kind: str) -> Path:
    text = os.fspath(value)
    if not isinstance(text, str) or not text or "\0" in text:
        raise InputError(f"{kind} key {key!r} is {text!r}, which is not a path")
    if "://" in text:
        raise InputError(
            f"{kind} key {key!r} is the URL {text!r}; {kind} are local paths "
            "(the task itself can read a URL, without naming it here)"
        )
    # as a shell would have done, had the path stood alone
    return Path(text).expanduser() if text == "~" or text.startswith("~/") else Path(text)


def _paths(parent: Any, slot: Slot, start: Path, above: frozenset[int]) -> Iterator[tuple[Slot, str, Path]]:
    try:
        found, node = _child(parent, slot[-1], "")
        if found and isinstance(node, str | os.PathLike):
            yield slot, _dotted(slot), start / _as_path(node, "", "")
    except InputError:  # it has no value, or one that is no path
        return
    if found and _is_container(node) and id(node) not in above:  # a list may hold itself
        for name in _names(node):
            yield from _paths(node, (*slot, name), start, above | {id(node)})


def _is_container(node: Any) -> bool:
    """What a config, or an argument, is made of: no object of a library's."""
    if isinstance(node, Mapping | list | tuple | ListConfig | partial | Namespace):
        return True
    return is_dataclass(node) and not isinstance(node, type)


def _nearest(root: Any, key: str, hidden: str) -> str:
    known = [k for k in _all_keys(root, ()) if not hidden or k.split(".")[0] != hidden][:_NEAREST_FROM]
    by_end = [k for k in known if k.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]]
    close = dict.fromkeys(difflib.get_close_matches(key, known, n=3, cutoff=0.6) + by_end)
    if close:
        return " Nearest: " + ", ".join(repr(k) for k in list(close)[:3])
    top = [_written(name) for name in _names(root) if name != hidden][:8]
    return " Keys there are: " + ", ".join(map(repr, top)) if top else " There are no keys at all."


def _all_keys(node: Any, done: Slot) -> Iterator[str]:
    if len(done) > 8:
        return
    if isinstance(node, DictConfig | ListConfig):
        node = OmegaConf.to_container(node, resolve=False)
    if done:
        yield _dotted(done)
    if isinstance(node, Mapping | list | tuple | partial) or (done == () and hasattr(node, "__dict__")):
        for name in _names(node):
            yield from _all_keys(_child(node, name, "")[1], (*done, name))


def _fill_config(root: DictConfig | ListConfig, slot: Slot, value: str) -> Any:
    parent: Any = root
    for name in slot[:-1]:
        parent = _container(parent, _index(parent, name))
    last = _index(parent, slot[-1])
    held = None
    with contextlib.suppress(OmegaConfBaseException):  # what it led to may not be here
        held = parent[last]
    with read_write(parent):
        parent[last] = Path(value) if isinstance(held, Path) else value
    return root


def _container(parent: DictConfig | ListConfig, name: Any) -> Any:
    """What stands at ``name``, such that what is set in it stays: a resolver makes a new value each time."""
    child = parent[name]
    if not isinstance(child, DictConfig | ListConfig) or child is not parent[name]:
        with read_write(parent):
            parent[name] = child
    return parent[name]


def _fill_partial(root: partial[Any], head: str | int, rest: Slot, value: str) -> partial[Any]:
    keywords = dict(root.keywords)
    keywords[str(head)] = fill(keywords[str(head)], rest, value)
    return partial(root.func, *root.args, **keywords)

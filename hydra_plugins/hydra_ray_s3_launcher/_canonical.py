"""A job's config as a digest that is the same wherever, whenever and in whatever order the job is composed.

hydra                             left out
the paths of deps and outs        their keys alone count
${oc.env:X}, custom resolvers     their values count
${hydra:…}, ${now:…}              count as they are written: job number, sweep directory and time do not
${other.key}                      counts as it is written: what it leads to counts where that is
"""

from __future__ import annotations

import contextlib
import enum
import functools
import hashlib
import json
import os
import pickle
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from omegaconf import DictConfig, ListConfig, Node, OmegaConf
from omegaconf.basecontainer import BaseContainer

from ray_decorator.core.serialization import pickling
from ray_decorator.core.values.model import PathSlot, Slot

_HYDRA = "hydra"
_SYMBOLIC = ("hydra", "now")
_MOST_KEPT = 64 * 1024  # bytes of a part's pickle
_json = json.JSONEncoder(separators=(",", ":")).encode
_PLAIN = re.compile(r"\$\{(?:[^{}:]*|\s*(?:now|hydra)\s*:[^{}]*)\}")
"""An interpolation, with none in it, of a key or a symbol: where all these are out, one with a resolver is left."""


def config_digest(config: DictConfig, paths: Iterable[PathSlot], env_set: DictConfig) -> str:
    """The digest of a composed config. ``paths`` are its deps and outs. HydraConfig is the job's.

    Of Hydra's own config, only ``env_set`` counts, the variables in ``hydra.job.env_set``.
    """
    keys = {path.slot: {"path of": path.key} for path in paths}
    text = f"[{_canonical(config, keys)},{_canonical(env_set, {})}]"
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(config: DictConfig, instead: Mapping[Slot, Any]) -> str:
    """As JSON. What jobs of a sweep have in common is made once: see `_written`."""
    plain = {key: _plain(node) for key, node in config.items_ex(resolve=False) if key != _HYDRA}
    for slot, value in instead.items():
        _put(plain, slot, value)
    written = {key: _written(part) for key, part in plain.items()}
    if found := [(key, *slot) for key, part in written.items() for slot in part.resolvers]:
        with _symbolic():
            for slot in found:
                _put(plain, slot, _resolved(config, slot))
        written.update((key, _written(plain[key])) for key in {slot[0] for slot in found})
    parts = [f"[{_json(_tagged(key))},{part.text}]" for key, part in written.items()]
    return f'{{"dict":[{",".join(sorted(parts))}]}}'


def _plain(node: Any) -> Any:
    """As ``OmegaConf.to_container(node, resolve=False)``, which takes six times as long."""
    value = node._value() if isinstance(node, Node) else node
    if value is None or type(value) in (str, int, float, bool):  # most are, and the checks below take long
        return value
    if isinstance(node, DictConfig) and isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(node, ListConfig) and isinstance(value, list):
        return [_plain(part) for part in value]
    return _plain(value) if isinstance(value, Node) else value


class _Written(NamedTuple):
    """A part of a config as JSON, and the slots in it of what has resolvers."""

    text: str
    resolvers: tuple[Slot, ...]


def _written(plain: Any) -> _Written:
    """What follows from a part of a config. Of most parts, another job has had the same."""
    if not isinstance(plain, dict | list):
        return _write(plain)
    try:
        pickled = pickle.dumps(plain)
    except Exception:  # allow_objects: the job itself may not travel either, and says so
        return _write(plain)
    return _written_before(pickled) if len(pickled) <= _MOST_KEPT else _write(plain)


@functools.lru_cache(maxsize=256)
def _written_before(pickled: bytes) -> _Written:
    return _write(pickle.loads(pickled))


def _write(plain: Any) -> _Written:
    return _Written(_json(_tagged(plain)), tuple(_with_resolvers(plain, ())))


def _with_resolvers(plain: Any, at: Slot) -> Iterator[Slot]:
    if isinstance(plain, str):
        if _has_resolver(plain):
            yield at
    elif isinstance(plain, dict):
        for key, part in plain.items():
            yield from _with_resolvers(part, (*at, key))
    elif isinstance(plain, list):
        for index, part in enumerate(plain):
            yield from _with_resolvers(part, (*at, index))


def _has_resolver(text: str) -> bool:
    while "${" in text:
        shorter = _PLAIN.sub("", text)
        if shorter == text:
            return True
        text = shorter
    return False


def _resolved(config: DictConfig, slot: Slot) -> Any:
    """What the interpolation there gives; as it is written, where it gives nothing here."""
    parent: Any = config
    for name in slot[:-1]:
        parent = parent[name]
    try:
        value = parent[slot[-1]]
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except Exception as exc:  # a resolver may do anything, and the job will say so
        raw = OmegaConf.to_container(parent, resolve=False)
        return {"unresolved": raw[slot[-1]], "why": type(exc).__name__}  # type: ignore[index]


def _put(plain: Any, slot: Slot, value: Any) -> None:
    """Put it at the slot, unless an interpolation is on the way there: its own value has the path then."""
    for name in slot[:-1]:
        if not isinstance(plain, dict | list):
            return
        plain = plain[_key(plain, name)]
    if isinstance(plain, dict | list):
        plain[_key(plain, slot[-1])] = value


def _key(plain: dict[Any, Any] | list[Any], name: Any) -> Any:
    """What a slot's name is there: users write ``0`` for an index, and ``1`` for a key that is a number."""
    if isinstance(plain, list):
        return int(name)
    return name if name in plain else next((key for key in plain if str(key) == name), name)


@contextlib.contextmanager
def _symbolic() -> Iterator[None]:
    """Meanwhile, ``${hydra:…}`` and ``${now:…}`` give what is written there.

    OmegaConf has no public way to put a resolver back as it was. One that keeps them elsewhere gives what they lead
    to, so that each job is another one.
    """
    before = getattr(BaseContainer, "_resolvers", None)
    if not isinstance(before, dict):
        yield
        return
    BaseContainer._resolvers = {**before, **{name: _as_written(name) for name in _SYMBOLIC}}
    try:
        yield
    finally:
        BaseContainer._resolvers = before


def _as_written(name: str) -> Any:
    def resolver(config: Any, parent: Any, node: Any, args: Any, args_str: tuple[str, ...]) -> str:
        return f"${{{name}:{','.join(args_str)}}}"

    return resolver


def _tagged(value: Any) -> Any:
    """The value such that JSON tells apart all that Python does: 1, 1.0, True and "1"; a str and a Path."""
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, Mapping):
        return {"dict": sorted(([_tagged(key), _tagged(part)] for key, part in value.items()), key=repr)}
    if isinstance(value, list | tuple | ListConfig):
        return [_tagged(part) for part in value]
    if isinstance(value, enum.Enum):
        return {f"{type(value).__module__}.{type(value).__qualname__}": value.name}
    if isinstance(value, os.PathLike):
        return {"path": os.fspath(value)}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    # allow_objects: whatever it is, another pickle only means another job
    return {"pickle": hashlib.sha256(pickling.dumps(value, "a value of the config")).hexdigest()}

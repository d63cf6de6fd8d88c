"""A batch of jobs reads each config file once, not again for every job: a third of what composing one costs.

Hydra has no public name for where its loader reads configs from. What this module knows of it is the loader's
attribute ``repository``, a ``ConfigRepository``; where that is something else, nothing is changed.
"""

from __future__ import annotations

import contextlib
import pickle
from typing import Any

from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource

_MADE = 200
"""So many defaults lists and configs are kept: a sweep over groups may choose others for each job."""


def read_once(loader: ConfigLoader) -> None:
    """Let ``loader`` remember what it reads, from now on until `forget`."""
    if type(found := getattr(loader, "repository", None)) is ConfigRepository:
        loader.repository = _ReadOnce(found)  # type: ignore[attr-defined]


def forget(loader: ConfigLoader) -> None:
    """Let ``loader`` read anew what was changed meanwhile."""
    if isinstance(found := getattr(loader, "repository", None), _ReadOnce):
        found.clear()


def made_of(repository: object) -> dict[Any, Any] | None:
    """What was made of the files that ``repository`` reads, by what made it; None if they may be read again.

    ``repository`` is what Hydra composes one config from: it has the loader's as its ``delegate``.
    """
    found = getattr(repository, "delegate", None)
    return found.made() if isinstance(found, _ReadOnce) else None


class _ReadOnce(ConfigRepository):
    """Gives copies of what it has read. Each composition works on a copy of the repository, which shares these."""

    def __init__(self, repository: ConfigRepository) -> None:
        vars(self).update(vars(repository))
        self._read: dict[str, bytes] = {}
        self._found: dict[tuple[str, ObjectType | None], ConfigSource | None] = {}
        self._made: dict[Any, Any] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> _ReadOnce:
        other = _ReadOnce.__new__(_ReadOnce)
        vars(other).update(vars(self))
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        plain = {
            name: value for name, value in vars(self).items() if name not in ("_read", "_found", "_made")
        }
        return as_plain, (ConfigRepository, plain)

    def clear(self) -> None:
        self._read.clear()
        self._found.clear()
        self._made.clear()

    def made(self) -> dict[Any, Any]:
        if len(self._made) > _MADE:
            self._made.clear()
        return self._made

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        """A search path of this copy's own: what the others have read is none of its business."""
        super().initialize_sources(config_search_path)
        self._read, self._found, self._made = {}, {}, {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        if (read := self._read.get(config_path)) is not None:
            known: ConfigResult | None = pickle.loads(read)
            return known
        found = super().load_config(config_path)
        with contextlib.suppress(Exception):  # it holds what cannot be pickled, and is read again
            self._read[config_path] = pickle.dumps(found)
        return found

    def _find_object_source(self, config_path: str, object_type: ObjectType | None) -> ConfigSource | None:
        key = (config_path, object_type)
        if key not in self._found:
            self._found[key] = super()._find_object_source(config_path, object_type)
        return self._found[key]


def as_plain(kind: Any, attributes: dict[str, Any]) -> Any:
    """An object of Hydra's class ``kind`` with these attributes: what a subclass of ours travels as."""
    made = kind.__new__(kind)
    vars(made).update(attributes)
    return made

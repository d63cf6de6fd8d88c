"""Jobs of a batch that choose the same groups share their defaults list, and the config that it makes.

That is four fifths of what composing a job costs. A job's own values come after it, as in any Hydra app
(Hydra's documentation, "The Defaults List": overrides are applied to what the list has made).

Hydra has no public name for either step. What this module knows of it: ``ConfigLoaderImpl._load_configuration_impl``
calls ``create_defaults_list`` and then ``_compose_config_from_defaults_list`` with the repository that it reads from,
and ``Overrides`` tells choices of groups from values. Where that is not so, Hydra composes each job alone.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import re
from types import FunctionType
from typing import Any

from hydra._internal import config_loader_impl, defaults_list
from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig

from ._config_files import as_plain, made_of

_ASKS = re.compile(r"\$\{(?!oc\.)[^{}$]*:")
"""An interpolation that asks a resolver of an app's own, or Hydra's, which may answer each job otherwise. OmegaConf's
answer alike for the same list and environment."""


def shared(loader: ConfigLoader) -> ConfigLoader:
    """Composes what ``loader`` does; jobs share what they can until its files are forgotten."""
    made = _class()
    return loader if made is None or type(loader) is not made.__base__ else made(loader)


def _class() -> type[Any] | None:
    plain: Any = getattr(config_loader_impl, "ConfigLoaderImpl", None)
    load: Any = getattr(plain, "_load_configuration_impl", None)
    compose = getattr(plain, "_compose_config_from_defaults_list", None)
    create = getattr(config_loader_impl, "create_defaults_list", None)
    overrides, found = (getattr(defaults_list, name, None) for name in ("Overrides", "DefaultsList"))
    if not (compose and create and overrides and found):
        return None
    if not isinstance(load, FunctionType) or "create_defaults_list" not in load.__code__.co_names:
        return None

    def create_shared(repo: Any, config_name: str | None, overrides_list: list[Any], **options: Any) -> Any:
        made = made_of(repo)
        if made is None:
            return create(repo=repo, config_name=config_name, overrides_list=overrides_list, **options)
        own = overrides(repo=repo, overrides_list=overrides_list)
        chosen = repr((config_name, options, own.override_choices, own.append_group_defaults, own.deletions))
        key = (chosen, frozenset(os.environ.items()))
        if (known := made.get(key)) is None:
            known = create(repo=repo, config_name=config_name, overrides_list=overrides_list, **options)
            if not _ASKS.search(chosen) and not any(map(_ASKS.search, map(repr, _lists(repo)))):
                made[key] = known
        return found(
            defaults=known.defaults,
            config_overrides=own.config_overrides,
            defaults_tree=known.defaults_tree,
            overrides=known.overrides,
        )

    class Shared(plain):  # type: ignore[misc]
        _load_configuration_impl = FunctionType(
            load.__code__,
            {**load.__globals__, "create_defaults_list": create_shared},
            load.__name__,
            load.__defaults__,
            load.__closure__,
        )

        def __init__(self, loader: ConfigLoader) -> None:
            self.__dict__.update(vars(loader))

        def __reduce__(self) -> tuple[Any, ...]:
            return as_plain, (plain, vars(self))

        def _compose_config_from_defaults_list(self, defaults: list[Any], repo: Any) -> DictConfig:
            made, key = made_of(repo), repr(defaults)
            if made is not None and key in made:
                copy: DictConfig = pickle.loads(made[key])
                return copy
            config: DictConfig = super()._compose_config_from_defaults_list(defaults=defaults, repo=repo)
            if made is not None:
                with contextlib.suppress(Exception):  # it holds what cannot be pickled, and is made again
                    made[key] = pickle.dumps(config)
            return config

    return Shared


def _lists(repo: Any) -> list[Any]:
    """The defaults lists of the config files that were read through ``repo``, a ``CachingConfigRepository``."""
    return [found.defaults_list for found in repo.cache.values() if found is not None]

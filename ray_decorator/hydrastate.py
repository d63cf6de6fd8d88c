"""Hydra's and OmegaConf's global state, taken along to a worker and put back there afterwards.

Without it `${hydra:runtime.output_dir}`, custom resolvers and structured configs mean nothing there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import setup_globals
from omegaconf.basecontainer import BaseContainer

State = Mapping[str, Any]


def captured() -> State:
    """A copy of this process's state: Hydra's singletons but for its plugins, and the resolvers."""
    state: State = Singleton.get_state()
    return state


@contextlib.contextmanager
def installed(state: State) -> Iterator[None]:
    """``state`` is this process's for the time being."""
    instances, resolvers = Singleton._instances, BaseContainer._resolvers
    try:
        # set_state() looks for plugins anew unless they are there: as long as a small job takes
        Singleton.set_state({**state, "instances": {**state["instances"], Plugins: Plugins.instance()}})
        setup_globals()
        yield
    finally:
        Singleton._instances, BaseContainer._resolvers = instances, resolvers

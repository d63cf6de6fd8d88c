"""A job's process on its node: how it gets at deps and outs, the store and the driver's own disk."""

from __future__ import annotations

import contextlib
import functools

from ..core.machine.directories import node_directory
from ..core.machine.this_machine import is_same_path
from ..core.values.model import Dep, Out
from ..core.values.stores import Location
from ..store.store import Store, open_store
from ..store.transport.renewal import Renew
from .aws import identity as aws_identity
from .disk.cache import NodeCache


class Side:
    """This process's way to deps and outs: the store, opened when it is needed, and the driver's own disk.

    ``at_home``: it runs on the driver's machine, in its Python.
    """

    def __init__(self, store: Location, renew: Renew | None, at_home: bool) -> None:
        self._location, self._renew, self.at_home = store, renew, at_home

    @functools.cached_property
    def store(self) -> Store:
        return open_store(self._location, self._renew)

    @functools.cached_property
    def cache(self) -> NodeCache:
        return NodeCache(node_directory("cache"))

    def aws_identity(self, profiles: frozenset[str]) -> contextlib.AbstractContextManager[None]:
        """What boto3 finds in the job: see identity.py."""
        return aws_identity.in_force(self._location, self._renew, profiles, at_home=self.at_home)

    def sees(self, dep: Dep) -> bool:
        """Whether the dep can be read where it lies at home."""
        return self.at_home and dep.home is not None and is_same_path(dep.home)

    def reaches(self, out: Out) -> bool:
        """Whether the out can be moved to its place at home."""
        return self.at_home and out.home is not None and is_same_path(out.home.nearest)

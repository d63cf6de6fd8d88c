"""What jobs need on machines that are not the driver's: packages and the user's code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..paths import Folder
from .contents import Content


@dataclass(frozen=True, slots=True)
class Requirements:
    """The distributions that a job sees, wherever it runs: those of the driver.

    ``pins`` are distributions from an index: normalised name (PEP 503) -> version. ``roots`` are those of
    them that no other one requires. ``python`` is (major, minor), ``platform`` such as ``linux-x86_64``.
    ``indexes`` are uv's settings that say where they come from (UV_INDEX, …), as environment variables;
    they may hold passwords, so they are never shown.
    """

    python: tuple[int, int]
    platform: str
    pins: Mapping[str, str]
    roots: tuple[str, ...] = ()
    indexes: Mapping[str, str] = field(repr=False, default_factory=dict)


@dataclass(frozen=True, slots=True)
class Code:
    """The user's own code, in the store as one tree, and how a worker imports from it.

    All paths are relative to the tree, with forward slashes: ``sys_path`` in the driver's order;
    ``packages`` are import names whose directory or file stands on no path (editable installs);
    ``cwd`` is what stands for the driver's working directory, ``main`` the driver's script; None where that
    lies outside of the code. ``roots`` are the driver's folders that the tree's ``0``, ``1``, … were made of.
    """

    content: Content
    sys_path: tuple[str, ...]
    packages: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    main: str | None = None
    roots: tuple[Folder, ...] = ()


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a job needs on a machine that is not the driver's; the same for all jobs of a run.

    ``requirements`` None: the node's packages are left as they are. ``code`` None: no code travels. ``start`` is
    where the driver was started.
    """

    requirements: Requirements | None
    code: Code | None
    start: Folder | None = None

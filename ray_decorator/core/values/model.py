"""The values that flow through the house. Each is made once, frozen, and moves forward.

Call(func, payload, deps, outs: PathSlot)  front door -> engine
Job(deps: Dep, outs: Out)                  engine -> worker, with payload, Bundle, Location and Credentials
func(payload, Paths)                       worker -> front door's own function, there
Receipt(outs: Content, failure: Failure)   worker -> driver
Outcome                                    engine -> front door
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .contents import Content
from .inherited import Inherited
from .returned import Told
from .work import Entry, Work

Slot = tuple[Any, ...]
"""Where a path stands in a call: ``("args", 0, "data", "path")`` or ``("kwargs", "config", …)``.

Each entry is a key of a dict, of whatever type keys are there, an index, or an attribute's name.
"""


CODE, DIRECTORIES = "code", "directories"
"""The areas of the user's code and of jobs' own directories: they are no data, and DVC knows nothing of them."""


@dataclass(frozen=True, slots=True)
class PathSlot:
    """One path that a call reads or writes: where it stands, the key the user named it by, its value.

    ``value`` is absolute, ``real`` the same with all links resolved: once, when it is made (`at`).
    """

    slot: Slot
    key: str
    value: Path
    real: str

    @classmethod
    def at(cls, slot: Slot, key: str, value: Path) -> PathSlot:
        """The path as it is on this disk now."""
        return cls(slot, key, value, os.path.realpath(value))


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a job finds what it reads and writes on its machine, in the order of its call's deps and outs.

    ``workspace`` is None where the call has none.
    """

    deps: tuple[str, ...]
    outs: tuple[str, ...]
    workspace: str | None = None


TaskFunction = Callable[[bytes, Paths], Any]
"""What a worker runs. It is the front door's own, reads the payload, and fills the paths in.

Where it has a method ``forget()``, that is called once its value, or what went wrong, is pickled.
"""


@dataclass(frozen=True, slots=True)
class Call:
    """What a front door asks for: ``func(payload, paths)``, run elsewhere.

    ``func`` is a pickled `TaskFunction`, the same object for all calls of a batch; ``payload`` is read by it
    alone. ``workspace`` is an out that comes home also when the call failed: a Hydra job's own directory.
    ``name`` is what the user sees: ``#3 lr=0.1``. ``work`` is what the ledger knows it by; None: no receipt.
    """

    func: bytes = field(repr=False)
    payload: bytes = field(repr=False)
    deps: tuple[PathSlot, ...]
    outs: tuple[PathSlot, ...]
    name: str
    workspace: PathSlot | None = None
    inherited: Inherited = field(default_factory=Inherited)
    work: Work | None = None

    @property
    def targets(self) -> tuple[PathSlot, ...]:
        """All that the call writes: its outs, then its workspace."""
        return (*self.outs, self.workspace) if self.workspace else self.outs


@dataclass(frozen=True, slots=True)
class PathId:
    """A path of the driver's, marked so that a worker can tell whether it sees the same: `core.machine`."""

    path: str
    boot_id: str
    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class Home:
    """Where an out belongs on the driver's disk: ``path``, of which ``nearest`` is the part that exists."""

    path: str
    nearest: PathId


@dataclass(frozen=True, slots=True)
class Dep:
    """What a job reads: ``content`` from the store, or ``home`` where a worker sees the driver's own disk.

    ``content`` None: the store has not got it yet. ``home`` None: the store is used in any case. ``inside``:
    the dep is an out as well, or inside of one: the index of that out, and the path within it. The job may
    then write to it.
    """

    key: str
    name: str
    content: Content | None
    home: PathId | None = None
    inside: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class Out:
    """What a job writes, and whose content it sends to the store, or moves to ``home`` where it sees that.

    ``inside``: the path lies in another out of the same job (its index, the path within).
    ``in_place``: where the worker finds this very directory, the job works in it. ``directory``: a
    directory stands there at home, so the job may expect one. ``is_dep``: the job reads it, too. ``beside``: what a
    failed job leaves of it may come to ``<out>.failed`` at home.
    """

    key: str
    name: str
    inside: tuple[int, str] | None = None
    home: Home | None = None
    in_place: PathId | None = None
    directory: bool = False
    is_dep: bool = False
    beside: bool = False


FAILED = "failed"
"""The folder of a failed job's workspace with what there is of its outs; the ending of one beside its place."""

END_MARK = ":ray_s3_end:"
"""Begins the line that a job's output ends with; the job's id follows. See job.output."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job as it travels.

    ``outs`` are those of the call, then its workspace where it ``has_workspace``. ``cwd``, ``sys_path`` and
    ``user`` (a uid) are the driver's. ``end_marks``: what it prints ends with marks (job.output). What it
    ``inherited`` travels apart from the rest: `private.Private`. ``attempt`` counts from 1. Another one follows, and
    of this one only logs come home, where an exception of a class in ``retry_on`` (dotted names) ends it, or where
    it is ``replaced``. It leaves a receipt where it has an ``entry``. ``checkpoint_interval``: seconds between two
    checkpoints (job.checkpoints), None where it makes none by itself. ``resumes``: its first attempt begins with that
    of an earlier run.
    """

    id: str
    name: str
    payload: bytes = field(repr=False)
    deps: tuple[Dep, ...]
    outs: tuple[Out, ...]
    has_workspace: bool
    cwd: str
    sys_path: tuple[str, ...]
    user: int
    end_marks: bool = False
    inherited: Inherited = field(default_factory=Inherited)
    attempt: int = 1
    retry_on: tuple[str, ...] = ()
    replaced: bool = False
    entry: Entry | None = None
    checkpoint_interval: float | None = None
    resumes: bool = False

    def is_workspace(self, index: int) -> bool:
        """Whether the out of this index is the job's own directory."""
        return self.has_workspace and index == len(self.outs) - 1


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception as plain data: the pickled instance where it can be pickled, always its text and `kinds_of` it."""

    pickled: bytes | None = field(repr=False)
    summary: str
    traceback: str
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of a job. ``value`` is the pickled return value; ``outs`` are keyed by index in the job.

    ``missing`` are digests that the store should have held: the job has not run then. Nor has it where its
    node ``lacks`` the bundle, the deps' content or a fresh process, or ``fatal`` says that the failure is not this
    job's alone.
    ``unwritten`` are the keys of outs that the job never wrote. ``sent`` and ``received`` are the
    worker's own transfers in bytes, ``seconds`` the run time of the function alone. ``end_marks`` is how many
    of its streams have one. ``replaced``: as `Job` says. ``told`` is for the driver to write down (`Entry`).
    ``healed`` names objects that the store held with other bytes, and that the job's outs have replaced.

    Of a job that failed: ``failed`` are the keys of outs that are not in their places, or not whole there. What there
    is of them is in the workspace's folder `FAILED`; without a workspace ``aside`` has it, by index, where it is not
    beside its place already. ``notes`` say what is kept on the node. ``left``: it was interrupted, and is to be
    rescued. ``exit_code`` is that of a process that died (-n: signal n), None where it is not known.
    """

    value: bytes | None = field(repr=False, default=None)
    failure: Failure | None = None
    outs: Mapping[int, Content] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    unwritten: tuple[str, ...] = ()
    seconds: float = 0.0
    sent: int = 0
    received: int = 0
    node: str = ""
    lacks: Literal["", "bundle", "content", "process"] = ""
    fatal: bool = False
    end_marks: int = 0
    replaced: bool = False
    told: Told | None = None
    failed: tuple[str, ...] = ()
    aside: Mapping[int, Content] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    left: bool = False
    exit_code: int | None = None
    healed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the front door gets: a value or an error (with the worker's traceback as its cause).

    ``sent`` and ``received`` are the bytes that moved for this call, counted where they left or came in. It is
    the last of ``attempts``. ``told``: as in the receipt. ``resumed``: an earlier run's job had done it.
    ``failed`` are the keys of outs that came home as what a failed job has left of them.
    """

    name: str
    value: Any = None
    error: BaseException | None = None
    seconds: float = 0.0
    sent: int = 0
    received: int = 0
    node: str = ""
    attempts: int = 1
    told: Told | None = None
    resumed: bool = False
    failed: tuple[str, ...] = ()

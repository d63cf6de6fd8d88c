"""The Ray task that every job begins as: it travels by value, and needs nothing but Python on a node.

driver's machine and interpreter:  the job runs in this Ray worker
anywhere else:                     our source is put down, and a runner (supervisor.py) runs the job

Imports the standard library only, and inside functions: nothing of ours is known to exist on a node yet. So a
reply is a pickled pair of builtins, a kind and its data, which `decode` turns into values on the driver.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import ClusterError, text_of
from ..core.machine.directories import node_root, why_not_private
from ..core.machine.this_machine import is_same_path, path_id
from ..core.values.model import Receipt


@dataclass(frozen=True, slots=True)
class Unprepared:
    """The node needs a bundle, and none came along: the job has not run."""


@dataclass(frozen=True, slots=True)
class Retired:
    """The process takes no further job, and ends: the job has not run."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The node takes no job of ours, and says why: nothing has run, and no other job would."""

    text: str


def decode(reply: bytes) -> Receipt | Unprepared | Retired | Refused | None:
    """What `enter` replied, for the driver; None where a node has nothing to rescue.

    Raises ClusterError for what is no reply of `enter`.
    """
    import pickle

    try:
        kind, data = pickle.loads(reply)
        if kind == "receipt" and isinstance(receipt := pickle.loads(data), Receipt | None):
            return receipt
        if kind == "refused":
            return Refused(str(data))
        if kind in ("unprepared", "retired"):
            return Unprepared() if kind == "unprepared" else Retired()
        problem = f"it is a {kind!r} with a {type(data).__name__}"
    except Exception as exc:  # bytes that are no pickle raise all kinds of errors
        problem = f"{type(exc).__name__}: {text_of(exc)}"
    raise ClusterError(
        f"A node's reply could not be read ({problem}). See that the driver and all nodes have the same Ray "
        "and the same minor version of Python (`ray-s3 doctor`), and run again."
    )


def enter(
    common: Mapping[str, Any], verb: str, func: bytes, job: bytes, private: bytes, broker: Any
) -> bytes:
    """Do ``verb`` for the pickled ``job``; the reply is for `decode`.

    ``func`` is the pickled function to ``run``; nothing to ``rescue`` a job.

    ``common`` is the same for all jobs of a run: ``home`` (see :func:`home`), ``runtime`` (our source as a
    zip), ``bundle`` (pickled, None where none was needed so far) and ``store`` (pickled, without
    credentials). ``private`` is a pickled `Private`. ``broker`` is where to ask for fresh credentials, None if
    these last.
    """
    import pickle

    node, at_home = node_name(), is_home(common["home"])
    if (problem := refusal()) is not None:
        return pickle.dumps(("refused", f"Node {node}: {problem}"))
    if not at_home and common["bundle"] is None:
        return pickle.dumps(("unprepared", None))
    try:
        make_importable(common["home"], common["runtime"], at_home)
    except OSError as exc:
        told = f"{exc.strerror}: {exc.filename or node_root()}"
        advice = "Mend that disk, or set RAY_S3_NODE_DIR on the node to a directory on another one"
        return pickle.dumps(
            ("refused", f"Node {node}: our source cannot be put down there ({told}). {advice}.")
        )
    if at_home:
        from ray_decorator.job import run
        from ray_decorator.job.process import leftovers
        from ray_decorator.node import retirement

        if verb == "run" and retirement.is_retired():
            return pickle.dumps(("retired", None))
        retirement.leave_children_to_reaper()
        before = leftovers.Before()
        receipt = run.serve(verb, func, job, common["store"], private, broker, node)
        if before.is_left():
            retirement.retire()
    else:
        from ray_decorator.node import supervisor

        receipt = supervisor.serve(common["bundle"], verb, func, job, common["store"], private, broker, node)
    return pickle.dumps(("receipt", receipt))


def found_here(job_ids: Sequence[str]) -> list[str]:
    """Those of the jobs that have something on this node."""
    import os

    if refusal() is not None:
        return []
    return [each for each in job_ids if os.path.isdir(os.path.join(node_root(), "jobs", each))]


def refusal() -> str | None:
    """Why this node's own directory must not be used, before anything in it is looked at; None if it may."""
    import os

    return why_not_private(node_root()) or why_not_private(os.path.join(node_root(), "runtime"))


def travel_by_value() -> None:
    """Have Ray pickle `enter`, and what it uses of ours, by value. For the driver, before `ray.remote`."""
    import sys

    import ray.cloudpickle

    for name in (__name__, is_same_path.__module__, node_root.__module__):
        ray.cloudpickle.register_pickle_by_value(sys.modules[name])  # type: ignore[no-untyped-call]


def home(places: Sequence[str]) -> dict[str, Any]:
    """What marks this machine and interpreter, and these directories on it, for :func:`is_home`."""
    import os
    import sys
    from dataclasses import asdict

    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    marks = [path_id(Path(path)) for path in (*places, sys.prefix, source)]
    # as plain data: nodes do not have the class
    return {
        "prefix": sys.prefix,
        "source": source,
        "places": [asdict(mark) if mark is not None else None for mark in marks],
    }


def is_home(marked: Mapping[str, Any]) -> bool:
    """Whether this process runs on that machine, in that interpreter, and sees those very directories."""
    import os
    import sys
    from types import SimpleNamespace

    if os.path.realpath(marked["prefix"]) != os.path.realpath(sys.prefix):
        return False
    marks: list[Any] = [place and SimpleNamespace(**place) for place in marked["places"]]
    return all(mark is not None and is_same_path(mark) for mark in marks)


def node_name() -> str:
    """What the user sees of this node: its host's name, and the beginning of Ray's id for it."""
    import socket

    import ray

    return f"{socket.gethostname()}/{ray.get_runtime_context().get_node_id()[:6]}"


def make_importable(home: Mapping[str, Any], runtime: bytes, at_home: bool) -> None:
    """Let this process import our source: the driver's own ``at_home``, elsewhere that of the zip."""
    import importlib.util
    import sys

    if not at_home:
        put_down(runtime)
    elif importlib.util.find_spec("ray_decorator") is None:
        sys.path.append(home["source"])


def put_down(runtime: bytes) -> None:
    """Our source, once a node, and first on this process's path. Only where there is no `refusal`."""
    import hashlib
    import io
    import os
    import shutil
    import sys
    import tempfile
    import zipfile

    target = os.path.join(node_root(), "runtime", hashlib.sha256(runtime).hexdigest()[:16])
    if not os.path.isdir(target):
        unpacked = tempfile.mkdtemp(dir=os.path.dirname(target))
        with zipfile.ZipFile(io.BytesIO(runtime)) as archive:
            archive.extractall(unpacked)
        try:
            os.rename(unpacked, target)
        except OSError:
            shutil.rmtree(unpacked)
            if not os.path.isdir(target):  # else another job was faster
                raise
    if target not in sys.path:
        sys.path.insert(0, target)

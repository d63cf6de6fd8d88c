"""The Ray task that every job begins as: it travels by value, and needs nothing but Python on a node.

driver's machine and interpreter:  the job runs in this Ray worker
anywhere else:                     our source is put down, and a runner (supervisor.py) runs the job

Imports the standard library only, and inside functions: nothing of ours is known to exist on a node yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.directories import node_root
from ..core.machine import boot_id

UNPREPARED = b""
"""The reply where a bundle is needed, and none came along."""


def enter(
    common: Mapping[str, Any], verb: str, func: bytes, job: bytes, credentials: bytes, broker: Any
) -> bytes:
    """Do ``verb`` for the pickled ``job`` and return the pickled Receipt, or UNPREPARED.

    ``func`` is the pickled function to ``run``; to ``rescue`` a job, its id, for nodes that never saw it.

    ``common`` is the same for all jobs of a run: ``home`` (see :func:`home`), ``runtime`` (our source as a
    zip), ``bundle`` (pickled, None where none was needed so far) and ``store`` (pickled, without
    credentials). ``broker`` is where to ask for fresh credentials, None if these last.
    """
    import os
    import pickle

    node, at_home = node_name(), is_home(common["home"])
    if verb == "rescue" and not os.path.isdir(os.path.join(node_root(), "jobs", func.decode())):
        return pickle.dumps(None)
    if not at_home and common["bundle"] is None:
        return UNPREPARED
    make_importable(common["home"], common["runtime"], at_home)
    if at_home:
        from ray_decorator.job import run

        return run.serve(verb, func, job, common["store"], credentials, broker, node)
    from ray_decorator.node import supervisor

    return supervisor.serve(common["bundle"], (verb, func, job, common["store"], credentials), broker, node)


def travel_by_value() -> None:
    """Have Ray pickle `enter`, and what it uses of ours, by value. For the driver, before `ray.remote`."""
    import sys

    import ray.cloudpickle

    for name in (__name__, boot_id.__module__, node_root.__module__):
        ray.cloudpickle.register_pickle_by_value(sys.modules[name])  # type: ignore[no-untyped-call]


def home(places: Sequence[str]) -> dict[str, Any]:
    """What marks this machine and interpreter, and these directories on it, for :func:`is_home`."""
    import os
    import sys

    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    stats = {path: os.stat(path) for path in (*places, sys.prefix, source)}
    return {
        "boot": boot_id(),
        "prefix": sys.prefix,
        "source": source,
        "places": [(path, stat.st_dev, stat.st_ino) for path, stat in stats.items()],
    }


def is_home(marked: Mapping[str, Any]) -> bool:
    """Whether this process runs on that machine, in that interpreter, and sees those very directories."""
    import os
    import sys

    if marked["boot"] != boot_id():
        return False
    if os.path.realpath(marked["prefix"]) != os.path.realpath(sys.prefix):
        return False
    for path, device, inode in marked["places"]:
        try:
            found = os.stat(path)
        except OSError:
            return False
        if (found.st_dev, found.st_ino) != (device, inode):
            return False
    return True


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
        _put_down(runtime)
    elif importlib.util.find_spec("ray_decorator") is None:
        sys.path.append(home["source"])


def _put_down(runtime: bytes) -> None:
    """Our source, once a node, and first on this process's path."""
    import hashlib
    import io
    import os
    import shutil
    import sys
    import tempfile
    import zipfile

    target = os.path.join(node_root(), "runtime", hashlib.sha256(runtime).hexdigest()[:16])
    if not os.path.isdir(target):
        os.makedirs(os.path.dirname(target), exist_ok=True, mode=0o700)
        unpacked = tempfile.mkdtemp(dir=os.path.dirname(target))
        with zipfile.ZipFile(io.BytesIO(runtime)) as archive:
            archive.extractall(unpacked)
        try:
            os.rename(unpacked, target)
        except OSError:  # another job was faster
            shutil.rmtree(unpacked)
    if target not in sys.path:
        sys.path.insert(0, target)

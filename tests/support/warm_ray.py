"""The Python processes of a Ray that tests start find their imports made, as apps do (`warm_python`).

Ray starts a Python for each worker, and five more for itself. Each needs half a second to import Ray, and a job then
as much for what it uses. Here they are forks; the programs that they run are Ray's own. Workers in a runtime_env
start with the interpreter that Ray's agent names, as ever. So do all processes of `clusters/cluster_bed.py`.
"""

from __future__ import annotations

import ctypes
import os
import sys
import types
from collections.abc import Mapping
from typing import Any

EXECUTABLE = "python"
"""What stands for the interpreter, beside the server's socket."""
IMPORTS = (
    "ray._private.workers.default_worker",
    "ray._private.workers.setup_worker",
    "ray._private.log_monitor",
    "ray.dashboard.dashboard",
    "ray.dashboard.agent",
    "ray._private.runtime_env.agent.main",
    "ray.autoscaler._private.monitor",
)
"""Ray's programs, where they can be imported."""
ENVIRONMENT = {"RAY_enable_pipe_based_agent_to_parent_health_check": "1"}
"""For who starts Ray: its agents look for their raylet, which is no fork's parent."""
_PROGRAM = """\
#!{python} -IS
import os, sys
if os.environ.get("PYTHONPATH") != {path!r}:  # read where a Python starts
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
sys.path.insert(0, {here!r})
import warm_python_starter
warm_python_starter.main({place!r}, sys.argv[1:])
"""


def write_executable(place: str) -> None:
    """For the server that listens at ``place``."""
    text = _PROGRAM.format(
        python=sys.executable,
        path=os.environ.get("PYTHONPATH"),
        here=os.path.dirname(os.path.abspath(__file__)),
        place=place,
    )
    executable = os.path.join(os.path.dirname(place), EXECUTABLE)
    with open(executable, "w") as file:
        file.write(text)
    os.chmod(executable, 0o755)


PLACEHOLDERS = {"RAY_JOB_ID": "5eed0b1d", "RAY_RAYLET_PID": "5104105104"}
"""What a server's environment says for the two variables that Ray reads when it is loaded, and never again.

The other ones Ray reads anew when it is asked to (`use`). These are overwritten in its memory, letter by letter.
"""


def find_placeholders() -> dict[str, list[int]]:
    """Where they are in this process's memory; a fork has them at the same places."""
    found: dict[str, list[int]] = {name: [] for name in PLACEHOLDERS}
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, rights, _, _, _, *name = line.split()
            if rights.startswith("rw") and name in ([], ["[heap]"]):
                start, end = (int(one, 16) for one in span.split("-"))
                memory.seek(start)
                content = memory.read(end - start)
                for variable, value in PLACEHOLDERS.items():
                    at = content.find(value.encode())
                    while at >= 0:
                        found[variable].append(start + at)
                        at = content.find(value.encode(), at + 1)
    return found


def put_in_place(found: Mapping[str, list[int]], environ: Mapping[str, str]) -> None:
    """Let Ray find the values of ``environ`` where the placeholders were; in a fork, before anything else."""
    for variable, places in found.items():
        placeholder = PLACEHOLDERS[variable].encode()
        value = environ.get(variable, "").encode().rjust(len(placeholder), b"0")
        for place in places:
            if ctypes.string_at(place, len(placeholder)) == placeholder:
                ctypes.memmove(place, value, len(value))


class _Sys(types.ModuleType):
    """`sys` as the module of Ray that starts processes is to see it."""

    def __init__(self, executable: str) -> None:
        super().__init__("sys")
        self.executable = executable

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)


def use(place: str) -> None:
    """Have the Rays that this process starts use the server that listens at ``place``."""
    from ray._private import services
    from ray._raylet import Config

    Config.initialize("")  # reads the environment that this process has now
    services.sys = _Sys(os.path.join(os.path.dirname(place), EXECUTABLE))  # type: ignore[attr-defined]

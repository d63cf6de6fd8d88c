"""Which node has what a job left: all nodes are asked, once for all jobs that are looked for at the same moment.

Ray does not tell where a task ran that crashed, nor whether one that was cancelled had begun. When a sweep is
stopped, or a node is lost, many jobs are looked for at once, and each question needs a process on each node.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

from ..core.values.model import Job
from ..node import entry
from .every_node import Answer, ask_every_node

_GATHER_SECONDS = 0.1
_SECONDS = 10.0


def _ask(ids: Sequence[str]) -> list[Answer]:
    name = f"looking for what {len(ids)} job(s) left"
    return ask_every_node(entry.found_here, tuple(ids), name=name, seconds=_SECONDS)


class LeftBehind:
    """Looks for jobs on the nodes of the connected cluster. Safe to use from several threads."""

    def __init__(self, ask: Callable[[Sequence[str]], Sequence[Answer]] = _ask) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._gathering: tuple[list[str], Future[Mapping[str, str]]] | None = None

    def node_of(self, job: Job) -> str | None:
        """The id of the node that has something of the job; None where none is found within some 10 s.

        Raises what asking raises.
        """
        with self._lock:
            is_first = self._gathering is None
            ids, found = self._gathering = self._gathering or ([], Future())
            ids.append(job.id)
        if is_first:
            time.sleep(_GATHER_SECONDS)
            with self._lock:
                self._gathering = None
            try:
                found.set_result(self._nodes(ids))
            except BaseException as exc:
                found.set_exception(exc)
        return found.result().get(job.id)

    def _nodes(self, ids: Sequence[str]) -> Mapping[str, str]:
        return {each: answer.node["NodeID"] for answer in self._ask(ids) for each in answer.value or ()}

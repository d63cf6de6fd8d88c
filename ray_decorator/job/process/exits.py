"""What a job registers with ``atexit`` is called at its end: its process may serve further jobs, and Ray kills it.

    registered while the job runs, by its own code           the job's: called once
                                   by a library (wandb.init)   the same, and the process takes no further job
    registered by an import,       by the user's module        the same
                                   by mlflow's                 called at the end of each job: it ends a run
                                   by another library's        the process's, as the module is
    by Python's own library, Ray, Hydra, this package, tqdm    the process's: their helpers serve all jobs

A library whose function was called has ended in this process (wandb's next ``init`` would use a connection that is
closed), and so has a module that stays imported: see `libraries_ended`.

Standard library only: leftovers.py imports it.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

_builtin_register, _builtin_unregister = atexit.register, atexit.unregister

_ENDS = re.compile(r"[/-]packages/(?!joblib/|torch/utils/)")  # these begin anew by themselves (data loaders)
_LIBRARY = re.compile(r"[/-]packages/")
_OF_THE_PROCESS = re.compile(
    rf"^<frozen |^{re.escape(os.path.dirname(os.__file__))}/(?!(site|dist)-packages/)"
    r"|[/-]packages/(ray|hydra|tqdm|ray_decorator)/|/ray_decorator/(?:[a-z]+/)+\w+\.py$"
)
_OF_EACH_JOB = re.compile(r"[/-]packages/mlflow/tracking/")  # may be called again and again
_IMPORTING = "<frozen importlib."


@dataclass(frozen=True, slots=True)
class _Function:
    call: Callable[[], object]
    given: Callable[..., object]
    of_library: bool
    after_children: bool


class Registered:
    """What one job has registered so far. ``has_children``: whether it has used multiprocessing's processes by now.

    At home, multiprocessing joins its processes in a function that it registers itself when it is first used. What
    was registered before is called after that, and what was registered later is called first.
    """

    def __init__(self, has_children: Callable[[], bool]) -> None:
        self._process, self._exit, self._has_children = os.getpid(), sys.exit, has_children
        self._functions: list[_Function] = []
        self._children_begun = False

    def is_here(self) -> bool:
        """Whether this is the job's process, and not one that it has forked."""
        return os.getpid() == self._process

    def add(self, given: Callable[..., object], call: Callable[[], object], *, of_library: bool) -> None:
        """As ``atexit.register``."""
        self._children_begun = self._children_begun or self._has_children()
        self._functions.append(_Function(call, given, of_library, not self._children_begun))

    def add_imported(self) -> None:
        """Take over what imports have registered, for this job or before: it is called after all else."""
        self._functions[:0] = [*_of_each_job, *_once]
        _once.clear()

    def remove(self, given: Callable[..., object]) -> None:
        """As ``atexit.unregister``."""
        self._functions[:] = [each for each in self._functions if each.given != given]

    def tell_exit(self, code: int) -> None:
        """Call a ``sys.exit`` that the job has put in place: what it registered may ask that for the exit code."""
        if sys.exit is not self._exit:
            with contextlib.suppress(SystemExit):
                sys.exit(code)

    def call_first(self) -> None:
        """Call what comes before multiprocessing's own, the last one first."""
        while self._functions and not self._functions[-1].after_children:
            self._call(self._functions.pop())

    def call_all(self) -> None:
        """Call what is left, the last one first. What they raise is printed; Ctrl-C is raised as well."""
        while self._functions:
            self._call(self._functions.pop())

    def call_all_within(self, seconds: float) -> None:
        """Call what is left, and leave behind what takes longer than that."""
        if self._functions:
            thread = threading.Thread(target=self.call_all, name="atexit", daemon=True)
            thread.start()
            thread.join(seconds)

    def _call(self, function: _Function) -> None:
        global _ended
        _ended += function.of_library
        try:
            function.call()
        except BaseException as exc:
            print(f"Exception ignored in atexit callback: {function.given!r}", file=sys.stderr)
            traceback.print_exception(exc.with_traceback(exc.__traceback__ and exc.__traceback__.tb_next))
            if isinstance(exc, KeyboardInterrupt):
                raise


_ended = 0
_noting: Registered | None = None
_process = 0  # the one that serves jobs
_once: list[_Function] = []  # what imports have registered
_of_each_job: list[_Function] = []


def libraries_ended() -> int:
    """How many functions of libraries were called in this process."""
    return _ended


def begin() -> None:
    """From now on, what imports register in this process is looked at: unpickling a job imports what it uses."""
    global _process
    _process = os.getpid()
    # for good: modules that the job imports may keep these functions
    atexit.register, atexit.unregister = _register, _unregister


@contextlib.contextmanager
def noted(has_children: Callable[[], bool]) -> Iterator[Registered]:
    """Meanwhile, what the job registers is not the process's, but comes into what this gives."""
    global _noting
    begin()
    before, _noting = _noting, Registered(has_children)
    try:
        yield _noting
    finally:
        _noting = before


def _register(func: Any, /, *args: Any, **kwargs: Any) -> Any:
    caller, job = sys._getframe(1), _noting
    file, call = (
        caller.f_code.co_filename,
        functools.partial(func, *args, **kwargs) if callable(func) else None,
    )
    if call is None or os.getpid() != _process or _OF_THE_PROCESS.search(file):
        return _builtin_register(func, *args, **kwargs)
    if not _is_importing(caller):
        if job is None:
            return _builtin_register(func, *args, **kwargs)
        job.add(func, call, of_library=_ENDS.search(file) is not None)
    elif _OF_EACH_JOB.search(file):
        _of_each_job.append(_Function(call, func, of_library=False, after_children=True))
    elif _LIBRARY.search(file):
        return _builtin_register(func, *args, **kwargs)
    else:
        _once.append(_Function(call, func, of_library=True, after_children=True))
    return func


def _unregister(func: Any, /) -> None:
    if os.getpid() == _process:
        if _noting is not None:
            _noting.remove(func)
        for imported in (_once, _of_each_job):
            imported[:] = [each for each in imported if each.given != func]
    _builtin_unregister(func)


def _is_importing(caller: FrameType) -> bool:
    frame: FrameType | None = caller
    while frame is not None:
        if frame.f_code.co_filename.startswith(_IMPORTING):
            return True
        frame = frame.f_back
    return False

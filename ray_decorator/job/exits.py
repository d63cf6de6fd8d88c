"""What a job registers with ``atexit`` is called at its end: its process may serve further jobs, and Ray kills it.

The job's are the functions that are registered while it runs, by code of its own or of a library that it uses
(``wandb.init``). Not the job's are those

* that are registered while a module is imported. The module stays imported, so they are the process's;
* of Python's own library, Ray, Hydra, this package, and tqdm: their helpers serve all jobs of a process.

A library whose function was called has ended in this process (wandb's next ``init`` would use a connection that is
closed). So the process takes no further job: see `libraries_ended`.

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
_OF_THE_PROCESS = re.compile(
    rf"^<frozen |^{re.escape(os.path.dirname(os.__file__))}/(?!(site|dist)-packages/)"
    r"|[/-]packages/(ray|hydra|tqdm|ray_decorator)/|/ray_decorator/[a-z]+/\w+\.py$"
)
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


def libraries_ended() -> int:
    """How many functions of libraries were called in this process."""
    return _ended


@contextlib.contextmanager
def noted(has_children: Callable[[], bool]) -> Iterator[Registered]:
    """Meanwhile, what the job registers is not the process's, but comes into what this gives."""
    global _noting
    # for good: modules that the job imports may keep these functions
    atexit.register, atexit.unregister = _register, _unregister
    before, _noting = _noting, Registered(has_children)
    try:
        yield _noting
    finally:
        _noting = before


def _register(func: Any, /, *args: Any, **kwargs: Any) -> Any:
    caller, job = sys._getframe(1), _noting
    if job is None or not job.is_here() or not callable(func) or not _is_the_jobs(caller):
        return _builtin_register(func, *args, **kwargs)
    of_library = _ENDS.search(caller.f_code.co_filename) is not None
    job.add(func, functools.partial(func, *args, **kwargs), of_library=of_library)
    return func


def _unregister(func: Any, /) -> None:
    if _noting is not None and _noting.is_here():
        _noting.remove(func)
    _builtin_unregister(func)


def _is_the_jobs(caller: FrameType) -> bool:
    if _OF_THE_PROCESS.search(caller.f_code.co_filename):
        return False
    frame: FrameType | None = caller
    while frame is not None:
        if frame.f_code.co_filename.startswith(_IMPORTING):
            return False
        frame = frame.f_back
    return True

"""Work to do when the program has ended, while threads can still be started.

``atexit`` comes too late: by then concurrent.futures takes no work any more, and downloads need it. CPython has
an earlier hook, ``threading._register_atexit``, which concurrent.futures itself uses; it has no public name. Where
it is missing, ``atexit`` has to do.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import sys
import threading
from collections.abc import Callable
from concurrent.futures import thread as _registers_first  # noqa: F401  (hooks run in the reverse order)


def register(work: Callable[[], None]) -> None:
    """Call ``work`` once the main program has ended."""
    early = getattr(threading, "_register_atexit", None)
    if early is None:
        atexit.register(work)
        return
    try:
        early(work)
    except RuntimeError:  # the program is ending already
        atexit.register(work)


def keep_interrupt() -> None:
    """Have a program that Ctrl-C ends be seen to end by SIGINT, as at home: then a shell's loop ends, too.

    CPython notes an uncaught KeyboardInterrupt for that, and forgets it with the next ``exec`` of any thread
    (``run_eval_code_obj`` in its Python/pythonrun.c): so with an import of any dataclass, and Ray's end imports much.
    To be called before what imports so registers with ``atexit``, whose functions run in the reverse order.
    """
    atexit.register(_note_interrupt_again)


def _note_interrupt_again() -> None:
    is_prompt = hasattr(sys, "ps1")  # in which exceptions end nothing
    if getattr(sys, "last_type", None) is KeyboardInterrupt and not is_prompt:
        with contextlib.suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")


def end_without_destructors() -> bool:
    """At its end, this process skips what its C++ libraries do then, which may crash or hang. Its exit code stays.

    Python's own end is as ever. Returns False where the C library cannot do that (it needs glibc's ``on_exit``).
    """
    libc = ctypes.CDLL(None)
    on_exit = getattr(libc, "on_exit", None)
    return on_exit is not None and on_exit(ctypes.cast(libc._exit, ctypes.c_void_p), None) == 0

"""Work to do when the program has ended, while threads can still be started.

``atexit`` comes too late: by then concurrent.futures takes no work any more, and downloads need it. CPython has
an earlier hook, ``threading._register_atexit``, which concurrent.futures itself uses; it has no public name. Where
it is missing, ``atexit`` has to do.
"""

from __future__ import annotations

import atexit
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

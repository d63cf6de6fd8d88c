"""A runner's parent, for no more than to outlive Ray's goodbye and to say how the runner ended.

    Ray worker ── guard (this program) ── runner

When a driver is done, Ray kills the children of its workers, and those only. The guard is such a child; the
runner, which is none, sees its pipe end, and hands on what it holds before it ends as well.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Be the runner in a child, and end here as that one ends."""
    # before anything else is imported: what has threads cannot be forked
    child = os.fork()
    if not child:
        _let_interrupts_through()
        from . import runner

        runner.main()
        return
    os.close(int(sys.argv[1]))  # else the pipe of a runner that crashed would not end
    from ..job.process.leftovers import adopt_orphans, kill_descendants

    adopt_orphans(True)
    _, status = os.waitpid(child, 0)
    kill_descendants(os.getpid())  # what the job of a runner that crashed has started
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)


def _let_interrupts_through() -> None:
    """Ray blocks SIGINT, and what a script has started in the background ignores such signals; children inherit both.

    No terminal's Ctrl-C comes here: this session is our own.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


if __name__ == "__main__":
    main()

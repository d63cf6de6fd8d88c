"""What a job that did not end well has left comes home: as its own process ends, or later, from what it left behind.

    ended by an exception, sys.exit, Ctrl-C    failed_home, by the job's own process
    replaced by another attempt                logs_home
    crashed, or killed as it would not stop    rescue, by another process on its node

The scratch directory goes only when all that the job has written is at home or in the store; else it is kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ..core.commands import fetch_command
from ..core.values.model import Job, Receipt
from .disk.looks import Seen, recorded
from .disk.scratch import Scratch, dead_attempt, job_root, keep
from .failed import Left, bring_done, bring_failed, bring_logs
from .outs import kept_back, kept_command, kept_on, out_paths
from .process.ending import code_of
from .side import Side


def rescue(job: Job, side: Side) -> Receipt | None:
    """What a crashed job left on this node, once it is home or in the store; None if it has left nothing.

    Of one that is replaced by another attempt these are its logs.
    """
    with dead_attempt(job.id) as root:
        if root is None:
            return None
        outs, ended = out_paths(job, root, side), Receipt(exit_code=code_of(root))
        if job.replaced:
            receipt = logs_home(ended, job, outs, root, side, lambda: keep(root))
            if receipt.notes:  # it is kept, there or where it was
                return receipt
        else:
            # a program may call os._exit(0) when its work is done
            bring = bring_done if ended.exit_code == 0 else bring_failed
            left = bring(job, outs, root, side, recorded(root))
            if left.sent.kept:
                return _told(ended, left, root, keep(root), side)
            receipt = _told(ended, left, root, root, side)
        shutil.rmtree(job_root(job.id), ignore_errors=True)
        return receipt


def failed_home(
    ran: Receipt, job: Job, outs: Sequence[Path], scratch: Scratch, side: Side, seen: Seen
) -> Receipt:
    """The receipt of a job that has ``failure``, with what became of its outs."""
    before = scratch.path
    left = bring_failed(job, outs, scratch.path, side, seen)
    if left.sent.kept:
        scratch.keep()
    return _told(ran, left, before, scratch.path, side)


def logs_home(
    ran: Receipt, job: Job, outs: Sequence[Path], root: Path, side: Side, stay: Callable[[], Path]
) -> Receipt:
    """The receipt of an attempt that is replaced, with its logs.

    Where they cannot leave, ``stay`` keeps the scratch directory ``root``, and says where it is then.
    """
    sent = bring_logs(job, outs, root, side)
    notes: tuple[str, ...] = ()
    if sent.error is not None:
        kept, at_home = stay(), side.at_home
        commands = [
            kept_command(kept / path.relative_to(root), path.name, at_home=at_home) for path in sent.unsent
        ]
        commands += [fetch_command(kept / path.relative_to(root), home) for _, path, home in sent.stuck]
        what = f"The logs of attempt {job.attempt} are"
        notes = (f"{kept_on(what, kept, commands, at_home=at_home)} ({sent.error})",)
    return replace(ran, outs=sent.outs, sent=sent.bytes, notes=notes)


def _told(ran: Receipt, left: Left, before: Path, kept: Path, side: Side) -> Receipt:
    sent, notes = left.sent, ()
    if sent.error is not None:
        ran = replace(ran, told=None)
        error = kept_back(sent, before, kept, at_home=side.at_home)
        notes = (f"What it had written did not come home: {error}", *getattr(error, "__notes__", ()))
    return replace(
        ran,
        outs=sent.outs,
        sent=sent.bytes,
        failed=left.keys,
        aside=sent.aside,
        notes=notes,
        healed=sent.healed,
    )

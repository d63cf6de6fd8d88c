"""What a failed, crashed or cancelled job has left of its outs comes home, and its error says where it is.

a job with a directory     <directory>/failed/<key>/…: it came with the directory
any other call             <out>.failed, beside the out's place; where that would lie in a dep or in another out,
                           it stays where it is, and the error has the command that brings it
"""

from __future__ import annotations

import os
from pathlib import Path

from ...core.paths import parents
from ...core.progress import Progress
from ...core.serialization.failures import add_note
from ...core.values.model import FAILED, Call, PathSlot, Receipt
from .homecoming import Store


def place_beside(call: Call, out: PathSlot) -> Path | None:
    """Where what is left of ``out`` comes to; None where it must not come, or comes with the job's directory."""
    if call.workspace is not None:
        return None
    place = out.value.with_name(f"{out.value.name}.{FAILED}")
    real = os.path.join(os.path.realpath(place.parent), place.name)
    taken = {each.real for each in (*call.deps, *call.outs) if each.real != out.real}
    return None if taken.intersection((real, *parents(real))) else place


def bring_failed(receipt: Receipt, call: Call, store: Store, progress: Progress, error: BaseException) -> int:
    """Bring home what is not there yet, and say in notes of ``error`` where it all is; the bytes received."""
    for note in receipt.notes:
        add_note(error, note)
    if call.workspace is not None:
        if receipt.failed:
            folder = call.workspace.value / FAILED
            add_note(error, f"What it had written is in {folder}, by key: {', '.join(receipt.failed)}")
        return 0
    places = {out.key: place_beside(call, out) for out in call.outs if out.key in receipt.failed}
    contents = {call.outs[index].key: content for index, content in receipt.aside.items()}
    wanted = {key: place for key in contents if (place := places.get(key)) is not None}
    pulled = store.pull_all([(contents[key], at) for key, at in wanted.items()], progress) if wanted else []
    problems = {key: one.error for key, one in zip(wanted, pulled, strict=True) if one.error is not None}
    for out in call.outs:
        place, content = places.get(out.key), contents.get(out.key)
        if place is not None and out.key not in problems:
            where = f"at {place}"
        elif content is not None:
            why = f", since it cannot be written here ({problems[out.key]})" if out.key in problems else ""
            name = Path(f"{out.value.name}.{FAILED}")
            where = f"in the store{why}; bring it with: {store.fetch_command(content, name)}"
        else:
            continue
        add_note(error, f"outs key {out.key!r}: what it had written is {where}")
    return sum(one.received for one in pulled)

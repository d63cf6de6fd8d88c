"""What earlier runs have done is brought home: the jobs of a batch that have receipts are not run again.

receipt                                 what follows
none, or one that is no receipt         the job runs
COMPLETED, its value is held            outs and directory come home, the value is the receipt's
COMPLETED, JSON cannot hold its value   the job runs, and a line says why
FAILED                                  its directory comes home, and its error; with resume=failed, the job runs
names objects that are gone, or places
that have changed                       the job runs, and a line says so
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ...content.looking.fingerprint import fingerprint
from ...content.threads import each
from ...core.errors import CorruptObjectError, HomeError, MissingObjectError, RayS3Error
from ...core.options.settings import Resume
from ...core.progress import Progress
from ...core.records.reader import load_job
from ...core.records.records import MOST_BYTES, JobRecord, Left, dump, job_key
from ...core.serialization.failures import rebuilt
from ...core.values.contents import Content
from ...core.values.model import Call, Failure, Outcome, Receipt
from ...core.values.work import Entry
from ...store.store import Store
from ...store.transfer import Pulled
from ..data.homecoming import bring_home
from ..data.places import Removal, bring_all, is_as_it_was
from ..data.staging import Staging

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Found:
    """A call that has a receipt. ``slots``: what was left, and which of the call's targets it is."""

    index: int
    call: Call
    record: JobRecord
    slots: tuple[tuple[int, Left], ...]

    @property
    def contents(self) -> dict[int, Content]:
        """What comes from the store."""
        return {index: left.content for index, left in self.slots if left.content and not left.place}

    @property
    def removals(self) -> list[Removal]:
        """What comes from where it was left on this machine."""
        return [Removal(left, self.call.targets[index].value) for index, left in self.slots if left.place]


class Resuming:
    """Looks for receipts in a session's store."""

    def __init__(self, staging: Staging, progress: Progress, resume: Resume) -> None:
        self._staging, self._progress, self._resume = staging, progress, resume

    def take(self, calls: Sequence[Call], entries: Sequence[Entry | None]) -> dict[int, Outcome]:
        """The outcomes, by index, of the calls that are not to run again: all that they wrote is at home.

        Raises StoreError where the store cannot be asked.
        """
        found = self._with_receipts(calls, entries)
        if found:
            log.info("resume: %d of %d jobs have finished in earlier runs", len(found), len(calls))
        outcomes: dict[int, Outcome] = {}
        for one, outcome in zip(found, self._brought(found), strict=True):
            if outcome is not None:
                outcomes[one.index] = outcome
        return outcomes

    def _with_receipts(self, calls: Sequence[Call], entries: Sequence[Entry | None]) -> list[_Found]:
        store = self._staging.open()
        records: dict[int, JobRecord] = {}

        def read(index: int) -> None:
            entry = entries[index]
            if entry is not None and (record := read_receipt(store, entry.id)) is not None:
                records[index] = record

        each(read, range(len(calls)), store.threads)
        earlier = self._staging.earlier_outs() if records else frozenset()
        found = []
        for index, record in sorted(records.items()):
            entry = entries[index]
            assert entry is not None
            one = _Found(index, calls[index], record, _slots(calls[index], record))
            why = self._not_to_be_resumed(one, entry) or self._gone(one, earlier)
            if why:
                log.info("%s runs again: %s", one.call.name, why)
            else:
                found.append(one)
        return found

    def _not_to_be_resumed(self, one: _Found, entry: Entry) -> str:
        record = one.record
        if record.status == "FAILED" and self._resume == "failed":
            return f"it failed ({record.error})"
        if record.value.why:
            return record.value.why
        if len(one.slots) != len(record.outs) + (record.workspace is not None):
            return "its receipt names other outs"
        left = {each.key: each.content.digest for each in record.outs if each.content}
        changed = [
            key for key, now in entry.before.items() if now not in (record.before.get(key), left.get(key))
        ]
        return f"{changed[0]!r}, which it reads and writes, has changed since" if changed else ""

    def _gone(self, one: _Found, earlier: frozenset[str]) -> str:
        for _, left in one.slots:
            if left.place and not is_as_it_was(left, earlier, self._staging.hashes):
                return f"what it left at {left.place} is not as it was"
        return ""

    def _brought(self, found: Sequence[_Found]) -> list[Outcome | None]:
        """The outcomes; None for one of which objects are gone."""
        wanted = [(one, index, content) for one in found for index, content in one.contents.items()]
        pulled = self._staging.pull_all(
            [(content, one.call.targets[index].value) for one, index, content in wanted], self._progress
        )
        came: dict[int, dict[int, Pulled]] = {one.index: {} for one in found}
        for (one, index, _), each_one in zip(wanted, pulled, strict=True):
            came[one.index][index] = each_one
        whole = [one for one in found if not self._is_lost(one, came[one.index].values())]
        moved = iter(bring_all([removal for one in whole for removal in one.removals]))
        outcomes = {
            one.index: self._outcome(one, came[one.index], [next(moved) for _ in one.removals])
            for one in whole
        }
        self._say_where_it_is_now([one for one in whole if outcomes[one.index].error is None])
        return [outcomes.get(one.index) for one in found]

    def _is_lost(self, one: _Found, pulled: Iterable[Pulled]) -> bool:
        for each_one in pulled:
            if isinstance(each_one.error, MissingObjectError | CorruptObjectError):
                log.info("%s runs again: %s", one.call.name, each_one.error)
                return True
        return False

    def _outcome(self, one: _Found, came: Mapping[int, Pulled], moved: Sequence[Exception | None]) -> Outcome:
        record, error = one.record, None
        if record.status == "FAILED":
            error = rebuilt(Failure(None, record.error, record.traceback))
            error.add_note(
                f"It failed in an earlier run ({_when(record)}), and was not run again: "
                "hydra.launcher.resume=failed does that"
            )
        stuck = {index: one.contents[index] for index, each_one in came.items() if each_one.error is not None}
        received, error = bring_home(
            Receipt(outs=stuck), one.call.targets, self._staging, self._progress, error
        )
        for removal, problem in zip(one.removals, moved, strict=True):
            if problem is not None and error is None:
                error = HomeError(f"outs key {removal.left.key!r}: {removal.destination}: {problem}")
        return Outcome(
            name=one.call.name,
            value=record.value.held() if error is None else None,
            error=error,
            seconds=record.seconds,
            received=received + sum(each_one.received for each_one in came.values()),
            node=record.node,
            resumed=True,
        )

    def _say_where_it_is_now(self, found: Sequence[_Found]) -> None:
        """What was copied from where it was left may change there: receipts name the copies from now on."""
        moved = [one for one in found if not all(removal.is_there for removal in one.removals)]
        store = self._staging.open()

        def rewrite(one: _Found) -> None:
            here = {index: _moved(left, one.call.targets[index].real) for index, left in one.slots}
            outs = tuple(left for index, left in here.items() if index < len(one.call.outs))
            record = replace(one.record, outs=outs, workspace=here.get(len(one.call.outs)))
            try:
                if (data := dump(record)) is not None:
                    store.put(job_key(record.id), data)
            except RayS3Error as exc:
                log.debug("%s: its receipt still names other places: %s", one.call.name, exc)

        each(rewrite, moved, store.threads)


def read_receipt(store: Store, job_id: str) -> JobRecord | None:
    """The receipt of this job in the store; None where there is none that can be used."""
    incoming = store.get(job_key(job_id))
    if incoming is None:
        return None
    try:
        return load_job(incoming.read_at_most(MOST_BYTES), job_id)
    except ValueError as exc:
        log.warning("%s/%s is no receipt, so its job runs again: %s", store.url, job_key(job_id), exc)
        return None


def _slots(call: Call, record: JobRecord) -> tuple[tuple[int, Left], ...]:
    """What was left, with the index of the call's target that it is; what no target is, is left out."""
    keys = {out.key: index for index, out in enumerate(call.outs)}
    slots = [(keys[left.key], left) for left in record.outs if left.key in keys]
    if record.workspace is not None and call.workspace is not None:
        slots.append((len(call.outs), record.workspace))
    return tuple(slots)


def _moved(left: Left, real: str) -> Left:
    return replace(left, place=real, seal=fingerprint(real)) if left.place else left


def _when(record: JobRecord) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(record.ended))

"""Why a run that is to be resumed finds no receipts: its code or packages are others than those of the last run."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ...core.records.job_ids import Surroundings
from ...core.records.reader import load_run
from ...core.records.records import MOST_BYTES, RUNS, RunRecord, run_key
from ...store.store import Store

_SUFFIX = ".json"
_MOST_RUNS = 20
_MOST_NAMED = 3


def differences(store: Store, app: str, around: Surroundings, run: str) -> str:
    """What has changed since the last run of the app, in words; "" where that is nothing, or there was none.

    ``run`` is the present one. Raises StoreError.
    """
    last = next((record for record in _runs(store, run) if record.app == app), None)
    if last is None:
        return ""
    changed = []
    if last.code != around.code:
        changed.append(f"code ({_files(last, around)})" if last.files else "code")
    if last.packages != around.packages:
        changed.append("packages")
    if not changed:
        return ""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(last.began))
    return f"{' and '.join(changed)} changed since the run of {when}, so its jobs are others"


def _runs(store: Store, run: str) -> Iterator[RunRecord]:
    """The newest ones but for this, the newest first."""
    keys = [key for page in store.list(f"{RUNS}/") for key, _ in page if key.endswith(_SUFFIX)]
    ids = sorted((key.removeprefix(f"{RUNS}/").removesuffix(_SUFFIX) for key in keys), reverse=True)
    for run_id in [each for each in ids if each != run][:_MOST_RUNS]:
        incoming = store.get(run_key(run_id))
        if incoming is None:
            continue
        try:
            yield load_run(incoming.read_at_most(MOST_BYTES), run_id)
        except ValueError:  # made up, or of another version
            continue


def _files(last: RunRecord, around: Surroundings) -> str:
    before, now = dict(last.files), dict(around.files)
    names = sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))
    shown = [repr(path.partition("/")[2]) for path in names[:_MOST_NAMED]]
    return ", ".join(shown) + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")

"""What a store knows of jobs that have finished: its receipts."""

from __future__ import annotations

from ...content.threads import each
from ...core.options.settings import Settings
from ...core.records.records import JOBS, JobRecord
from ...store.identity import identify
from ...store.store import open_store
from .resuming import read_receipt

_SUFFIX = ".json"


def receipts(settings: Settings, app: str = "") -> list[JobRecord]:
    """All receipts in the settings' store, those of ``app`` alone if one is named; the newest come last.

    What is no receipt is left out, with a warning. Raises InputError and StoreError.
    """
    identity = identify(settings.store_url, credentials=settings.credentials, account=settings.account)
    store = open_store(identity.here, identity.fresh)
    store.check()
    found: list[JobRecord] = []

    def read(key: str) -> None:
        job_id = key.removeprefix(f"{JOBS}/").removesuffix(_SUFFIX)
        if (record := read_receipt(store, job_id)) is not None and app in ("", record.app):
            found.append(record)

    keys = [key for page in store.list(f"{JOBS}/") for key, _ in page if key.endswith(_SUFFIX)]
    each(read, keys, store.threads)
    return sorted(found, key=lambda record: (record.ended, record.id))

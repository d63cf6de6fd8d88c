"""Values of the ledger that travel with a call and its job."""

from __future__ import annotations

import pickle

from ray_decorator.core.values.work import Entry, Work


def test_they_travel() -> None:
    work = Work("app", "main", "/app.py", "digest", ("/conf",), "app", ("x=1",))
    entry = Entry("id", "run", work.app, work.overrides, {"model": "0" * 32})
    assert pickle.loads(pickle.dumps((work, entry))) == (work, entry)

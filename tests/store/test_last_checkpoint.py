"""Which checkpoint is the newest, in each kind of store."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from ray_decorator.core.records.records import Checkpoint, checkpoint_key, dump
from ray_decorator.core.values.contents import Content
from ray_decorator.core.values.model import Job
from ray_decorator.store.last_checkpoint import newest
from ray_decorator.store.store import Store

CONTENT = Content("0" * 32, 3, 1)


def test_it_is_that_of_the_latest_attempt_that_can_be_read(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    job = Job("abc-4", "#0", b"", (), (), False, "/", (), 0, attempt=4)
    made = [Checkpoint(number, float(number), ((0, CONTENT),)) for number in (1, 2)]
    for each in made:
        store.put(checkpoint_key("abc", each.attempt), dump(each) or b"")
    second = replace(made[1], contents=((0, replace(CONTENT, area="checkpoints/abc/2")),))
    assert newest(job, 4, store) == newest(job, 2, store) == second
    assert newest(job, 1, store) is not None and newest(job, 0, store) is None
    store.put(checkpoint_key("abc", 3), b"{}")
    with caplog.at_level(logging.WARNING):
        assert newest(job, 3, store) == second
    assert caplog.messages == ["#0: the checkpoint of attempt 3 cannot be read: KeyError: 'attempt'"]

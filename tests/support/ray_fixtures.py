"""One real Ray for tests that follow one another; caches and scratch directories in a directory of the session's."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import lasting
import pytest
from botocore.loaders import create_loader

LESS_WORK = {
    "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "0",
    "LOG_NAME_UPDATE_INTERVAL_S": "0.3",
    "RAY_worker_niceness": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_num_workers_soft_limit": "0",
    "RAY_idle_worker_killing_time_threshold_ms": "600000",
}
"""Ray's log monitors look for new files three times a second, not ten times; its workers wait for nobody else, and
nobody reads its metrics.

A worker starts where a task asks for one: a driver's first task starts two otherwise, of which one does nothing. Idle
ones would end at once then, so they are told to wait: they take the driver's next task, as without this.
"""


@pytest.fixture(scope="session", autouse=True)
def session_caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test reads or leaves anything in the user's own cache."""
    root = tmp_path_factory.mktemp("caches")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "home"))
        patch.setenv("RAY_S3_NODE_DIR", str(root / "node"))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_DEDUP_LOGS", "0")
        for name, value in LESS_WORK.items():
            patch.setenv(name, value)
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.delenv("RAY_S3_BASE_PATH", raising=False)
        # else each of a thousand sessions of botocore reads its descriptions of S3 anew
        patch.setattr(botocore.session, "create_loader", functools.cache(create_loader))
        yield root


@pytest.fixture(scope="module")  # starts before a test changes its environment
def ray_session() -> str:
    """A private Ray with two CPUs, which tests in this process use since it is connected; its address."""
    address: str = lasting.get("ray_session", _private_ray)
    return address


@contextlib.contextmanager
def _private_ray() -> Iterator[str]:
    import ray

    from ray_decorator.run.sessions import close_all

    logging.getLogger("ray").setLevel(logging.ERROR)
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
    )
    yield ray.get_runtime_context().gcs_address
    close_all()
    ray.shutdown()


@pytest.fixture
def ray_session_address(ray_session: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Apps in processes of their own join the session's Ray, and share a store of this test's."""
    monkeypatch.setenv("RAY_ADDRESS", ray_session)
    monkeypatch.setenv("RAY_S3_BASE_PATH", (tmp_path / "store").as_uri())
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    os.makedirs(tmp_path / "store", exist_ok=True)
    return ray_session

"""Fixtures of the whole suite; what they start is in the modules named here."""

import gc
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import lasting
import pytest
from cluster_bed import bare_venv_fixture, bed, doomed, scaling
from dvc_repositories import dvc
from folding_disk import folding_disk
from hydra.core.hydra_config import HydraConfig
from hydra.version import VersionBase
from marking import left_out, mark
from ray_fixtures import ray_session, ray_session_address, session_caches
from store_fixtures import faulty_proxy, hashes, moto, rclone, small_parts, store
from whole_programs import long_program

# Bytecode is kept: pytest's rewritten tests for the next run (without them, as in many containers, each of its
# processes needs 8 s, not 3 s, before its first test), and our modules for the processes that tests start.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# What is collected stays: to look through it for garbage, time and again, takes a third of the time of collecting.
gc.disable()

__all__ = [
    "bare_venv_fixture",
    "bed",
    "doomed",
    "dvc",
    "faulty_proxy",
    "folding_disk",
    "hashes",
    "long_program",
    "moto",
    "ray_session",
    "ray_session_address",
    "rclone",
    "scaling",
    "session_caches",
    "small_parts",
    "store",
]


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """Hydra apps in this process configure logging: levels, and loggers that are silent."""
    root = logging.root
    ours = [
        logger
        for name, logger in root.manager.loggerDict.items()
        if name.startswith("ray_decorator") and isinstance(logger, logging.Logger)
    ]
    for logger in ours:
        logger.disabled = False
    levels = [(logger, logger.level) for logger in (root, *ours)]
    yield
    for logger, before in levels:
        if logger.level != before:  # to set a level clears what every logger has cached: 3 ms a test
            logger.setLevel(before)


@pytest.fixture(autouse=True)
def hydras_state() -> Iterator[None]:
    """A Hydra app that runs in this process leaves its config and its version base, on which much depends."""
    version_base, config = VersionBase.instance().version_base, HydraConfig.instance().cfg
    yield
    VersionBase.instance().version_base, HydraConfig.instance().cfg = version_base, config


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Iterator[None]:
    yield
    lasting.end_all_but(getattr(nextitem, "fixturenames", ()))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Whole programs and clusters are not read for a run without them, which saves a second for each process."""
    return True if left_out(collection_path, config.option.markexpr) else None


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)  # before `-m` picks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mark(items)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """More than a small machine's cores, since tests wait for much."""
    return 4

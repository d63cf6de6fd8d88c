"""Fixtures of the whole suite; what they start is in the modules named here."""

from cluster_bed import bare_venv_fixture, bed
from ray_fixtures import ray_session, ray_session_address, session_caches
from store_fixtures import hashes, moto, rclone, store

__all__ = [
    "bare_venv_fixture",
    "bed",
    "hashes",
    "moto",
    "ray_session",
    "ray_session_address",
    "rclone",
    "session_caches",
    "store",
]

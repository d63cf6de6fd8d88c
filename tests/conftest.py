"""Fixtures of the whole suite; what they start is in the modules named here."""

from ray_fixtures import ray_session, ray_session_address, session_caches
from store_fixtures import hashes, moto, rclone, store

__all__ = ["hashes", "moto", "ray_session", "ray_session_address", "rclone", "session_caches", "store"]

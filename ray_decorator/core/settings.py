"""Arguments over environment over defaults: resolved and checked once, before anything starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .directories import cache_home
from .errors import InputError


@dataclass(frozen=True, slots=True)
class Settings:
    """Where to run, and where to stage.

    ``ray_address`` is ``local`` (a private Ray on this machine), ``auto``, ``host:port`` or
    ``ray://host:port``. ``store_url`` is ``s3://…`` or ``file:///…``; ``store_is_default`` says that it is
    the directory in the user's cache which only this machine can see. ``max_concurrent`` is how many
    jobs may be in flight at once, None for as many as the cluster takes.

    Of jobs on other machines: ``packages`` is ``auto`` (the driver's) or ``none`` (left as they are),
    ``code`` is ``auto`` (the project's) or ``none``, ``credentials`` the ``driver``'s or the ``worker``'s.
    """

    ray_address: str
    store_url: str
    store_is_default: bool
    ray_init_kwargs: Mapping[str, Any] = field(default_factory=dict)
    ray_remote_kwargs: Mapping[str, Any] = field(default_factory=dict)
    max_concurrent: int | None = None
    packages: str = "auto"
    code: str = "auto"
    credentials: str = "driver"


_CHOICES = {"packages": ("auto", "none"), "code": ("auto", "none"), "credentials": ("driver", "worker")}


def resolve(
    *,
    ray_address: str | None = None,
    s3_base_path: str | None = None,
    ray_init_kwargs: Mapping[str, Any] | None = None,
    ray_remote_kwargs: Mapping[str, Any] | None = None,
    max_concurrent: int | None = None,
    packages: str | None = None,
    code: str | None = None,
    credentials: str | None = None,
) -> Settings:
    """Settings from a front door's arguments; RAY_ADDRESS, RAY_S3_BASE_PATH, RAY_S3_PACKAGES, RAY_S3_CODE and
    RAY_S3_CREDENTIALS stand in for absent ones.

    Raises InputError, naming every problem, for a Ray elsewhere without a store that it can reach,
    for an address of no known form, for a ``max_concurrent`` below 1, and for a value that is no choice.
    """
    chosen = {
        name: value or os.environ.get(f"RAY_S3_{name.upper()}") or _CHOICES[name][0]
        for name, value in (("packages", packages), ("code", code), ("credentials", credentials))
    }
    address = ray_address or os.environ.get("RAY_ADDRESS") or "local"
    url = s3_base_path or os.environ.get("RAY_S3_BASE_PATH") or None
    problems = [
        *_address_problems(address),
        *_reach_problems(address, url),
        *(
            [f"max_concurrent is {max_concurrent}; expected 1 or more, or null"]
            if _below_one(max_concurrent)
            else []
        ),
        *_choice_problems(chosen),
    ]
    if problems:
        raise InputError(tuple(problems))
    return Settings(
        ray_address=address,
        store_url=url or default_store_url(),
        store_is_default=url is None,
        ray_init_kwargs=dict(ray_init_kwargs or {}),
        ray_remote_kwargs=dict(ray_remote_kwargs or {}),
        max_concurrent=max_concurrent,
        **chosen,
    )


def default_store_url() -> str:
    """The embedded default: a directory in the user's cache, as XDG names it."""
    return (cache_home() / "store").as_uri()


def _address_problems(address: str) -> list[str]:
    if address in ("local", "auto"):
        return []
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and "/" not in host and port.isdigit():
        return []
    return [
        f"ray_address is {address!r}; expected 'local', 'auto', 'host:port' (such as 10.0.0.1:6379) or "
        "'ray://host:port' (such as ray://10.0.0.1:10001)"
    ]


def _reach_problems(address: str, url: str | None) -> list[str]:
    if address == "local" or url is not None:
        return []
    return [
        f"ray_address is {address!r}, but there is no s3_base_path: workers on other machines cannot see "
        "this machine's disk. Set s3_base_path (or RAY_S3_BASE_PATH) to s3://bucket/prefix"
    ]


def _choice_problems(chosen: Mapping[str, str]) -> list[str]:
    return [
        f"{name} is {value!r}; expected {' or '.join(_CHOICES[name])}"
        for name, value in chosen.items()
        if value not in _CHOICES[name]
    ]


def _below_one(value: int | None) -> bool:
    return value is not None and value < 1

"""What a first job needs, checked from the driver: each check is a Finding.

    credentials ── store          Ray ── job resources          code
                     └── DVC data  ├──── packages
                                   └──── credentials on the nodes

A check that fails hides none of the others but those that build on it. Nothing is changed anywhere, but for
a probe object that is written to the store and removed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ..cluster.connecting.connection import Connection, disconnect, is_connected
from ..content.hashes.hash_cache import HashCache, default_path
from ..core.errors import RayS3Error
from ..core.options.settings import Settings
from ..core.units import human_size
from ..dvc.repository import root_of
from ..environment.needed import Needed
from ..project import driver
from ..project.collect import Project, describe, is_large, shown
from ..run.data.bundle import find_code, needed_packages, nothing_matches
from . import dvc_data, node_checks, packages, store_checks
from .findings import Finding

_LARGEST = 10
_MOST_NAMED = 50

T = TypeVar("T")


def examine(settings: Settings) -> Iterator[Finding]:
    """Check all that a job with these settings needs; each finding as soon as it is there.

    Connects to Ray, or starts a private one, and leaves it at the end, unless this process was connected
    already.
    """
    kept = is_connected()
    connection = Connection(settings)  # Ray takes seconds: it connects while the store is tried
    try:
        yield from _examine(settings, connection)
    finally:
        if not kept:
            disconnect()


def _examine(settings: Settings, connection: Connection) -> Iterator[Finding]:
    yield _settings(settings)
    finding, places = _guarded("credentials", lambda: store_checks.credentials(settings))
    yield finding
    if settings.store_is_default:
        yield _guarded("store", lambda: store_checks.none_needed(settings, connection))[0]
    elif places is None:
        yield _needs("store", "the credentials")
    else:
        yield _guarded("store", lambda: store_checks.store(places.here))[0]
    if (root := root_of(os.getcwd())) is not None and (places is not None or settings.store_is_default):
        there = places.here if places is not None and not settings.store_is_default else None
        yield _guarded("DVC data", lambda: (dvc_data.check(root, there), None))[0]
    code, found = _guarded("code", lambda: _code(settings))
    pinned, needed = _guarded("packages", lambda: _needed(settings, found))
    requirements = needed.requirements if needed else None
    travels = places.travels if places and not settings.store_is_default else None
    finding, nodes = _guarded("Ray", lambda: node_checks.ray(settings, connection, requirements, travels))
    yield finding
    if nodes is None:
        yield _needs("job resources", "Ray")
    else:
        yield _guarded("job resources", lambda: node_checks.job_resources(settings))[0]
    if pinned.status == "wrong":
        yield pinned
    elif nodes is None:
        yield _needs("packages", "Ray")
    else:
        yield packages.check(needed, nodes)
    if travels is not None and travels.own_credentials and nodes is not None:
        yield node_checks.credentials(settings, nodes)
    yield code


def _guarded(check: str, work: Callable[[], tuple[Finding, T]]) -> tuple[Finding, T | None]:
    """What ``work`` finds; where it raises, that is the finding."""
    try:
        return work()
    except RayS3Error as exc:
        return Finding(check, "wrong", (str(exc),), store_checks.cure(exc) or node_checks.cure(exc)), None
    except Exception as exc:  # a fault of ours, or of a library, hides no other check
        return Finding(check, "wrong", (f"this check itself failed: {type(exc).__name__}: {exc}",)), None


def _needs(check: str, other: str) -> Finding:
    return Finding(check, "warning", (f"not checked: it needs {other}, see above",))


def _settings(settings: Settings) -> Finding:
    store = "none" if settings.store_is_default else settings.store_url
    if settings.store_name:
        store += f" ({settings.store_name})"
    facts = [f"Ray: {settings.ray_address}", f"store: {store}"]
    if settings.ray_address == "local" or settings.store_is_default:
        facts.append("for a cluster set ray_address and s3_base_path, or RAY_ADDRESS and RAY_S3_BASE_PATH")
    facts.append(f"packages: {settings.packages}, code: {settings.code}, credentials: {settings.credentials}")
    return Finding("settings", "ok", tuple(facts))


def _needed(settings: Settings, found: Project | None) -> tuple[Finding, Needed | None]:
    return Finding("packages"), needed_packages(settings, found)


def _code(settings: Settings) -> tuple[Finding, Project | None]:
    here = driver.started_at()
    # this program is none of the user's; theirs is taken to be here
    sys_path = tuple(dict.fromkeys((os.path.realpath(here), *driver.project_paths())))
    earlier = HashCache(default_path()).outs() if default_path().exists() else frozenset()
    found = find_code(settings, None, sys_path, earlier=earlier)
    if found is None:
        return Finding("code", "ok", ("none travels (code: none)",)), None
    facts = [f"{len(found.files)} files, {human_size(found.size)}, for an app that is started here"]
    facts += [f"from {root}" for root in found.projects]
    largest = describe(found, _LARGEST)
    facts += ["the largest:"] if largest else []
    facts += [f"  {human_size(size):>7}  {name}" for name, size in largest]
    facts += _kept_back(found)
    unused = [nothing_matches(line, found) for line in found.unused]
    facts += unused
    facts.append("nothing travels to this machine's own Python; elsewhere, only what has changed since")
    if not is_large(found):
        return Finding("code", "warning" if unused else "ok", tuple(facts)), found
    cure = "name what is no code in .gitignore, or send none: code=none"
    return Finding("code", "warning", tuple(facts), cure), found


def _kept_back(found: Project) -> list[str]:
    return [
        *_listed("kept back as secrets, for their names:", found.secrets, found),
        *_listed(
            "kept back, since a .dvcignore names it or DVC tracks it, and git does not:", found.staying, found
        ),
        *_listed("left out, since earlier runs wrote it:", found.earlier, found),
    ]


def _listed(heading: str, paths: Sequence[str], found: Project) -> list[str]:
    if not paths:
        return []
    more = [f"  … and {len(paths) - _MOST_NAMED} more"] if len(paths) > _MOST_NAMED else []
    return [heading, *(f"  {shown(path, found.projects)}" for path in paths[:_MOST_NAMED]), *more]

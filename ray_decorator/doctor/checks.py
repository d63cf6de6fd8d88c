"""What a first job needs, checked from the driver: each check is a Finding.

    credentials ── store          Ray ── job resources          code
                     └── DVC data  ├──── packages
                                   └──── credentials on the nodes

A check that fails hides none of the others but those that build on it. Nothing is changed anywhere, but for
a probe object that is written to the store and removed.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TypeVar
from urllib.parse import urlsplit

from ..cluster import capacity
from ..cluster.connection import Connection, disconnect, is_connected
from ..cluster.every_node import living_nodes
from ..cluster.ray_cluster import check_options, check_store_is_shared
from ..content.hash_cache import HashCache, default_path
from ..core.errors import (
    BucketNotFoundError,
    ClusterError,
    RayS3Error,
    StoreDeniedError,
    StoreError,
    StoreUnreachableError,
)
from ..core.model import Location, Requirements
from ..core.settings import Settings
from ..core.units import human_seconds, human_size
from ..dvc.repository import root_of
from ..environment.needed import Needed
from ..project import driver
from ..project.collect import Project, describe, is_large, shown
from ..run.bundle import find_code, needed_packages, nothing_matches
from ..store.identity import identify
from ..store.renewal import clock
from ..store.store import Store, open_store
from . import dvc_data, packages
from .findings import Finding, Status, worst
from .nodes import NodeFacts, ask_nodes

_MOST_NODES = 20
_LARGEST = 10
_MOST_NAMED = 50

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Places:
    """The store as this process opens it, and as it travels to workers."""

    here: Location
    travels: Location


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
    finding, places = _guarded("credentials", lambda: _credentials(settings))
    yield finding
    if settings.is_embedded:
        yield _guarded("store", lambda: _no_store(settings, connection))[0]
    elif places is None:
        yield _needs("store", "the credentials")
    else:
        yield _guarded("store", lambda: _store(places.here))[0]
    if (root := root_of(os.getcwd())) is not None and (places is not None or settings.is_embedded):
        there = places.here if places is not None and not settings.is_embedded else None
        yield _guarded("DVC data", lambda: (dvc_data.check(root, there), None))[0]
    code, found = _guarded("code", lambda: _code(settings))
    pinned, needed = _guarded("packages", lambda: _needed(settings, found))
    requirements = needed.requirements if needed else None
    travels = places.travels if places and not settings.is_embedded else None
    finding, nodes = _guarded("Ray", lambda: _ray(settings, connection, requirements, travels))
    yield finding
    if nodes is None:
        yield _needs("job resources", "Ray")
    else:
        yield _guarded("job resources", lambda: _job_resources(settings))[0]
    if pinned.status == "wrong":
        yield pinned
    elif nodes is None:
        yield _needs("packages", "Ray")
    else:
        yield packages.check(needed, nodes)
    if travels is not None and travels.own_credentials and nodes is not None:
        yield _credentials_on_nodes(settings, nodes)
    yield code


def _guarded(check: str, work: Callable[[], tuple[Finding, T]]) -> tuple[Finding, T | None]:
    """What ``work`` finds; where it raises, that is the finding."""
    try:
        return work()
    except RayS3Error as exc:
        return Finding(check, "wrong", (str(exc),), _cure(exc)), None
    except Exception as exc:  # a fault of ours, or of a library, hides no other check
        return Finding(check, "wrong", (f"this check itself failed: {type(exc).__name__}: {exc}",)), None


def _needs(check: str, other: str) -> Finding:
    return Finding(check, "warning", (f"not checked: it needs {other}, see above",))


def _settings(settings: Settings) -> Finding:
    store = "none" if settings.is_embedded else settings.store_url
    if settings.store_name:
        store += f" ({settings.store_name})"
    facts = [f"Ray: {settings.ray_address}", f"store: {store}"]
    if settings.ray_address == "local" or settings.store_is_default:
        facts.append("for a cluster set ray_address and s3_base_path, or RAY_ADDRESS and RAY_S3_BASE_PATH")
    facts.append(f"packages: {settings.packages}, code: {settings.code}, credentials: {settings.credentials}")
    return Finding("settings", "ok", tuple(facts))


def _credentials(settings: Settings) -> tuple[Finding, _Places]:
    identity = identify(settings.store_url, credentials=settings.credentials, account=settings.account)
    places = _Places(identity.here, identity.location)
    here = places.here
    if here.credentials is None:
        return Finding("credentials", "ok", ("none are needed: the store is a directory",)), places
    profile = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
    facts = (
        f"boto3 found some: {identity.provider}" + (f", profile {profile}" if profile else ""),
        f"region {here.region}, endpoint {here.endpoint}",
        _until_when(here),
        "they go with each job, and are refreshed for those that outlive them"
        if settings.credentials == "driver"
        else "they stay here: each node finds its own (credentials: worker)",
    )
    return Finding("credentials", "ok", facts), places


def _until_when(place: Location) -> str:
    assert place.credentials is not None
    expires = place.credentials.expires
    if expires is not None:
        left = max(0.0, expires - time.time())
        return f"good until {clock(expires)} (in {human_seconds(left)}); boto3 renews them"
    if place.credentials.token:
        return "temporary (they have a session token); boto3 does not know until when"
    return "they do not expire"


def _no_store(settings: Settings, connection: Connection) -> tuple[Finding, None]:
    try:
        connection.wait()
    except ClusterError:  # which is Ray's own finding
        return Finding("store", "warning", ("not checked: none is needed if Ray, see below, is here",)), None
    check_store_is_shared(settings, living_nodes())
    return Finding("store", "ok", ("none is needed: jobs read and write your files where they are",)), None


def _store(place: Location) -> tuple[Finding, None]:
    try:
        opened = open_store(place)
        opened.check()
        status, facts = _probe(opened)
    except StoreError as exc:
        return Finding("store", "wrong", (place.url, str(exc)), _cure(exc, place)), None
    return Finding("store", status, (place.url, *facts)), None


def _probe(store: Store) -> tuple[Status, list[str]]:
    """Write, read back and delete an object; how long each took."""
    key, data = f"ray_s3/doctor-{uuid.uuid4().hex}", os.urandom(1024)
    spent: list[str] = []
    read = b""
    try:
        with _timed("write", spent):
            store.put(key, data)
        with _timed("read", spent):
            incoming = store.get(key)
            read = bytes(incoming.read()) if incoming else b""
    finally:
        left = _removed(store, key, spent)
    if read != data:
        what = f"{len(read)} bytes, which are not those" if read else "nothing"
        raise StoreError(f"an object of {len(data)} bytes was written, and {what} came back")
    facts = [", ".join(spent)]
    return ("warning", [*facts, left]) if left else ("ok", facts)


def _removed(store: Store, key: str, spent: list[str]) -> str | None:
    try:
        with _timed("delete", spent):
            store.delete(key)
    except StoreError as exc:
        return f"{key} stays there (jobs need no right to delete): {exc}"
    return None


@contextlib.contextmanager
def _timed(verb: str, spent: list[str]) -> Iterator[None]:
    since = time.perf_counter()
    yield
    spent.append(f"{verb} {(time.perf_counter() - since) * 1000:.0f} ms")


def _ray(
    settings: Settings, connection: Connection, requirements: Requirements | None, place: Location | None
) -> tuple[Finding, list[NodeFacts]]:
    connection.wait()
    nodes = ask_nodes(requirements, place, [str(driver.started_at())])
    facts = [f"Ray {version('ray')}, Python {platform.python_version()} on this machine"]
    if settings.ray_address == "local":
        facts.append("a private Ray on this machine, started for this check and stopped after it")
    facts.append(f"{len(nodes)} node{'s' if len(nodes) > 1 else ''}:")
    facts += [f"  {_described(node)}" for node in nodes[:_MOST_NODES]]
    if len(nodes) > _MOST_NODES:
        facts.append(f"  … and {len(nodes) - _MOST_NODES} more")
    status, cure = _trouble_of(nodes)
    return Finding("Ray", status, tuple(facts), cure), nodes


def _trouble_of(nodes: list[NodeFacts]) -> tuple[Status, str | None]:
    cures = []
    if failed := [node.name for node in nodes if node.error]:
        cures.append(
            f"see what `ray status` and the raylet's log say on {', '.join(failed[:3])}; take a node that is "
            "broken out of the cluster with `ray stop` there"
        )
    if blind := [node.name for node in nodes if node.unreachable]:
        cures.append(
            f"let {', '.join(blind[:3])} reach the store: an endpoint that other machines see in "
            "AWS_ENDPOINT_URL, a firewall that lets them through, a directory that all of them share"
        )
    return ("wrong", "\n".join(cures)) if cures else ("ok", None)


def _described(node: NodeFacts) -> str:
    resources = node.resources
    parts = [f"{resources.get('CPU', 0):g} CPU", f"{resources.get('GPU', 0):g} GPU"]
    parts.append(f"{human_size(resources.get('memory', 0))} memory")
    if node.error:
        return f"{node.name}: {', '.join(parts)}; {node.error}"
    version = ".".join(map(str, node.python))
    parts = [f"Python {version}", f"Ray {node.ray}", node.platform, *parts]
    if node.unreachable:
        parts.append(f"does not reach the store: {node.unreachable}")
    return f"{node.name}: {', '.join(parts)}"


def _job_resources(settings: Settings) -> tuple[Finding, None]:
    """``ray_remote_kwargs``: whether Ray takes them, and a node can serve them."""
    check_options(settings)
    waiting = capacity.awaited(settings.ray_remote_kwargs, living_nodes())
    asked = capacity.asked(settings.ray_remote_kwargs)
    facts = (f"each job asks for {asked}", waiting or "there is a node that can serve it")
    return Finding("job resources", "warning" if waiting else "ok", facts), None


def _credentials_on_nodes(settings: Settings, nodes: list[NodeFacts]) -> Finding:
    """``credentials: worker``: each node has to have its own."""
    bring = "" if settings.packages == "none" else " (jobs bring theirs)"
    found = [(node.name, *_own(node, bring)) for node in nodes if not node.error]
    status = worst(*(status for _, status, _ in found))
    facts = tuple(f"{name}: {said}" for name, _, said in found[:_MOST_NODES])
    cure = "give the nodes an instance role or AWS_* variables, or set credentials=driver"
    return Finding("credentials on nodes", status, facts, None if status == "ok" else cure)


def _own(node: NodeFacts, bring: str) -> tuple[Status, str]:
    if node.provider:
        return "ok", f"boto3 finds some there: {node.provider}"
    if node.boto3:
        return "wrong", f"boto3 finds none there{''.join(f' ({hint})' for hint in node.hints)}"
    if node.hints:
        return "ok", f"boto3 is not there to ask{bring}, but there is {', '.join(node.hints)}"
    return "warning", (
        f"boto3 is not there to ask{bring}; no AWS_* variable and no ~/.aws is there, so only "
        "an instance role can give some"
    )


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
    facts += [f"from {root}" for root in found.roots]
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
        *_listed("left out, since earlier runs wrote it:", found.earlier, found),
    ]


def _listed(heading: str, paths: Sequence[str], found: Project) -> list[str]:
    if not paths:
        return []
    more = [f"  … and {len(paths) - _MOST_NAMED} more"] if len(paths) > _MOST_NAMED else []
    return [heading, *(f"  {shown(path, found.roots)}" for path in paths[:_MOST_NAMED]), *more]


def _cure(error: RayS3Error, place: Location | None = None) -> str | None:
    """A command or setting, beyond what the message says itself."""
    endpoint = place.endpoint if place else None
    option = f" --endpoint-url {endpoint}" if endpoint and "amazonaws.com" not in endpoint else ""
    if isinstance(error, BucketNotFoundError) and place:
        return f"aws s3 mb s3://{urlsplit(place.url).netloc}{option}\nor set s3_base_path to one that exists"
    if isinstance(error, StoreDeniedError) and place and place.url.startswith("s3://"):
        return f"see who you are there: aws sts get-caller-identity{option}; choose by AWS_PROFILE=…"
    if isinstance(error, StoreDeniedError):
        return "aws configure, or aws sso login, or export AWS_PROFILE=…"
    if isinstance(error, StoreUnreachableError):
        return (
            f"curl -I {endpoint} shows what this machine sees; set AWS_ENDPOINT_URL to the server's address"
        )
    if isinstance(error, ClusterError) and isinstance(error.__cause__, OSError):
        return "ray start --head there, or set ray_address (RAY_ADDRESS) to where that runs"
    return None

"""``ray-s3 clean``: what is ours on this machine, on nodes or in the store is shown, and removed once one agrees.

What a running job uses stays, and so does everything that is not ours.
"""

from __future__ import annotations

import argparse
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..cluster.connecting.connection import connected
from ..content.hashes.hash_cache import HashCache, default_path
from ..core.errors import InputError, RayS3Error
from ..core.options.settings import Settings
from ..core.units import human_size
from ..job.disk import ours as on_machine
from ..store import ours as in_store
from ..store.identity import identify
from ..store.store import open_store
from . import ours_on_nodes

_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([hdw])")
_UNITS = {"h": 3600.0, "d": 24 * 3600.0, "w": 7 * 24 * 3600.0}

_NO_CLUSTER = "--nodes: no cluster is named. Set ray_address or RAY_ADDRESS, or leave --nodes out"
_EPILOG = """\
examples:
  ray-s3 clean
  ray-s3 clean --nodes ray_address=ray://10.0.0.1:10001
  ray-s3 clean --store --older-than 30d s3_base_path=s3://bucket/prefix
  ray-s3 clean --nodes --store hydra/launcher=cluster --yes

Overrides are those of `ray-s3 doctor`. Nothing that a running job uses is removed, and in a store nothing but what
is below ray_s3/. Later jobs fetch, build and upload anew what they need of it.

exit code: 0 when all was removed, or there was nothing; 1 when not; 2 for a wrong command line.
"""


@dataclass(frozen=True, slots=True)
class _Part:
    """What is ours in one place: lines about it, the bytes that go, how many things these are, and what clears it."""

    lines: tuple[str, ...]
    size: int
    number: int
    clear: Callable[[], None]


def main(arguments: Sequence[str], settings_of: Callable[[Sequence[str], Path | None], Settings]) -> int:
    """Run the command line; its exit code. ``settings_of`` resolves overrides and a directory of presets."""
    options = _parser().parse_intermixed_args(arguments)
    try:
        age = _seconds(options.older_than)
        with _parts(options, age, settings_of) as parts:
            return _clear(parts, yes=options.yes)
    except (RayS3Error, OSError) as exc:
        print(f"ray-s3 clean: {exc}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ray-s3 clean",
        description="Show and remove what ray-decorator keeps: on this machine, or on the places that are named.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("overrides", nargs="*", metavar="override", help="such as ray_address=auto")
    parser.add_argument(
        "--nodes", action="store_true", help="on the nodes of the cluster, not on this machine"
    )
    parser.add_argument("--store", action="store_true", help="in the store, below ray_s3/")
    parser.add_argument(
        "--older-than", default="30d", metavar="AGE", help="of the store: 12h, 30d, 8w; default: 30d"
    )
    parser.add_argument("--kept", action="store_true", help="also outs of jobs that could not come home")
    parser.add_argument("--yes", action="store_true", help="remove without asking")
    parser.add_argument("--config-dir", type=Path, metavar="DIR", help="where your presets are")
    return parser


def _seconds(age: str) -> float:
    match = _AGE.fullmatch(age.strip())
    if match is None or (seconds := float(match[1]) * _UNITS[match[2]]) < _UNITS["h"]:
        raise InputError(f"--older-than is {age!r}; expected an hour or more, such as 12h, 30d or 8w")
    return seconds


@contextmanager
def _parts(
    options: argparse.Namespace, age: float, settings_of: Callable[[Sequence[str], Path | None], Settings]
) -> Iterator[list[_Part]]:
    kept: bool = options.kept
    if not options.nodes and not options.store:
        found = on_machine.survey(kept=kept)
        yield [_part(f"this machine ({socket.gethostname()})", found, lambda: on_machine.clear(kept=kept))]
        return
    settings = settings_of(options.overrides, options.config_dir)
    parts = [_store(settings, age)] if options.store else []
    if not options.nodes:
        yield parts
        return
    with connected(settings, _NO_CLUSTER):
        parts += [_node(node) for node in ours_on_nodes.survey(kept=kept)]
        nodes = _Part((), 0, 0, lambda: _clear_nodes(kept))
        yield [*parts, nodes]


def _part(title: str, found: Sequence[on_machine.Ours], clear: Callable[[], None]) -> _Part:
    goes = [one for one in found if not one.stays]
    lines = [f"{title}: {'' if found else 'nothing of ours'}".rstrip()]
    for one in found:
        stays = f", {one.stays}" if one.stays else ""
        lines.append(f"  {human_size(one.size):>7}  {one.path}  {one.what} ({one.number}){stays}")
    return _Part(tuple(lines), sum(one.size for one in goes), len(goes), clear)


def _node(node: ours_on_nodes.NodeOurs) -> _Part:
    if node.error is not None:
        return _Part((f"node {node.name}: {node.error}",), 0, 0, _nothing)
    return _part(f"node {node.name}", node.found, _nothing)


def _nothing() -> None:
    """All nodes are cleared at once."""


def _clear_nodes(kept: bool) -> None:
    for node in ours_on_nodes.clear(kept=kept):
        if node.error is not None:
            raise InputError(f"node {node.name}: {node.error}")


def _store(settings: Settings, age: float) -> _Part:
    identity = identify(settings.store_url, credentials=settings.credentials, account=settings.account)
    store = open_store(identity.here, identity.fresh)
    store.check()
    found = in_store.find(store, time.time() - age)
    going = in_store.summed(found.goes)
    lines = [f"{store.url}/{in_store.PREFIX}/: {'' if found.total else 'nothing of ours'}".rstrip()]
    for folder, (number, size) in found.total.items():
        old, old_size = going.get(folder, (0, 0))
        lines.append(
            f"  {human_size(old_size):>7}  {folder}  {old} objects to remove, of {number} ({human_size(size)})"
        )

    def clear() -> None:
        in_store.remove(found.goes, store)
        for area, digests in in_store.digests_of(found.goes).items():
            HashCache(default_path()).forget(store.area(area).place, digests)

    return _Part(tuple(lines), sum(size for _, size in going.values()), len(found.goes), clear)


def _clear(parts: Sequence[_Part], *, yes: bool) -> int:
    for line in (line for part in parts for line in part.lines):
        print(line)
    size, number = sum(part.size for part in parts), sum(part.number for part in parts)
    if not number:
        print("there is nothing to remove")
        return 0
    if not yes and not _agreed(f"Remove {human_size(size)}? [y/N] "):
        print("nothing was removed; --yes removes without asking")
        return 1
    for part in parts:
        part.clear()
    print(f"removed {human_size(size)}")
    return 0


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False

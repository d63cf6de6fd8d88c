"""``ray-s3 fetch WHAT WHERE``: what a run could not bring home, brought later; nothing that is there is replaced.

<base>/<digest>                  a content in a store: s3://bucket/prefix/0123….dir
<base>/<digest>+<md5>            the same, with what its manifest cannot say: modes, links, empty directories
<base>/files/md5/<2>/<30>        the first, as the store keeps it
<base>/ray_s3/<area>/…           what is no data, such as a job's own directory; as one of the others
<digest>                         the same, in the store that RAY_S3_BASE_PATH names, else the default one
/a/local/path                    what a job left in the `kept` directory of this machine: it is moved
<node>:/a/path                   the same on a node of a cluster: it is copied
"""

from __future__ import annotations

import filecmp
import logging
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ...content import extras_file
from ...content.hashes.hash_cache import HashCache, default_path
from ...content.looking.snapshot import taken_from
from ...content.manifest import Row, md5_of_file, object_key
from ...content.placing.merge import plan
from ...content.placing.move import move
from ...core.errors import InputError, MissingObjectError
from ...core.options.settings import Options, Settings
from ...core.progress import Progress
from ...core.values.contents import NO_EXTRAS, Content, Extras
from ...store.download import rows_of
from ...store.identity import identify
from ...store.store import OURS, Store, open_store
from ...store.transfer import pull
from .fetch_from_node import fetched

log = logging.getLogger(__name__)

_DIGEST = re.compile(
    rf"(?:(?P<base>.+?)/)?(?:{OURS}/(?P<area>\w+)/)?(?:files/md5/)?"
    r"(?P<digest>[0-9a-f]{2}/?[0-9a-f]{30}(?:\.dir)?)(?:\+(?P<extras>[0-9a-f]{32}))?"
)
_MOST_NAMED = 5


_NODE = re.compile(r"(?P<host>[\w.-]+):(?P<path>/[^/].*)", re.DOTALL)


def fetch(what: str, where: Path, progress: Progress, settings: Callable[[], Settings] | None = None) -> int:
    """Bring ``what`` to ``where``; how many bytes came from the store.

    ``settings`` says which cluster a node is of; by default the environment does. Raises InputError for what is
    neither a content nor a path, and where other files are in its place; StoreError; ClusterError; OSError of this
    machine's disk.
    """
    found = _DIGEST.fullmatch(what)
    if found is None:
        source = Path(what)
        if not source.exists() and (node := _NODE.fullmatch(what)) is not None:
            cluster = (settings or Options().resolve)()
            with fetched(node["host"], node["path"], where, cluster) as copy:
                return _moved(copy, where)
        if not source.exists():
            raise InputError(
                f"{what} is neither a path on this machine nor a content's name: expected what the run's message "
                "says, such as s3://bucket/prefix/<32 hex digits>, with .dir after it for a directory"
            )
        _moved(source, where)
        return 0
    url = Options(s3_base_path=found["base"]).resolve().store_url
    identity = identify(url, credentials="driver")
    store = open_store(identity.here, identity.fresh)
    store.check()
    content = _content(found["digest"].replace("/", ""), found["area"] or "", found["extras"], store)
    rows = rows_of(content, store.of(content))
    _refuse_clobbering(where, [("", row) for row in rows], content.extras)
    return pull(content, where, store, HashCache(default_path()), progress)


def _moved(source: Path, where: Path) -> int:
    """Move it there; how many bytes its files have."""
    files = taken_from(source).files
    _refuse_clobbering(where, [(path, Row(relpath, "")) for relpath, path in files])
    size = sum(os.stat(path).st_size for _, path in files)
    move(source, where)
    return size


def _content(digest: str, area: str, extras: str | None, store: Store) -> Content:
    part = store.area(area) if area else store
    size = part.head(object_key(digest))
    if size is None:
        raise MissingObjectError((digest,), part.url, (object_key(digest),), "run again what makes it")
    content = Content(digest, size, 1, area=area)
    if extras is None:
        return content
    incoming = store.get(extras_file.key_of(extras))
    if incoming is None or incoming.size > extras_file.MOST_BYTES:
        log.warning(
            "%s is not there any more: files come without their executable bits and private modes, and links to "
            "directories and empty directories do not come",
            extras_file.key_of(extras),
        )
        return content
    return extras_file.load(bytes(incoming.read()), extras, content)


def _refuse_clobbering(where: Path, files: Sequence[tuple[str, Row]], extras: Extras = NO_EXTRAS) -> None:
    """Raise InputError where a file with other bytes is in the place of one that is to come, or another link."""
    sources = {row.relpath: path for path, row in files}
    there = [target for target in plan(where, [row for _, row in files]).targets if target.stamp is not None]
    others = [
        target.path
        for target in there
        if (target.row.md5 and md5_of_file(target.path) != target.row.md5)
        or (not target.row.md5 and not filecmp.cmp(sources[target.row.relpath], target.path, shallow=False))
    ]
    to_files = {row.relpath for _, row in files}
    links = plan(where, [row for _, row in files], extras).links
    others += [
        path
        for path, target in links
        if os.path.relpath(path, os.path.realpath(where)) not in to_files
        and os.path.lexists(path)
        and not (os.path.islink(path) and os.readlink(path) == target)
    ]
    if others:
        shown = ", ".join(others[:_MOST_NAMED]) + (", …" if len(others) > _MOST_NAMED else "")
        raise InputError(
            f"{len(others)} file(s) with other bytes are in the way: {shown}. Move them away, or name another "
            "place; nothing was changed"
        )

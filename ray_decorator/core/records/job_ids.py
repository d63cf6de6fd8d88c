"""What tells one job from every other, and says that two are the same: the job id, and what it is made of.

    the task      where in the code it is, and its qualified name    Work, Surroundings
    the config    canonical, without what does not count             Work
    variables     those that are carried along                       Work
    code          all files that travel, but Hydra's YAML            Surroundings
    packages      names and versions                                 Surroundings
    deps          key -> content
    outs          keys

A job id names a receipt in a store: ``<base>/ray_s3/jobs/<job id>.json``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..values.contents import Content
from ..values.work import Work

_json = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_VERSION = 1  # of what an id is made of: a new one makes all jobs new ones


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the jobs of a run share: digests of the user's code and of the packages.

    ``files`` are the paths in the code that count, with md5s; ``places``: real path -> path in the code. ``seal`` is
    a fingerprint of those that count, which lie at ``paths``, from before they were read.
    ``installed`` are the folders whose files ``packages`` speaks for.
    """

    code: str
    packages: str
    places: Mapping[str, str] = field(repr=False, default_factory=dict)
    installed: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = field(repr=False, default=())
    paths: tuple[str, ...] = field(repr=False, default=())
    seal: str = ""

    def task(self, work: Work) -> str | None:
        """The name of the work's function that says which code it is; None where no code that counts has it."""
        if (place := self.places.get(work.source)) is not None:
            return f"{place}:{work.name}"
        if work.source and any(work.source.startswith(f"{folder}/") for folder in self.installed):
            return f"{work.module}:{work.name}"
        return None


def digest_of(value: Any) -> str:
    """The SHA-256, in hex, of a value that JSON holds; the order of a dict's keys does not count."""
    return hashlib.sha256(_json(value).encode()).hexdigest()


def job_id(
    work: Work, around: Surroundings, deps: Mapping[str, Content | None], outs: Iterable[str]
) -> str | None:
    """The id of a job, 64 hex digits; None where it cannot be told from others, since nothing knows its code.

    ``deps`` are the contents by key; None for what the job writes as well, which is another one after it.
    """
    if (task := around.task(work)) is None:
        return None
    read = {key: None if one is None else _parts(one) for key, one in deps.items()}
    return digest_of([_VERSION, task, work.config, around.code, around.packages, read, sorted(outs)])


def _parts(content: Content) -> list[Any]:
    """All that a job sees of a content; sizes follow from the digest."""
    extras = content.extras
    parts: list[Any] = [content.digest, sorted(content.executables), sorted(extras.folders)]
    return [*parts, sorted(map(list, extras.private)), sorted(map(list, extras.links))]

"""What jobs need on machines that are not the driver's: packages, the user's code, and our own source."""

from __future__ import annotations

import io
import logging
import os
import sys
import zipfile
from collections.abc import Collection
from pathlib import Path

from . import driver, packages, project
from .model import Bundle, Code, Requirements
from .progress import human_size
from .settings import Settings
from .staging import Staging

log = logging.getLogger(__name__)

_OURS = ("ray_decorator", "hydra_plugins/hydra_ray_s3_launcher")
_THEN = (1980, 1, 1, 0, 0, 0)  # the earliest that zip knows: the same source makes the same bytes


def make_bundle(settings: Settings, staging: Staging, left_out: Collection[Path]) -> Bundle:
    """Find out what jobs need elsewhere, and bring the code to the store.

    ``left_out`` are local paths that are no code: deps, outs, the jobs' directories. Raises InputError for
    code that cannot be read, StoreError.
    """
    installed = packages.installed()
    found = collect(settings, left_out, installed)
    requirements = needed(settings, found, installed)
    if found is None or not found.files:
        return Bundle(requirements, None)
    content, sent = staging.push_code(found.files)
    if sent:
        log.info(
            "The project's code goes along: %d files, %s (sent: %s, with the list of them)",
            content.files,
            human_size(content.size),
            human_size(sent),
        )
    main = driver.main_script()
    placed = next((place for place, path in found.files if main is not None and path == str(main)), None)
    return Bundle(requirements, Code(content, found.sys_path, found.packages, found.cwd, placed))


def needed(
    settings: Settings, found: project.Project | None, installed: packages.Installed | None = None
) -> Requirements | None:
    """The packages that jobs need; None where the settings say that nodes are left as they are.

    ``found`` is the code that travels: its first project may name indexes.
    """
    if settings.packages == "none":
        return None
    return packages.requirements(found.roots[0] if found and found.roots else None, installed)


def collect(
    settings: Settings, left_out: Collection[Path], installed: packages.Installed
) -> project.Project | None:
    """The user's own code that jobs need; None where the settings say that none travels."""
    if settings.code == "none":
        return None
    return project.collect(
        main=driver.main_script(),
        cwd=driver.started_at(),
        sys_path=driver.project_paths(),
        left_out=left_out,
        local=installed.local,
    )


def runtime() -> bytes:
    """Our own source as a zip: a node needs nothing of ours."""
    top = Path(__file__).resolve().parent.parent
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in _OURS:
            for path in sorted(_folder(top, folder).glob("*.py")):
                archive.writestr(zipfile.ZipInfo(f"{folder}/{path.name}", _THEN), path.read_bytes())
    return buffer.getvalue()


def _folder(top: Path, folder: str) -> Path:
    if (top / folder).is_dir():
        return top / folder
    # a namespace package may be spread over several entries of the path
    name = folder.replace("/", os.sep)
    return next((Path(e) / name for e in sys.path if (Path(e) / name).is_dir()), top / folder)

"""What jobs need on machines that are not the driver's: packages and the user's code."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

from ..core.model import Bundle, Code, Requirements
from ..core.progress import Progress
from ..core.settings import Settings
from ..core.units import human_size
from ..environment.installed import Installed, installed_distributions, requirements
from ..project import driver
from ..project.collect import Project, collect
from .staging import Staging

log = logging.getLogger(__name__)


def make_bundle(
    settings: Settings, staging: Staging, left_out: Collection[Path], progress: Progress
) -> Bundle:
    """Find out what jobs need elsewhere, and bring the code to the store.

    ``left_out`` are local paths that are no code: deps, outs, the jobs' directories. Raises InputError for
    code that cannot be read, StoreError.
    """
    packages = installed_distributions()
    found = _project(settings, left_out, packages)
    needed = needed_packages(settings, found, packages)
    if found is None or not found.files:
        return Bundle(needed, None)
    taken, sent = staging.push_code(found.files, progress)
    if sent:
        log.info(
            "The project's code goes along: %d files, %s (sent: %s, with the list of them)",
            taken.content.files,
            human_size(taken.content.size),
            human_size(sent),
        )
    main = driver.main_script()
    placed = next((place for place, path in found.files if main is not None and path == str(main)), None)
    return Bundle(needed, Code(taken.content, found.sys_path, found.packages, found.cwd, placed))


def needed_packages(
    settings: Settings, found: Project | None, packages: Installed | None = None
) -> Requirements | None:
    """The packages that jobs need; None where the settings say that nodes are left as they are.

    ``found`` is the code that travels: its first project may name indexes.
    """
    if settings.packages == "none":
        return None
    return requirements(found.roots[0] if found and found.roots else None, packages)


def _project(settings: Settings, left_out: Collection[Path], packages: Installed) -> Project | None:
    """The user's own code that jobs need; None where the settings say that none travels."""
    if settings.code == "none":
        return None
    return collect(
        main=driver.main_script(),
        cwd=driver.started_at(),
        sys_path=driver.project_paths(),
        left_out=left_out,
        local=packages.local,
    )

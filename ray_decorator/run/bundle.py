"""What jobs need on machines that are not the driver's: packages and the user's code."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
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


class Bundler:
    """Makes a session's bundles."""

    def __init__(self, settings: Settings, staging: Staging) -> None:
        self._settings, self._staging = settings, staging
        self._told = False

    def make(self, left_out: Collection[Path], progress: Progress) -> Bundle:
        """Find out what jobs need elsewhere, and bring the code to the store.

        ``left_out`` are local paths that are no code: deps, outs, the jobs' directories. Raises InputError for
        code that cannot be read, StoreError.
        """
        packages = installed_distributions()
        main = driver.main_script()
        found = find_code(self._settings, main, driver.project_paths(), left_out, packages)
        needed = needed_packages(self._settings, found, packages)
        if found is None or not found.files:
            return Bundle(needed, None)
        taken, sent = self._staging.push_code(found.files, progress)
        if sent:
            log.info(
                "The project's code goes along: %d files, %s (sent: %s, with the list of them)",
                taken.content.files,
                human_size(taken.content.size),
                human_size(sent),
            )
        self._tell(found)
        placed = next((place for place, path in found.files if main is not None and path == str(main)), None)
        return Bundle(needed, Code(taken.content, found.sys_path, found.packages, found.cwd, placed))

    def _tell(self, found: Project) -> None:
        if found.secrets and not self._told:
            self._told = True
            log.info(
                "Kept back from the project's code, as secrets: %s; `ray-s3 doctor` names them",
                "1 file" if len(found.secrets) == 1 else f"{len(found.secrets)} files",
            )


def find_code(
    settings: Settings,
    main: Path | None,
    sys_path: Sequence[str],
    left_out: Collection[Path] = (),
    packages: Installed | None = None,
) -> Project | None:
    """The user's own code that jobs need, for an app that is started here; None where none is to travel.

    ``main`` is its script, ``sys_path`` its own entries of sys.path.
    """
    if settings.code == "none":
        return None
    return collect(
        main=main,
        cwd=driver.started_at(),
        sys_path=sys_path,
        left_out=left_out,
        local=(packages or installed_distributions()).local,
    )


def needed_packages(
    settings: Settings, found: Project | None, packages: Installed | None = None
) -> Requirements | None:
    """The packages that jobs need; None where the settings say that nodes are left as they are.

    ``found`` is the code that travels: its first project may name indexes.
    """
    if settings.packages == "none":
        return None
    return requirements(found.roots[0] if found and found.roots else None, packages)

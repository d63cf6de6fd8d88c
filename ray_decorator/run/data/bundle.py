"""What jobs need on machines that are not the driver's: packages and the user's code."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from urllib.parse import unquote

from ...content.looking.snapshot import Snapshot
from ...core.errors import Changed, InputError
from ...core.options.settings import Settings
from ...core.paths import Folder
from ...core.progress import Progress
from ...core.units import human_size
from ...core.values.bundles import Bundle, Code
from ...dvc.code import config_for
from ...dvc.ignore import Ignores
from ...dvc.no_code import NoCode
from ...dvc.own_files import own_files
from ...environment.installed import Installed, installed_distributions
from ...environment.needed import Needed, needed
from ...project import at_home, driver
from ...project.collect import Project, collect, shown
from ...project.roots import never_whole
from .staging import Staging

log = logging.getLogger(__name__)

_DIRECTORY = "file://"
_SECRETS = ""  # no line of code_include
_MOST_NAMED = 3
_READINGS, _BETWEEN_SECONDS = 3, 0.1
_SOURCE = (".py", ".pyx", ".yaml", ".yml", ".toml")  # half written it is no better than missing


class Bundler:
    """Makes a session's bundles."""

    def __init__(self, settings: Settings, staging: Staging) -> None:
        self._settings, self._staging = settings, staging
        self._told: set[str] = set()
        self._last: tuple[Project | None, Collection[Path]] | None = None
        self._packages: Needed | None = None

    def make(self, left_out: Collection[Path], progress: Progress) -> Bundle:
        """Find out what jobs need elsewhere, and bring the code to the store.

        ``left_out`` are local paths that are no code: deps, outs, the jobs' directories. Raises InputError for
        code that cannot be read, StoreError.
        """
        packages = installed_distributions()
        main = driver.main_script()
        earlier = self._staging.earlier_outs()
        found = find_code(self._settings, main, driver.project_paths(), left_out, earlier, packages)
        self._last = found, left_out
        self._packages = needed_packages(self._settings, found, packages)
        requirements = self._packages.requirements if self._packages else None
        start = _folder(driver.started_at())
        if found is None or not found.files:
            return Bundle(requirements, None, start)
        files = [*found.files, *config_for(found.files, driver.started_at())]
        taken, sent = self._pushed(files, progress)
        if sent:
            log.info(
                "The project's code goes along: %d files, %s (sent: %s, with the list of them)",
                taken.content.files,
                human_size(taken.content.size),
                human_size(sent),
            )
        self._tell(found)
        placed = next((place for place, path in found.files if main is not None and path == str(main)), None)
        roots = tuple(map(_folder, found.roots))
        code = Code(taken.content, found.sys_path, found.packages, found.cwd, placed, roots)
        return Bundle(requirements, code, start)

    def _pushed(self, files: Sequence[tuple[str, str]], progress: Progress) -> tuple[Snapshot, int]:
        """As `Staging.push_code`. What is written meanwhile is read again; a log that grows on stays here."""
        moving: set[str] = set()
        for _ in range(_READINGS):
            try:
                return self._staging.push_code(files, progress)
            except InputError as exc:
                moving = {problem.path for problem in exc.problems if isinstance(problem, Changed)}
                if len(moving) < len(exc.problems):
                    raise
            time.sleep(_BETWEEN_SECONDS)
        if moving := {path for path in moving if not path.endswith(_SOURCE)}:
            names = ", ".join(sorted(moving)[:_MOST_NAMED]) + (", …" if len(moving) > _MOST_NAMED else "")
            log.warning(
                "Not sent with the project's code, since something writes to it all the time: %s", names
            )
        return self._staging.push_code([each for each in files if each[1] not in moving], progress)

    def explain(self, error: BaseException) -> None:
        """Add to an error of a job what it could not import since that is at home."""
        if self._packages is not None:
            at_home.explain_packages(error, self._packages.left_out, self._packages.why)
        if self._last is not None:
            found, left_out = self._last
            at_home.explain(error, found, driver.project_paths(), left_out, Ignores().line)

    def _tell(self, found: Project) -> None:
        for line in found.unused:
            if line not in self._told:
                log.warning("%s", nothing_matches(line, found))
        if found.secrets and _SECRETS not in self._told:
            self._told.add(_SECRETS)
            log.info(
                "Kept back from the project's code, as secrets: %s; `ray-s3 doctor` names them, and code_include "
                "sends those that are none",
                "1 file" if len(found.secrets) == 1 else f"{len(found.secrets)} files",
            )
        if missed := [path for path in found.missed if path not in self._told]:
            log.warning("%s", _missed(missed, found))
        self._told.update((*found.unused, *found.missed))


def nothing_matches(line: str, found: Project) -> str:
    """What to say of a line of ``code_include`` that names no file."""
    projects = " or ".join(map(str, found.projects))
    return f"code_include: {line!r} matches no file below {projects}; write it as in a .gitignore there"


def _missed(paths: Sequence[str], found: Project) -> str:
    """What to say of modules that were imported here, and stay here."""
    names = [shown(path, found.projects) for path in paths]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return (
        f"Imported here, but not sent with the project's code: {', '.join(names[:_MOST_NAMED])}{more}. A .dvcignore "
        "names them, or DVC tracks them, and git does not. A job that imports them needs `git add`, or code_include: "
        "['/…'] with their paths"
    )


def find_code(
    settings: Settings,
    main: Path | None,
    sys_path: Sequence[str],
    left_out: Collection[Path] = (),
    earlier: Collection[str] = (),
    packages: Installed | None = None,
) -> Project | None:
    """The user's own code that jobs need, for an app that is started here; None where none is to travel.

    ``main`` is its script, ``sys_path`` its own entries of sys.path; ``left_out`` and ``earlier`` are `collect`'s.
    """
    if settings.code == "none":
        return None
    packages = packages or installed_distributions()
    return collected(settings, main, sys_path, left_out, earlier, packages)


def collected(
    settings: Settings,
    main: Path | None,
    sys_path: Sequence[str],
    left_out: Collection[Path],
    earlier: Collection[str],
    packages: Installed,
    *,
    quiet: bool = False,
) -> Project:
    """As `find_code`, whether any is to travel or not. ``quiet``: none does, and what DVC ignores counts, too."""
    no_code = NoCode()
    url = settings.store_url
    store = [Path(unquote(url.removeprefix(_DIRECTORY)))] if url.startswith(_DIRECTORY) else []
    return collect(
        main=main,
        cwd=driver.started_at(),
        sys_path=sys_path,
        left_out=[*left_out, *store],
        local=packages.local,
        include=settings.code_include,
        earlier=earlier,
        stays=no_code.is_data if quiet else no_code.stays,
        of_dvc=own_files,
        quiet=quiet,
    )


def needed_packages(
    settings: Settings, found: Project | None, packages: Installed | None = None
) -> Needed | None:
    """The packages that jobs need; None where the settings say that nodes are left as they are.

    ``found`` is the code that travels: its first project may name indexes, and what the app needs. Raises InputError
    for a package that is asked for and not installed.
    """
    if settings.packages == "none":
        return None
    project = found.projects[0] if found and found.projects else None
    chosen = settings.packages_only, settings.packages_exclude
    return needed(packages or installed_distributions(), project, *chosen)


def _folder(path: Path) -> Folder:
    real = os.path.realpath(path)
    return Folder(real, real not in never_whole())

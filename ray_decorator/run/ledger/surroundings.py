"""What the jobs of a run share and are told apart by: the user's code and the packages, as digests.

All code counts that would travel to another machine, whether it does or not, but for the YAML files on Hydra's search
path: these count through the configs that are composed of them.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from ...content.looking.fingerprint import fingerprint_of
from ...content.manifest import dump
from ...core.errors import InputError
from ...core.options.settings import Settings
from ...core.progress import NoProgress
from ...core.records.job_ids import Surroundings, digest_of
from ...environment.installed import Installed, installed_distributions
from ...project import driver
from ...project.collect import is_large
from ...project.roots import installation_folders
from ..data.bundle import collected
from ..data.staging import Staging

_YAML = (".yaml", ".yml")
_LOGS = (".log", ".out", ".err")


def surroundings(
    settings: Settings, staging: Staging, left_out: Collection[Path], configs: Sequence[str]
) -> Surroundings:
    """Look at code and packages as they are now.

    ``left_out`` are local paths that are no code; ``configs`` folders whose YAML files are none. Raises InputError
    where code cannot be read, or where it is so much that it is hardly code.
    """
    packages = installed_distributions()
    found = collected(
        settings,
        driver.main_script(),
        driver.project_paths(),
        left_out,
        staging.earlier_outs(),
        packages,
        quiet=True,
    )
    if is_large(found):
        raise InputError(
            f"the project's code is {len(found.files):,} files of {found.size / 1e6:,.0f} MB, which are not read for "
            "receipts: add what is no code to .gitignore"
        )
    printed = _printed_to()
    files = [
        (place, path)
        for place, path in found.files
        if not _is_config(path, configs) and not path.endswith(_LOGS) and not _is_one_of(path, printed)
    ]
    paths = tuple(path for _, path in files)
    seal = fingerprint_of(paths)
    taken = staging.hashed_files(files, NoProgress())
    rows = [(entry.relpath, entry.md5) for entry in taken.entries]
    return Surroundings(
        code=dump(rows)[0],
        packages=_packages(packages),
        places={os.path.realpath(path): place for place, path in found.files},
        installed=tuple(sorted(installation_folders())),
        files=tuple(sorted(rows)),
        paths=paths,
        seal=seal,
    )


def is_as_it_was(around: Surroundings) -> bool:
    """Whether no file of the code has changed since. No file is read."""
    return not around.paths or fingerprint_of(around.paths) == around.seal


def _is_config(path: str, configs: Sequence[str]) -> bool:
    if not path.endswith(_YAML):
        return False
    real = os.path.realpath(path)
    return any(real.startswith(os.path.join(folder, "")) for folder in configs)


def _printed_to() -> list[os.stat_result]:
    """The files that stdout and stderr are."""
    found = []
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # closed
            found.append(os.fstat(descriptor))
    return found


def _is_one_of(path: str, files: Sequence[os.stat_result]) -> bool:
    with contextlib.suppress(OSError):  # gone meanwhile
        here = os.stat(path)
        return any(os.path.samestat(here, file) for file in files)
    return False


def _packages(found: Installed) -> str:
    local = sorted((each.name, each.version) for each in found.local)
    return digest_of([list(sys.version_info[:2]), dict(found.pins), local])

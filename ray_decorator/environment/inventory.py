"""What the Python that runs this has, and what it lacks of the driver's packages and of this project's needs.

It runs in the cluster's own Python, which may have nothing but ray. So this module imports the standard
library alone, and its functions import `packaging`, which ray requires.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from ..core.values.bundles import Requirements

EVERY_JOB, HYDRA_JOBS, DECORATED = "every job", "Hydra jobs", "decorated functions"
_OWN_CREDENTIALS = "credentials: worker"
_OURS = {
    "cloudpickle": ("cloudpickle", EVERY_JOB),
    "obstore": ("obstore", EVERY_JOB),
    "omegaconf": ("omegaconf", EVERY_JOB),
    "hydra-core": ("hydra", HYDRA_JOBS),
    "pathspec": ("pathspec", DECORATED),
    "boto3": ("botocore", _OWN_CREDENTIALS),
}
"""What this project itself needs where jobs run: distribution -> the module that is imported, for what."""

_INFO = re.compile(r"([^~].*?)-([^-]+)(?:-py[\d.]+.*)?\.(?:dist|egg)-info")


def survey() -> dict[str, Any]:
    """What this node has, as plain data.

    ``python`` (major, minor, micro), ``executable``, ``platform`` as in Requirements, ``host``,
    ``distributions`` (normalised name -> version), ``uv`` (its path or None).
    """
    return {
        "python": tuple(sys.version_info[:3]),
        "executable": sys.executable,
        "platform": platform_name(),
        "host": platform.node(),
        "distributions": distributions(site_directories()),
        "uv": find_uv(),
    }


def lacking(requirements: Requirements) -> dict[str, str]:
    """The pins that this interpreter does not have in that version; ``@ URL`` pins by name alone."""
    here = distributions(site_directories())
    return {name: version for name, version in requirements.pins.items() if not _has(here, name, version)}


def absent(*, own_credentials: bool = True) -> dict[str, str]:
    """What this project itself needs where jobs run, and this interpreter cannot import -> what it is for.

    With ``own_credentials`` also what finds a node's own, for ``credentials: worker``.
    """
    left_out = () if own_credentials else (_OWN_CREDENTIALS,)
    wanted = {name: ours for name, ours in _OURS.items() if ours[1] not in left_out}
    return {name: purpose for name, (module, purpose) in wanted.items() if not _importable(module)}


def listed(missing: Mapping[str, str]) -> str:
    """What is `absent`, such as ``cloudpickle, obstore (for every job), hydra-core (for Hydra jobs)``."""
    names: dict[str, list[str]] = {}
    for name, purpose in missing.items():
        names.setdefault(purpose, []).append(name)
    return ", ".join(f"{', '.join(group)} (for {purpose})" for purpose, group in names.items())


def platform_name() -> str:
    """Such as ``linux-x86_64``."""
    return f"{sys.platform}-{platform.machine()}"


def site_directories() -> tuple[str, ...]:
    """Where this interpreter's packages are, in its order of search."""
    entries = (os.path.abspath(entry) for entry in sys.path if entry)
    named = (entry for entry in entries if os.path.basename(entry) in ("site-packages", "dist-packages"))
    return tuple(dict.fromkeys(entry for entry in named if os.path.isdir(entry)))


def distributions(directories: Iterable[str]) -> dict[str, str]:
    """Normalised name -> version, from the names of the metadata directories: no file is read."""
    from packaging.utils import canonicalize_name

    found: dict[str, str] = {}
    for directory in directories:
        for entry in os.listdir(directory):
            match = _INFO.fullmatch(entry)
            if match and (entry.endswith(".egg-info") or os.path.exists(f"{directory}/{entry}/METADATA")):
                found.setdefault(canonicalize_name(match[1]), match[2])
    return found


def find_uv() -> str | None:
    """uv on PATH, beside this Python, in its packages, or where uv's installers put it."""
    on_path = shutil.which("uv")
    if on_path:
        return on_path
    paths = [os.path.join(os.path.dirname(sys.executable), "uv")]
    with contextlib.suppress(Exception):  # a foreign package, of any version: it only makes a suggestion
        paths.append(os.fsdecode(importlib.import_module("uv").find_uv_bin()))
    paths += [os.path.expanduser(f"~/{directory}/uv") for directory in (".local/bin", ".cargo/bin")]
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def _importable(module: str) -> bool:
    # by the module, not by metadata: packages may also come from a PYTHONPATH or a runtime_env
    found = importlib.util.find_spec(module)
    return found is not None and found.origin is not None  # None: a mere directory of that name


def _has(here: Mapping[str, str], name: str, version: str) -> bool:
    return name in here and (version.startswith("@") or _are_equal(here[name], version))


def _are_equal(one: str, other: str) -> bool:
    """As PEP 440 compares them (``1.0`` and ``1.0.0``, ``1.0c1`` and ``1.0rc1``); as text where it cannot."""
    from packaging.version import InvalidVersion, Version

    try:
        return one == other or Version(one) == Version(other)
    except InvalidVersion:
        return False

"""A Python on this node that has the driver's packages; it runs in the cluster's own Python.

    <node root>/envs/<key>/             a virtual environment laid over the cluster's own
    <node root>/envs/<key>/complete     written last; touched at each use
    <node root>/envs/<key>.lock         held by who builds it
    <node root>/envs/<key>.failed       why the last build failed; believed for a minute

An environment holds only what the cluster's own lacks or has in another version. A ``.pth`` file adds the
cluster's site-packages after its own, so ray and all that is equal come from there, and nothing is ever
installed there. A cluster may have nothing but ray: this module imports the standard library alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import site
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ..core.errors import PackagesError
from ..core.values.bundles import Requirements
from .inventory import (
    EVERY_JOB,
    absent,
    distributions,
    find_uv,
    lacking,
    listed,
    platform_name,
    site_directories,
)
from .uv import Uv, UvError, requirements_text

_FAILURE_HOLDS = 60.0  # seconds: twenty jobs that start at once do not all wait for the same time-out
_UNUSED_AFTER = 30 * 86400.0  # seconds


def interpreter(requirements: Requirements | None, root: Path) -> str:
    """The path of a Python executable that has them, built below ``root`` where this one has not.

    None means "leave the packages as they are". Waits for another process that builds the same one.

    :raises PackagesError: another Python minor, no uv, or uv cannot install what is asked for; with None,
        this one lacks what every job needs.
    """
    if requirements is None:
        _check_ours()
        return sys.executable
    _check_python(requirements)
    needed = _needed(requirements)
    if not needed:
        return sys.executable
    environment = _environment(requirements, needed, root)
    if not environment.touch():
        with _locked(environment) as lock:
            if not environment.touch():
                _build(environment, requirements, lock)
    return str(environment.python)


def prebuilt_packages(requirements: Requirements, root: Path) -> int:
    """How many packages the environment has that `interpreter` would find below ``root``; 0: none."""
    needed = _needed(requirements)
    return len(needed) if _environment(requirements, needed, root).complete() else 0


def enter(python: str) -> None:
    """Let this process, which runs in the cluster's own Python, import first what that environment holds."""
    if python == sys.executable:
        return
    before = list(sys.path)
    for own in Path(python).parent.parent.glob("lib/python*/site-packages"):
        site.addsitedir(str(own))
    sys.path[:] = [*(entry for entry in sys.path if entry not in before), *before]


@dataclass(frozen=True, slots=True)
class _Environment:
    path: Path
    needed: Mapping[str, str]
    root: Path

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"

    @property
    def marker(self) -> Path:
        return self.path / "complete"

    def beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def complete(self) -> bool:
        # the cluster's own Python may have been removed since
        return os.path.exists(self.marker) and os.path.exists(self.python)

    def touch(self) -> bool:
        """Whether it is complete; if so, it counts as used now."""
        try:
            os.utime(self.marker)
        except OSError:
            return False
        return self.complete()


def _environment(requirements: Requirements, needed: Mapping[str, str], root: Path) -> _Environment:
    parts = [
        platform.python_version(),
        os.path.realpath(sys.executable),
        *site_directories(),
        *sorted(f"{name} {version}" for name, version in needed.items()),
    ]
    if requirements.platform != platform_name():
        parts += sorted(f"{name} {version} among all" for name, version in requirements.pins.items())
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    return _Environment(root / "envs" / key, needed, root)


def _check_ours() -> None:
    missing = absent()
    if EVERY_JOB in missing.values():
        raise PackagesError(
            f"The cluster's Python on {platform.node()} ({sys.executable}) lacks what this project itself "
            f"needs there: {listed(missing)}. With `packages: none` nothing is installed: run `pip install "
            f"{' '.join(missing)}` in the cluster's own environment, or set `packages: auto`."
        )


def _check_python(requirements: Requirements) -> None:
    here = tuple(sys.version_info[:2])
    if requirements.python != here:
        driver, node = (".".join(map(str, version)) for version in (requirements.python, here))
        raise PackagesError(
            f"The driver runs Python {driver}, the cluster's node {platform.node()} Python {node} "
            f"({sys.executable}). Functions and results can only travel between equal minor versions: start "
            f"the driver with Python {node}, or the cluster with Python {driver}."
        )


def _needed(requirements: Requirements) -> dict[str, str]:
    missing = lacking(requirements)
    if requirements.platform == platform_name():
        return missing
    # a dependency that only the driver's platform has cannot be had here; the roots bring this platform's
    wanted = {*requirements.roots, *distributions(site_directories())}
    return {name: version for name, version in missing.items() if name in wanted}


@contextlib.contextmanager
def _locked(environment: _Environment) -> Iterator[TextIO]:
    try:
        environment.path.parent.mkdir(parents=True, exist_ok=True)
        lock = open(environment.beside(".lock"), "w")  # noqa: SIM115 (closed below)
    except OSError as exc:
        raise _unwritable(environment, exc) from exc
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def _build(environment: _Environment, requirements: Requirements, lock: TextIO) -> None:
    uv = find_uv()
    if uv is None:
        raise PackagesError(
            f"The cluster's Python on {platform.node()} ({sys.executable}) lacks {_listed(environment)}, and "
            "there is no uv to install them with. Install uv on the nodes (`pip install uv` in the cluster's "
            "environment), or install the packages there, or leave the nodes as they are: `packages: none`."
        )
    failed = _Failure(environment.beside(".failed"), requirements)
    failed.raise_if_recent()
    count = len(environment.needed)
    _say(f"building an environment with {count} packages on {platform.node()} (uv, once per node)")
    started = time.monotonic()
    _clear_unused(environment.path.parent)
    try:
        _fill(environment, requirements, Uv(uv, requirements, environment.root, lock))
    except UvError as exc:
        message = _refusal(environment, str(exc))
        failed.remember(message)
        raise PackagesError(message) from None
    except OSError as exc:
        raise _unwritable(environment, exc) from exc
    finally:
        if not environment.marker.exists():
            shutil.rmtree(environment.path, ignore_errors=True)
    _say(f"built {environment.path} in {time.monotonic() - started:.1f} s")


def _fill(environment: _Environment, requirements: Requirements, uv: Uv) -> None:
    if environment.path.exists():  # left by a build that was killed
        shutil.rmtree(environment.path)
    uv("venv", "--python", sys.executable, str(environment.path))
    install = ["pip", "install", "--python", str(environment.python), "--requirements", "-"]
    if requirements.platform == platform_name():
        install.append("--no-deps")
    else:
        constraints = environment.path / "constraints.txt"
        constraints.write_text(
            requirements_text({n: v for n, v in requirements.pins.items() if not v.startswith("@")})
        )
        install += ["--constraints", str(constraints), "--prerelease", "allow"]
    # by a pipe: a URL among them may hold a password, which is never written to a file
    uv(*install, stdin=requirements_text(environment.needed))
    _lay_over(environment)
    temporary = environment.path / "complete.tmp"
    temporary.write_text("")
    os.replace(temporary, environment.marker)


def _lay_over(environment: _Environment) -> None:
    (own,) = environment.path.glob("lib/python*/site-packages")
    calls = "; ".join(f"site.addsitedir({directory!r})" for directory in site_directories())
    # .pth files are read in the order of their names: the packages' own paths come before the cluster's
    (own / "zzz_ray_s3_base.pth").write_text(f"import site; {calls}\n")


class _Failure:
    """A failed build, remembered for those who would ask for the same from the same indexes."""

    def __init__(self, path: Path, requirements: Requirements) -> None:
        self._path = path
        # short on purpose: too little of a hash to find a password by
        asked = repr(sorted(requirements.indexes.items())).encode()
        self._indexes = hashlib.sha256(b"indexes" + asked).hexdigest()[:6]

    def raise_if_recent(self) -> None:
        try:
            age = time.time() - self._path.stat().st_mtime
            indexes, _, message = self._path.read_text().partition("\n")
        except OSError:
            return
        if 0 <= age < _FAILURE_HOLDS and indexes == self._indexes:
            raise PackagesError(
                f"{message}\n(That was {age:.0f} s ago; uv is asked again {_FAILURE_HOLDS:.0f} s after it.)"
            )

    def remember(self, message: str) -> None:
        with contextlib.suppress(OSError):  # then the next one finds out by itself
            self._path.write_text(f"{self._indexes}\n{message}")


def _refusal(environment: _Environment, said: str) -> str:
    return (
        f"uv on {platform.node()} cannot install what the cluster's Python ({sys.executable}) lacks of the "
        f"driver's packages: {_listed(environment)}. It says:\n{said}\n"
        "Packages come from the indexes that the driver knows: UV_INDEX, uv.toml, [[tool.uv.index]] in "
        "pyproject.toml, uv.lock or pip's configuration. Name the one that has them there, and see that the "
        "nodes can reach it; or install them on the nodes; or leave the nodes as they are: `packages: none`."
    )


def _unwritable(environment: _Environment, error: OSError) -> PackagesError:
    return PackagesError(
        f"{platform.node()} cannot keep an environment with the driver's packages in {environment.path}: "
        f"{error}. Fix that, or set RAY_S3_NODE_DIR on the nodes to a directory with room."
    )


def _listed(environment: _Environment) -> str:
    # a URL may hold a password
    shown = [
        f"{name} @ a URL" if version.startswith("@") else f"{name}=={version}"
        for name, version in sorted(environment.needed.items())[:5]
    ]
    more = ", …" if len(environment.needed) > len(shown) else ""
    return f"{len(environment.needed)} package(s) ({', '.join(shown)}{more})"


def _clear_unused(envs: Path) -> None:
    for path in envs.iterdir():
        with contextlib.suppress(OSError):  # gone while we looked, or somebody builds it
            if path.is_dir() and time.time() - _last_used(path) > _UNUSED_AFTER:
                with open(path.with_name(path.name + ".lock"), "w") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)


def _last_used(path: Path) -> float:
    marker = path / "complete"
    return (marker if marker.exists() else path).stat().st_mtime


def _say(line: str) -> None:
    print(f"ray-s3: {line}", file=sys.stderr, flush=True)

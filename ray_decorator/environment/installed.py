"""What the driver has installed, and where it came from: what a node must be given to be like it.

Distributions from an index travel as pins, and a node installs them itself; those that only this machine has
(editable, local directories and archives, checkouts of a VCS) travel as files, with the user's code.
"""

from __future__ import annotations

import ast
import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from packaging.utils import canonicalize_name

from ..core.values.bundles import Requirements
from . import graph, indexes
from .inventory import platform_name, site_directories

_log = logging.getLogger(__name__)

_NEVER = frozenset({"pip", "ray-decorator", "uv", "wheel"})
# conda's own machinery, which no index has in the versions that conda installs
_CONDA = re.compile(r"(ana)?conda(-.*)?|lib(conda|mamba).*|mamba.*|menuinst|navigator-updater")
_CONDA_BUILT = re.compile(r"/feedstock_root/|/croot/|/conda-bld/")
_UNSENT_METADATA = frozenset({"RECORD", "direct_url.json", "uv_build.json", "uv_cache.json"})


@dataclass(frozen=True, slots=True)
class Local:
    """A distribution that no index has.

    ``files`` are (path below site-packages, absolute path): all of a distribution that was copied there, the
    metadata alone of an editable one. ``source`` is an editable one's project directory, ``packages`` its
    import names that no path leads to (dotted below a namespace) and their directory or ``.py`` file.
    """

    name: str
    version: str
    editable: bool
    source: Path | None
    files: tuple[tuple[str, Path], ...]
    packages: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Installed:
    """Every distribution of this interpreter, but for this project and the installers.

    ``pins`` are those from an index: normalised name (PEP 503) -> version, or ``@ URL`` for an archive that
    was installed from a URL; ``roots`` are those that no other pin requires. ``local`` are the others. What each of
    them all ``requires``, and which ``extras`` it has, is as its metadata says; this project's own is among these.
    """

    pins: Mapping[str, str]
    local: tuple[Local, ...]
    roots: tuple[str, ...] = ()
    requires: graph.Requires = field(default_factory=dict)
    extras: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def installed_distributions() -> Installed:
    """What this interpreter has installed; where sys.path has a name twice, the first."""
    return _installed(_found())


def requirements(project: Path | None, found: Installed | None = None) -> Requirements:
    """What a node must have for jobs to find the driver's packages there.

    ``project`` is the directory of the user's pyproject.toml or uv.lock, which may name indexes; ``found`` is
    what is installed, where the caller knows.
    """
    found = found or installed_distributions()
    return Requirements(
        python=(sys.version_info[0], sys.version_info[1]),
        platform=platform_name(),
        pins=found.pins,
        roots=found.roots,
        indexes=indexes.variables(project, found.pins),
    )


@dataclass(frozen=True, slots=True)
class _Distribution:
    """One as it is on the disk: ``info`` is its metadata, in ``directory``, an entry of sys.path."""

    name: str
    version: str
    requires: tuple[str, ...]
    info: Path
    directory: Path
    extras: tuple[str, ...] = ()

    def text(self, name: str) -> str | None:
        try:
            return (self.info / name).read_text(encoding="utf-8")
        except OSError:
            return None

    @property
    def is_source(self) -> bool:
        """A source tree that is itself an entry of sys.path, with metadata left by setuptools."""
        return self.info.suffix == ".egg-info" and str(self.directory) not in site_directories()

    @property
    def is_editable(self) -> bool:
        return self.is_source or bool(self.origin.get("dir_info", {}).get("editable"))

    @property
    def origin(self) -> dict[str, Any]:
        """Its direct_url.json (PEP 610); empty for what an index gave."""
        text = self.text("direct_url.json")
        return dict(json.loads(text)) if text else {}


def _found() -> dict[str, _Distribution]:
    sites = site_directories()
    found: dict[str, _Distribution] = {}
    for directory in dict.fromkeys(Path(entry or ".").absolute() for entry in sys.path):
        # a directory inside of a package is that package's own matter: ray carries a psutil along
        if str(directory) in sites or not any(directory.is_relative_to(site) for site in sites):
            for each in _in_directory(directory):
                first = found.setdefault(each.name, each)
                if first.is_source and not each.is_source and each.is_editable:
                    found[each.name] = each  # the same project, and its installation knows more
    return found


def _in_directory(directory: Path) -> Iterator[_Distribution]:
    try:
        entries = sorted(os.listdir(directory))
    except OSError:  # a zip archive, or nothing
        return
    for entry in entries:
        if entry.endswith((".dist-info", ".egg-info")) and not entry.startswith("~"):
            headers = _headers(directory / entry)
            name, version = (headers.get(key, [""])[0] for key in ("name", "version"))
            if name and version:
                requires, extras = (
                    tuple(headers.get(key, ())) for key in ("requires-dist", "provides-extra")
                )
                yield _Distribution(
                    canonicalize_name(name), version, requires, directory / entry, directory, extras
                )


def _headers(info: Path) -> dict[str, list[str]]:
    """The core metadata's header lines, in a tenth of the time that email.parser takes."""
    file = info if info.is_file() else info / ("METADATA" if info.suffix == ".dist-info" else "PKG-INFO")
    headers: dict[str, list[str]] = {}
    try:
        with open(file, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if not line.strip():
                    break
                key, colon, value = line.partition(":")
                if colon and not key[:1].isspace():
                    headers.setdefault(key.lower(), []).append(value.strip())
    except OSError:
        return {}
    return headers


def _installed(found: Mapping[str, _Distribution]) -> Installed:
    pins, local = {}, []
    for name, each in sorted(found.items()):
        if name in _NEVER:
            continue
        pin = _pin(each)
        if pin is None:
            local.append(_local(each))
        else:
            pins[name] = pin
    for name in _unasked_for(found):
        pins.pop(name, None)
    requires = {name: each.requires for name, each in found.items()}
    roots = graph.roots({name: requires[name] for name in pins})
    return Installed(pins, tuple(local), roots, requires, {name: each.extras for name, each in found.items()})


def _pin(each: _Distribution) -> str | None:
    """Its version, or its URL; None where it is of this machine alone."""
    if each.is_source:
        return None
    origin = each.origin
    if not origin:
        return each.version
    url = str(origin.get("url", ""))
    if "archive_info" in origin and url.startswith(("https://", "http://")):
        below = origin.get("subdirectory")
        return f"@ {url}#subdirectory={quote(below)}" if below else f"@ {url}"
    # conda records where it built a package, on a machine of its own
    from_conda = _CONDA_BUILT.search(url) or (each.text("INSTALLER") or "").strip() == "conda"
    return each.version if from_conda and not _path_of(url).exists() else None


def _unasked_for(found: Mapping[str, _Distribution]) -> set[str]:
    """What the operating system or conda has for itself, and no index may have: not what others here need."""
    own = {name for name, each in found.items() if _CONDA.fullmatch(name) or _is_system(each)}
    needed, todo = set(found) - own, list(set(found) - own)
    while todo:
        for name in graph.names(found[todo.pop()].requires):
            if name in own and name not in needed:
                needed.add(name)
                todo.append(name)
    return own - needed


def _is_system(each: _Distribution) -> bool:
    if not each.directory.is_relative_to("/usr/lib") and not each.directory.is_relative_to("/usr/lib64"):
        return False
    return each.directory.name == "dist-packages" or (each.text("INSTALLER") or "").strip() == "rpm"


def _local(each: _Distribution) -> Local:
    if not each.is_editable:
        return Local(each.name, each.version, False, None, tuple(_copied_files(each)))
    source = each.directory if each.is_source else _path_of(str(each.origin["url"]))
    return Local(each.name, each.version, True, source, tuple(_metadata_files(each)), _finder_packages(each))


def _copied_files(each: _Distribution) -> Iterator[tuple[str, Path]]:
    """Its files in site-packages; scripts are elsewhere, bytecode is made anew."""
    for file in metadata.PathDistribution(each.info).files or ():
        path = each.directory / file
        outside = file.parts[0] == ".." or file.is_absolute()
        if not outside and "__pycache__" not in file.parts and file.suffix != ".pyc" and path.is_file():
            yield file.as_posix(), path


def _metadata_files(each: _Distribution) -> Iterator[tuple[str, Path]]:
    if each.info.is_file():
        yield each.info.name, each.info
    for path in sorted(each.info.rglob("*")):
        if path.is_file() and path.name not in _UNSENT_METADATA:
            yield path.relative_to(each.directory).as_posix(), path


def _finder_packages(each: _Distribution) -> dict[str, Path]:
    """What setuptools' finder module of an editable installation maps; it is read, never run."""
    record = each.text("RECORD") or ""
    finder = re.search(r"^(__editable___\w+_finder\.py),", record, re.MULTILINE)
    if finder is None:
        return {}
    try:
        tree = ast.parse((each.directory / finder[1]).read_text(encoding="utf-8"))
    except (OSError, SyntaxError) as exc:
        _log.warning("Cannot read %s, so jobs may not find what %s installs: %s", finder[1], each.name, exc)
        return {}
    return {name: _module_path(path) for name, path in _literal(tree, "MAPPING").items()}


def _literal(tree: ast.Module, name: str) -> dict[str, str]:
    for statement in tree.body:
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
            continue
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return dict(ast.literal_eval(statement.value))
    return {}


def _module_path(path: str) -> Path:
    module = Path(f"{path}.py")
    return module if module.is_file() and not Path(path).is_dir() else Path(path)


def _path_of(url: str) -> Path:
    return Path(url2pathname(urlsplit(url).path))

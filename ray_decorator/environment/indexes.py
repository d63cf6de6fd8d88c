"""Where the driver's packages come from, as settings for uv on the nodes.

Read from the settings of uv, of pip and of the project. Indexes on this machine's own disk are left out.
"""

from __future__ import annotations

import configparser
import logging
import netrc
import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from ..core.machine.directories import config_home

_log = logging.getLogger(__name__)

_UVS_OWN = re.compile(r"https://pypi\.\w+/simple/?")  # what uv asks unless told
_TORCH_BUILD = re.compile(r"cpu|cu\d+|rocm[\d.]+|xpu")


def variables(project: Path | None, pins: Mapping[str, str]) -> dict[str, str]:
    """uv's environment variables (UV_INDEX, …) for a node; they may hold passwords.

    ``project`` is the directory of the user's pyproject.toml or uv.lock; ``pins`` are what will be asked for.
    The first to name a default index wins: uv's variables, else pip's settings; then the project, then the
    user's uv.toml. Further indexes add up.
    """
    return _Indexes(project).variables(pins)


class _Indexes:
    def __init__(self, project: Path | None) -> None:
        self._default = ""
        self._further: list[str] = []
        self._links: list[str] = []
        self._insecure: list[str] = []
        self._from_environment(
            os.environ, "UV_DEFAULT_INDEX UV_INDEX_URL", "UV_INDEX UV_EXTRA_INDEX_URL", "UV_"
        )
        if not (self._default or self._further or self._links):
            pip = _pip_settings()
            self._from_environment(pip, "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_")
        for table in _uv_tables(project):
            self._from_table(table)
        for url in _locked_registries(project):
            self._add(url)

    def variables(self, pins: Mapping[str, str]) -> dict[str, str]:
        variables = {
            "UV_DEFAULT_INDEX": _with_netrc(self._default),
            "UV_INDEX": " ".join(map(_with_netrc, self._further)),
            "UV_FIND_LINKS": ",".join(map(_with_netrc, self._links)),
            "UV_INSECURE_HOST": " ".join(self._insecure),
        }
        if self._further:
            # pip's own rule; safe with exact pins of what runs here already, wherever each was found
            variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"
        elif not self._links:
            variables["UV_TORCH_BACKEND"] = _torch_build(pins)
        return {name: value for name, value in (variables | self._passwords()).items() if value}

    def _from_environment(self, environ: Mapping[str, str], default: str, further: str, prefix: str) -> None:
        for name in default.split():
            self._set_default(environ.get(name, ""))
        for name in further.split():
            for index in environ.get(name, "").split():
                self._add(index)
        for link in re.split(r"[\s,]+", environ.get(f"{prefix}FIND_LINKS", "")):
            self._add_link(link)
        self._insecure += environ.get(
            f"{prefix}INSECURE_HOST", environ.get(f"{prefix}TRUSTED_HOST", "")
        ).split()

    def _from_table(self, table: Mapping[str, Any]) -> None:
        for index in table.get("index", ()):
            named = f"{index['name']}={index['url']}" if index.get("name") else str(index.get("url", ""))
            if index.get("default"):
                self._set_default(named)
            elif index.get("format") == "flat":
                self._add_link(str(index.get("url", "")))
            else:
                self._add(named)
        self._set_default(str(table.get("index-url", "")))
        for index in table.get("extra-index-url", ()):
            self._add(str(index))
        for link in table.get("find-links", ()):
            self._add_link(str(link))
        self._insecure += map(str, table.get("allow-insecure-host", ()))

    def _set_default(self, index: str) -> None:
        if not self._default and _is_remote(index):
            self._default = index

    def _add(self, index: str) -> None:
        known = {_plain(one) for one in (self._default, *self._further)}
        if _is_remote(index) and not _UVS_OWN.fullmatch(_plain(index)) and _plain(index) not in known:
            self._further.append(index)

    def _add_link(self, link: str) -> None:
        if _is_remote(link) and link not in self._links:
            self._links.append(link)

    def _passwords(self) -> dict[str, str]:
        """UV_INDEX_<NAME>_USERNAME and _PASSWORD of the named ones."""
        names = {_split(index)[0] for index in (self._default, *self._further)} - {""}
        keys = [f"UV_INDEX_{re.sub('[^A-Z0-9]', '_', name.upper())}" for name in names]
        wanted = [f"{key}_{part}" for key in keys for part in ("USERNAME", "PASSWORD")]
        return {name: os.environ[name] for name in wanted if name in os.environ}


def _split(index: str) -> tuple[str, str]:
    """An index's name ("" for none) and its URL, from ``name=url`` or ``url``."""
    match = re.match(r"([\w.-]+)=(.*)", index)
    return (match[1], match[2]) if match else ("", index)


def _plain(index: str) -> str:
    """Its URL without what may be written in two ways: user, password, a slash at the end."""
    parts = urlsplit(_split(index)[1])
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def _is_remote(index: str) -> bool:
    remote = urlsplit(_split(index)[1]).scheme in ("http", "https")
    if index and not remote:
        _log.debug("Not sent to the nodes, since it is on this machine: %s", _split(index)[1])
    return remote


def _with_netrc(index: str) -> str:
    """With the user and password that ~/.netrc has for its host: the nodes have no such file."""
    name, url = _split(index)
    parts = urlsplit(url)
    if not parts.hostname or "@" in parts.netloc:
        return index
    try:
        entry = netrc.netrc(os.environ.get("NETRC")).hosts.get(parts.hostname)
    except (OSError, netrc.NetrcParseError):
        return index
    if entry is None or not entry[2]:
        return index
    user = f"{quote(entry[0], safe='')}:{quote(entry[2], safe='')}"
    url = parts._replace(netloc=f"{user}@{parts.netloc}").geturl()
    return f"{name}={url}" if name else url


def _torch_build(pins: Mapping[str, str]) -> str:
    """PyTorch's build (``cpu``, ``cu128``): the index that has it is given by hand, and uv knows it."""
    local = pins.get("torch", "").partition("+")[2]
    return local if _TORCH_BUILD.fullmatch(local) else ""


def _pip_settings() -> dict[str, str]:
    """pip's variables, and its configuration files written as such; the later file wins over the earlier."""
    settings: dict[str, str] = {}
    for file in _pip_files():
        parser = configparser.RawConfigParser()
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as exc:
            _log.warning("Left out: %s is no pip configuration: %s", file, type(exc).__name__)
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                settings |= {f"PIP_{k.upper().replace('-', '_')}": v for k, v in parser.items(section)}
    return settings | {name: value for name, value in os.environ.items() if name.startswith("PIP_")}


def _pip_files() -> list[Path]:
    named = os.environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:  # pip's way to switch them all off
        return []
    shared = os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    directories = [Path(each) / "pip" for each in reversed(shared.split(":"))] + [Path("/etc")]
    home = Path(os.path.expanduser("~"))
    directories += [home / ".pip", config_home() / "pip"]
    if sys.platform == "darwin":
        directories.insert(0, Path("/Library/Application Support/pip"))
        directories.append(home / "Library/Application Support/pip")
    files = [directory / "pip.conf" for directory in (*directories, Path(sys.prefix))]
    return files + ([Path(named)] if named else [])


def _uv_tables(project: Path | None) -> Iterator[Mapping[str, Any]]:
    """uv's settings of the project, of the workspace that it belongs to, and of the user."""
    for directory in dict.fromkeys(each for each in (project, _locked_root(project)) if each):
        own = _toml(directory / "uv.toml")
        # uv reads no [tool.uv] beside a uv.toml
        yield own or _toml(directory / "pyproject.toml").get("tool", {}).get("uv", {})
    yield _toml(config_home() / "uv" / "uv.toml")


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        _log.warning("Left out: %s cannot be read: %s", path, exc)
        return {}


def _locked_root(project: Path | None) -> Path | None:
    """The directory of the uv.lock that is in force: the project's, or that of the workspace above it."""
    if project is None:
        return None
    project = project.absolute()
    return next((each for each in (project, *project.parents) if (each / "uv.lock").is_file()), None)


def _locked_registries(project: Path | None) -> list[str]:
    root = _locked_root(project)
    if root is None:
        return []
    # uv writes this file, always in the same way; a TOML parser needs half a second for a large one
    text = (root / "uv.lock").read_text(encoding="utf-8", errors="replace")
    return list(dict.fromkeys(re.findall(r'source = \{ registry = "([^"]+)"', text)))

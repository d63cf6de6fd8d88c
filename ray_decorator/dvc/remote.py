"""``s3_base_path: dvc``, or ``dvc://name``: the store is a remote of the DVC repository in which the app is.

    s3://bucket/prefix     each key of DVC's schema is followed, or refused by name: none is passed over
    /directory, ../dir     the same as file:///directory; keys that DVC refuses there are refused
    remote://other/path    the other's settings, under its own
    anything else          refused: an error names what can be used instead

(dvc: ``config_schema.py``, ``fs/__init__.py``; dvc-s3: ``_prepare_credentials``.)
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from ..core.errors import InputError, without_passwords
from ..core.options.s3_account import S3Account
from ..core.options.settings import Settings
from ..core.s3_requests import S3Requests
from ..core.values.stores import Credentials, DvcDirectory
from . import config
from .repository import root_of

_PREFIX = "dvc://"
_REFUSED = {
    "sse_customer_key": "objects that are encrypted with a key of your own",
    "sse_customer_algorithm": "objects that are encrypted with a key of your own",
    "acl": "access control lists",
    "grant_read": "access control lists",
    "grant_read_acp": "access control lists",
    "grant_write_acp": "access control lists",
    "grant_full_control": "access control lists",
    "cache_regions": "that key (nor does DVC's own schema take a value for it)",
}
_TEXTS = {
    "url", "region", "profile", "credentialpath", "configpath", "endpointurl", "access_key_id", "secret_access_key",
    "session_token", "sse", "sse_kms_key_id",
}  # fmt: skip
_FLAGS = {
    "use_ssl",
    "allow_anonymous_login",
    "verify",
    "version_aware",
    "worktree",
    "no_traverse",
    "listobjects",
}
_FLAGS_OF_DIRECTORIES = {"protected", "slow_link_warning"}
_NUMBERS = {"read_timeout", "connect_timeout", "jobs", "checksum_jobs"}
_LINKS = ("reflink", "hardlink", "symlink", "copy")
_COMMON = {"url", "jobs", "checksum_jobs", "worktree", "no_traverse", "version_aware", "verify"}
_OF_DIRECTORIES = _COMMON | _FLAGS_OF_DIRECTORIES | {"type", "shared"}
_OF_S3 = _COMMON | _TEXTS | _FLAGS | _NUMBERS | {"ssl_verify", *_REFUSED}


@dataclass(frozen=True, slots=True)
class Remote:
    """A remote as a store: its URL (``s3://…``, ``file:///…``), and who we are on S3, or how a directory is kept."""

    name: str
    url: str
    account: S3Account | DvcDirectory | None = None


def is_remote(store_url: str) -> bool:
    """Whether an ``s3_base_path`` names a DVC remote."""
    return store_url == "dvc" or store_url.startswith(_PREFIX)


def with_remote(settings: Settings, *places: Path) -> Settings:
    """The settings, with the remote in the store's place where they name one.

    ``places`` are where the app is: the first of them that is in a DVC repository says which. Raises InputError
    where there is no such remote, or it cannot be a store.
    """
    if not is_remote(settings.store_url):
        return settings
    root = next((root for place in places if (root := root_of(place))), None)
    if root is None:
        raise InputError(
            f"s3_base_path is {settings.store_url!r}, but {os.getcwd()} is in no DVC repository. Start the app in "
            "one (`dvc init` makes one), or set s3_base_path to s3://bucket/prefix"
        )
    remote = find(root, settings.store_url.removeprefix("dvc").removeprefix("://"))
    return replace(settings, store_url=remote.url, store_name=settings.store_url, account=remote.account)


def find(root: str, name: str = "") -> Remote:
    """The remote of this name in the repository ``root``, else its default one. Raises InputError."""
    configured = config.load(root)
    remotes: dict[str, config.Section] = configured["remote"]
    name = (name or str(configured["core"].get("remote", ""))).lower()
    if not name:
        raise InputError(
            f"s3_base_path is 'dvc', but the DVC repository {root} has no default remote. {_others(remotes)}Choose "
            "one with `dvc remote default NAME`, or write dvc://NAME"
        )
    section = _resolved(remotes, name, root, ())
    url = str(section["url"])
    scheme, host = urlsplit(url).scheme, urlsplit(url).netloc
    if not (scheme and host):
        _Keys(name, section, _OF_DIRECTORIES, "a directory").check()
        return Remote(name, Path(url.removeprefix("file://")).as_uri(), DvcDirectory("shared" in section))
    if scheme != "s3":
        raise InputError(
            f"the DVC remote {name!r} is {without_passwords(url)}: jobs can use remotes on S3 and in a directory. "
            f"{_others(remotes, 's3')}Name one as dvc://NAME, or set s3_base_path to s3://bucket/prefix: the data "
            f"goes there once more, and DVC's remote stays as it is"
        )
    return Remote(name, _on_s3(name, url), _Keys(name, section, _OF_S3, "S3").account())


def has_old_layout(folders: Collection[str]) -> bool:
    """Whether a store with these topmost folders holds objects where DVC 2 kept them: ``ab/cdef…``."""
    return any(re.fullmatch("[0-9a-f]{2}", folder) for folder in folders)


def _resolved(
    remotes: Mapping[str, config.Section], name: str, root: str, seen: tuple[str, ...]
) -> config.Section:
    if name not in remotes or name in seen:
        raise InputError(
            f"the DVC repository {root} has no remote {name!r}{' of its own' if name in seen else ''}. "
            f"{_others(remotes)}See `dvc remote list`"
        )
    section = remotes[name]
    if not isinstance(section.get("url"), str):
        raise InputError(f"the DVC remote {name!r} has no url: set it with `dvc remote modify {name} url …`")
    parts = urlsplit(section["url"])
    if parts.scheme != "remote":
        return section
    base = _resolved(remotes, parts.netloc.lower(), root, (*seen, name))
    return {**base, **section, "url": "/".join((base["url"], parts.path.lstrip("/")))}


def _on_s3(name: str, url: str) -> str:
    """The URL of what dvc-s3 makes of the remote's (fsspec: ``infer_storage_options``)."""
    parts = urlsplit(url)
    key = f"{parts.path}#{parts.fragment}" if parts.fragment else parts.path
    if "//" in key:
        raise InputError(
            f"the DVC remote {name!r} is {without_passwords(url)}: DVC keeps // in the keys of its objects, and jobs "
            "cannot use such keys. Write its url, or that of the remote that it builds on, with single / and none at "
            f"its end (`dvc remote modify {name} url …`), and `dvc push` again"
        )
    return f"s3://{parts.netloc.rpartition('@')[2].partition(':')[0]}{key}"


def _others(remotes: Mapping[str, config.Section], scheme: str = "") -> str:
    named = sorted(name for name, section in remotes.items() if str(section.get("url")).startswith(scheme))
    return f"There are: {', '.join(named)}. " if named else ""


class _Keys:
    """The keys of a remote, each asked for by its kind; what is wrong with them is told at once."""

    def __init__(self, name: str, section: config.Section, known: Collection[str], kind: str) -> None:
        self._name, self._section, self._known, self._kind = name, section, known, kind

    def check(self) -> None:
        """Raises InputError naming every key that is unknown, refused, or has a value that DVC would not take."""
        if problems := [self._problem(key) for key in sorted(self._section) if self._is_wrong(key)]:
            raise InputError(tuple(problems))

    def account(self) -> S3Account:
        """For S3. Raises as `check` does."""
        self.check()
        verify = self._verify()
        return S3Account(
            source=f"the DVC remote {self._name!r}",
            endpoint=self._text("endpointurl"),
            region=self._text("region"),
            profile=self._text("profile"),
            config_file=self._text("configpath"),
            credentials_file=self._text("credentialpath"),
            credentials=self._credentials(),
            anonymous=self._flag("allow_anonymous_login"),
            use_ssl=self._flag("use_ssl", True),
            ca_bundle=verify if isinstance(verify, str) else None,
            requests=S3Requests(
                verify=verify is not False,
                encryption=self._text("sse") or ("aws:kms" if self._text("sse_kms_key_id") else None),
                kms_key=self._text("sse_kms_key_id"),
                connect_timeout=self._number("connect_timeout"),
                read_timeout=self._number("read_timeout"),
                threads=self._number("jobs"),
            ),
        )

    def _is_wrong(self, key: str) -> bool:
        value = self._section[key]
        if key not in self._known:
            return True
        if key in _FLAGS | _FLAGS_OF_DIRECTORIES:
            on = str(value).lower()
            return on not in ("true", "false") or (on == "true" and key in ("version_aware", "worktree"))
        if key in _NUMBERS:
            return not (isinstance(value, str) and value.strip().isdigit() and int(value) > 0)
        if key == "type":
            kinds = value.split(",") if isinstance(value, str) else value
            return not {str(kind).strip() for kind in kinds} <= set(_LINKS)
        if key == "shared":
            return str(value).lower() != "group"
        return key in _REFUSED or not isinstance(value, str)

    def _problem(self, key: str) -> str:
        of = f"the DVC remote {self._name!r} has {key}"
        if key not in self._known:
            return (
                f"{of}, which DVC does not know for {self._kind}: remove it with `dvc remote modify --unset`"
            )
        if key in ("version_aware", "worktree") and str(self._section[key]).lower() == "true":
            return (
                f"{of} = true: its objects are not named by their content, and jobs need a store where they are. "
                f"Name another remote as dvc://NAME (`dvc remote add NAME s3://bucket/prefix`), or set s3_base_path"
            )
        if key in _REFUSED:
            return f"{of}: jobs cannot do with {_REFUSED[key]}. Name a remote without it as dvc://NAME"
        if key in _FLAGS | _FLAGS_OF_DIRECTORIES:
            return f"{of}, which is neither true nor false: see `dvc remote modify`"
        if key in _NUMBERS:
            return f"{of}, which is not a whole number above 0: see `dvc remote modify`"
        if key == "type":
            return f"{of}, which is none of {', '.join(_LINKS)}: see `dvc remote modify`"
        if key == "shared":
            return f"{of}, which is not 'group': see `dvc remote modify`"
        return f"{of}, which is not a single text: put it into quotes if it holds a comma"

    def _text(self, key: str) -> str | None:
        value = self._section.get(key)
        return str(value) if value else None

    def _flag(self, key: str, default: bool = False) -> bool:
        return str(self._section.get(key, default)).lower() == "true"

    def _number(self, key: str) -> int | None:
        return int(self._section[key]) if key in self._section else None

    def _verify(self) -> bool | str:
        value = str(self._section.get("ssl_verify", "true"))
        return value.lower() == "true" if value.lower() in ("true", "false") else value

    def _credentials(self) -> Credentials | None:
        key, secret = self._text("access_key_id"), self._text("secret_access_key")
        if (key is None) != (secret is None):
            raise InputError(
                f"the DVC remote {self._name!r} has one of access_key_id and secret_access_key: set both "
                "with `dvc remote modify --local`, or neither"
            )
        return Credentials(key, secret, self._text("session_token")) if key and secret else None

"""Who we are to a store: what boto3 makes of the user's AWS settings, and how that is kept fresh.

    driver:                      identify(url) -> Identity -> .location travels with each job
    worker, credentials=worker:  own(location) -> the node's own credentials

botocore renews what can be renewed: SSO sessions, assumed roles, credential processes, instance roles. Here
stands when it is asked to, and what the user reads where it fails. Secrets are in no repr, message or log.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ..core.errors import InputError, StoreDeniedError
from ..core.options.s3_account import S3Account
from ..core.stores import Credentials, Location
from .patience import patience
from .renewal import clock, renewal_time
from .s3_clients import settings_of

if TYPE_CHECKING:
    import botocore.session

log = logging.getLogger(__name__)

_KINDS = ("driver", "worker")
_PAUSE = 5.0  # seconds between two attempts to renew credentials that are still good


def identify(url: str, *, credentials: str = "driver", account: S3Account | None = None) -> Identity:
    """Resolve ``s3_base_path``: ``s3://bucket[/prefix]`` or ``file:///directory``. For the driver.

    For S3, what boto3 would use: profile, shared config files, environment, endpoint, region, CA bundle; what
    ``account`` says of these comes first.
    ``credentials`` says whose travel with a job: the ``driver``'s, or none, since each ``worker`` finds its
    node's own. Raises InputError for a URL, a profile or a value that is not usable, StoreDeniedError where
    there are no credentials.
    """
    if credentials not in _KINDS:
        raise InputError(
            f"credentials is {credentials!r}: expected 'driver' (the driver's go with each job) or 'worker' "
            "(each node has its own)"
        )
    parts = urlsplit(url)
    if parts.scheme == "s3" and parts.netloc:
        clean = f"s3://{parts.netloc}{_clean(url.partition(parts.netloc)[2])}"
        return _identify_s3(clean, credentials, account or S3Account("~/.aws and the environment"))
    if url.startswith("file:///") and url.strip("/") != "file:":
        return Identity(Location("file://" + os.path.normpath(unquote(url.removeprefix("file://")))))
    raise InputError(
        f"s3_base_path is {url!r}, which is no store: expected s3://bucket, s3://bucket/prefix, "
        "file:///absolute/directory, or a DVC remote: dvc or dvc://name"
    )


def locate(url: str) -> Location:
    """Where the store is, with the driver's credentials of this moment. Raises as `identify` does."""
    return identify(url).here


def aws_settings() -> str:
    """A mark of this process's AWS settings: two processes of one machine that have the same act as the same.

    It is made of the environment's variables, no secrets among them, that say who boto3 is and where it looks.
    """
    told = [item for item in os.environ.items() if item[0].startswith("AWS_") or item[0] == "HOME"]
    told = [(name, value) for name, value in told if "SECRET" not in name and "TOKEN" not in name]
    return hashlib.sha256(repr(sorted(told)).encode()).hexdigest()


def own(location: Location) -> Callable[[], Credentials]:
    """What gives this node's own credentials, renewed when they are due. For a worker.

    They are found as boto3 finds them: environment, ``~/.aws``, container or instance role. Raises
    StoreDeniedError where there are none.
    """
    problem = f"credentials: worker is set, and node {socket.gethostname()}"
    settings = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    with _own_lock:
        if settings not in _own:
            _own[settings] = _find_own(location, problem)
        return _own[settings].fresh


class Identity:
    """Who the driver is to a store, for as long as it runs. Safe to use from several threads."""

    def __init__(self, place: Location, keys: _Keys | None = None, *, travels: bool = True) -> None:
        self._place, self._keys, self._travels = place, keys, travels
        self.provider: str | None = keys.provider if keys else None
        """How boto3 found the credentials: env, shared-credentials-file, sso, assume-role, custom-process…"""

    def __repr__(self) -> str:
        return f"Identity({self._place.url!r}, provider={self.provider!r})"

    @property
    def here(self) -> Location:
        """The store for this process, with the credentials of this moment."""
        return dataclasses.replace(self._place, credentials=self.fresh())

    @property
    def location(self) -> Location:
        """The store as it travels to workers, with the credentials of this moment where those travel."""
        if self._keys and not self._travels:
            return dataclasses.replace(self._place, own_credentials=True)
        return self.here

    def fresh(self) -> Credentials | None:
        """The newest credentials; None where the store needs none.

        Renews them when they are due. Raises StoreDeniedError when they have ended and cannot be renewed.
        """
        return self._keys.fresh() if self._keys else None


class _Keys:
    """botocore's credentials, which it is asked for again only when those at hand are due."""

    def __init__(self, found: Any, problem: str) -> None:
        self._found, self._problem = found, problem
        self.provider = str(found.method)
        self._lock = threading.Lock()
        self._warned = False
        self._take()

    def fresh(self) -> Credentials:
        with self._lock:
            if self._due is not None and time.time() >= self._due:
                self._renew()
            return self._held

    def _take(self) -> None:
        self._held = _frozen(self._found, self._problem)
        expires = self._held.expires
        self._due = None if expires is None else renewal_time(expires, time.time())

    def _renew(self) -> None:
        try:
            self._take()
            self._warned = False
        except StoreDeniedError as exc:
            now, expires = time.time(), self._held.expires or 0.0
            if now >= expires:
                raise
            self._due = min(now + _PAUSE, expires)
            if not self._warned:
                log.warning("%s. The ones at hand are good until %s", exc, clock(expires))
            self._warned = True


_own: dict[tuple[tuple[str, str], ...], _Keys] = {}  # by settings: a search may ask a server, for every job
_own_lock = threading.Lock()


def _find_own(location: Location, problem: str) -> _Keys:
    found = _found(_session(), f"{problem} cannot use what it has")
    if found is None:
        raise StoreDeniedError(
            f"{problem} has no AWS credentials for {location.url}: give it an instance role or AWS_* "
            "variables, or set credentials: driver"
        )
    return _Keys(found, f"{problem} cannot use what it has")


def _identify_s3(url: str, credentials: str, account: S3Account) -> Identity:
    session = _session(account)
    if account.anonymous:
        return Identity(_place(url, session, account))
    problem = f"boto3 cannot give credentials for {url}"
    found = _found(session, problem)
    if found is None:
        raise StoreDeniedError(
            f"no AWS credentials were found for {url}: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or run `aws configure` or `aws sso login`"
        )
    place = _place(url, session, account)
    if credentials == "worker" and account.credentials:
        log.info("credentials: worker is set: the keys of %s are used on this machine alone", account.source)
    return Identity(place, _Keys(found, problem), travels=credentials == "driver")


def _is_in_environ(endpoint: str) -> bool:
    told = [os.environ.get(name, "").rstrip("/") for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")]
    return endpoint.rstrip("/") in told


def _place(url: str, session: botocore.session.Session, account: S3Account) -> Location:
    import boto3  # here, since workers rarely need it
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    ca_bundle = _ca_bundle(session, account)
    try:
        client = boto3.Session(botocore_session=session).client(
            "s3",
            region_name=account.region or session.get_config_variable("region") or "us-east-1",
            endpoint_url=account.endpoint,
            use_ssl=account.use_ssl,
            config=Config(signature_version=UNSIGNED) if account.anonymous else None,
        )
    except (BotoCoreError, ValueError) as exc:
        raise StoreDeniedError(f"boto3 cannot say how to reach {url}: {exc}") from exc
    reached = client.meta
    return Location(
        url,
        reached.endpoint_url,
        reached.region_name,
        ca_bundle,
        patience=patience(),
        settings=aws_settings(),
        endpoint_in_environ=account.endpoint is None and _is_in_environ(reached.endpoint_url),
        requests=account.requests,
        clients=settings_of(reached.config),
    )


def _session(account: S3Account | None = None) -> botocore.session.Session:
    import botocore.session
    from botocore.exceptions import ProfileNotFound

    _quieten("botocore", logging.WARNING)  # an app that logs INFO would read of each step of the search
    _quieten("botocore.credentials", logging.ERROR)  # what it warns of, with a traceback, is told by us
    session = botocore.session.get_session()
    if account is not None:
        _apply(account, session)
    try:
        session.get_scoped_config()
    except ProfileNotFound as exc:
        named = account.source if account is not None and account.profile else "AWS_PROFILE"
        raise InputError(f"{exc}: {named} names none of the profiles in ~/.aws/config") from exc
    return session


def _apply(account: S3Account, session: botocore.session.Session) -> None:
    # as for dvc, a file that the environment names is not exchanged
    if account.config_file and "AWS_CONFIG_FILE" not in os.environ:
        session.set_config_variable("config_file", account.config_file)
    if account.credentials_file and "AWS_SHARED_CREDENTIALS_FILE" not in os.environ:
        session.set_config_variable("credentials_file", account.credentials_file)
    if account.profile:
        session.set_config_variable("profile", account.profile)
    if (keys := account.credentials) is not None:
        session.set_credentials(keys.access_key, keys.secret_key, keys.token)


def _quieten(logger: str, level: int) -> None:
    if logging.getLogger(logger).level == logging.NOTSET:
        logging.getLogger(logger).setLevel(level)


def _found(session: botocore.session.Session, problem: str) -> Any:
    return _asked(session.get_credentials, problem, "")


def _frozen(found: Any, problem: str) -> Credentials:
    from botocore.credentials import RefreshableCredentials

    keys = _asked(found.get_frozen_credentials, problem, str(found.method))
    # botocore has no public way to say when they end
    end = found._expiry_time if isinstance(found, RefreshableCredentials) else None
    return Credentials(keys.access_key, keys.secret_key, keys.token, end.timestamp() if end else None)


def _asked(question: Callable[[], Any], problem: str, provider: str) -> Any:
    """The one place where botocore's exceptions, and those of what it calls, become ours."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return question()
    except (BotoCoreError, ClientError, RuntimeError, ValueError, KeyError, OSError) as exc:
        text = str(exc).strip().rstrip(".")
        raise StoreDeniedError(f"{problem} ({text}): {_what_to_do(provider, text)}") from exc


def _what_to_do(provider: str, text: str) -> str:
    profile = os.environ.get("AWS_PROFILE")
    option = f" --profile {profile}" if profile else ""
    said = f"{provider} {text}".lower()
    if "sso" in said:
        return f"log in again with `aws sso login{option}`"
    if provider == "login":
        return f"log in again with `aws login{option}`"
    if "process" in said:
        return (
            "run the command that stands as credential_process in ~/.aws/config by hand, and log in with the "
            "tool behind it"
        )
    if provider == "env":
        return "set new AWS_* variables, and start again"
    return f"see what `aws sts get-caller-identity{option}` says, and log in again"


def _ca_bundle(session: botocore.session.Session, account: S3Account) -> str | None:
    path = account.ca_bundle or session.get_config_variable("ca_bundle")
    path = path or os.environ.get("REQUESTS_CA_BUNDLE")
    if not path or not account.requests.verify:
        return None
    try:
        return Path(path).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(
            f"the CA bundle {path!r} (AWS_CA_BUNDLE, ca_bundle or ssl_verify) cannot be read: {exc}"
        ) from exc


def _clean(path: str) -> str:
    path = re.sub("/+", "/", path).rstrip("/")
    if {".", ".."} & set(path.split("/")):
        raise InputError(f"s3_base_path has the prefix {path!r}: S3 keys cannot contain . or .. as a step")
    return path

"""AWS credentials as boto3 finds them, and how they are kept fresh: the driver's, or a node's own.

botocore renews what can be renewed: SSO sessions, assumed roles, credential processes, instance roles. Here
stands when it is asked to, and what the user reads where it fails. Secrets are in no repr, message or log.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError, StoreDeniedError
from ..core.options.s3_account import S3Account
from ..core.values.stores import Credentials, Location
from .transport.renewal import clock, renewal_time

if TYPE_CHECKING:
    import botocore.session

log = logging.getLogger(__name__)

_PAUSE = 5.0  # seconds between two attempts to renew credentials that are still good


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


class Keys:
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


_own: dict[tuple[tuple[str, str], ...], Keys] = {}  # by settings: a search may ask a server, for every job
_own_lock = threading.Lock()


def _find_own(location: Location, problem: str) -> Keys:
    found = find(open_session(), f"{problem} cannot use what it has")
    if found is None:
        raise StoreDeniedError(
            f"{problem} has no AWS credentials for {location.url}: give it an instance role or AWS_* "
            "variables, or set credentials: driver"
        )
    return Keys(found, f"{problem} cannot use what it has")


def open_session(account: S3Account | None = None) -> botocore.session.Session:
    """What botocore knows of the user's AWS settings; what ``account`` says comes first.

    Raises InputError for a profile that is not there.
    """
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


def find(session: botocore.session.Session, problem: str) -> Any:
    """botocore's credentials, None where there are none. Raises StoreDeniedError, which begins with ``problem``."""
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

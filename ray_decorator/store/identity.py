"""Who the driver is to a store, and where that is: what boto3 makes of the user's AWS settings.

    identify(url) -> Identity -> .location travels with each job

Secrets are in no repr, message or log.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from ..core.errors import InputError, StoreDeniedError
from ..core.options.s3_account import S3Account
from ..core.values.stores import Credentials, DvcDirectory, Location
from .credentials import Keys, find, open_session
from .transport.patience import patience
from .transport.s3_clients import settings_of

if TYPE_CHECKING:
    import botocore.session

log = logging.getLogger(__name__)

_KINDS = ("driver", "worker")


def identify(
    url: str, *, credentials: str = "driver", account: S3Account | DvcDirectory | None = None
) -> Identity:
    """Resolve ``s3_base_path``: ``s3://bucket[/prefix]`` or ``file:///directory``. For the driver.

    For S3, what boto3 would use: profile, shared config files, environment, endpoint, region, CA bundle; what
    ``account`` says of these comes first. For a directory, it says how DVC keeps objects there.
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
        found = account if isinstance(account, S3Account) else S3Account("~/.aws and the environment")
        return _identify_s3(clean, credentials, found)
    if url.startswith("file:///") and url.strip("/") != "file:":
        place = "file://" + os.path.normpath(unquote(url.removeprefix("file://")))
        return Identity(Location(place, kept_as=account if isinstance(account, DvcDirectory) else None))
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


class Identity:
    """Who the driver is to a store, for as long as it runs. Safe to use from several threads."""

    def __init__(self, place: Location, keys: Keys | None = None, *, travels: bool = True) -> None:
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


def _identify_s3(url: str, credentials: str, account: S3Account) -> Identity:
    session = open_session(account)
    if account.anonymous:
        return Identity(_place(url, session, account))
    problem = f"boto3 cannot give credentials for {url}"
    found = find(session, problem)
    if found is None:
        raise StoreDeniedError(
            f"no AWS credentials were found for {url}: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or run `aws configure` or `aws sso login`"
        )
    place = _place(url, session, account)
    if credentials == "worker" and account.credentials:
        log.info("credentials: worker is set: the keys of %s are used on this machine alone", account.source)
    return Identity(place, Keys(found, problem), travels=credentials == "driver")


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

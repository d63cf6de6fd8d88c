"""Where a store is, and who asks it: values that travel with a job."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..s3_requests import S3Clients, S3Requests


@dataclass(frozen=True, slots=True)
class Credentials:
    """Frozen AWS credentials; they travel with a job and are never shown.

    ``expires`` is when they end, in seconds since 1970; None for those that do not.
    """

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(repr=False, default=None)
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class DvcDirectory:
    """How DVC keeps objects in a directory that is its remote: their files are read-only.

    ``shared``: folders are the group's, which may write to them whatever the umask is (dvc: ``shared = group``).
    """

    shared: bool = False


@dataclass(frozen=True, slots=True)
class Location:
    """All that a process needs to open a store: resolved once on the driver, sent to each worker.

    ``url`` is ``s3://bucket/prefix`` or ``file:///directory``; the rest is for S3: endpoint (None for
    AWS's own), region, and the PEM text of a custom CA bundle. ``credentials`` None means
    that requests are not signed, or, with ``own_credentials``, that each process finds its own as boto3 does.
    ``patience`` is for how many seconds it may stay away, ``requests`` how they are sent,
    ``clients`` what else AWS's settings say of clients of S3.
    ``endpoint_in_environ``: the driver's environment says the endpoint, so libraries that look there alone find it.
    ``kept_as`` says how files are kept in a directory that is a DVC remote; None: as the umask is.
    ``settings`` is the mark of the AWS settings that all this was resolved from (`store.identity.aws_settings`).
    """

    url: str
    endpoint: str | None = None
    region: str | None = None
    ca_bundle: str | None = field(repr=False, default=None)
    credentials: Credentials | None = None
    own_credentials: bool = False
    patience: float = 180.0
    settings: str = field(compare=False, default="")
    requests: S3Requests = field(default_factory=S3Requests)
    clients: S3Clients = field(default_factory=S3Clients)
    endpoint_in_environ: bool = False
    kept_as: DvcDirectory | None = None

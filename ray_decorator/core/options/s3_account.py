"""Who the driver is to S3 where somebody has written it down beside AWS's own settings: for a DVC remote."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..s3_requests import S3Requests
from ..values.stores import Credentials


@dataclass(frozen=True, slots=True)
class S3Account:
    """Who the driver is to S3 and where that is. None is left to boto3, which asks AWS's own settings.

    ``source`` is how a message names where it is written down. ``config_file`` and ``credentials_file`` are in
    place of ``~/.aws/config`` and ``~/.aws/credentials``. ``anonymous``: requests are not signed. ``ca_bundle``
    is a file of PEM.
    """

    source: str
    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    config_file: str | None = None
    credentials_file: str | None = None
    credentials: Credentials | None = field(repr=False, default=None)
    anonymous: bool = False
    use_ssl: bool = True
    ca_bundle: str | None = None
    requests: S3Requests = field(default_factory=S3Requests)

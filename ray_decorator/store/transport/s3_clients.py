"""How clients of S3 are set: boto3's, as the driver's AWS settings say, and ours, which follows them."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...core.machine.network import is_loopback
from ...core.s3_requests import S3Clients
from ...core.values.stores import Location

if TYPE_CHECKING:
    from obstore.store import S3Config

_PROFILE = (
    "request_checksum_calculation",
    "response_checksum_validation",
    "s3_disable_express_session_auth",
    "sigv4a_signing_region_set",
    "tcp_keepalive",
)
_S3 = (
    "addressing_style",
    "payload_signing_enabled",
    "s3_disable_multiregion_access_points",
    "signature_version",
    "us_east_1_regional_endpoint",
    "use_accelerate_endpoint",
    "use_arn_region",
)
# FIPS and dual stack are in the endpoint already, beside which botocore refuses their keys
_USUAL = {
    ("request_checksum_calculation", "when_supported"),
    ("response_checksum_validation", "when_supported"),
    ("s3_disable_express_session_auth", "false"),
    ("retry_mode", "standard"),
}
_HOST_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


def settings_of(config: Any) -> S3Clients:
    """What ``config``, the ``meta.config`` of a client of boto3, has that is not boto3's default."""
    profile = {key: getattr(config, key, None) for key in _PROFILE}  # an older botocore lacks some
    retries = config.retries or {}
    profile |= {"retry_mode": retries.get("mode"), "max_attempts": retries.get("total_max_attempts")}
    s3 = config.s3 or {}
    return S3Clients(_written(profile), _written({key: s3.get(key) for key in _S3}))


def _written(values: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    texts = {
        key: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in values.items()
        if value is not None
    }
    return tuple(sorted(item for item in texts.items() if item not in _USUAL))


def s3_config(place: Location, *, signed: bool) -> S3Config:
    """The same for obstore's client."""
    region = place.region or "us-east-1"
    # never left out: obstore would take this process's AWS_ENDPOINT_URL, which may not be the driver's
    endpoint = place.endpoint or f"https://s3.{region}.amazonaws.com"
    virtual = _is_virtual(place, endpoint)
    wished = ("payload_signing_enabled", "true") in place.clients.s3
    config: S3Config = {
        "region": region,
        "virtual_hosted_style_request": virtual,
        "skip_signature": not signed,
        # TLS, as botocore has it, or this machine sees that bytes arrive as they were; one more hash takes 1 s a GiB
        "unsigned_payload": _is_sealed(endpoint, place.requests.verify) and not wished,
        "endpoint": _with_bucket(endpoint, _bucket(place)) if virtual else endpoint,
        "disable_bulk_delete": True,  # not all servers know DeleteObjects, and we delete one at a time
    }
    if place.requests.encryption:
        config["server_side_encryption"] = place.requests.encryption
    if place.requests.kms_key:
        config["sse_kms_key_id"] = place.requests.kms_key
    return config


def _is_sealed(endpoint: str, verify: bool) -> bool:
    """Whether nobody on the way can change what is sent."""
    address = urlsplit(endpoint)
    if address.scheme == "https":
        return verify
    return is_loopback(address.hostname or "")


def _is_virtual(place: Location, endpoint: str) -> bool:
    """Whether the user's settings ask for the bucket in the host's name, and it can be there, as for botocore."""
    if ("addressing_style", "virtual") not in place.clients.s3 or not _HOST_NAME.fullmatch(_bucket(place)):
        return False
    try:
        ipaddress.ip_address(urlsplit(endpoint).hostname or "")
    except ValueError:
        return True
    return False


def _bucket(place: Location) -> str:
    return urlsplit(place.url).netloc


def _with_bucket(endpoint: str, bucket: str) -> str:
    # obstore takes such an endpoint as it is
    parts = urlsplit(endpoint)
    return parts._replace(netloc=f"{bucket}.{parts.netloc}").geturl()

"""How requests to S3 are sent, by each process that sends some."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class S3Requests:
    """How each process sends its requests; it travels to workers.

    ``verify`` False: a server's certificate is not checked. ``encryption`` is asked of the server for what is
    written (``AES256``, ``aws:kms``), with ``kms_key``. Time-outs are in seconds, ``threads`` the most requests
    at once; None is left to us.
    """

    verify: bool = True
    encryption: str | None = None
    kms_key: str | None = None
    connect_timeout: float | None = None
    read_timeout: float | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class S3Clients:
    """What the driver's AWS settings say of clients of S3, in the words of AWS's config file.

    ``profile`` are keys of a profile and their values, ``s3`` those of its ``s3`` section; what is boto3's default is
    left out.
    """

    profile: tuple[tuple[str, str], ...] = ()
    s3: tuple[tuple[str, str], ...] = ()

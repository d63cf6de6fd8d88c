"""The AWS config file of a job: the driver as the default profile, and beside it the node's own profiles.

So what the app or its ``env_set`` chooses by ``AWS_PROFILE`` is there. No key is in the file: a profile whose keys
are in a file of the node gets them from there by credential_process.py.
"""

from __future__ import annotations

import configparser
import io
import logging
import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from ...core.values.stores import Location
from . import credential_process

log = logging.getLogger(__name__)

_AWS = re.compile(r"https://s3([.-][a-z0-9-]+)?\.amazonaws\.com(\.cn)?/?")
_SERVICES = "ray-s3"
_KEYS = {"aws_access_key_id", "aws_secret_access_key", "aws_session_token", "aws_security_token"}


def aws_config(
    place: Location,
    bundle: Path | None,
    socket: Path | None,
    environ: Mapping[str, str],
    profiles: Iterable[str] = (),
) -> str:
    """The file's text. ``socket`` is where the job's process gives credentials, ``bundle`` a file of CA certificates.

    ``profiles`` are names that the driver has, too. ``environ`` says where the node's own files are. The endpoint
    is that of S3 alone: other services are AWS's.
    """
    file = _parser()
    file["default"] = {"region": place.region or "us-east-1", **dict(place.clients.profile)}
    s3 = dict(place.clients.s3)
    if bundle is not None:
        file["default"]["ca_bundle"] = str(bundle)
    if socket is not None:
        file["default"]["credential_process"] = _process(str(socket))
    if place.endpoint and not _AWS.fullmatch(place.endpoint):
        file["default"]["services"] = _SERVICES
        s3 = {"addressing_style": "path", **s3}
        file[f"services {_SERVICES}"] = {"s3": f"\nendpoint_url = {place.endpoint}"}
    if s3:
        file["default"]["s3"] = "".join(f"\n{key} = {value}" for key, value in s3.items())
    _add_the_nodes(file, environ)
    for name in sorted({*profiles} - {"default"}):
        file[f"profile {shlex.quote(name)}"] = dict(file["default"])
    text = io.StringIO()
    file.write(text)
    return text.getvalue()


def _add_the_nodes(file: configparser.RawConfigParser, environ: Mapping[str, str]) -> None:
    config = os.path.expanduser(environ.get("AWS_CONFIG_FILE", "~/.aws/config"))
    credentials = os.path.expanduser(environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"))
    for name, section in _sections(config):
        file[name] = {key: value for key, value in section.items() if key not in _KEYS}
        if "aws_access_key_id" in section:
            file[name]["credential_process"] = _process(config, name)
    for name, section in _sections(credentials):
        if "aws_access_key_id" in section:
            whole = f"profile {shlex.quote(name)}"
            if not file.has_section(whole):
                file[whole] = {}
            file[whole]["credential_process"] = _process(credentials, name)


def _process(*arguments: str) -> str:
    return shlex.join([sys.executable, "-I", "-S", str(Path(credential_process.__file__)), *arguments])


def _sections(path: str) -> list[tuple[str, configparser.SectionProxy]]:
    file = _parser()
    try:
        file.read(path)
    except (configparser.Error, OSError, UnicodeDecodeError) as exc:
        log.warning("The profiles in %s are not there for this job: %s", path, type(exc).__name__)
        return []
    return [
        (name, file[name]) for name in file.sections() if name not in ("default", f"services {_SERVICES}")
    ]


def _parser() -> configparser.RawConfigParser:
    # "default" is a profile like others, and no source of values for all
    return configparser.RawConfigParser(strict=False, default_section="", allow_no_value=True)

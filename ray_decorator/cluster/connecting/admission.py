"""Why a Ray does not let this process in: its token, its versions, or a port that is another service's.

Ray itself tries a wrong token for 20 to 30 seconds, and then says that it could not connect.
"""

from __future__ import annotations

import os
import re

from ...core.errors import ClusterError
from .. import ray_api

_WHERE = "Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH, a file) to the cluster's token"
_NEITHER = (
    "What listens at ray_address {} speaks gRPC, but is neither a Ray GCS nor a Ray Client server: another port of "
    "Ray's, perhaps. A GCS has port 6379 by default; a Ray Client server has 10001, and ray:// before the host."
)
_VERSIONS = re.compile(r"Ray: (\S+)\s+Python: (\d+)\.(\d+)(\S*)")


def check_admission(address: str) -> None:
    """Ask a cluster one cheap thing, with the token of this process.

    Raises ClusterError where it refuses the token, or where something else listens at ``address``.
    What knows neither question is left for Ray itself to judge where the Ray here has renamed them.
    """
    asked, other = ray_api.greet_gcs, ray_api.greet_client
    if address.startswith("ray://"):
        asked, other = other, asked
    answer = asked(address)
    if answer == "UNIMPLEMENTED":
        answer = other(address)
        if answer == "OK":
            raise ClusterError(_wrong_port(address))
        if answer == "UNIMPLEMENTED":
            if ray_api.has_greetings():
                raise ClusterError(_NEITHER.format(address))
            ray_api.cannot_greet(address)
    if answer == "UNAUTHENTICATED":
        raise ClusterError(_refused_token(address))


def missing_token(address: str) -> str:
    """The message for a process that was told to send a token and has none."""
    return (
        f"Cannot connect to Ray at {address}: RAY_AUTH_MODE is token, but there is no token. {_WHERE}; where "
        "the cluster asks for none, set RAY_AUTH_MODE=disabled."
    )


def mismatch(address: str, said: str) -> str | None:
    """The message for Ray's "Version mismatch", None for any other error."""
    found = _VERSIONS.findall(said)
    if "Version mismatch" not in said or len(found) != 2:
        return None
    (ray, major, minor, patch), (own_ray, own_major, own_minor, own_patch) = found
    advice = []
    if ray != own_ray:
        advice.append(
            f"Ray has to be the same: `pip install 'ray[client]=={ray}'` here, or "
            f"`pip install 'ray[default,client]=={own_ray}'` on every node."
        )
    if (major, minor) != (own_major, own_minor):
        advice.append(
            f"Python has to be the same minor version: use an environment with Python {major}.{minor} here "
            f"(`uv venv --python {major}.{minor}`), or start the cluster with Python {own_major}.{own_minor}."
        )
    elif patch != own_patch:
        advice.append("Leave RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL unset, or set it to minor.")
    return (
        f"Ray at {address} has Ray {ray} and Python {major}.{minor}{patch}; this process has Ray {own_ray} "
        f"and Python {own_major}.{own_minor}{own_patch}. {' '.join(advice)}"
    )


def _refused_token(address: str) -> str:
    if os.environ.get("RAY_AUTH_MODE") != "token":
        return f"Ray at {address} asks for a token, and this process sends none. {_WHERE}."
    source = "RAY_AUTH_TOKEN"
    if "RAY_AUTH_TOKEN" not in os.environ:
        source = os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token"
    return f"Ray at {address} refuses this process's token (from {source}), which is not its own. {_WHERE}."


def _wrong_port(address: str) -> str:
    if address.startswith("ray://"):
        return (
            f"What listens at ray_address {address} is not a Ray Client server, whose port is 10001 by "
            "default; the head needs ray[client]; a GCS (6379 by default) is reached without ray://."
        )
    return (
        f"What listens at ray_address {address} is not a Ray GCS, whose port is 6379 by default. A Ray "
        "Client server (10001 by default) is reached with ray://."
    )

"""Why a connection to Ray has failed, in our own words, and what to do.

Imports ray inside functions only, as `connection` does.
"""

from __future__ import annotations

from ...core.errors import text_of
from ...core.options.settings import Settings
from .admission import mismatch, missing_token

HALF_DEAD = (
    "If a part of it has crashed, `ray stop --force` ends the rest, and `ray start --head` starts another. Leave "
    "ray_address and RAY_ADDRESS unset to start one for this run alone."
)
"""Of a Ray that was found on this machine, and does not answer."""

_NO_SERVER = (
    "The head node cannot start a Ray Client server for you: see the file that Ray names, in its logs there "
    "(/tmp/ray/session_latest/logs). Where that tells of a bad file descriptor, start the head with "
    "GRPC_ENABLE_FORK_SUPPORT=0 in its environment."
)
"""gRPC's fork handlers kill such servers now and then: "epoll_wait error: Bad file descriptor"."""
_SIGNS = ("Starting Ray client server failed", "psutil.ZombieProcess")
"""As Ray Client's proxy says that such a server has died."""


def advice(address: str) -> str:
    """What to look at where Ray at ``address`` does not answer."""
    if address in ("local", "auto"):
        return (
            "See that this machine has memory and disk space to spare (`free -h`, `df -h /tmp`), what Ray's "
            "own logs say (/tmp/ray/session_latest/logs), and whether Ray starts without this project: "
            "`python -c 'import ray; ray.init(address=\"local\")'`."
        )
    port = "Ray Client's, 10001 by default" if address.startswith("ray://") else "the GCS's, 6379 by default"
    return (
        f"Check host and port ({port}), that the head node is up (`ray status` there), and that no firewall "
        "blocks it. Leave ray_address unset to run on this machine."
    )


def is_about_arguments(error: BaseException, settings: Settings) -> bool:
    """Whether ``ray.init`` has refused what the user gives it."""
    likely = isinstance(error, TypeError | ValueError) or "keyword argument" in text_of(error)
    return likely and bool(settings.ray_init_kwargs)


def explained(address: str, error: BaseException) -> str:
    """Why ``ray.init`` has failed, and what to do, in three lines."""
    import ray.exceptions

    if isinstance(error, getattr(ray.exceptions, "AuthenticationError", ())):  # in a Ray that has tokens
        return missing_token(address)
    if (message := mismatch(address, text_of(error))) is not None:
        return message
    failed = {
        "local": "A private Ray on this machine did not start, in two tries.",
        "auto": "A Ray on this machine can neither be connected to nor started.",
    }.get(address, f"Cannot connect to Ray at {address}.")
    help_ = _NO_SERVER if any(sign in text_of(error) for sign in _SIGNS) else advice(address)
    return f"{failed}\nRay says: {said(error)}\n{help_}"


def said(error: BaseException) -> str:
    """What a foreign exception says, in one line."""
    return " ".join([f"{type(error).__name__}:", *text_of(error).split()])

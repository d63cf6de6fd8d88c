"""The way to Ray: connect in the background, and say in our own words why that failed.

Imports ray inside functions only: every Hydra app on a machine imports the plugin, and Ray takes a second
to import.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..core.errors import ClusterError, InputError
from ..core.network import connect_error
from ..core.settings import Settings
from .admission import check_admission, mismatch, missing_token

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 25.0  # Ray itself gives a GCS up after 20
_CLIENT_SECONDS = (
    55.0  # Ray Client starts a server of ours on the head, for which it waits 30; and once again
)
_RETRY_WITHIN = 45.0
_PROBE_SECONDS = 5.0
_PRIVATE: Mapping[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
_ONE_AT_A_TIME = threading.Lock()


class Connection:
    """A connection to Ray that is being made in the background, while its caller has other work.

    In a process that is connected already, it is there at once.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._error: BaseException | None = None
        self._done = threading.Event()
        if is_connected():
            self._done.set()
        else:
            threading.Thread(target=self._run, name="ray-connect", daemon=True).start()

    def wait(self) -> None:
        """Return once connected. Raises ClusterError if nobody answers in time."""
        address = self._settings.ray_address
        seconds = _CLIENT_SECONDS if address.startswith("ray://") else _CONNECT_SECONDS
        if not self._done.wait(None if address == "local" else seconds):
            raise ClusterError(
                f"Ray at {address} took the connection but did not answer within {seconds:.0f} s. "
                f"{_check_address(address)}"
            )
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            _connect(self._settings)
        except BaseException as exc:  # raised again by wait(), in the thread that asked
            self._error = exc
        self._done.set()
        # Ray's processes ask Linux to be killed with their parent (PR_SET_PDEATHSIG), and to Linux the
        # parent is the thread that started them: this one has to stay for as long as the process does
        threading.Event().wait()


def is_connected() -> bool:
    """Whether this process is connected to a Ray, by us or by its own code."""
    ray = sys.modules.get("ray")
    is_initialized = getattr(ray, "is_initialized", None)  # another thread may be importing Ray just now
    return is_initialized is not None and bool(is_initialized())


def _connect(settings: Settings) -> None:
    # Ray reads these when it is imported: folded lines lose jobs' output, and nothing phones home
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray's own answer to `uv run` is one `uv run` more for each worker, of a project that is not there
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    # else Ray ends this very process a minute after a GCS has died, while results are still coming home
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "600")
    os.environ.setdefault("RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL", "minor")  # direct drivers': else "patch"
    if not sys.stderr.isatty():
        os.environ.setdefault("RAY_COLOR_PREFIX", "0")
    import ray

    with _ONE_AT_A_TIME:
        if not ray.is_initialized():
            logging.getLogger("ray").setLevel(logging.ERROR)  # its banner comes before its logging_level
            _init(settings)


def _init(settings: Settings) -> None:
    import ray

    address = settings.ray_address
    if address not in ("local", "auto"):
        _probe(address)
        check_admission(address)
    since = time.monotonic()
    with _translated(address):
        try:
            ray.init(address=address, **_init_arguments(settings, address))
        except ConnectionError as exc:
            _leave()
            if address == "auto":
                log.warning("No Ray runs on this machine (ray_address is 'auto'): starting a private one")
                ray.init(address="local", **_init_arguments(settings, "local"))
            elif address.startswith("ray://") and time.monotonic() - since < _RETRY_WITHIN:
                log.info("Connecting to %s once more, after: %s", address, exc)  # one in 25 fails by itself
                ray.init(address=address, **_init_arguments(settings, address))
            else:
                raise


def _init_arguments(settings: Settings, address: str) -> dict[str, Any]:
    defaults = {"logging_level": logging.ERROR, **(_PRIVATE if address == "local" else {})}
    return {**defaults, **settings.ray_init_kwargs}


def _probe(address: str) -> None:
    """Ray itself waits long for an address where nobody listens; a bare TCP connection tells at once."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if (error := connect_error(host, int(port), _PROBE_SECONDS)) is not None:
        raise ClusterError(
            f"Nobody answers at ray_address {address} ({error}). {_check_address(address)}"
        ) from error


def _check_address(address: str) -> str:
    port = "Ray Client's, 10001 by default" if address.startswith("ray://") else "the GCS's, 6379 by default"
    return (
        f"Check host and port ({port}), that the head node is up (`ray status` there), and that no firewall "
        "stands between. Leave ray_address unset to run on this machine."
    )


@contextlib.contextmanager
def _translated(address: str) -> Iterator[None]:
    try:
        yield
    except (ConnectionError, TimeoutError, RuntimeError) as exc:
        _leave()
        if "keyword argument" in str(exc):
            raise InputError(f"ray_init_kwargs are not accepted by ray.init: {exc}") from exc
        message = mismatch(address, str(exc))
        raise ClusterError(
            message or f"Cannot connect to Ray at {address}: {exc}. {_check_address(address)}"
        ) from exc
    except (TypeError, ValueError) as exc:
        raise InputError(f"ray_init_kwargs are not accepted by ray.init: {exc}") from exc
    except Exception as exc:
        _leave()
        if type(exc).__name__ != "AuthenticationError":  # of ray.exceptions, in a Ray that has tokens
            raise
        raise ClusterError(missing_token(address)) from exc


def _leave() -> None:
    """A connection that failed half-way would pass for one, in this process's next try."""
    import ray

    with contextlib.suppress(Exception):  # the first error is the one to tell
        ray.shutdown()

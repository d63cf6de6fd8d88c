"""The way to Ray: connect in the background, for as long as the process lasts, or for a block (`connected`).

Imports ray inside functions only: every Hydra app on a machine imports the plugin, and Ray takes a second
to import.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator

from ...core.errors import ClusterError, InputError
from ...core.machine import at_exit
from ...core.machine.network import connect_error, host_and_port
from ...core.options.settings import Settings
from .. import ray_api
from ..switches import set_switches
from .admission import check_admission
from .connect_errors import HALF_DEAD, advice, explained, is_about_arguments, said
from .listener import check_listener
from .watch import patience

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 25.0  # Ray itself gives a GCS up after 20
_CLIENT_SECONDS = 90.0  # Ray Client starts a server of ours on the head, for which it waits 30; once again
_CLIENT_TRIES = 4
_RETRY_WITHIN = 45.0
_PROBE_SECONDS = 5.0
_START_SECONDS = 240.0  # a private Ray, which Ray gives up after some 30 to 90; and once again
_NONE_HERE = "No Ray runs on this machine (ray_address is 'auto'%s): starting a private one"
_SEVERAL_HERE = (
    "Several Rays run on this machine (%s), and `ray start` has noted none (ray_address is 'auto'): starting a "
    "private one. To use one of them, name it: ray_address, or RAY_ADDRESS=%s"
)
_BREAKPOINT = "PYTHONBREAKPOINT"
_ONE_AT_A_TIME = threading.Lock()

_all_is_shown: Callable[[], bool] | None = None
_connected: tuple[str, str | None] = ("", None)
"""The address of the connection that was made here last, and what tells it from others."""


class Connection:
    """A connection to Ray that is being made in the background, while its caller has other work.

    In a process that is connected already, it is there at once.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._address = settings.ray_address
        # that it is known which Ray it is: then the address above is that one's
        self._found = threading.Event()
        if self._address != "auto":
            self._found.set()
        self._error: BaseException | None = None
        self._done = threading.Event()
        self.is_ours = not is_connected()
        """Whether it is made here; False where the process was connected already."""
        if not self.is_ours:
            self._done.set()
        else:
            threading.Thread(target=self._run, name="ray-connect", daemon=True).start()

    @property
    def doing(self) -> str | None:
        """What happens now, for the user; None once that is over."""
        if self._done.is_set():
            return None
        address = self._settings.ray_address
        if self._address == "local":
            return "starting Ray on this machine"
        return f"connecting to {'the Ray on this machine' if address == 'auto' else f'Ray at {address}'}"

    def find(self) -> None:
        """Return once it is known which Ray it is: one that runs, or a private one that starts."""
        self._found.wait(0 if self._done.is_set() else _START_SECONDS)

    def wait(self) -> None:
        """Return once connected. Raises ClusterError if nobody answers in time."""
        self.find()
        while not self._done.wait(_seconds(address := self._address)):
            if address != self._address:  # a private Ray starts instead
                continue
            took = "" if address in ("local", "auto") else " took the connection but"
            raise ClusterError(
                f"Ray at {address}{took} did not answer within {_seconds(address):.0f} s. "
                f"{advice(address) if self._settings.ray_address == address else HALF_DEAD}"
            )
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            _connect(self._settings, self._is_found)
        except BaseException as exc:  # raised again by wait(), in the thread that asked
            self._error = exc
        self._done.set()
        self._found.set()
        # Ray's processes ask Linux to be killed with their parent (PR_SET_PDEATHSIG), and to Linux the
        # parent is the thread that started them: this one has to stay for as long as the process does
        threading.Event().wait()

    def _is_found(self, address: str) -> None:
        self._address = address
        self._found.set()


def _seconds(address: str) -> float:
    if address in ("local", "auto"):
        return _START_SECONDS
    return _CLIENT_SECONDS if address.startswith("ray://") else _CONNECT_SECONDS


def is_connected() -> bool:
    """Whether this process is connected to a Ray, by us or by its own code."""
    ray = sys.modules.get("ray")
    is_initialized = getattr(ray, "is_initialized", None)  # another thread may be importing Ray just now
    return is_initialized is not None and bool(is_initialized())


def own_address() -> str | None:
    """The address that we have connected this process to; None where its own code did, or nobody."""
    address, mark = _connected
    return address if is_connected() and mark and mark == ray_api.connection_mark() else None


def disconnect() -> None:
    """End this process's connection to Ray; also one that failed half-way, which would pass for one."""
    ray = sys.modules.get("ray")
    if ray is not None:
        with contextlib.suppress(Exception):  # of what is being left; an error before it is the one to tell
            ray.shutdown()


@contextlib.contextmanager
def connected(settings: Settings, unnamed: str) -> Iterator[None]:
    """The process is connected to a cluster for as long as the block lasts, or stays so if it was before.

    Raises InputError, which says ``unnamed``, where the settings name none; ClusterError.
    """
    was_connected = is_connected()
    if settings.ray_address == "local" and not was_connected:
        raise InputError(unnamed)
    try:
        Connection(settings).wait()
        yield
    finally:
        if not was_connected:
            disconnect()


def leave_at_once(all_is_shown: Callable[[], bool]) -> None:
    """At its end, this program leaves the Ray that it is connected to now without a pause for late output.

    For where all nodes are here: all that jobs print has come when they are done. ``all_is_shown`` is asked then:
    not so where jobs were stopped.
    """
    global _all_is_shown
    _all_is_shown = all_is_shown


def _leave() -> None:
    """Ray itself sleeps 0.5 s at a program's end before it leaves."""
    if _all_is_shown is not None and _all_is_shown() and own_address() is not None:
        disconnect()


def _connect(settings: Settings, found: Callable[[str], object]) -> None:
    global _connected
    set_switches(patience())
    is_new = "ray" not in sys.modules
    if is_new:
        at_exit.keep_interrupt()
    import ray

    if is_new:  # else the program's own hooks may come between this one and Ray's, and need a Ray
        atexit.register(_leave)

    with _ONE_AT_A_TIME:
        if not ray.is_initialized():
            logging.getLogger("ray").setLevel(logging.ERROR)  # its banner comes before its logging_level
            _init(settings, found)
            _connected = (settings.ray_address, ray_api.connection_mark())


def _init(settings: Settings, found: Callable[[str], object]) -> None:
    address = settings.ray_address
    if address == "auto":
        address, here = _running_here(settings)
        found(here or address)
    if address not in ("local", "auto"):
        check_listener(address, tls="_credentials" in settings.ray_init_kwargs)
        check_admission(address)
    with _translated(settings):
        if address == "local":
            return _start_private(settings)
        if address.startswith("ray://"):
            return _join_by_client(settings, address)
        try:
            _ray_init(settings, address)
        except ConnectionError:
            disconnect()
            if address != "auto":
                raise
            log.warning(_NONE_HERE, "")
            found("local")
            _start_private(settings)


def _running_here(settings: Settings) -> tuple[str, str]:
    """The address to which ``auto`` leads, and where the Ray that it finds here answers ("": not known).

    Ray also takes one whose GCS has crashed, and then waits for that for as long as `set_switches` says.
    """
    named = os.environ.get("RAY_ADDRESS")
    if named and named != "auto":  # as Ray itself has it
        return named, ""
    here = ray_api.addresses_here(settings.ray_init_kwargs)
    if here is None:
        return "auto", ""
    if len(here) > 1:
        log.warning(_SEVERAL_HERE, ", ".join(here), here[0])
        return "local", ""
    if here and connect_error(*host_and_port(here[0]), _PROBE_SECONDS) is None:
        return "auto", here[0]
    log.warning(_NONE_HERE, f"; nobody answers at {here[0]}, where one was" if here else "")
    return "local", ""


def _join_by_client(settings: Settings, address: str) -> None:
    """Ray Client forks a server of ours, from a process with many threads: one in 25 dies of that, or more.

    What has been refused for another reason is refused again as fast.
    """
    began = time.monotonic()
    ray_api.leave_refusing_server()
    for tried in range(1, _CLIENT_TRIES + 1):
        try:
            return _ray_init(settings, address)
        except ConnectionError as exc:
            disconnect()
            if tried == _CLIENT_TRIES or time.monotonic() - began > _RETRY_WITHIN:
                raise
            log.info("Connecting to %s once more, after: %s", address, said(exc))


def _start_private(settings: Settings) -> None:
    try:
        _ray_init(settings, "local")
    except (Exception, SystemExit) as exc:
        if is_about_arguments(exc, settings):
            raise
        disconnect()
        log.warning("A private Ray did not start (%s): trying once more", said(exc))
        _ray_init(settings, "local")


def _ray_init(settings: Settings, address: str) -> None:
    import ray

    private = ray_api.PRIVATE_RAY if address == "local" else {}
    arguments = {"logging_level": logging.ERROR, **private, **settings.ray_init_kwargs}
    with _own_breakpoints():
        try:
            ray.init(address=address, **arguments)
        except Exception as exc:
            if (kept := ray_api.without_private(arguments, exc, settings.ray_init_kwargs)) is None:
                raise
            ray.init(address=address, **kept)


@contextlib.contextmanager
def _own_breakpoints() -> Iterator[None]:
    """`breakpoint()` stays the program's own: Ray's needs debugpy. Who sets RAY_DEBUG gets Ray's."""
    before = os.environ.get(_BREAKPOINT)
    try:
        yield
    finally:
        if "RAY_DEBUG" not in os.environ:
            os.environ.pop(_BREAKPOINT, None)
            os.environ.update({} if before is None else {_BREAKPOINT: before})


@contextlib.contextmanager
def _translated(settings: Settings) -> Iterator[None]:
    try:
        yield
    except (Exception, SystemExit) as exc:
        disconnect()
        if is_about_arguments(exc, settings):
            raise InputError(f"ray_init_kwargs are not accepted by ray.init: {exc}") from exc
        raise ClusterError(explained(settings.ray_address, exc)) from exc

"""What can go wrong, as one family.

    RayS3Error                          catch this for all of them
    ├── InputError (ValueError)         deps, outs or settings are not usable; nothing was started
    │   └── MissingDepError (FileNotFoundError)  all that is wrong is deps that are not there
    ├── StoreError (OSError)            the store cannot be opened, read or written
    │   ├── StoreUnreachableError       nobody answers at its endpoint
    │   ├── StoreDeniedError            credentials are missing, wrong or not allowed
    │   ├── BucketNotFoundError         the bucket does not exist
    │   ├── MissingObjectError          the store lost objects that it was known to hold
    │   └── CorruptObjectError          an object's bytes are not what its name says
    ├── HomeError (OSError)             an out cannot be written at home; the message says how to bring it later
    ├── NodeDiskError (OSError)         a node's disk is full even without what is kept for later jobs, or broken
    ├── ClusterError (RuntimeError)     Ray cannot be reached, or can never serve the request
    │   ├── ClusterLostError            it is gone, and with it what had not finished
    │   └── PackagesError               a node cannot be given the driver's Python packages
    ├── PicklingError (TypeError)       a function, argument or result cannot travel
    └── JobError (RuntimeError)         a job died, or its exception cannot be rebuilt here
        ├── JobDiedError                its process or node is gone: another attempt may fare better
        └── JobCancelledError           it was stopped before it had finished

    RemoteTraceback                     no error of its own: the cause of one that came from a worker

Every message says what was expected, what was found, and what to do next.
"""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Sequence
from typing import Self

_PASSWORD = re.compile(r"://[^/\s]*@")


class RayS3Error(Exception):
    """Base of every error this project raises on its own account."""


class InputError(RayS3Error, ValueError):
    """Deps, outs or settings are not usable. ``problems`` lists each one; the message shows all."""

    def __init__(self, problems: tuple[str, ...] | str) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__(self.problems)

    @staticmethod
    def of(problems: Sequence[str]) -> InputError:
        """The error that fits: a MissingDepError where each of the problems is a `Missing`."""
        missing = problems and all(isinstance(problem, Missing) for problem in problems)
        return (MissingDepError if missing else InputError)(tuple(problems))

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return self.problems[0]
        return f"{len(self.problems)} problems:\n" + "\n".join(f"  - {p}" for p in self.problems)


class MissingDepError(InputError, FileNotFoundError):
    """Deps are not there, and that is all that is wrong. ``filename`` is the first of them."""

    def __init__(self, problems: tuple[str, ...] | str) -> None:
        super().__init__(problems)
        self.errno, self.strerror = errno.ENOENT, os.strerror(errno.ENOENT)
        self.filename = next((each.path for each in self.problems if isinstance(each, Missing)), None)


class _AtPath(str):
    """A problem with what is at ``path``."""

    path: str

    def __new__(cls, text: str, path: str) -> Self:
        made = super().__new__(cls, text)
        made.path = path
        return made

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        return str(self), self.path


class Missing(_AtPath):
    """A problem with a dep: there is nothing at ``path``."""


class Changed(_AtPath):
    """A problem with a file: somebody writes to it while it is being read."""


def reworded(problem: str, text: str) -> str:
    """The same problem in other words."""
    return Missing(text, problem.path) if isinstance(problem, Missing) else text


class StoreError(RayS3Error, OSError):
    """The store cannot be opened, read or written."""


class StoreUnreachableError(StoreError):
    """Nobody answers at the store's endpoint."""


class StoreDeniedError(StoreError):
    """Credentials are missing, wrong, expired or not allowed to do this."""


class BucketNotFoundError(StoreError):
    """The bucket does not exist (which S3 tells apart from a missing object only in a listing)."""


class MissingObjectError(StoreError):
    """The store does not hold objects that a manifest or a job names, or other bytes than these.

    ``digests`` lists them; ``names`` what a user knows them by, ``advice`` what can be done.
    """

    def __init__(
        self,
        digests: tuple[str, ...],
        store_url: str,
        names: tuple[str, ...] = (),
        advice: str = "run again to upload them anew",
    ) -> None:
        self.digests = tuple(digests)
        self.store_url = store_url
        self.names = tuple(names)
        self.advice = advice
        super().__init__(self.digests, store_url)

    def __reduce__(self) -> tuple[object, ...]:
        # OSError takes three arguments for an error number, its text and a file
        return MissingObjectError, (self.digests, self.store_url, self.names, self.advice), vars(self)

    def __str__(self) -> str:
        names = self.names or self.digests
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        return (
            f"{len(self.digests)} object(s) are gone from {self.store_url}, or spoilt: {shown}. Somebody may have "
            f"collected garbage there (`dvc gc -c`); {self.advice}."
        )


class CorruptObjectError(StoreError):
    """An object's bytes are not what its name says, or a manifest's rows are not acceptable.

    ``digests`` are those of objects that another upload would mend.
    """

    def __init__(self, text: str, digests: tuple[str, ...] = ()) -> None:
        self.digests = tuple(digests)
        super().__init__(text)


class HomeError(RayS3Error, OSError):
    """What a job wrote cannot be written to its place at home: the disk is full, read-only, gone, …."""

    @staticmethod
    def of(problems: Sequence[Exception]) -> Exception | None:
        """The error of a job's outs: the only one that there is, or one that tells all; None where there is none."""
        if len(problems) < 2:
            return next(iter(problems), None)
        return HomeError(f"{len(problems)} outs did not come home: {'; '.join(map(str, problems))}")


class NodeDiskError(RayS3Error, OSError):
    """A node's disk cannot take what a job needs: it is full, read-only, broken, …. The message says what to do."""


class ClusterError(RayS3Error, RuntimeError):
    """Ray cannot be reached, or no node of it can ever serve the request."""


class ClusterLostError(ClusterError):
    """The connection to Ray has ended while jobs were running: no more of them will come back."""


class PackagesError(ClusterError):
    """A node's packages differ from the driver's, and cannot be made the same there."""


class PicklingError(RayS3Error, TypeError):
    """A function, argument or return value cannot travel between driver and worker."""


class JobError(RayS3Error, RuntimeError):
    """A job's process died, or its own exception cannot be rebuilt on the driver."""


class JobDiedError(JobError):
    """A job's process crashed, was killed (for its memory, say), or went with its node.

    ``exit_code`` is that of its process, -n where signal n ended it; None where it is not known.
    """

    exit_code: int | None = None

    def with_code(self, code: int) -> JobDiedError:
        """The same error, once it is known how the process ended."""
        made = JobDiedError(str(self).replace(UNKNOWN_END, f"its process {ending(code)}"))
        made.exit_code, made.__cause__ = code, self.__cause__
        return made


class JobCancelledError(JobError):
    """A job was stopped before it had finished, by Ctrl-C or from elsewhere."""


class RemoteTraceback(Exception):
    """The worker's traceback as text: the ``__cause__`` of an exception that came back from there."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(text)

    def __str__(self) -> str:
        return f"\n{self.text.rstrip()}\n"


UNKNOWN_END = "its process died without reporting an error (killed, os._exit or a segmentation fault)"


def ending(code: int) -> str:
    """How a process with this exit code (-n: signal n) ended, in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # one of the real-time signals that have no name
        return f"was killed by signal {-code}"


def text_of(error: BaseException) -> str:
    """``str(error)``, also of an exception whose own ``__str__`` fails."""
    try:
        return str(error)
    except Exception as exc:
        return f"(its __str__ raised {type(exc).__name__})"


def without_passwords(text: str) -> str:
    """``text`` with user and password blanked in its URLs; a password may hold an ``@`` itself."""
    return _PASSWORD.sub("://***@", text)

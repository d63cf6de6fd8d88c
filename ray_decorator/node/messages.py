"""What a supervisor and its runner tell each other, each pickled, through their pipe.

    supervisor ── Request ─────────────▶ runner
               ◀───────── NestedRay ────
               ◀───── AskCredentials ───
               ── NewCredentials ──────▶
               ◀──────────── Finished ──

Standard library only: both ends import it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..core.values.stores import Credentials


@dataclass(frozen=True, slots=True)
class Request:
    """Do ``verb`` for a job. What is pickled stays so until the runner needs it.

    ``environ`` is the Ray worker's environment of this moment, ``node`` what the user sees of this node.
    ``renewable``: the runner may ask for newer credentials.
    """

    verb: str
    func: bytes = field(repr=False)
    job: bytes = field(repr=False)
    store: bytes = field(repr=False)
    private: bytes = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)
    node: str
    renewable: bool


@dataclass(frozen=True, slots=True)
class NestedRay:
    """The job connects to Ray itself, and is another driver to it from now on."""


@dataclass(frozen=True, slots=True)
class AskCredentials:
    """The job's credentials end; a NewCredentials is expected."""


@dataclass(frozen=True, slots=True)
class NewCredentials:
    """The newest ones, None where there are none; ``problem`` says why asking the driver failed."""

    credentials: Credentials | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """The request is done; ``receipt`` is the pickled `Receipt`, or that of None: nothing to rescue.

    ``last``: its job has left threads or children, and the runner takes no other.
    """

    receipt: bytes = field(repr=False)
    last: bool = False

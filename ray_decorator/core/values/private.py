"""What of a job is kept from others: it travels beside the job, in an argument that Ray keeps in memory alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from .inherited import Inherited
from .stores import Credentials


@dataclass(frozen=True, slots=True)
class Private:
    """What travels with a job, but apart from it, so that Ray keeps it in memory and writes it nowhere."""

    credentials: Credentials | None = field(repr=False)
    inherited: Inherited

"""What a call does, and what its job is called in the ledger: values that travel with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Work:
    """What a call does, but for the code that does it and what it reads.

    ``module``, ``name`` and ``source`` are its function's: name in the module, and the real path of the file that has
    it ("": none has). ``config`` is a digest of all that its front door knows of it: the config, and the variables
    that are carried along. ``configs`` are folders whose YAML files are in that digest, so they are no code. ``app``
    and ``overrides`` are what a person knows it by, and do not count.
    """

    module: str
    name: str
    source: str
    config: str
    configs: tuple[str, ...] = ()
    app: str = ""
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """What a job is called in the ledger. It travels with the job, which leaves a receipt under this name.

    ``id`` "": the driver writes the receipt, once it knows the id. ``run`` is the run's own id. ``before``: key in
    outs -> digest of what the job both reads and writes, as it was when it started. ``known``: the id of a job that
    resumes, whose receipt the driver writes all the same.
    """

    id: str
    run: str
    app: str
    overrides: tuple[str, ...] = ()
    before: Mapping[str, str] = field(default_factory=dict)
    known: str = ""

    @property
    def begins_as(self) -> str:
        """The id under which a later run finds the job's checkpoints; "" where the driver says it, later."""
        return self.id or self.known

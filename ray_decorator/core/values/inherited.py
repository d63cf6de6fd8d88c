"""What a job takes over of the driver's process, as a child process would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

JOB = "RAY_S3_JOB"
"""The variable by which a process is known that a job has started: the pid of the job's own process."""

AWS_IDENTITY = frozenset(
    {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_SECURITY_TOKEN",
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_ROLE_ARN",
        "AWS_ROLE_SESSION_NAME",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    }
)
"""The variables that say who one is to AWS: who chooses one of them has chosen for all."""

AWS_PROFILES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
"""Those that name a profile, and hold no secret."""


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable of the driver's; ``value`` None where it was unset.

    ``real`` is the value with all links resolved where it is an absolute path, else None.
    """

    value: str | None = field(repr=False)
    real: str | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a job takes over of the driver's process: these variables, ``argv`` (empty: it has none), and ``modules``.

    The latter were loaded from a file by a name that does not lead to it (`importlib`'s recipe): real paths by names.

    ``aws`` are all ``AWS_*`` variables of the driver, and those that it has unset: on its own machine a job has these
    and no others. ``aws_everywhere`` names those that go to other machines, too. None: a job's AWS variables are
    its node's, or `job.aws.identity` sets them.

    All may hold secrets: they are never shown.
    """

    environ: Mapping[str, Variable] = field(repr=False, default_factory=dict)
    argv: tuple[str, ...] = field(repr=False, default=())
    aws: Mapping[str, Variable] | None = field(repr=False, default=None)
    aws_everywhere: frozenset[str] = frozenset()
    modules: Mapping[str, str] = field(default_factory=dict)

    @property
    def profiles(self) -> frozenset[str]:
        """The names by which a job of an S3 store knows the driver's profile."""
        found = (self.environ.get(name) for name in AWS_PROFILES)
        return frozenset(each.value for each in found if each is not None and each.value)

    def without_aws(self) -> Inherited:
        """The same for a job whose AWS variables are its node's."""
        return replace(self, aws=None, aws_everywhere=frozenset())

    def without_aws_identity(self) -> Inherited:
        """The same for a job to which an S3 store says who the driver is, and whose certificates it trusts.

        What else the app has set itself or the config names (``AWS_ENDPOINT_URL``, ``AWS_REGION``) it can read. A
        profile that they name is the driver there, too: see `profiles`. Keys, roles and files stay at home, even
        where the config names them: ``hydra.job.env_copy`` takes them along.
        """
        names = self.aws_everywhere - (AWS_IDENTITY - {*AWS_PROFILES}) - {"AWS_CA_BUNDLE"}
        readable = {name: variable for name, variable in (self.aws or {}).items() if name in names}
        return replace(self.without_aws(), environ={**self.environ, **readable})

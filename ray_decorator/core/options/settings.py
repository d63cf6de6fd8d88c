"""Options: what a user may set, whatever the front door. Arguments over environment over defaults, checked once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypedDict

from ..errors import InputError
from ..machine.directories import cache_home
from ..machine.network import host_and_port, is_this_machine
from ..values.inherited import Inherited
from ..values.stores import DvcDirectory
from .job_options import for_ray
from .retries import NO_RETRIES, Retries, retries_of
from .s3_account import S3Account

_CHOICES = {"packages": ("auto", "none"), "code": ("auto", "none"), "credentials": ("driver", "worker")}
_ON_THIS_MACHINE = ("local", "auto")  # though a Ray that "auto" finds may have nodes elsewhere


Resume = Literal["", "finished", "failed"]
"""Which jobs with receipts are run again: "" all, "finished" none, "failed" those that failed."""

_RESUMES: Mapping[Any, Resume] = {True: "finished", "true": "finished", "failed": "failed"}


class OptionArguments(TypedDict, total=False):
    """The fields of `Options` as keyword arguments of a front door."""

    ray_address: str | None
    s3_base_path: str | None
    ray_init_kwargs: Mapping[str, Any] | None
    ray_remote_kwargs: Mapping[str, Any] | None
    max_concurrent: int | None
    packages: str | Mapping[str, Sequence[str]] | None
    code: str | None
    credentials: str | None
    code_include: Sequence[str] | None
    resume: bool | str | None
    checkpoint_interval: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a user may set. None or empty is left to the environment, then to the default.

    ``ray_address`` is ``local`` (a private Ray on this machine), ``auto``, ``host:port`` or
    ``ray://host:port``; else RAY_ADDRESS, else ``local``. ``s3_base_path`` is ``s3://bucket/prefix``,
    ``file:///directory``, or a remote of the app's DVC repository: ``dvc`` (its default one) or ``dvc://name``; else
    RAY_S3_BASE_PATH, else, for ``local``, ``auto`` and an address of this machine's, none is needed as long as
    all workers run here (a directory in the user's cache serves other Pythons). ``ray_init_kwargs``
    are for ``ray.init``, ``ray_remote_kwargs`` for each job, as for ``ray.remote``; of these, ``max_retries`` (0)
    and ``retry_exceptions`` are obeyed here: see `retries.retries_of`. ``max_concurrent`` is how many jobs
    may be in flight at once, None for as many as the cluster takes. ``checkpoint_interval``: every so many seconds,
    whole files of keys in both deps and outs go to the store while a job runs, and another attempt begins with them;
    None for none but those that a job makes itself (`ray_decorator.checkpoint`).

    Of jobs on other machines: ``packages`` is ``auto`` (the driver's, but for those that only DVC needs where the
    project's pyproject.toml does not ask for it), ``none`` (left as they are), or a mapping that chooses from the
    driver's: ``only`` these names and what they require, ``exclude`` these and what they alone require. ``code`` is
    ``auto`` (the project's) or ``none``, ``credentials`` (for S3) the ``driver``'s or the ``worker``'s; else
    RAY_S3_PACKAGES, RAY_S3_CODE, RAY_S3_CREDENTIALS, else the first of the two. ``code_include`` names files that
    travel as code though they are ignored or look like secrets: lines as in a .gitignore at the project's root.
    ``resume``, for Hydra jobs: True brings home what earlier runs have finished, instead of running it again;
    ``failed`` does so, too, but runs again what has failed.
    """

    ray_address: str | None = None
    s3_base_path: str | None = None
    ray_init_kwargs: Mapping[str, Any] | None = None
    ray_remote_kwargs: Mapping[str, Any] | None = None
    max_concurrent: int | None = None
    packages: str | Mapping[str, Sequence[str]] | None = None
    code: str | None = None
    credentials: str | None = None
    code_include: Sequence[str] | None = None
    resume: bool | str | None = None
    checkpoint_interval: float | None = None

    def over(self, other: Options) -> Options:
        """These options; fields that are not set here come from ``other``, and mappings are merged."""
        return Options(
            **{each.name: _over(getattr(self, each.name), getattr(other, each.name)) for each in fields(self)}
        )

    def resolve(self) -> Settings:
        """The settings to run with.

        Raises InputError, naming every problem, for a Ray elsewhere without a store that it can reach,
        for an address of no known form, for a ``max_concurrent`` below 1, for a value that is no choice, for a
        ``code_include`` that is no list, and for a ``checkpoint_interval`` that is no time.
        """
        chosen: dict[str, Any] = {
            name: getattr(self, name) or os.environ.get(f"RAY_S3_{name.upper()}") or choices[0]
            for name, choices in _CHOICES.items()
        }
        address = self.ray_address or os.environ.get("RAY_ADDRESS") or "local"
        chosen_packages, wrong_packages = _chosen_packages(chosen["packages"])
        url = self.s3_base_path or os.environ.get("RAY_S3_BASE_PATH") or None
        retries, wrong_retries = _retries(self.ray_remote_kwargs or {})
        remote, refused = for_ray(self.ray_remote_kwargs or {})
        problems = [
            *_address_problems(address),
            *_reach_problems(address, url),
            *_limit_problems(self.max_concurrent),
            *_choice_problems(chosen),
            *wrong_packages,
            *_list_problems(self.code_include),
            *_resume_problems(self.resume),
            *_interval_problems(self.checkpoint_interval),
            *refused,
            *wrong_retries,
        ]
        if problems:
            raise InputError(tuple(problems))
        return Settings(
            ray_address=address,
            store_url=url or (cache_home() / "store").as_uri(),
            store_is_default=url is None,
            ray_init_kwargs=dict(self.ray_init_kwargs or {}),
            ray_remote_kwargs=remote,
            retries=retries,
            max_concurrent=self.max_concurrent,
            code_include=tuple(self.code_include or ()),
            resume=_RESUMES.get(self.resume, ""),
            checkpoint_interval=self.checkpoint_interval,
            **{**chosen, **chosen_packages},
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """Options as resolved: where to run, and where to stage.

    ``ray_remote_kwargs`` are those that Ray gets. ``store_is_default`` says that no store was named, and that Ray
    seems to run on this machine, which it is to prove yet: ``store_url`` is then a directory in the user's cache.
    ``packages_only`` and ``packages_exclude`` choose from the driver's; None where they are not given. Where the
    store is a DVC remote, ``store_name`` is how the user named it, and ``account`` what its settings say of S3.
    """

    ray_address: str
    store_url: str
    store_is_default: bool
    ray_init_kwargs: Mapping[str, Any] = field(default_factory=dict)
    ray_remote_kwargs: Mapping[str, Any] = field(default_factory=dict)
    retries: Retries = NO_RETRIES
    max_concurrent: int | None = None
    packages: str = "auto"
    packages_only: tuple[str, ...] | None = None
    packages_exclude: tuple[str, ...] | None = None
    code: str = "auto"
    credentials: str = "driver"
    code_include: tuple[str, ...] = ()
    resume: Resume = ""
    checkpoint_interval: float | None = None
    store_name: str = ""
    account: S3Account | DvcDirectory | None = None

    def given(self, inherited: Inherited) -> Inherited:
        """What of it jobs are given. With ``credentials: worker``, who they are to AWS is their node's affair."""
        if self.credentials == "worker":
            return inherited.without_aws()
        return inherited.without_aws_identity() if self.store_url.startswith("s3://") else inherited


def _retries(remote: Mapping[str, Any]) -> tuple[Retries, tuple[str, ...]]:
    try:
        return retries_of(remote), ()
    except InputError as exc:
        return NO_RETRIES, exc.problems


def _over(ours: Any, theirs: Any) -> Any:
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return {**theirs, **ours}
    return theirs if ours is False or ours in (None, "", {}, [], ()) else ours


def _address_problems(address: str) -> list[str]:
    if address in _ON_THIS_MACHINE:
        return []
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and "/" not in host and port.isdigit():
        return []
    return [
        f"ray_address is {address!r}; expected 'local', 'auto', 'host:port' (such as 10.0.0.1:6379) or "
        "'ray://host:port' (such as ray://10.0.0.1:10001)"
    ]


def _reach_problems(address: str, url: str | None) -> list[str]:
    if address in _ON_THIS_MACHINE or url is not None:
        return []
    if not _address_problems(address) and is_this_machine(host_and_port(address)[0]):
        return []
    return [
        f"ray_address is {address!r}, but there is no s3_base_path: workers on other machines cannot see "
        "this machine's disk. Set s3_base_path (or RAY_S3_BASE_PATH) to s3://bucket/prefix"
    ]


def _limit_problems(limit: int | None) -> list[str]:
    if limit is None or limit >= 1:
        return []
    return [f"max_concurrent is {limit}; expected 1 or more, or null"]


def _chosen_packages(packages: Any) -> tuple[dict[str, Any], list[str]]:
    """The fields of `Settings` for a mapping, and what is wrong with it."""
    if not isinstance(packages, Mapping):
        return {}, []
    lists = {key: names for key, names in packages.items() if names is not None}
    wrong = [key for key in lists if key not in ("only", "exclude")] or [
        key
        for key, names in lists.items()
        if isinstance(names, str)
        or not isinstance(names, Sequence)
        or not all(isinstance(x, str) for x in names)
    ]
    if wrong:
        return {}, [
            f"packages is {dict(packages)!r}; expected auto, none, or a mapping of lists of names, such as "
            "{'exclude': ['dvc']} or {'only': ['torch']}"
        ]
    return {"packages": "auto", **{f"packages_{key}": tuple(names) for key, names in lists.items()}}, []


def _interval_problems(interval: Any) -> list[str]:
    if interval is None or (
        isinstance(interval, int | float) and not isinstance(interval, bool) and interval > 0
    ):
        return []
    return [f"checkpoint_interval is {interval!r}; expected seconds, such as 60, or null"]


def _list_problems(include: Any) -> list[str]:
    if include is None or (
        isinstance(include, Sequence)
        and not isinstance(include, str)
        and all(isinstance(x, str) for x in include)
    ):
        return []
    return [f"code_include is {include!r}; expected a list of patterns, such as ['generated/']"]


def _resume_problems(resume: Any) -> list[str]:
    if isinstance(resume, bool) or resume in (None, "false", "true", "failed"):
        return []
    return [f"resume is {resume!r}; expected false, true or 'failed'"]


def _choice_problems(chosen: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} is {value!r}; expected {' or '.join(_CHOICES[name])}"
        for name, value in chosen.items()
        if value not in _CHOICES[name] and not (name == "packages" and isinstance(value, Mapping))
    ]

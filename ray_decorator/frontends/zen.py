"""``ray_zen`` and ``RayZen``: hydra-zen's ``zen``, whose call runs on Ray.

Needs hydra-zen. On the driver a config is read where deps and outs say so, and otherwise travels as it
is: resolving, pre_call and instantiating are the worker's.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ParamSpec, TypedDict, TypeVar, Unpack, cast, overload

import hydra
from hydra_zen.wrapper import Zen

from ..core.options.settings import OptionArguments
from ..core.values.model import Slot
from . import calls
from .calls import Request
from .supported import check_supported, is_coroutine_function
from .terms import Mark, is_the_task, make_terms

P = ParamSpec("P")
R = TypeVar("R")
Q = ParamSpec("Q")
T = TypeVar("T")

_UNSPECIFIED: Any = object()


class ZenOptions(TypedDict, total=False):
    """The options of ``zen`` itself."""

    exclude: str | Iterable[str] | None
    pre_call: Callable[[Any], Any] | Iterable[Callable[[Any], Any]] | None
    unpack_kwargs: bool
    resolve_pre_call: bool
    run_in_context: bool
    instantiation_wrapper: Callable[[Any], Any] | None


class RayZenOptions(ZenOptions, OptionArguments, total=False):
    """Those, and where and how to run."""


class RayZen(Zen[P, R]):
    """A ``Zen`` whose call runs on a Ray worker; ``local`` is the call here, as zen's own.

    ``deps`` and ``outs`` are keys of the config: ``data_dir``, ``model.weights``. As zen does, it takes coroutine
    functions: its call is to be awaited then, and the worker runs the coroutine to its end.
    """

    def __init__(
        self,
        func: Callable[P, R],
        /,
        *,
        deps: Sequence[str] | None = None,
        outs: Sequence[str] | None = None,
        **options: Unpack[RayZenOptions],
    ) -> None:
        """See :func:`ray_zen`."""
        ours = {name: options.pop(name) for name in OptionArguments.__annotations__ if name in options}  # type: ignore[misc]
        check_supported(func, coroutines=True)
        super().__init__(func, **options)  # type: ignore[misc]
        if self.pre_call is not None:
            self.pre_call = _on_the_same_worker(options["pre_call"])
        self.__ray_s3__ = Mark(make_terms(deps, outs, (), cast(OptionArguments, ours)))
        functools.update_wrapper(self, self.func, updated=())  # Hydra asks it for its module

    def __call__(self, cfg: Any, /) -> R:
        """Extract, resolve, instantiate and call, all on the worker; what the function returns or raises.

        Raises InputError, before anything starts, for deps and outs that are not usable.
        """
        if is_the_task(self.__ray_s3__):
            return cast(R, self._on_worker(cfg))
        if is_coroutine_function(self.func):  # zen's call is to be awaited then, and so is ours
            return cast(R, asyncio.to_thread(self._on_ray, cfg))
        return cast(R, self._on_ray(cfg))

    def _on_ray(self, cfg: Any) -> Any:
        config = self._normalize_cfg(cfg)
        request = Request((config,), {}, config, _place, calls.shown(self.func))
        [outcome] = calls.run(self._on_worker, [request], self.__ray_s3__.terms)
        return calls.value_of(outcome)

    def _on_worker(self, cfg: Any) -> Any:
        value = self.local(cfg)
        return asyncio.run(value) if inspect.iscoroutine(value) else value

    def local(self, cfg: Any, /) -> R:
        """zen's own call, in this process."""
        return super().__call__(cfg)

    @property
    def deps(self) -> list[str]:
        """The config keys of what the function reads, as they were given; empty for ``"dvc"``."""
        return list(self.__ray_s3__.terms.deps)

    @property
    def outs(self) -> list[str]:
        """The config keys of what it writes, as they were given; empty for ``"dvc"``."""
        return list(self.__ray_s3__.terms.outs)

    @property
    def ray_address(self) -> str | None:
        """As it was given; None where the environment or the default decides."""
        return self.__ray_s3__.terms.options.ray_address

    @property
    def s3_base_path(self) -> str | None:
        """As it was given; None where the environment or the default decides."""
        return self.__ray_s3__.terms.options.s3_base_path

    @property
    def ray_init_kwargs(self) -> Mapping[str, Any] | None:
        """As they were given."""
        return self.__ray_s3__.terms.options.ray_init_kwargs

    @property
    def ray_remote_kwargs(self) -> Mapping[str, Any] | None:
        """As they were given."""
        return self.__ray_s3__.terms.options.ray_remote_kwargs

    def hydra_main(
        self,
        config_path: str | None = _UNSPECIFIED,
        config_name: str | None = None,
        version_base: str | None = _UNSPECIFIED,
        execution_whitelist: Any = None,
    ) -> Callable[..., Any]:
        """Run a Hydra app for the function, as zen's own method does.

        What it returns does nothing, for those who write the ``()`` that ``hydra.main`` needs.
        """
        options: dict[str, Any] = {} if version_base is _UNSPECIFIED else {"version_base": version_base}
        if execution_whitelist is not None:
            options["execution_whitelist"] = execution_whitelist
        if isinstance(config_path, str):
            hydra.main(config_path=config_path, config_name=config_name, **options)(self._beside_its_file())()
        else:
            if config_path is None:
                options["config_path"] = None
            hydra.main(config_name=config_name, **options)(self._beside_no_file())()
        return _nothing

    def _beside_no_file(self) -> Callable[[Any], R]:
        """A function of this module: Hydra refuses one of a module without a package, also without a config_path."""

        def task(cfg: Any) -> R:
            return self(cfg)

        task.__ray_s3__ = self.__ray_s3__  # type: ignore[attr-defined]
        return task

    def _beside_its_file(self) -> Callable[[Any], R]:
        """A function that Hydra can trace to the file of ``func``, where a relative config_path starts.

        zen makes one like it, which would hide our mark from the launcher.
        """

        @functools.wraps(self.func)
        def task(cfg: Any) -> R:
            return self(cfg)

        task.__ray_s3__ = self.__ray_s3__  # type: ignore[attr-defined]
        return task


@overload
def ray_zen(
    func: Callable[P, R],
    /,
    *,
    deps: Sequence[str] | None = ...,
    outs: Sequence[str] | None = ...,
    ZenWrapper: type[RayZen[Any, Any]] = ...,
    **options: Unpack[RayZenOptions],
) -> RayZen[P, R]: ...


@overload
def ray_zen(
    func: None = None,
    /,
    *,
    deps: Sequence[str] | None = ...,
    outs: Sequence[str] | None = ...,
    ZenWrapper: type[RayZen[Any, Any]] = ...,
    **options: Unpack[RayZenOptions],
) -> Callable[[Callable[Q, T]], RayZen[Q, T]]: ...


def ray_zen(
    func: Callable[..., Any] | None = None,
    /,
    *,
    deps: Sequence[str] | None = None,
    outs: Sequence[str] | None = None,
    ZenWrapper: type[RayZen[Any, Any]] = RayZen,
    **options: Unpack[RayZenOptions],
) -> Any:
    """``zen`` whose call runs on Ray: in place of ``zen(func, …)``, or of ``@zen(…)``.

    :param deps: config keys of the local files and directories that the function reads. Or ``"dvc"``: all values that
        are deps of the DVC stage that the program runs in.
    :param outs: config keys of those that it writes; they come home to where the config says. Or ``"dvc"``, as above.
    :param ZenWrapper: a subclass of RayZen.
    :param options: zen's own, as in zen: ``pre_call``, ``exclude``, ``unpack_kwargs``, ``resolve_pre_call``,
        ``run_in_context``, ``instantiation_wrapper``; and where and how to run: `core.options.settings.Options`
        explains each. ``ray_address`` is not used where this process is connected to a Ray already.
    """
    make = functools.partial(
        ZenWrapper,
        deps=deps,
        outs=outs,
        **options,
    )
    return make if func is None else make(func)


def _on_the_same_worker(pre_call: Any) -> Callable[[Any], None]:
    """``pre_call`` as it was given, but for a RayZen: what it prepares is wanted where the task runs."""
    if isinstance(pre_call, RayZen):
        return cast("Callable[[Any], None]", pre_call.local)
    if not isinstance(pre_call, Iterable):
        return cast("Callable[[Any], None]", pre_call)
    calls = [_on_the_same_worker(call) for call in pre_call]

    def in_turn(cfg: Any) -> None:
        for call in calls:
            call(cfg)

    return in_turn


def _place(slot: Slot) -> Slot:
    return ("args", 0, *slot)


def _nothing(*_: Any) -> None:
    return None

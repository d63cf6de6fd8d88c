"""Hydra's and OmegaConf's global state, taken along to a worker and put back there afterwards.

Without it `${hydra:runtime.output_dir}`, custom resolvers and structured configs mean nothing there.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import setup_globals
from omegaconf import read_write
from omegaconf.basecontainer import BaseContainer

from ..core.errors import text_of
from ..core.serialization import pickling
from ..core.serialization.failures import add_note
from ..job.process.workplace import start_directory
from .script import paths as script_paths

_UNSET = re.compile(r"Environment variable '([^']+)' not found")

State = bytes
"""Pickled, since what it holds may not be made before Hydra has looked for its plugins: that executes
their modules anew, and classes made before are not theirs any more."""


def captured() -> State:
    """This process's state: Hydra's singletons but for its plugins, and the resolvers.

    Raises PicklingError, naming the resolver or config that cannot travel.
    """
    what = "Hydra's state, with the registered resolvers and configs,"
    return pickling.dumps(Singleton.get_state(), what, script_paths.REDUCTIONS)


@contextlib.contextmanager
def installed(state: State) -> Iterator[None]:
    """``state`` is this process's for the time being."""
    instances, resolvers = Singleton._instances, BaseContainer._resolvers
    try:
        # set_state() looks for plugins anew unless they are there: as long as a small job takes
        plugins = Plugins.instance()
        loaded = pickling.loads(state)
        Singleton.set_state({**loaded, "instances": {**loaded["instances"], Plugins: plugins}})
        setup_globals()
        _start_here()
        yield
    except Exception as exc:
        _advise(exc)
        raise
    finally:
        Singleton._instances, BaseContainer._resolvers = instances, resolvers


def _advise(error: BaseException) -> None:
    """Add what helps where the reason is a variable that is not set here."""
    reason: BaseException | None = error
    seen: set[int] = set()  # causes may lead in a circle
    while reason is not None and id(reason) not in seen:
        seen.add(id(reason))
        if (unset := _UNSET.search(text_of(reason))) is not None:
            name = unset[1]
            note = (
                f"{name} is not set where the job runs. One of these helps: set it before you start the app, since "
                "what the config names as ${oc.env:…} travels (but not what belongs to a machine, such as HOME); "
                f"hydra.job.env_copy=[{name}] or +hydra.job.env_set.{name}=…; or, for all workers, "
                f"+hydra.launcher.ray_init_kwargs.runtime_env.env_vars.{name}=…"
            )
            if note not in getattr(error, "__notes__", ()):
                add_note(error, note)
            return
        reason = reason.__cause__ or reason.__context__


def _start_here() -> None:
    """On another machine the app was started where its code is: ``get_original_cwd()`` leads there."""
    start, config = start_directory(), HydraConfig.instance().cfg
    if start is not None and config is not None:
        runtime = config.hydra.runtime  # type: ignore[attr-defined]  # cfg holds the whole config
        with read_write(runtime):
            runtime.cwd = str(start)

"""A Hydra app's master config and loader, as its sweeper and launcher get them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig
from omegaconf.basecontainer import BaseContainer


@contextmanager
def hydras_singletons() -> Iterator[None]:
    """Hydra has the config, the app and the resolvers afterwards that it has now.

    Singleton.set_state would look for all plugins anew, which takes longer than to compose a config.
    """
    Plugins.instance()
    instances, resolvers = dict(Singleton._instances), dict(BaseContainer._resolvers)
    config = HydraConfig.instance().cfg
    try:
        yield
    finally:
        Singleton._instances, BaseContainer._resolvers = instances, resolvers
        HydraConfig.instance().cfg = config


@contextmanager
def config_loader(conf: Path) -> Iterator[Any]:
    """The loader of an app whose configs are in ``conf``."""
    with initialize_config_dir(str(conf), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        yield hydra.config_loader


@contextmanager
def app(directory: Path, text: str, *overrides: str) -> Iterator[tuple[HydraContext, DictConfig]]:
    """``text`` is the app's config.yaml; it is started by ``python app.py hydra/launcher=ray_s3 overrides``."""
    (directory / "conf").mkdir(exist_ok=True)
    (directory / "conf" / "config.yaml").write_text(text)
    conf = str(directory / "conf")
    with hydras_singletons(), initialize_config_dir(conf, version_base="1.3", job_name="app"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        chosen = ["hydra/launcher=ray_s3", f"hydra.sweep.dir={directory / 'sweep'}", *overrides]
        config = hydra.compose_config("config", chosen, RunMode.MULTIRUN, with_log_configuration=False)
        HydraConfig.instance().set_config(config)
        yield HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(config)), config

"""The launcher's config, and the rule that choosing it is enough: no ``-m`` is needed.

Hydra executes this module at the start of every Hydra app on the machine, and again on every
``Singleton.set_state``. So it imports Hydra and OmegaConf only, and everything it does may be done twice.
"""

from dataclasses import dataclass, field
from typing import Any

import hydra.conf  # noqa: F401  it stores hydra/config, which the rule below extends
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

LAUNCHER = "hydra_plugins.hydra_ray_s3_launcher.ray_s3_launcher.RayS3Launcher"
PROVIDER = "ray_s3_launcher"


@dataclass
class RayS3LauncherConf:
    """``hydra.launcher`` when ``hydra/launcher=ray_s3``, or a preset that builds on it, is chosen."""

    _target_: str = LAUNCHER

    # Plain dicts and lists for the launcher, instead of OmegaConf's (a rule of hydra.utils.instantiate).
    _convert_: str = "all"

    # Config keys (data.path, data.*.file) whose values are local files or directories that a job reads.
    deps: list[str] = field(default_factory=list)

    # Config keys whose values are local files or directories that a job writes; they come home.
    outs: list[str] = field(default_factory=list)

    # Where data travels through: s3://bucket/prefix or file:///directory. null: RAY_S3_BASE_PATH.
    s3_base_path: str | None = None

    # local, auto, host:port or ray://host:port. null: RAY_ADDRESS.
    ray_address: str | None = None

    # For ray.init, once.
    ray_init_kwargs: dict[str, Any] = field(default_factory=dict)

    # For each job, as for ray.remote: num_cpus, num_gpus, resources, max_retries, …
    ray_remote_kwargs: dict[str, Any] = field(default_factory=dict)

    # Jobs in flight at once. null: as many as the cluster allows.
    max_concurrent: int | None = None


def launcher_mode(target: str | None) -> str | None:
    """The ``hydra.mode`` that a launcher's ``_target_`` asks for; None leaves the choice to Hydra.

    Hydra calls launchers in MULTIRUN mode only, so a single job of ours is a sweep of one.
    """
    return "MULTIRUN" if target == LAUNCHER else None


def _register() -> None:
    OmegaConf.register_new_resolver("ray_s3_launcher_mode", launcher_mode, replace=True)
    store = ConfigStore.instance()
    store.store(group="hydra/launcher", name="ray_s3", node=RayS3LauncherConf, provider=PROVIDER)
    # A launcher option cannot set hydra.mode: the value of hydra/config itself lands after its defaults.
    # So the rule is one more default of hydra/config, behind its _self_. It depends on the launcher that
    # was composed in the end, and whatever sets hydra.mode later (the app's config, the shell) still wins.
    # oc.select: an app may have no launcher at all (~hydra/launcher).
    store.store(
        group="hydra/launcher_mode",
        name="auto",
        package="hydra",
        node={"mode": "${ray_s3_launcher_mode:${oc.select:hydra.launcher._target_,null}}"},
        provider=PROVIDER,
    )
    hydra_config = store.load("hydra/config.yaml")
    defaults = hydra_config.node.defaults
    if {"launcher_mode": "auto"} not in defaults:
        if "_self_" not in defaults:
            defaults.append("_self_")
        defaults.append({"launcher_mode": "auto"})
        store.store(group="hydra", name="config", node=hydra_config.node, provider=hydra_config.provider)


_register()

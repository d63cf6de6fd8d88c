"""The launcher's config, and the rule that choosing it is enough: no ``-m`` is needed.

Hydra executes this module at the start of every Hydra app on the machine, and again on every
``Singleton.set_state``. So it imports Hydra only, and everything it does may be done twice.
"""

from dataclasses import dataclass, field
from typing import Any

import hydra.conf  # noqa: F401  it stores hydra/config, which the rule below extends
from hydra.core.config_store import ConfigStore
from hydra.types import RunMode
from omegaconf import OmegaConf

PROVIDER = "ray_s3_launcher"


@dataclass
class RayS3LauncherConf:
    """``hydra.launcher`` when ``hydra/launcher=ray_s3``, or a preset that builds on it, is chosen."""

    _target_: str = "hydra_plugins.hydra_ray_s3_launcher.ray_s3_launcher.RayS3Launcher"

    # Plain dicts and lists for the launcher, instead of OmegaConf's (a rule of hydra.utils.instantiate).
    _convert_: str = "all"

    # Config keys (data.path, data.*.file) of the local files and directories that a job reads.
    deps: list[str] = field(default_factory=list)

    # Config keys of the local files and directories that a job writes; they come home. A key in both is read too.
    outs: list[str] = field(default_factory=list)

    # The store that data travels through: s3://bucket/prefix or file:///directory. null: RAY_S3_BASE_PATH; without
    # that, and with a private Ray, data stays where it is.
    s3_base_path: str | None = None

    # local (a private Ray), auto (one that runs here), host:port or ray://host:port. null: RAY_ADDRESS, else local.
    ray_address: str | None = None

    # Arguments for ray.init.
    ray_init_kwargs: dict[str, Any] = field(default_factory=dict)

    # What each job asks for, as for ray.remote: num_cpus, num_gpus, resources, max_retries, …
    ray_remote_kwargs: dict[str, Any] = field(default_factory=dict)

    # The most jobs in flight at once. null: as the cluster allows (twice what it can run, at least 64).
    max_concurrent: int | None = None

    # On other machines: auto (the driver's packages in their versions, built once a node where they are missing)
    # or none (what is there). null: RAY_S3_PACKAGES, else auto.
    packages: str | None = None

    # On other machines: auto (the project's files that git does not ignore travel) or none. null: RAY_S3_CODE,
    # else auto.
    code: str | None = None

    # Which credentials jobs use for S3: driver (the driver's, which travel with a job and are refreshed) or worker
    # (the node's own). null: RAY_S3_CREDENTIALS, else driver.
    credentials: str | None = None

    # What hydra.mode is unless something else sets it. Hydra calls launchers in MULTIRUN mode only: with
    # MULTIRUN one without -m comes to us as well: see bare_run.py. null: as elsewhere, only -m goes to Ray.
    hydra_mode: RunMode | None = RunMode.MULTIRUN


def _register() -> None:
    store = ConfigStore.instance()
    launcher = OmegaConf.structured(RayS3LauncherConf)
    for name in ("ray_init_kwargs", "ray_remote_kwargs"):  # open to Ray's own keys, without a `+`
        OmegaConf.set_struct(launcher[name], False)
    # for apps alone that choose this launcher; Hydra takes the list out again
    OmegaConf.set_struct(launcher, False)
    launcher.defaults = ["/hydra/callbacks/ray_s3_bare_run@_global_", "_self_"]
    OmegaConf.set_struct(launcher, True)
    store.store(group="hydra/launcher", name="ray_s3", node=launcher, provider=PROVIDER)
    callback = {"_target_": f"{__package__}.bare_run.BareRun"}
    bare_run = {"hydra": {"callbacks": {"ray_s3_bare_run": callback}}}
    store.store(group="hydra/callbacks", name="ray_s3_bare_run", node=bare_run, provider=PROVIDER)
    # A launcher option cannot set hydra.mode: hydra/config's own value lands after its defaults. So that
    # value asks the launcher which was composed in the end; whatever sets hydra.mode later (the app's
    # config, the shell) still wins. This stands in every app's config, whatever its launcher. So it uses
    # none but OmegaConf's own resolvers: one of ours would be gone after OmegaConf.clear_resolvers() or a
    # Singleton.set_state of an earlier state, as tests do, and then no Hydra app in that process would run.
    hydra_config = store.load("hydra/config.yaml")
    if OmegaConf.is_interpolation(hydra_config.node, "mode") or hydra_config.node.mode is not None:
        return  # ours already, or an app's own, which stored its HydraConf(mode=…) before plugins are looked for
    hydra_config.node.mode = "${oc.select:hydra.launcher.hydra_mode,null}"
    store.store(group="hydra", name="config", node=hydra_config.node, provider=hydra_config.provider)


_register()

"""The launcher's config, and the rule that choosing it is enough: no ``-m`` is needed.

Hydra executes this module at the start of every Hydra app on the machine, and again on every
``Singleton.set_state``. So it imports Hydra only, and everything it does may be done twice.
"""

from dataclasses import dataclass, field
from typing import Any

import hydra.conf  # noqa: F401  it stores hydra/config, which the rule below extends
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import OmegaConf

PROVIDER = "ray_s3_launcher"


@dataclass
class RayS3LauncherConf:
    """``hydra.launcher`` when ``hydra/launcher=ray_s3``, or a preset that builds on it, is chosen."""

    _target_: str = "hydra_plugins.hydra_ray_s3_launcher.ray_s3_launcher.RayS3Launcher"

    # Plain dicts and lists for the launcher, instead of OmegaConf's (a rule of hydra.utils.instantiate).
    _convert_: str = "all"

    # Config keys (data.path, data.*.file) of the local files and directories that a job reads. Or the word dvc: what
    # the DVC stage that runs reads, by the config's values. (Any: a list or a word.)
    deps: Any = field(default_factory=list)

    # Config keys of the local files and directories that a job writes; they come home. A key in both is read too. Or
    # the word dvc, as above.
    outs: Any = field(default_factory=list)

    # The store that data travels through: s3://bucket/prefix, file:///directory, or a remote of the app's DVC
    # repository: dvc (its default one), dvc://name. null: RAY_S3_BASE_PATH; without that, and with a private Ray,
    # data stays where it is.
    s3_base_path: str | None = None

    # local (a private Ray), auto (one that runs here), host:port or ray://host:port. null: RAY_ADDRESS, else local.
    ray_address: str | None = None

    # Arguments for ray.init.
    ray_init_kwargs: dict[str, Any] = field(default_factory=dict)

    # What each job asks for, as for ray.remote: num_cpus, num_gpus, memory, …; max_retries (0) and retry_exceptions
    # (true, or dotted names of exception classes) say when it is run again.
    ray_remote_kwargs: dict[str, Any] = field(default_factory=dict)

    # The most jobs in flight at once. null: as the cluster allows (twice what it can run, at least 64).
    max_concurrent: int | None = None

    # On other machines: auto (the driver's packages in their versions, built once a node where they are missing; what
    # only DVC needs stays here where pyproject.toml does not ask for DVC), none (what is there), or a mapping that
    # chooses from the driver's: only, exclude, each a list of names. null: RAY_S3_PACKAGES, else auto.
    packages: Any = None

    # On other machines: auto (the project's files that git does not ignore travel) or none. null: RAY_S3_CODE,
    # else auto.
    code: str | None = None

    # Files that travel as code though git ignores them, they look like secrets or earlier runs brought them home:
    # lines as in a .gitignore at the project's root, such as generated/ or /conf/local.yaml.
    code_include: list[str] = field(default_factory=list)

    # Which credentials jobs use for S3: driver (the driver's, which travel with a job and are refreshed) or worker
    # (the node's own). null: RAY_S3_CREDENTIALS, else driver.
    credentials: str | None = None

    # What earlier runs have done: false (all jobs run), true (jobs that have receipts are brought home instead, also
    # failed ones) or failed (as true, but those that failed run again). (Any: a bool or a word.)
    resume: Any = False

    # While a job runs, every so many seconds, whole files of keys in both deps and outs go to the store. A retry
    # (ray_remote_kwargs.max_retries) begins with the newest. null: when the job calls ray_decorator.checkpoint().
    checkpoint_interval: float | None = None

    # What hydra.mode is unless something else sets it. Hydra calls launchers in MULTIRUN mode only: with
    # MULTIRUN one without -m comes to us as well: see bare_run.py. null: as elsewhere, only -m goes to Ray.
    hydra_mode: RunMode | None = RunMode.MULTIRUN


# The group of the callback for bare runs. This launcher's defaults list alone brings it in, also where a preset
# builds on it: so, once all groups are chosen, it tells whether this launcher was.
_CALLBACK = "hydra/callbacks/ray_s3_bare_run"

# hydra.mode where this launcher was chosen, unless something else sets it.
MODE = "${oc.select:hydra.launcher.hydra_mode,null}"

# Where the launcher itself is an interpolation (`override hydra/launcher: ${oc.env:LAUNCHER,basic}`), nothing is
# known of it yet when the mode is looked for. Then hydra.mode is MODE, whatever the launcher. This entry of the list,
# which is empty, is there for its name: the inner `oc.select` below gives its place, and the outer one then its name.
_LATER = "hydra/ray_s3/later"


def _mode_as_chosen(defaults: list[Any]) -> str:
    """The last entry: ray_s3 where the callback is known, others where a launcher is, else what ``_LATER`` says.

    Hydra takes one slash off before it resolves what is in the braces, and one again afterwards.
    """
    later = f"defaults.{defaults.index('/' + _LATER)}"
    others = f"${{oc.select:${{oc.select:hydra/launcher,{later}}},others}}"
    return f"//hydra/ray_s3/mode/${{oc.select:{_CALLBACK},{others}}}"


def _register() -> None:
    store = ConfigStore.instance()
    launcher = OmegaConf.structured(RayS3LauncherConf)
    for name in ("ray_init_kwargs", "ray_remote_kwargs"):  # open to Ray's own keys, without a `+`
        OmegaConf.set_struct(launcher[name], False)
    # for apps alone that choose this launcher; Hydra takes the list out again
    OmegaConf.set_struct(launcher, False)
    launcher.defaults = [{f"/{_CALLBACK}@_global_.{_CALLBACK.replace('/', '.')}": "ray_s3"}, "_self_"]
    OmegaConf.set_struct(launcher, True)
    store.store(group="hydra/launcher", name="ray_s3", node=launcher, provider=PROVIDER)
    callback = {"_target_": f"{__package__}.bare_run.BareRun"}
    store.store(group=_CALLBACK, name="ray_s3", node=callback, provider=PROVIDER)
    mode = {"hydra": {"mode": MODE}}
    for name, node in (("mode/ray_s3", mode), (f"mode/{_LATER}", mode), ("mode/others", {}), ("later", {})):
        group, _, option = f"hydra/ray_s3/{name}".rpartition("/")
        store.store(group=group, name=option, node=node, package="_global_", provider=PROVIDER)
    let_the_launcher_set_the_mode()


def let_the_launcher_set_the_mode() -> None:
    """Extend the ``hydra/config`` that is stored now, unless it has a mode of the app's own.

    A launcher option cannot set ``hydra.mode`` by itself: the value of ``hydra/config`` comes after its defaults. Now
    one more default comes after that. It sets the mode where this launcher was chosen, and nothing elsewhere: apps
    with other launchers compose the very same config as without this plugin. What comes later (the app's configs,
    the shell) still wins.
    """
    store = ConfigStore.instance()
    stored = store.load("hydra/config.yaml")
    values = OmegaConf.to_container(stored.node, resolve=False, throw_on_missing=False)
    assert isinstance(values, dict)
    defaults = values.get("defaults")
    if values.get("mode") is not None or defaults is None or f"/{_LATER}" in defaults:
        return
    own = [] if "_self_" in defaults else ["_self_"]
    extended = [*defaults, *own, f"/{_LATER}"]
    stored.node.defaults = [*extended, _mode_as_chosen(extended)]
    store.store(group="hydra", name="config", node=stored.node, provider=stored.provider)


class ModeOfTheLauncher(SearchPathPlugin):
    """Hydra asks it at the start of each app, which may have stored a ``hydra/config`` since this module ran."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Leave the search path as it is."""
        let_the_launcher_set_the_mode()


_register()

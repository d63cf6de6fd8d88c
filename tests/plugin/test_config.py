"""Choosing the launcher is enough: a single run goes through it, too, however it was chosen.

Most cases ask ``Hydra.get_mode``, which is what ``@hydra.main`` itself asks before it decides between a
run and a sweep. Where whole apps are run for the rule's sake, ``_core`` is a stand-in that prints what it
was handed: what happens to a job afterwards is other tests' matter, except in the last ones here.
"""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import warm_python
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from plugin_app import hydras_singletons

from hydra_plugins.hydra_ray_s3_launcher.config import RayS3LauncherConf
from hydra_plugins.hydra_ray_s3_launcher.ray_s3_launcher import RayS3Launcher

VERSION_BASES = ["1.1", None]
"""All that Hydra asks is whether it is at least 1.2; None is the newest."""

CONF = {
    "config.yaml": "{x: 0, data: {path: data.csv}}",
    "pinned.yaml": """
        defaults: [config, override hydra/launcher: ray_s3]
        """,
    "pinned_preset.yaml": """
        defaults: [config, override hydra/launcher: cluster]
        """,
    "pinned_basic.yaml": """
        defaults: [config, override hydra/launcher: basic]
        """,
    "pinned_run.yaml": """
        defaults: [config, override hydra/launcher: ray_s3, _self_]
        hydra: {mode: RUN}
        """,
    "variable.yaml": """
        defaults: [config, {override hydra/launcher: "${oc.env:LAUNCHER,basic}"}, _self_]
        """,
    "exp/run.yaml": """
        # @package _global_
        hydra: {mode: RUN}
        """,
    "hydra/launcher/cluster.yaml": """
        defaults: [ray_s3]
        deps: [data.path]
        ray_remote_kwargs: {num_cpus: 2}
        """,
    "hydra/launcher/cluster_gpu.yaml": """
        defaults: [cluster]
        ray_remote_kwargs: {num_gpus: 1}
        """,
}

APP = """
    import hydra
    from hydra.core.hydra_config import HydraConfig

    @hydra.main(version_base={version_base!r}, config_path="conf", config_name="config")
    def main(cfg):
        launcher = HydraConfig.get().launcher._target_.rsplit(".", 1)[-1]
        print(f"TASK {{launcher}} x = {{cfg.x}}\\n", end="", flush=True)  # whole, beside that of another process

    if __name__ == "__main__":
        main()
    """

STAND_IN = """
    import sys, types
    from hydra.core.utils import JobReturn, JobStatus

    def launch(sweep, job_overrides, initial_job_idx):
        print("LAUNCH", [list(job) for job in job_overrides], flush=True)
        return [JobReturn(overrides=job, status=JobStatus.COMPLETED) for job in job_overrides]

    _core, _alone = types.ModuleType("_core"), types.ModuleType("_alone")
    _core.prepare, _core.launch = (lambda *asked: asked), launch
    _alone.run = lambda sweep, arguments: launch(sweep, [arguments], 0)[0]
    sys.modules["hydra_plugins.hydra_ray_s3_launcher._core"] = _core
    sys.modules["hydra_plugins.hydra_ray_s3_launcher._alone"] = _alone
    """


@pytest.fixture(autouse=True)
def _restore_singletons() -> Iterator[None]:
    with hydras_singletons(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s).*version_base")
        yield
        GlobalHydra.instance().clear()


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A directory with a conf/ tree, where apps can be put and run."""
    for name, text in CONF.items():
        file = tmp_path / "conf" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    return tmp_path


@pytest.fixture(params=VERSION_BASES, ids=str)
def version_base(request: pytest.FixtureRequest) -> str | None:
    base: str | None = request.param
    return base


def mode(app: Path, version_base: str | None, config_name: str, *overrides: str) -> RunMode | None:
    with initialize_config_dir(str(app / "conf"), version_base=version_base):
        found: RunMode | None = GlobalHydra.instance().hydra.get_mode(config_name, list(overrides))
        return found


def compose(app: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(app / "conf"), version_base=None):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        return hydra.compose_config("config", list(overrides), RunMode.MULTIRUN, with_log_configuration=False)


def run(app: Path, source: str, *arguments: str, **environ: str) -> str:
    """Run a script beside the app's conf/ and return what it printed (both streams)."""
    script = app / "app.py"
    script.write_text(source)
    environment = {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", "RAY_S3_BASE_PATH")}
    environment |= {"XDG_CACHE_HOME": str(app / "cache"), **environ}
    done = subprocess.run(
        [*warm_python.starter(environment), "-W", "ignore", script.name, *arguments],
        cwd=app,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def source(version_base: str | None, preamble: str = "") -> str:
    return textwrap.dedent(preamble) + textwrap.dedent(APP).format(version_base=version_base)


def lines(output: str, word: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith(word)]


# -- however it is chosen ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config_name", "overrides"),
    [
        ("config", ["hydra/launcher=ray_s3"]),
        ("config", ["hydra/launcher=ray_s3", "hydra.launcher.deps=[data.path]"]),
        ("config", ["hydra/launcher=ray_s3", "x=1,2"]),
        ("config", ["hydra/launcher=cluster"]),
        ("config", ["hydra/launcher=cluster_gpu", "x=1"]),
        ("pinned", []),
        ("pinned", ["x=1,2"]),
        ("pinned_preset", []),
        ("pinned_basic", ["hydra/launcher=ray_s3"]),
        ("pinned_run", ["hydra.mode=MULTIRUN"]),
        ("pinned", ["hydra.launcher.hydra_mode=null", "hydra.mode=MULTIRUN"]),
    ],
)
def test_choosing_the_launcher_is_enough(
    app: Path, version_base: str | None, config_name: str, overrides: list[str]
) -> None:
    assert mode(app, version_base, config_name, *overrides) is RunMode.MULTIRUN


@pytest.mark.parametrize(
    ("config_name", "overrides"),
    [
        ("config", ["hydra/launcher=ray_s3", "hydra.mode=RUN"]),
        ("config", ["hydra/launcher=cluster", "hydra.mode=RUN"]),
        ("pinned", ["hydra.mode=RUN"]),
        ("pinned_run", []),
        ("config", ["hydra/launcher=cluster", "+exp=run"]),
    ],
)
def test_a_mode_that_the_user_sets_wins(
    app: Path, version_base: str | None, config_name: str, overrides: list[str]
) -> None:
    assert mode(app, version_base, config_name, *overrides) is RunMode.RUN


@pytest.mark.parametrize(
    ("config_name", "overrides"),
    [
        ("config", []),
        ("config", ["hydra/launcher=basic"]),
        ("config", ["hydra/launcher=joblib", "x=1,2"]),
        ("config", ["~hydra/launcher"]),
        ("pinned", ["hydra/launcher=basic"]),
        ("pinned_preset", ["hydra/launcher=joblib"]),
        ("pinned", ["hydra.launcher.hydra_mode=null"]),
    ],
)
def test_other_launchers_leave_the_mode_to_hydra(
    app: Path, version_base: str | None, config_name: str, overrides: list[str]
) -> None:
    assert mode(app, version_base, config_name, *overrides) is None


@pytest.mark.parametrize(
    ("launcher", "expected"),
    [(None, None), ("basic", None), ("joblib", None), ("ray_s3", RunMode.MULTIRUN), ("cluster", RunMode.MULTIRUN)],
)  # fmt: skip
def test_a_variable_may_choose_the_launcher(
    app: Path, version_base: str | None, launcher: str | None, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAUNCHER", raising=False)
    if launcher is not None:
        monkeypatch.setenv("LAUNCHER", launcher)
    assert mode(app, version_base, "variable") is expected


@pytest.mark.parametrize("launcher", ["basic", "ray_s3"])
def test_the_command_line_wins_over_a_variable(
    app: Path, launcher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUNCHER", launcher)
    assert mode(app, None, "variable", "hydra/launcher=cluster") is RunMode.MULTIRUN
    assert mode(app, None, "variable", "hydra/launcher=basic") is None
    assert mode(app, None, "variable", "hydra.mode=RUN") is RunMode.RUN


def test_registering_again_changes_nothing(app: Path, version_base: str | None) -> None:
    before = ConfigStore.instance().load("hydra/config.yaml").node
    for _ in range(2):  # Hydra executes plugin modules again on every set_state
        Singleton.set_state(Singleton.get_state())
    assert ConfigStore.instance().load("hydra/config.yaml").node == before
    assert mode(app, version_base, "config", "hydra/launcher=ray_s3") is RunMode.MULTIRUN
    assert mode(app, version_base, "config") is None


def test_an_app_survives_the_loss_of_all_custom_resolvers(app: Path) -> None:
    """As tests do between two cases; hydra.mode is read in every app, whatever its launcher."""
    OmegaConf.clear_resolvers()
    assert compose(app).hydra.mode is None
    assert compose(app, "hydra/launcher=ray_s3").hydra.mode is RunMode.MULTIRUN


def test_hydras_own_part_of_a_config_can_be_read_on_its_own(app: Path) -> None:
    alone = OmegaConf.create({"kept": OmegaConf.to_container(compose(app).hydra)})
    assert alone.kept.mode is None


# -- its config --------------------------------------------------------------------------------------


def test_a_preset_keeps_the_launchers_defaults_and_types(app: Path) -> None:
    launcher = compose(app, "hydra/launcher=cluster_gpu", "hydra.launcher.max_concurrent=3").hydra.launcher
    assert launcher.deps == ["data.path"]
    assert launcher.outs == []
    assert launcher.ray_remote_kwargs == {"num_cpus": 2, "num_gpus": 1}
    assert launcher.max_concurrent == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hydra.launcher.dep=[data.path]", "hydra.launcher.dep"),
        ("hydra.launcher.max_concurrent=many", "hydra.launcher.max_concurrent=many"),
        ("hydra.launcher.code_include=x", "hydra.launcher.code_include=x"),
    ],
)
def test_a_key_or_value_that_cannot_be_is_refused_by_its_name(app: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigCompositionException, match=message.replace(".", r"\.")):
        compose(app, "hydra/launcher=ray_s3", override)


def test_the_composed_config_is_the_one_that_is_registered(app: Path) -> None:
    launcher = compose(app, "hydra/launcher=ray_s3").hydra.launcher
    assert set(launcher) == {each.name for each in fields(RayS3LauncherConf)}
    assert launcher._target_ == f"{RayS3Launcher.__module__}.{RayS3Launcher.__qualname__}"


def test_the_launcher_gets_plain_values(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose(app, "hydra/launcher=cluster", "hydra.launcher.outs=[model.path]").hydra.launcher
    plugins = Plugins.instance()
    known = {kind: list(classes) for kind, classes in plugins.plugin_type_to_subclass_list.items()}
    monkeypatch.setattr(plugins, "plugin_type_to_subclass_list", known)  # for others, Hydra has found it once
    plugins.register(RayS3Launcher)
    launcher: Any = plugins._instantiate(config)
    assert (launcher.deps, launcher.outs) == (["data.path"], ["model.path"])
    assert type(launcher.options["ray_remote_kwargs"]) is dict
    assert [launcher.options[key] for key in ("s3_base_path", "ray_address", "max_concurrent")] == [None] * 3


# -- whole apps, with a stand-in for what follows ----------------------------------------------------


@pytest.mark.app
def test_an_app_hands_single_runs_and_sweeps_to_the_launcher(app: Path, version_base: str | None) -> None:
    script = source(version_base, STAND_IN)
    for arguments, jobs in [
        (["hydra/launcher=ray_s3"], "[[]]"),
        (["hydra/launcher=cluster", "x=1,2"], "[['x=1'], ['x=2']]"),
        (["hydra/launcher=ray_s3", "x=1,2", "-m"], "[['x=1'], ['x=2']]"),
        (["--config-name=pinned", "x=5"], "[['x=5']]"),
    ]:
        output = run(app, script, *arguments)
        assert lines(output, "LAUNCH") == [f"LAUNCH {jobs}"]
        assert lines(output, "TASK") == []


@pytest.mark.app
def test_an_app_runs_here_when_told_so(app: Path, version_base: str | None) -> None:
    output = run(app, source(version_base, STAND_IN), "hydra/launcher=ray_s3", "hydra.mode=RUN", "x=3")
    assert lines(output, "LAUNCH") == []
    assert lines(output, "TASK") == ["TASK RayS3Launcher x = 3"]


STORED = """
    from dataclasses import dataclass
    from hydra.conf import HydraConf
    from hydra.core.config_store import ConfigStore
    from hydra.core.plugins import Plugins
    from hydra.types import RunMode
    from hydra_zen import ZenStore
    from omegaconf import SI

    @dataclass
    class Mine(HydraConf):
        mode: RunMode = RunMode.MULTIRUN

    def store(node):
        ConfigStore.instance().store(group="hydra", name="config", node=node)

    """

RUN = "store(HydraConf(mode=RunMode.RUN))"


@pytest.mark.app
@pytest.mark.parametrize(
    ("stores", "arguments", "printed"),
    [
        (RUN, ["hydra/launcher=ray_s3"], ["TASK RayS3Launcher x = 0"]),
        (RUN, ["hydra/launcher=ray_s3", "-m"], ["LAUNCH [[]]"]),
        ("store(Mine)", ["hydra/launcher=ray_s3"], ["LAUNCH [[]]"]),
        ("store(HydraConf(mode=SI('${oc.env:NO,RUN}')))", ["hydra/launcher=ray_s3"], ["TASK RayS3Launcher x = 0"]),
        (f"Plugins.instance(); {RUN}", ["hydra/launcher=cluster"], ["TASK RayS3Launcher x = 0"]),
        ("Plugins.instance(); store(HydraConf(verbose=False))", ["hydra/launcher=cluster"], ["LAUNCH [[]]"]),
        ("mine = ZenStore(overwrite_ok=True); mine(HydraConf(mode=RunMode.RUN)); mine.add_to_hydra_store()",
         ["hydra/launcher=ray_s3"], ["TASK RayS3Launcher x = 0"]),
    ],
)  # fmt: skip
def test_what_an_app_stores_for_hydra_counts(
    app: Path, stores: str, arguments: list[str], printed: list[str]
) -> None:
    output = run(app, textwrap.dedent(STORED) + f"{stores}\n" + source("1.3", STAND_IN), *arguments)
    assert [line for line in output.splitlines() if line.startswith(("TASK", "LAUNCH"))] == printed


HYDRA_ZEN = """
    import sys
    from hydra_zen import launch

    def task(cfg):
        print("TASK", "x =", cfg.x, flush=True)
        return cfg.x

    if __name__ == "__main__":
        overrides = ["hydra/launcher=ray_s3", f"x={sys.argv[2]}"]
        launch(dict(x=0), task, overrides, multirun=sys.argv[1] == "multirun", version_base="1.3")
    """


@pytest.mark.app
def test_hydra_zen_launch_asks_the_launcher_for_multiruns_only(app: Path) -> None:
    script = textwrap.dedent(STAND_IN) + textwrap.dedent(HYDRA_ZEN)
    assert lines(run(app, script, "multirun", "1,2"), "LAUNCH") == ["LAUNCH [['x=1'], ['x=2']]"]
    # without multirun, hydra-zen calls the task itself, whatever the launcher or hydra.mode
    assert lines(run(app, script, "run", "3"), "TASK") == ["TASK x = 3"]


# -- the whole way -----------------------------------------------------------------------------------

ON_RAY = """
    import json, os, sys
    from pathlib import Path
    import hydra
    from hydra.core.hydra_config import HydraConfig

    @hydra.main(version_base="1.3", config_path="conf", config_name="config")
    def main(cfg):
        seen = {"x": cfg.x, "pid": os.getpid(), "data": Path(cfg.data.path).read_text()}
        Path(HydraConfig.get().runtime.output_dir, "seen.json").write_text(json.dumps(seen))

    if __name__ == "__main__":
        print("DRIVER", os.getpid(), flush=True)
        main()
    """


def seen(app: Path, output: str, places: str) -> list[dict[str, Any]]:
    """What the jobs of ON_RAY have seen; they ran in other processes than the driver."""
    driver = int(lines(output, "DRIVER")[0].split()[1])
    found = [json.loads(file.read_text()) for file in sorted(app.glob(places))]
    assert driver not in [each.pop("pid") for each in found]
    return found


@pytest.mark.app
def test_an_app_without_any_flag_sweeps_on_ray(app: Path, ray_session: str) -> None:
    (app / "data.csv").write_text("1,2\n")
    arguments = ["--config-name=pinned_preset", "x=1,2", "hydra.launcher.ray_remote_kwargs.num_cpus=1"]
    there = {"RAY_ADDRESS": ray_session, "RAY_S3_BASE_PATH": app.as_uri()}
    output = run(app, textwrap.dedent(ON_RAY), *arguments, **there)
    assert seen(app, output, "multirun/*/*/*/seen.json") == [{"x": x, "data": "1,2\n"} for x in (1, 2)]

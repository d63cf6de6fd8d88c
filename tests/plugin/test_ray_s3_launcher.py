"""The launcher as Hydra makes it: light, with plain values, and an error where Hydra's order is not kept."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher

from hydra_plugins.hydra_ray_s3_launcher.config import RayS3LauncherConf
from hydra_plugins.hydra_ray_s3_launcher.ray_s3_launcher import RayS3Launcher
from ray_decorator.core.options.settings import Options


def test_hydra_finds_it() -> None:
    found = [each for each in Plugins.instance().discover(Launcher) if each.__name__ == "RayS3Launcher"]
    assert [each.__module__ for each in found] == [RayS3Launcher.__module__]


def test_its_config_has_each_option_of_ours_and_three_of_its_own() -> None:
    named = [each.name for each in fields(RayS3LauncherConf) if not each.name.startswith("_")]
    assert sorted(named) == sorted([*(each.name for each in fields(Options)), "deps", "outs", "hydra_mode"])


def test_it_keeps_what_it_is_given() -> None:
    launcher = RayS3Launcher(deps=["a"], outs=["b"], hydra_mode=None, max_concurrent=3)
    assert (launcher.deps, launcher.outs, launcher.options) == (["a"], ["b"], {"max_concurrent": 3})


def test_launch_without_setup_says_what_is_missing() -> None:
    with pytest.raises(RuntimeError, match=r"calls setup\(\) before launch\(\)"):
        RayS3Launcher().launch([["x=1"]], 0)


def test_importing_it_is_light() -> None:
    code = (
        f"import sys, {RayS3Launcher.__module__}\n"
        "print(*sorted({'ray', 'obstore', 'boto3', 'rich', 'hydra_zen'} & set(sys.modules)))\n"
        "print(*(name for name in sys.modules if name.startswith('ray_decorator')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("\n\n", "")

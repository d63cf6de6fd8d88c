"""`ray-s3` in this process: which settings its overrides make, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from ray_decorator import __main__ as command
from ray_decorator.core.errors import InputError


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "in_full"),
    [
        ("packages=none", "hydra.launcher.packages=none"),
        ("ray_init_kwargs.namespace=n", "hydra.launcher.ray_init_kwargs.namespace=n"),
        ("+ray_remote_kwargs.x=1", "+hydra.launcher.ray_remote_kwargs.x=1"),
        ("++code=none", "++hydra.launcher.code=none"),
        ("~deps", "~hydra.launcher.deps"),
        ("hydra.launcher.code=none", "hydra.launcher.code=none"),
        ("hydra/launcher=cluster", "hydra/launcher=cluster"),
        ("x=1", "x=1"),
        ("codes=1", "codes=1"),
    ],
)
def test_short_keys_are_the_launchers(given: str, in_full: str) -> None:
    assert command._in_full(given) == in_full


def test_overrides_are_settings() -> None:
    settings = command._settings(["s3_base_path=s3://b/x", "ray_remote_kwargs.num_cpus=2", "code=none"], None)
    assert (settings.store_url, settings.code) == ("s3://b/x", "none")
    assert settings.ray_remote_kwargs == {"num_cpus": 2}


@pytest.mark.parametrize("directory", ["conf", "config", "elsewhere"])
def test_presets_are_found(directory: str, project: Path) -> None:
    presets = project / directory / "hydra" / "launcher"
    presets.mkdir(parents=True)
    (presets / "mine.yaml").write_text("defaults: [ray_s3]\npackages: none\n")
    told = project / directory if directory == "elsewhere" else None
    assert command._settings(["hydra/launcher=mine"], told).packages == "none"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["s3_base_pth=s3://x"], "Could not override 's3_base_pth'"),
        (["max_concurrent=many"], "Value 'many' of type 'str' could not be converted to Integer"),
        (["hydra/launcher=basic"], "hydra/launcher=basic is another launcher: expected ray_s3"),
        (["ray_address=10.0.0.1:6379"], "there is no s3_base_path"),
        (["s3_base_path=${nowhere}"], "nowhere"),
    ],
)
def test_what_cannot_be_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        command._settings(overrides, None)
    assert message in str(caught.value)


def test_a_refusal_is_a_finding_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["doctor", "packages=some"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("wrong") and "packages is 'some'; expected auto or none" in out
    assert command.main(["doctor", "--config-dir", "nowhere"]) == 1
    assert "--config-dir nowhere is no directory" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), ([], 2), (["nurse"], 2)])
def test_the_command_line(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(arguments)
    assert caught.value.code == code
    said = capsys.readouterr()
    assert "usage: ray-s3" in said.out + said.err

"""The command line: ``ray-s3 doctor|fetch|jobs|clean …``, also as ``python -m ray_decorator``."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .core.errors import InputError
from .doctor.findings import Finding, show

if TYPE_CHECKING:
    from .core.options.settings import Settings

_LAUNCHER = "hydra/launcher"
_TARGET = "hydra_plugins.hydra_ray_s3_launcher."
_NOT_SETTINGS = {"deps", "outs", "hydra_mode"}

_EPILOG = """\
examples:
  ray-s3 doctor
  ray-s3 doctor ray_address=ray://10.0.0.1:10001 s3_base_path=s3://bucket/prefix
  ray-s3 doctor hydra.launcher.packages=none
  ray-s3 doctor --config-dir conf hydra/launcher=cluster

Overrides are those that a Hydra app takes for its launcher; hydra.launcher. may be left out. What is not
set comes from the environment: RAY_ADDRESS, RAY_S3_BASE_PATH, RAY_S3_PACKAGES, RAY_S3_CODE,
RAY_S3_CREDENTIALS. Start it where the app is started: its code is looked for there. Nothing is changed,
but for a probe object below ray_s3/ in the store, which is removed again.

exit code: 0 when nothing is wrong (there may be warnings), 1 when something is, 2 for a wrong command line.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (this process's unless given); its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["fetch"]:
            return _fetch(_fetch_parser().parse_args(given[1:]))
        if given[:1] == ["clean"]:
            from .doctor import clean  # lazy: help of the others comes at once

            return clean.main(given[1:], _settings)
        if given[:1] == ["jobs"]:
            from .frontends import jobs_command  # lazy: as above

            return jobs_command.main(given[1:], _settings)
        options = _parser().parse_intermixed_args(given)
        return _doctor(options.overrides, options.config_dir)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `ray-s3 doctor | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ray-s3",
        description="doctor: check credentials, store, Ray, packages, code; say how to fix what is wrong. "
        "fetch WHAT WHERE: bring home what a run could not (ray-s3 fetch --help). "
        "jobs: list what has finished (ray-s3 jobs --help). "
        "clean: show and remove what is kept on machines and in the store (ray-s3 clean --help).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=["doctor"], help="what to do")
    parser.add_argument(
        "overrides", nargs="*", metavar="override", help="such as s3_base_path=s3://bucket/prefix"
    )
    parser.add_argument(
        "--config-dir",
        type=Path,
        metavar="DIR",
        help="where your presets are (DIR/hydra/launcher/cluster.yaml); default: ./conf or ./config",
    )
    return parser


def _fetch_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ray-s3 fetch",
        description="Bring home what a run could not: its message has this command. Nothing that is there is "
        "replaced.",
        epilog="The store is used as by a run: AWS_PROFILE, AWS_ENDPOINT_URL and the like are read.",
    )
    parser.add_argument(
        "what",
        help="s3://bucket/prefix/<digest>[+<extras>], a digest alone (in RAY_S3_BASE_PATH), a path, or <node>:<path> "
        "on a node of the cluster",
    )
    parser.add_argument("where", type=Path, help="the file or directory to make of it")
    parser.add_argument(
        "overrides", nargs="*", metavar="override", help="which cluster: ray_address=…; else RAY_ADDRESS"
    )
    return parser


def _fetch(options: argparse.Namespace) -> int:
    from .core.errors import RayS3Error
    from .core.progress import NoProgress
    from .core.units import human_size
    from .run.data.fetch import fetch

    try:
        received = fetch(
            options.what, options.where.absolute(), NoProgress(), lambda: _settings(options.overrides, None)
        )
    except (RayS3Error, OSError) as exc:
        print(f"ray-s3 fetch: {exc}", file=sys.stderr)
        return 1
    print(f"{options.where} is complete ({human_size(received)} received)")
    return 0


def _doctor(overrides: Sequence[str], config_dir: Path | None) -> int:
    # what these log, the findings tell
    for name in ("project.collect", "store.credentials", "store.identity"):
        logging.getLogger(f"ray_decorator.{name}").setLevel(logging.ERROR)
    from .project import driver  # lazy: help comes at once

    try:
        driver.working_directory()
        settings = _settings(overrides, config_dir)
    except InputError as exc:
        show(Finding("settings", "wrong", exc.problems, "ray-s3 doctor --help shows examples"))
        return 1
    from .doctor.checks import examine  # lazy: help, and a refusal, come at once

    wrong = False
    for finding in examine(settings):
        show(finding)
        wrong = wrong or finding.status == "wrong"
    return 1 if wrong else 0


def _settings(overrides: Sequence[str], config_dir: Path | None) -> Settings:
    """Compose ``hydra.launcher`` as an app would, and resolve it. InputError also for what Hydra refuses."""
    from hydra import compose, initialize, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from .core.options.settings import Options
    from .dvc.remote import with_remote

    presets = _presets(config_dir)
    try:
        with (
            initialize_config_dir(str(presets), version_base="1.3")
            if presets
            else initialize(config_path=None, version_base="1.3")
        ):
            chosen = compose(overrides=_overrides(overrides), return_hydra_config=True).hydra
        launcher = {key: chosen.launcher[key] for key in chosen.launcher if key not in _NOT_SETTINGS}
        plain: dict[str, Any] = OmegaConf.to_container(OmegaConf.create(launcher), resolve=True)  # type: ignore[assignment]
    except (HydraException, OmegaConfBaseException) as exc:
        raise InputError(_said(exc)) from exc
    if not str(plain.pop("_target_", "")).startswith(_TARGET):
        raise InputError(
            f"hydra/launcher={chosen.runtime.choices[_LAUNCHER]} is another launcher: expected ray_s3, or a "
            "preset whose defaults list holds ray_s3"
        )
    options = Options(**{key: value for key, value in plain.items() if not key.startswith("_")})
    return with_remote(options.resolve(), Path.cwd())


def _overrides(given: Sequence[str]) -> list[str]:
    """With the launcher chosen, and the short keys in full."""
    chosen = any(re.match(rf"\+*{_LAUNCHER}(@\w*)?=", override) for override in given)
    return [*([] if chosen else [f"{_LAUNCHER}=ray_s3"]), *map(_in_full, given)]


def _in_full(override: str) -> str:
    from hydra_plugins.hydra_ray_s3_launcher.config import RayS3LauncherConf

    match = re.match(r"(\+\+?|~)?(\w+)(?=[.=]|$)", override)
    if match and match[2] in {field.name for field in fields(RayS3LauncherConf)}:
        return f"{match[1] or ''}hydra.launcher.{override[match.start(2) :]}"
    return override


def _presets(given: Path | None) -> Path | None:
    if given is not None and not given.is_dir():
        raise InputError(f"--config-dir {given} is no directory: expected the app's own config directory")
    named = [given] if given else [Path("conf"), Path("config")]
    return next((path.absolute() for path in named if path.is_dir()), None)


def _said(error: BaseException) -> str:
    """Hydra's message, and that of its cause, which tells more."""
    lines = [str(error).strip()]
    if error.__cause__ is not None and str(error.__cause__).strip() not in lines[0]:
        lines.append(str(error.__cause__).strip())
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

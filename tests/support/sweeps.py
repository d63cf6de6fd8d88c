"""Sweeps as a user starts them, in this process."""

from __future__ import annotations

import json
from typing import Any

from hydra.core.utils import JobReturn
from hydra_zen import launch


def sweep(config: dict[str, Any], task: Any, overrides: list[str], **launcher: Any) -> list[JobReturn]:
    """Run a sweep as `python app.py -m hydra/launcher=ray_s3 …` does; the returns of its first batch."""
    chosen = [f"hydra.launcher.{key}={_grammar(value)}" for key, value in launcher.items()]
    jobs = launch(
        config,
        task,
        overrides=["hydra/launcher=ray_s3", "hydra.sweep.dir=sweep", *chosen, *overrides],
        multirun=True,
        version_base="1.3",
    )
    return list(jobs[0])


def _grammar(value: Any) -> str:
    """A value as Hydra's override grammar writes it: keys of dicts are not quoted there."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_grammar(part)}" for key, part in value.items()) + "}"
    return json.dumps(value)

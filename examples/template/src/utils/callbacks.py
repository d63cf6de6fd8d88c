"""A Hydra callback that notes what it sees in the job's directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class Notes(Callback):
    """Adds lines to ``notes.txt`` in the job's directory (in the sweep's for ``on_multirun_*``)."""

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Where the task runs, before it."""
        self._note(config, f"job starts: {config.task_name}, {config.hydra.mode.name}")

    def on_job_end(self, config: DictConfig, job_return: Any, **kwargs: Any) -> None:
        """Where the task ran, after it."""
        self._note(config, f"job ends: {job_return.status.name}, {job_return.return_value:.4f}")

    def _note(self, config: DictConfig, text: str) -> None:
        with open(Path(config.hydra.runtime.output_dir, "notes.txt"), "a") as file:
            print(text, file=file)

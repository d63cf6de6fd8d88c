"""A bare run: its config, callbacks, exit code and traceback are those of Hydra's own run (``Hydra.run``)."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from hydra.core.utils import JobReturn, configure_log, setup_globals

from ray_decorator.core.errors import JobDiedError

from . import _tracebacks
from ._core import Batch, Interrupted, Sweep, as_hydra_reports_it
from ._task import Exited

log = logging.getLogger(__name__)


def run(sweep: Sweep, arguments: Sequence[str]) -> JobReturn:
    """Run the job of these ``arguments``. Ends the program where the job did (``sys.exit``), or where it raised."""
    setup_globals()
    with as_hydra_reports_it():
        config = sweep.composer.compose_alone(arguments)
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
        callbacks, name = sweep.context.callbacks, config.hydra.job.config_name
        callbacks.on_run_start(config=config, config_name=name)
        job = sweep.composer.alone(config)
        log.info("Launching 1 job(s) on Ray (%s)", sweep.session.settings.ray_address)
        log.info("Output dir : %s", os.path.relpath(job.directory))
        batch = Batch(sweep, [job], job.directory)
        with sweep.report.batch():
            (returned,) = batch.run()
    error = batch.errors.get(0)
    if error is None and isinstance(returned.return_value, Exited):
        raise SystemExit(0)
    _end_as_python(error)  # as at home, on_run_end is not called then
    callbacks.on_run_end(config=config, config_name=name, job_return=returned)
    if error is not None:
        _tracebacks.end_as_hydra(error, returned.overrides)
    with as_hydra_reports_it():
        _ = returned.return_value  # raises what the job raised
    return returned


def _end_as_python(error: BaseException | None) -> None:
    """End the program where Hydra has no part in that; signal n gives 128 + n, as in a shell."""
    if isinstance(error, SystemExit):
        raise error.with_traceback(None)
    if isinstance(error, JobDiedError) and error.exit_code is not None:
        raise SystemExit(error.exit_code if error.exit_code >= 0 else 128 - error.exit_code)
    if error is not None and not isinstance(error, Exception):
        if _tracebacks.wanted_in_full():
            raise error.with_traceback(None)
        print(_tracebacks.of_the_user(error), file=sys.stderr)
        raise Interrupted if isinstance(error, KeyboardInterrupt) else SystemExit(1)

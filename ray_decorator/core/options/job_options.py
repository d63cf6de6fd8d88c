"""What may be asked of Ray for each job (``ray_remote_kwargs``), and what may not, though Ray itself would take it.

Ray's own table is ``task_options`` in its ``ray_option_utils``. Of these,

    honoured by Ray        num_cpus, num_gpus, memory, resources, accelerator_type, label_selector, fallback_strategy,
                           scheduling_strategy, placement_group…, runtime_env, max_calls, enable_task_events, _labels
    honoured by us         max_retries, retry_exceptions (retries.py)
    refused here           the others, which are about several values, generators, or a name
    refused by Ray         object_store_memory, and what it does not know: actors' options, misspelt ones
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_STREAMS = "a job is no generator: return a list, or write to a path in outs"
_REFUSED: Mapping[str, str] = {
    "name": "each job has a name of its own: its overrides, or its function's name",
    "num_returns": "a job returns one value: return a tuple",
    "_generator_backpressure_num_objects": _STREAMS,
    "_num_objects_per_yield": _STREAMS,
    "max_concurrency": "it is for actors, and jobs are tasks. max_concurrent bounds how many run at once",
    "max_pending_calls": "it is for actors, and jobs are tasks. max_concurrent bounds how many are in flight",
    "max_restarts": "it is for actors, and jobs are tasks. max_retries says how often one may be run again",
    "max_task_retries": "it is for actors, and jobs are tasks. max_retries says how often one may be run again",
}
_OURS = {"max_retries", "retry_exceptions"}
_HARMLESS: Mapping[str, Any] = {"num_returns": 1, "_num_objects_per_yield": 1}


def for_ray(options: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The options of ``ray_remote_kwargs`` that Ray is to get, and what is wrong with others, a message for each."""
    refused = {name for name in _REFUSED if options.get(name) not in (None, _HARMLESS.get(name))}
    problems = [
        f"ray_remote_kwargs.{name} cannot be set: {_REFUSED[name]}" for name in options if name in refused
    ]
    return {name: value for name, value in options.items() if name not in _REFUSED.keys() | _OURS}, problems

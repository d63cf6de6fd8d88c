"""DVC's own files of a repository, without which another machine does not know its stages and parameters."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

from ..core.errors import InputError
from .ignore import FILE as IGNORE
from .tracked import stages, templates
from .tracked.outputs import Outputs

log = logging.getLogger(__name__)


def own_files(root: str) -> tuple[str, ...]:
    """``dvc.yaml``, ``dvc.lock``, ``*.dvc`` and ``.dvcignore`` of the repository ``root``, and files of parameters.

    Absolute paths of files that are there. What DVC could not read is left out, with a warning.
    """
    found = {os.path.join(root, IGNORE), os.path.join(root, templates.PARAMS)}
    try:
        for file in Outputs().files_of(root):
            found.add(file)
            if os.path.basename(file) == stages.FILE:
                found.update(_parameters(file))
    except InputError as exc:
        log.warning("dvc.api may know less in jobs than here: %s", exc)
    return tuple(sorted(path for path in found if os.path.isfile(path)))


def _parameters(file: str) -> Iterator[str]:
    """Files of parameters that a ``dvc.yaml`` names, or takes without being told."""
    data, folder = templates.load(file), os.path.dirname(file)
    listed: list[Any] = [templates.PARAMS, *(data.get("params") or ())]
    listed += [each.partition(":")[0] for each in data.get("vars") or () if isinstance(each, str)]
    for each in listed:
        yield os.path.abspath(os.path.join(folder, str(each)))
    for stage in stages.stages(file):
        yield from stage.params

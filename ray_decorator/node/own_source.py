"""This project's own source as a zip: a node needs nothing of ours."""

from __future__ import annotations

import functools
import io
import os
import sys
import zipfile
from pathlib import Path

_FOLDERS = ("ray_decorator", "hydra_plugins/hydra_ray_s3_launcher")
_THEN = (1980, 1, 1, 0, 0, 0)  # the earliest that zip knows: the same source makes the same bytes


@functools.cache
def zipped_source() -> bytes:
    """All modules of this project, as `node.entry` puts them down on a node."""
    top = Path(__file__).resolve().parent.parent.parent
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in _FOLDERS:
            folder = _folder(top, name)
            for path in sorted(folder.rglob("*.py")):
                place = f"{name}/{path.relative_to(folder).as_posix()}"
                archive.writestr(zipfile.ZipInfo(place, _THEN), path.read_bytes())
    return buffer.getvalue()


def _folder(top: Path, name: str) -> Path:
    if (top / name).is_dir():
        return top / name
    # a namespace package may be spread over several entries of the path
    native = name.replace("/", os.sep)
    return next((Path(e) / native for e in sys.path if (Path(e) / native).is_dir()), top / name)

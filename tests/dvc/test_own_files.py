"""What of a repository travels for DVC's sake: the same as the real dvc looks into is shown by `test_bundle`."""

from __future__ import annotations

from pathlib import Path

import pytest
from trees import tree

from ray_decorator.dvc.own_files import own_files


def test_what_dvc_could_not_read_is_told_and_the_rest_travels(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree(root, {"params.yaml": b"a: 1", "z/dvc.yaml": b"stages: {a: {cmd: 'x ${none}'}}", "notes": b""})
    found = own_files(str(root))
    assert set(found) == {str(root / name) for name in ("params.yaml", "z/dvc.yaml", ".dvcignore")}
    assert "dvc.api may know less in jobs than here" in caplog.text and "${none}" in caplog.text

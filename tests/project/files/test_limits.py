"""What never travels as code: by name, by place, and what earlier runs wrote or could not put in its place."""

from __future__ import annotations

import pytest

from ray_decorator.project.files.limits import Limits

LIMITS = Limits(
    left_out=frozenset({"/app/data"}),
    closed=frozenset({"/app/outputs"}),
    never_whole=frozenset({"/"}),
    in_use=frozenset(),
    earlier=frozenset({"/app/model"}),
)


@pytest.mark.parametrize(
    ("path", "is_folder", "forbidden"),
    [
        ("/app/data", True, True),
        ("/app/.dvc", True, True),
        ("/app/outputs", True, True),
        ("/app/outputs", False, False),
        ("/app/a.pyc", False, True),
        ("/app/a.py", False, False),
    ],
)
def test_by_place_and_by_name(path: str, is_folder: bool, forbidden: bool) -> None:
    assert LIMITS.forbid(path, path.rpartition("/")[2], is_folder) is forbidden


def test_what_an_earlier_run_wrote_also_beside_its_place() -> None:
    names = ["model", "model.ray_s3", "model.ray_s3-2", "model.failed", "model.txt"]
    assert [LIMITS.is_earlier(f"/app/{name}") for name in names] == [True, True, True, True, False]


def test_nothing_stays_at_home_where_nobody_says_so() -> None:
    assert not LIMITS.stays("/app/a.py", False)

"""What a test needs, told by the fixtures that it uses and the folder that it is in."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

_NEEDS = {
    "ray": {"ray_session", "ray_session_address"},
    "cluster": {"bed", "bare_venv", "guarded", "scaling", "other_versions"},
}
_FOLDERS = {"apps": "app", "clusters": "cluster"}


def mark(items: Iterable[pytest.Item]) -> None:
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        for marker, needed in _NEEDS.items():
            if fixtures & needed:
                item.add_marker(marker)
        if marker := _FOLDERS.get(item.path.parent.name):
            item.add_marker(marker)

"""What a test needs, told by the fixtures that it uses and the folder that it is in.

Tests that need a cluster share one process, and so the bed; those that need the session's Ray, or start whole
programs, another one. (pytest-xdist, ``--dist loadgroup``.)
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

_NEEDS = {
    "ray": {"ray_session", "ray_session_address"},
    "cluster": {"bed", "bare_venv", "guarded", "scaling", "other_versions"},
}
_GROUPS = {"cluster": "cluster", "ray": "ray", "app": "ray"}
_FOLDERS = {"apps": "app", "clusters": "cluster"}


def mark(items: Iterable[pytest.Item]) -> None:
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        for marker, needed in _NEEDS.items():
            if fixtures & needed:
                item.add_marker(marker)
        if marker := _FOLDERS.get(item.path.parent.name):
            item.add_marker(marker)
        if group := next((_GROUPS[m.name] for m in item.iter_markers() if m.name in _GROUPS), None):
            item.add_marker(pytest.mark.xdist_group(group))

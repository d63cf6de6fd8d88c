"""What jobs need on other machines; an index's password is never shown."""

from __future__ import annotations

from ray_decorator.core.values.bundles import Requirements


def test_an_indexs_password_is_never_shown() -> None:
    value = Requirements((3, 11), "linux", {}, (), {"UV_INDEX": "https://me:secret@host"})
    assert "secret" not in repr(value)

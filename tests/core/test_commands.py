from __future__ import annotations

from pathlib import Path

from ray_decorator.core.commands import fetch_command


def test_a_shell_takes_it_as_it_is() -> None:
    assert fetch_command("s3://b/p/0a.dir", Path("/my data/m")) == "ray-s3 fetch s3://b/p/0a.dir '/my data/m'"

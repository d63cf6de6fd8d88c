"""What a command starts, and where; `test_running` has the real dvc run such commands."""

from __future__ import annotations

import pytest

from ray_decorator.dvc.commands import started


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python a.py x=1", ["/r: python a.py x=1"]),
        ("cd s && python a.py 2>&1 | tee log; b", ["/r/s: python a.py", "/r/s: tee log", "/r/s: b"]),
        ("(cd s; a) > log 2> err && b < in", ["/r/s: a", "/r: b"]),
        ("cd /s\n\n# c d\na 'b c' \\\n  d # e\nf", ["/s: a b c d", "/s: f"]),
        ("if a; then cd s; b; fi", ["/r: if a", "/r/s: b", "/r/s: fi"]),
        ("bash -ec 'cd s; a' x", ["/r/s: a", "/r: bash -ec cd s; a x"]),
        ("a 'b", ["/r: a 'b"]),
        ("", []),
    ],
)
def test_as_a_shell_reads_it(command: str, expected: list[str]) -> None:
    found = started(command, "/r")
    assert [f"{each.folder}: {' '.join(each.words)}" for each in found] == expected

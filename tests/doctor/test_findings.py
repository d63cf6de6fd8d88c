"""How findings are shown, and which status is the most severe."""

from __future__ import annotations

import pytest
import terminal

from ray_decorator.doctor.findings import Finding, show, worst


def test_on_a_terminal_lines_fold_below_their_own_beginning() -> None:
    seen = terminal.run(
        "from ray_decorator.doctor.findings import *\n"
        "show(Finding('store', 'wrong', ('at http://me:secret@host', '  deeper ' + 40 * 'x'), 'do this'))",
        columns=40,
    )
    assert "\x1b[1;31mwrong" in seen.raw
    assert seen.last[:5] == [
        "wrong    store",
        "           at http://***@host",
        "             deeper",
        "             " + 27 * "x",
        "             " + 13 * "x",
    ]
    assert seen.last[5] == "           fix: do this"


def test_a_password_with_an_at_sign_in_a_url_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show(Finding("store", "wrong", ("https://user:p@ss@host/simple does not answer",)))
    printed = capsys.readouterr().out
    assert "https://***@host/simple does not answer" in printed
    assert "p@ss" not in printed and "ss@" not in printed


def test_the_most_severe_status_counts() -> None:
    assert worst("ok", "wrong", "warning") == "wrong"
    assert worst("ok", "warning") == "warning"
    assert worst() == "ok"

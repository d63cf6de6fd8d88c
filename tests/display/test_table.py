"""The closing table: what a user reads after a sweep, on a screen and in a file."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from terminal import run

from ray_decorator.display.table import JobRow, brief, show

SWEEP = "/home/me/project/multirun/2024-05-01/12-00-00"

ROWS = [
    JobRow(
        0, "lr=0.1 model.deps=[data.path]", "COMPLETED", 62.13, "0.9123", 107_000_000, 1_200_000, f"{SWEEP}/0"
    ),
    JobRow(1, "lr=0.01 note=:smile:", "FAILED", 1.0, "ValueError", 0, 30_000, f"{SWEEP}/1"),
]

ON_A_TERMINAL = f"from ray_decorator.display.table import JobRow, show\nshow({ROWS!r})"


def test_in_a_file_the_table_is_plain_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROWS)

    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "job  overrides                      status     seconds  result          up    down  directory",
        f"  0  lr=0.1 model.deps=[data.path]  COMPLETED     62.1  0.9123      107 MB  1.2 MB  {SWEEP}/0",
        f"  1  lr=0.01 note=:smile:           FAILED         1.0  ValueError       -   30 kB  {SWEEP}/1",
        "2 jobs: 1 COMPLETED, 1 FAILED; 1 min 03 s of run time, 107 MB up, 1.2 MB down",
    ]


def test_in_a_file_no_line_is_too_long(capsys: pytest.CaptureFixture[str]) -> None:
    overrides, directory = " ".join(f"key{n}=value" for n in range(10)), "/" + "deep/" * 300
    show([replace(ROWS[0], overrides=overrides, directory=directory)])

    assert f"{overrides}  COMPLETED" in (err := capsys.readouterr().err)
    assert directory in err


def test_what_is_in_failed_is_shown_where_there_is_any(capsys: pytest.CaptureFixture[str]) -> None:
    show([replace(ROWS[0], failed="model, state"), ROWS[1]])
    head, first, second, _ = capsys.readouterr().err.splitlines()
    assert head.split()[-3:] == ["in", "failed/", "directory"]
    assert first.split()[-3:-1] == ["model,", "state"] and second.split()[-2] == "-"


def test_attempts_are_shown_where_there_was_more_than_one(capsys: pytest.CaptureFixture[str]) -> None:
    show([replace(ROWS[0], attempts=3), ROWS[1]])
    head, first, second, _ = capsys.readouterr().err.splitlines()
    assert head.split()[-2:] == ["attempts", "directory"]
    assert (first.split()[-2], second.split()[-2]) == ("3", "1")


LONG = replace(ROWS[0], overrides="first=1 items=[" + "7," * 30_000 + "7] last=2")


def test_overrides_without_end_are_cut_in_their_middle(capsys: pytest.CaptureFixture[str]) -> None:
    show([LONG, ROWS[1]])

    head, first, second, _ = capsys.readouterr().err.splitlines()
    assert re.match(r"  0  first=1 items=\[7,7,7[7,]*…[7,]*7,7\] last=2  COMPLETED", first)
    assert len(first.partition("  COMPLETED")[0]) == len("  0  ") + 120
    assert head.index("status") == first.index("COMPLETED") == second.index("FAILED")


def test_nor_do_they_fill_a_terminal() -> None:
    program = f"from ray_decorator.display.table import JobRow, show\nshow({[LONG, ROWS[1]]!r})"
    for columns in (55, 86):
        lines = run(program, columns=columns).last
        assert len(lines) < 20
        assert "last=2" in "".join(line.strip() for line in lines)


def test_no_line_ends_in_spaces_on_a_terminal_either() -> None:
    for columns in (86, 160):
        raw = re.sub(r"\x1b\[[\d;]*m", "", run(ON_A_TERMINAL, columns=columns).raw)
        assert "COMPLETED" in raw
        assert not re.search(r" [\r\n]", raw)


def test_no_jobs_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    show([])
    assert capsys.readouterr().err == ""


def test_nodes_are_named_when_there_is_more_than_one(capsys: pytest.CaptureFixture[str]) -> None:
    show([replace(row, node="10.0.0.1") for row in ROWS])
    assert "10.0.0.1" not in capsys.readouterr().err

    show([replace(row, node=f"10.0.0.{row.number}") for row in ROWS])
    err = capsys.readouterr().err
    assert re.search(r"1\.2 MB  10\.0\.0\.0  /home", err)
    assert re.search(r"down  node +directory", err)

    show([ROWS[0], *(replace(row, node=f"10.0.0.{row.number}", status="RESUMED") for row in ROWS[1:])])
    assert (
        "10.0.0" not in capsys.readouterr().err
    )  # of earlier runs' private Rays, each has a name of its own


def test_on_a_wide_terminal_it_is_the_same_in_colours() -> None:
    seen = run(ON_A_TERMINAL, columns=160)
    assert seen.last[1].endswith(f"1.2 MB  {SWEEP}/0")
    assert "\x1b[31mFAILED" in seen.raw
    assert "\x1b[3" not in run(ON_A_TERMINAL, columns=160, NO_COLOR="1").raw


def test_on_a_narrower_terminal_the_common_directory_is_said_once_and_overrides_fold() -> None:
    lines = run(ON_A_TERMINAL, columns=86).last

    assert max(map(len, lines)) <= 86
    assert re.fullmatch(r"  0  lr=0\.1 +COMPLETED     62\.1  0\.9123      107 MB  1\.2 MB  0", lines[1])
    assert lines[2].strip() == "model.deps=[data.path]"
    assert f"directories are below {SWEEP}" in lines


def test_on_a_terminal_too_narrow_for_a_table_each_job_is_a_paragraph() -> None:
    lines = run(ON_A_TERMINAL, columns=55).last

    assert lines[:3] == [
        "0 COMPLETED, 62.1 s, 0.9123, 107 MB up, 1.2 MB down",
        "    lr=0.1 model.deps=[data.path]",
        f"    {SWEEP}/0",
    ]
    narrowest = "".join(run(ON_A_TERMINAL, columns=30).last)
    assert f"{SWEEP}/0" in narrowest, "folded, not cut"


def test_of_a_long_sweep_the_failed_jobs_and_the_ends_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    failed = {77, 78, 200}
    show([replace(ROWS[0], number=n, status="FAILED" if n in failed else "COMPLETED") for n in range(300)])

    lines = capsys.readouterr().err.splitlines()
    numbers = [int(line.split()[0]) for line in lines[1:-2]]
    assert numbers == [0, 1, 2, 3, 4, 77, 78, 200, 295, 296, 297, 298, 299]
    assert lines[-2].startswith("300 jobs: 297 COMPLETED, 3 FAILED; 5 h 10 min of run time, 32 GB up")
    assert lines[-1] == "287 jobs are not shown here: 287 COMPLETED"


def test_a_sweep_that_failed_as_a_whole_does_not_flood_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    show([replace(ROWS[1], number=n) for n in range(300)])

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 + 50 + 2
    assert lines[-1] == "250 jobs are not shown here: 250 FAILED"


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (1 / 3, "0.3333"),
        (3e-9, "3e-09"),
        (float("nan"), "nan"),
        (7, "7"),
        (True, "True"),
        ("fine", "'fine'"),
        ({"loss": 1 / 3, "n": [1, 2.0]}, "{'loss': 0.3333, 'n': [1, 2]}"),
        ("x" * 100, "'xxxxxxxxxxxxxxxxxxxxxxxxxxxx…"),
        (list(range(10**6)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9…"),
    ],
)
def test_brief(value: Any, text: str) -> None:
    assert brief(value) == text
    assert len(text) <= 30


def test_brief_of_a_value_that_cannot_show_itself() -> None:
    assert brief(Hostile()).startswith("<Hostile instance at 0x")


def test_brief_of_numpy_numbers() -> None:
    numpy = pytest.importorskip("numpy")
    assert brief(numpy.float32(1 / 3)) == brief(numpy.float64(1 / 3)) == "0.3333"
    assert brief(numpy.int64(3)) == "3"
    assert brief(numpy.zeros((3, 2))) == "array([[0., 0.], [0., 0.], [0…"

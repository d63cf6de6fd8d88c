"""What a job prints is whole when it ends, and its end is marked. Whole jobs: tests/apps/test_prints.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import ctypes, os, subprocess, sys
from ray_decorator.job.process.output import Output

libc = ctypes.CDLL(None)
print("of the job before", flush=True)
output = Output()
{body}
os.write(3, str(output.end({job_id!r})).encode())
"""


def run(tmp_path: Path, body: str, job_id: str | None = "a1b2") -> tuple[int, str, str]:
    """The number of marks, and what is in the two files."""
    out, err, marks = (tmp_path / name for name in ("out", "err", "marks"))
    program = PROGRAM.format(body=body, job_id=job_id)
    command = f'exec "$0" -c "$1" >>{out} 2>>{err} 3>{marks}'
    subprocess.run(["sh", "-c", command, sys.executable, program], check=True, timeout=60)
    printed = out.read_text(errors="surrogateescape").partition("of the job before\n")[2]
    return int(marks.read_text()), printed, err.read_text()


def test_a_silent_job_has_no_mark(tmp_path: Path) -> None:
    assert run(tmp_path, "pass") == (0, "", "")


@pytest.mark.parametrize(
    ("body", "written"),
    [
        ("print('one')", "one\n"),
        ("print('half', end='')", "half"),
        ("libc.printf(b'of C\\n')", "of C\n"),
        ("libc.printf(b'half of C')", "half of C"),
        ("subprocess.run(['echo', 'a child'])", "a child\n"),
    ],
)
def test_its_mark_follows_all_that_it_printed(body: str, written: str, tmp_path: Path) -> None:
    assert run(tmp_path, body) == (1, f"{written}:ray_s3_end:a1b2\n", "")


def test_both_streams_have_one(tmp_path: Path) -> None:
    marks, out, err = run(tmp_path, "print('out'); print('err', file=sys.stderr)")
    assert (marks, out, err) == (2, "out\n:ray_s3_end:a1b2\n", "err\n:ray_s3_end:a1b2\n")


def test_what_is_said_after_its_end_has_a_mark_of_its_own(tmp_path: Path) -> None:
    body = "print('one'); first = output.end('a1b2'); print('a warning', file=sys.stderr)"
    assert run(tmp_path, body) == (1, "one\n:ray_s3_end:a1b2\n", "a warning\n:ray_s3_end:a1b2\n")
    assert run(tmp_path, "print('one'); output.end('a1b2')")[0] == 0


def test_without_marks_the_last_line_ends(tmp_path: Path) -> None:
    assert run(tmp_path, "print('half', end='')", None) == (0, "half\n", "")


def test_what_is_no_file_has_none() -> None:
    program = PROGRAM.format(body="print('printed')", job_id="a1b2").replace("os.write(3,", "os.write(1,")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("of the job before\nprinted\n0", "")


def test_c_code_writes_line_by_line(tmp_path: Path) -> None:
    body = "libc.printf(b'a line\\n'); print(os.path.getsize('/proc/self/fd/1') > 18, file=sys.stderr)"
    if sys.platform != "linux":
        body = body.replace("/proc/self/fd/1", str(tmp_path / "out"))
    _, _, err = run(tmp_path, body)
    assert err.startswith("True\n")


JOBS = """
sys.stdout.close(); sys.stderr.close()
os.close(1); os.close(2)
sys.stdout = sys.stderr = None
print('half,', end=' '); sys.stdout.close()
sys.stdout = open('another', 'w'); print('another'); subprocess.run(['echo', 'child'])
sys.stdout.reconfigure(encoding='latin-1', line_buffering=False, write_through=False)
os.dup2(os.open('moved', os.O_CREAT | os.O_WRONLY), 1); print('moved'); subprocess.run(['echo', 'moved'])
os.closerange(1, 3); sys.stdout = open(os.devnull, 'w'); os.dup2(sys.stdout.fileno(), 2); print('void')
""".strip().splitlines()


def test_later_jobs_print_whatever_one_does_with_its_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    body = f"""
from ray_decorator.job.process.output import streams_restored
for number, job in enumerate({JOBS!r}):
    with streams_restored():
        exec(job)
    print(number, "ü")
    print(number, file=sys.stderr)
"""
    marks, out, err = run(tmp_path, body)
    printed = [f"{number} ü" for number in range(len(JOBS))]
    printed[3] = f"half, {printed[3]}"
    printed.insert(4, "child")
    assert (marks, out.splitlines()) == (2, [*printed, ":ray_s3_end:a1b2"])
    assert err.split() == [*map(str, range(len(JOBS))), ":ray_s3_end:a1b2"]
    assert (tmp_path / "another").read_text() == "another\n"
    assert (tmp_path / "moved").read_text() == "moved\n" * 2


RAYS = """
from ray_decorator.job.process.output import streams_restored
originals = sys.__stdout__, sys.__stderr__
sys.stdout = open(1, "a", buffering=1, encoding="utf-8", closefd=False)  # as Ray's workers do
sys.stderr = open(2, "a", buffering=1, encoding="utf-8", closefd=False)
with streams_restored():
    print("to the original", file=sys.__stdout__)
    assert os.fstat(1).st_size > len("of the job before\\n")  # at once
    print("by a name: a\\udcffb")
    sys.stdout = sys.__stdout__
    print("swapped")
    print("in errors: a\\udcffb", file=sys.__stderr__)
assert (sys.__stdout__, sys.__stderr__) == originals and sys.stdout is not sys.__stdout__
assert (sys.stdout.errors, sys.stderr.errors) == ("strict", "strict")
"""


def test_a_job_has_one_stdout_which_takes_what_python_takes_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    monkeypatch.setenv("LC_ALL", "C")  # any bytes go through, as where a container has no locale
    _, out, err = run(tmp_path, RAYS)
    assert out.splitlines()[:3] == ["to the original", "by a name: a\udcffb", "swapped"]
    assert err.splitlines()[0] == "in errors: a\\udcffb"

"""One family of errors: each is also what a caller would catch, says what to do, and travels."""

from __future__ import annotations

import errno
import pickle

import pytest

from ray_decorator.core import errors
from ray_decorator.core.errors import (
    BucketNotFoundError,
    ClusterError,
    ClusterLostError,
    CorruptObjectError,
    HomeError,
    InputError,
    JobCancelledError,
    JobDiedError,
    JobError,
    Missing,
    MissingDepError,
    MissingObjectError,
    NodeDiskError,
    PackagesError,
    PicklingError,
    RayS3Error,
    RemoteTraceback,
    StoreDeniedError,
    StoreError,
    StoreUnreachableError,
    reworded,
    text_of,
    without_passwords,
)


@pytest.mark.parametrize(
    ("error", "parents"),
    [
        (InputError, (ValueError,)),
        (MissingDepError, (InputError, FileNotFoundError)),
        (StoreError, (OSError,)),
        (StoreUnreachableError, (StoreError,)),
        (StoreDeniedError, (StoreError,)),
        (BucketNotFoundError, (StoreError,)),
        (MissingObjectError, (StoreError,)),
        (CorruptObjectError, (StoreError,)),
        (HomeError, (OSError,)),
        (NodeDiskError, (OSError,)),
        (ClusterError, (RuntimeError,)),
        (ClusterLostError, (ClusterError,)),
        (PackagesError, (ClusterError,)),
        (PicklingError, (TypeError,)),
        (JobError, (RuntimeError,)),
        (JobDiedError, (JobError,)),
        (JobCancelledError, (JobError,)),
    ],
)
def test_the_family(error: type[Exception], parents: tuple[type[Exception], ...]) -> None:
    assert issubclass(error, (RayS3Error)) and all(issubclass(error, parent) for parent in parents)
    assert f"── {error.__name__} " in str(errors.__doc__)


@pytest.mark.parametrize(
    ("code", "words"),
    [(5, "ended with exit code 5"), (-11, "was killed by SIGSEGV"), (-40, "was killed by signal 40")],
)
def test_a_job_that_died_says_how_once_that_is_known(code: int, words: str) -> None:
    error = JobDiedError(f"#0 crashed: {errors.UNKNOWN_END}. Do this")
    error.__cause__ = cause = ValueError()
    known = error.with_code(code)
    assert str(known) == f"#0 crashed: its process {words}. Do this"
    assert (error.exit_code, known.exit_code, known.__cause__) == (None, code, cause)


def test_a_remote_traceback_is_no_error_of_its_own() -> None:
    assert not issubclass(RemoteTraceback, RayS3Error)
    assert str(RemoteTraceback("Traceback\n  ValueError: x\n\n")) == "\nTraceback\n  ValueError: x\n"


def test_one_problem_is_said_as_it_is_and_many_as_a_list() -> None:
    assert str(InputError("a is wrong")) == "a is wrong"
    assert InputError("a is wrong").problems == ("a is wrong",)
    assert str(InputError(("a is wrong", "so is b"))) == "2 problems:\n  - a is wrong\n  - so is b"


def test_missing_deps_are_a_file_not_found_error_where_they_are_all_that_is_wrong() -> None:
    gone = [Missing("a is gone", "/a"), Missing("b is gone", "/b")]
    error = InputError.of(gone)
    assert type(error) is MissingDepError and error.problems == tuple(gone)
    assert (error.errno, error.strerror, error.filename) == (errno.ENOENT, "No such file or directory", "/a")
    assert str(error) == "2 problems:\n  - a is gone\n  - b is gone"
    assert str(InputError.of(gone[:1])) == "a is gone"
    for others in ([*gone, "c is wrong"], ["c is wrong"], []):
        assert type(InputError.of(others)) is InputError


def test_a_problem_in_other_words_is_of_its_kind() -> None:
    again = reworded(Missing("a is gone", "/a"), "a is gone (job #0)")
    assert isinstance(again, Missing) and (again, again.path) == ("a is gone (job #0)", "/a")
    assert type(reworded("a is wrong", "a is wrong (job #0)")) is str
    travelled = pickle.loads(pickle.dumps(again))
    assert (type(travelled), travelled, travelled.path) == (Missing, again, "/a")


def test_missing_objects_are_shown_up_to_three_with_what_to_do() -> None:
    few = MissingObjectError(("d1",), "s3://bucket/x")
    assert str(few).startswith("1 object(s) are gone from s3://bucket/x, or spoilt: d1. Somebody may have")
    assert "run again to upload them anew" in str(few)
    many = MissingObjectError(("d1", "d2", "d3", "d4"), "s3://bucket/x")
    assert ": d1, d2, d3, …. " in str(many) and many.digests == ("d1", "d2", "d3", "d4")


@pytest.mark.parametrize(
    "error",
    [
        InputError(("a", "b")),
        InputError.of([Missing("a is gone", "/a"), Missing("b is gone", "/b")]),
        MissingObjectError(("d1", "d2"), "s3://bucket"),
        MissingObjectError(("d1",), "s3://bucket", ("a.bin (files/d1)",), "ask for it"),
        CorruptObjectError("its bytes are others", ("d1",)),
        StoreDeniedError("no"),
        JobCancelledError("stopped"),
        RemoteTraceback("text"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_travel(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
    assert getattr(again, "filename", None) == getattr(error, "filename", None)


class _Mute(Exception):
    def __str__(self) -> str:
        raise LookupError("nothing to say")


def test_the_text_of_any_exception() -> None:
    assert text_of(ValueError("x")) == "x"
    assert text_of(_Mute()) == "(its __str__ raised LookupError)"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:pass@host/x", "https://***@host/x"),
        ("https://me:p@ss@host/x", "https://***@host/x"),
        ("see http://a:b@c/ and http://d:e@f/", "see http://***@c/ and http://***@f/"),
        ("https://host/x@y", "https://host/x@y"),
        ("me@host", "me@host"),
    ],
)
def test_passwords_are_blanked(text: str, shown: str) -> None:
    assert without_passwords(text) == shown

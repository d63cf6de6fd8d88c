"""Whatever somebody has put into a store, its readers refuse it in their own words, or nothing is written outside.

Few examples run by default; RAY_S3_TEST_EXAMPLES=5000 is for who changes something here.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from any_trees import clear, holds
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ray_decorator.content import extras_file
from ray_decorator.content.manifest import Row, dump, load
from ray_decorator.content.placing.merge import plan
from ray_decorator.core.errors import CorruptObjectError, InputError
from ray_decorator.core.values.contents import Content, Extras

EXAMPLES = int(os.environ.get("RAY_S3_TEST_EXAMPLES", "25"))
A = hashlib.md5(b"a").hexdigest()
PLAIN = Content(A + ".dir", 1, 1)

few = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES < 100
)
parts = st.sampled_from(
    ["a", "b", "A", "..", ".", "", "\0", "\ud800", "\udcff", "ü", "n" * 300, "~", "\n", "outside"]
)
paths = st.one_of(
    st.lists(parts, min_size=1, max_size=4).map("/".join),
    st.sampled_from(["/etc/x", "a", "b", "a/b", "a/a", "b/a", "../outside/mine"]),
    st.text(max_size=5),
)
md5s = st.one_of(st.just(A), st.just(A), st.sampled_from([A.upper(), A + "\n", "../" * 8, A + ".dir", ""]))
whatever = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
rows = st.lists(
    st.one_of(
        st.fixed_dictionaries({"relpath": paths, "md5": md5s}),
        st.fixed_dictionaries({"relpath": paths, "md5": md5s}, optional={"size": whatever}),
        st.fixed_dictionaries({}, optional={"relpath": whatever, "md5": whatever}),
        whatever,
    ),
    max_size=5,
)


there = st.tuples(st.sampled_from(["a", "b", "a/b"]), st.sampled_from(["", "..", ".", "../outside", "b"]))


def read(data: bytes) -> tuple[Row, ...] | None:
    """As the reader takes it; None where it is refused."""
    try:
        return load(data, hashlib.md5(data).hexdigest() + ".dir")
    except CorruptObjectError as exc:
        assert len(str(exc)) < 1000 and "is not acceptable" in str(exc)
        return None


@given(
    st.one_of(
        st.binary(), rows.map(lambda made: json.dumps(made).encode()), whatever.map(str).map(str.encode)
    )
)
@example(b"[" * 100_000)
@example(b"[" + b"9" * 10_000 + b"]")
@example(b'{"relpath":' * 2000)
@few
def test_a_manifest_is_read_or_refused(data: bytes) -> None:
    found = read(data)
    if found is not None:
        digest, written = dump(found)
        assert sorted(load(written, digest)) == sorted(found)


lists = st.lists(st.one_of(paths, whatever, st.tuples(paths, st.one_of(paths, st.integers()))), max_size=3)
kinds = ("executables", "folders", "links", "private")


@given(st.one_of(st.binary(), whatever, st.fixed_dictionaries(dict.fromkeys(kinds, lists))))
@example(b"[" * 100_000)
@few
def test_extras_are_read_or_refused(made: Any) -> None:
    data = made if isinstance(made, bytes) else json.dumps(made).encode()
    try:
        found = extras_file.load(data, hashlib.md5(data).hexdigest(), PLAIN)
    except CorruptObjectError as exc:
        assert len(str(exc)) < 1000 and "is not acceptable" in str(exc)
    else:
        again = extras_file.dump(found)
        assert again is None or extras_file.load(again[1], again[0], PLAIN) == found


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    top, count = tmp_path_factory.mktemp("hostile"), itertools.count()
    return (top / str(n) for n in count)


def wrote(place: Path, found: tuple[Row, ...], extras: Extras) -> None:
    """Write it below ``place``, as a download does."""
    planned = plan(place / "home", found, extras)
    planned.make_folders()
    for target in planned.targets:
        fresh = f"{target.path}.new"
        Path(fresh).write_bytes(b"theirs")
        os.replace(fresh, target.path)
    planned.make_links()


@given(
    st.lists(st.tuples(paths, md5s), max_size=4),
    st.lists(st.tuples(paths, st.integers(-9, 0o7777)), max_size=2),
    st.lists(paths, max_size=3),
    st.lists(st.tuples(paths, paths), max_size=3),
    st.lists(there, max_size=2),
)
@few
def test_nothing_is_written_outside(
    places: Iterator[Path], listed: Any, private: Any, folders: Any, links: Any, at_home: Any
) -> None:
    place = next(places)
    (place / "outside").mkdir(parents=True)
    (place / "outside" / "mine").write_bytes(b"mine")
    (place / "home").mkdir()
    for name, leads_to in at_home:  # what a user has there already
        if (place / "home" / name).parent.is_dir() and not os.path.lexists(place / "home" / name):
            (place / "home" / name).symlink_to(leads_to) if leads_to else (place / "home" / name).mkdir()
    before = holds(place / "outside"), sorted(os.listdir(place))
    try:
        found = read(json.dumps([{"relpath": relpath, "md5": md5} for relpath, md5 in listed]).encode())
        if found is not None:
            wrote(place, found, Extras(tuple(private), tuple(folders), tuple(links)))
    except (CorruptObjectError, InputError, OSError) as exc:
        assert str(exc)
    assert (holds(place / "outside"), sorted(os.listdir(place))) == before
    clear(place)


MILLION = """
import hashlib, resource
from ray_decorator.content.manifest import load

row = '{"md5": "%s", "relpath": "images/%03d/picture-%%07d.png"}'
rows = ", ".join(", ".join([row % ("a" * 32, n)] * 1000) for n in range(1000)) % tuple(range(1_000_000))
good = f"[{rows}]".encode()
del rows
with open("/proc/self/statm") as file:
    now = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + 500 * 1024 * 1024,) * 2)
print(len(load(good, hashlib.md5(good).hexdigest() + ".dir")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc how much memory it has")
def test_a_manifest_of_a_million_files_is_read_within_500_mib(
    long_program: Callable[..., str], tmp_path: Path
) -> None:
    """One that is refused takes no more. Receipts, run records and checkpoints may have 1 MiB, manifests 1 GiB.

    Seen by hand, for a directory of a million small files: hashing it takes 1.1 GiB (0.7 once its hashes are known),
    sending it to a directory 1.4 GiB, bringing it 1.1 GiB.
    """
    assert long_program([sys.executable, "-c", MILLION], cwd=tmp_path) == "1000000\n"

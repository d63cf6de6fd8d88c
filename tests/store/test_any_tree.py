"""Whatever a file system can hold comes back from a store as it was, or is refused with a reason.

Few examples run by default; RAY_S3_TEST_EXAMPLES=2000 is for who changes something here.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import any_trees
import pytest
import servers
from hypothesis import HealthCheck, example, given, settings
from store_fixtures import s3_store
from trees import QUIET

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.content.placing.move import move
from ray_decorator.core.errors import InputError
from ray_decorator.store.identity import locate
from ray_decorator.store.store import Store, open_store
from ray_decorator.store.transfer import pull, push, snapshot

EXAMPLES = int(os.environ.get("RAY_S3_TEST_EXAMPLES", "10"))
NFC, NFD = any_trees.SPECIAL[-2:]

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root makes devices, and reads what it may not"
)


@pytest.fixture(scope="module", autouse=True)
def unheard() -> Iterator[None]:
    """Warnings name files that are no text, and pytest-xdist cannot send what a test has logged then."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module", params=["rclone", "moto", "file"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    if request.param == "file":
        yield open_store(locate(tmp_path_factory.mktemp("store").as_uri()))
        return
    server: servers.Server = request.getfixturevalue(request.param)
    with pytest.MonkeyPatch.context() as patch:
        yield s3_store(server, patch)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """New directories, for example after example."""
    top, count = tmp_path_factory.mktemp("any"), itertools.count()
    return (top / str(n) for n in count)


@example(({"a": ({}, 0o755), "b": "a", NFC: (b"1", 0o600), NFD: (b"2", 0o700)}, 0o700))
@example(
    (
        {"a": (({"b": (b"", 0o000)}), 0o000), "c": "{root}/a/b", "d": "../{name}/a", ".git": (b"", 0o644)},
        0o555,
    )
)
@given(any_trees.trees)
@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES < 100
)
def test_any_tree_comes_back_as_it_was_or_is_refused(
    shop: Store, places: Iterator[Path], tree: any_trees.Entry
) -> None:
    there, home, moved = next(places), next(places), next(places)
    hashes = HashCache.in_memory()
    any_trees.build(there, tree)
    expected, odd = any_trees.holds(there)
    try:
        taken = snapshot(there, hashes, QUIET)
    except InputError as exc:
        assert odd and str(there) in str(exc)
        taken = snapshot(there, hashes, QUIET, lenient=True)
    else:
        assert not odd
    push(taken, shop, hashes, QUIET)
    pull(taken.content, home, shop, None, QUIET)
    assert any_trees.holds(home) == (expected, False)
    # what has come is the same content, and comes again over itself
    again = snapshot(home, HashCache.in_memory(), QUIET)
    assert again.content.digest == taken.content.digest
    pull(taken.content, home, shop, HashCache.in_memory(), QUIET)
    assert any_trees.holds(home) == (expected, False)
    # where nothing travels it is moved
    move(home, moved)
    assert any_trees.holds(moved) == (expected, False)
    any_trees.clear(there, home, moved)

"""Calls become jobs: one batch of hashing, one list of problems, one batch of uploads. Without Ray."""

from __future__ import annotations

from pathlib import Path

import pytest
from trees import tree

from ray_decorator.core.errors import InputError
from ray_decorator.core.options.settings import Settings
from ray_decorator.core.progress import NoProgress
from ray_decorator.core.values.model import Call, PathSlot
from ray_decorator.run.data.staging import Staging
from ray_decorator.run.engine.flights import Staged
from ray_decorator.run.ledger.ledger import Ledger
from ray_decorator.run.preparing import Preparing


class Driver:
    """A session without its Ray. ``stored`` says what the store held whenever it was connected to."""

    def __init__(self, root: Path, *, named: bool = True) -> None:
        self.root = tree(root, {"shared": b"shared", "own": b"own!", "same": b"shared"})
        self.store = root / "store"
        settings = Settings("local", self.store.as_uri(), not named)
        staging = Staging(settings.store_url, settings.credentials)
        self._preparing = Preparing(settings, staging, Ledger(settings, staging), NoProgress(), "/start")
        self.stored: list[int] = []
        self.again = self._preparing.again

    def call(self, name: str, *deps: str) -> Call:
        return Call(b"", b"", tuple(PathSlot.at((dep,), dep, self.root / dep) for dep in deps), (), name)

    def jobs(self, *calls: Call, isolate: bool = False) -> list[Staged]:
        made = self._preparing.jobs(calls, lambda: self.stored.append(len(self.objects())), isolate=isolate)
        return [one for one in made if isinstance(one, Staged)]

    def objects(self) -> list[Path]:
        return [path for path in self.store.glob("files/md5/*/*") if path.is_file()]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "home"


def test_what_several_calls_read_is_sent_once_after_ray_is_there(home: Path) -> None:
    driver = Driver(home)
    first, second = driver.jobs(driver.call("#0", "shared", "own"), driver.call("#1", "same", "shared"))
    assert driver.stored == [0] and len(driver.objects()) == 2
    assert (first.sent, second.sent) == (10, 0)
    assert [dep.content.digest for dep in second.job.deps if dep.content] == 2 * [
        first.snapshots[0].content.digest
    ]
    assert len(second.snapshots) == 1, "one content, under two names"
    assert (first.job.name, first.job.cwd, first.job.deps[0].home) == ("#0", "/start", None)


def test_all_that_is_wrong_is_said_at_once_and_nothing_is_begun(home: Path) -> None:
    driver = Driver(home)
    calls = [driver.call("#0", "gone"), driver.call("#1", "own"), driver.call("#2", "gone", "lost")]
    with pytest.raises(InputError) as met:
        driver.jobs(*calls)
    assert [problem.partition(": ")[0] for problem in met.value.problems] == [
        "deps key 'gone'",
        "deps key 'lost'",
    ]
    assert met.value.problems[0].endswith("(2 jobs: #0, #2)")
    assert driver.stored == [] and driver.objects() == []


def test_with_isolate_a_problem_is_its_calls_alone(home: Path) -> None:
    driver = Driver(home)
    good, bad = driver.call("#0", "own"), driver.call("#1", "gone")
    [staged] = driver.jobs(bad, good, isolate=True)
    assert staged.call is good and len(driver.objects()) == 1
    assert driver.jobs(bad, isolate=True) == [] and driver.stored == [0], "nothing is left to run"


def test_where_no_store_is_named_a_dep_goes_through_it_only_when_a_node_asks(home: Path) -> None:
    driver = Driver(home, named=False)
    [staged] = driver.jobs(driver.call("#0", "own"))
    assert staged.job.deps[0].content is None and staged.job.deps[0].home is not None
    assert staged.snapshots == () and not driver.store.exists()
    again = driver.again(staged)
    assert again.job.deps[0].content is not None and again.sent == 4 and len(driver.objects()) == 1
    (home / "own").unlink()
    with pytest.raises(InputError, match=r"deps key 'own': .* no such file"):
        driver.again(staged)

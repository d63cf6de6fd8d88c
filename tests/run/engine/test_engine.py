"""What becomes of jobs, whatever comes back and in whatever order: against a cluster that a test steers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from fake_cluster import SECONDS, FakeCluster, FakeStore, call, value

from ray_decorator.core.errors import (
    ClusterError,
    ClusterLostError,
    CorruptObjectError,
    InputError,
    JobCancelledError,
    JobDiedError,
    JobError,
    MissingObjectError,
    PackagesError,
)
from ray_decorator.core.options.retries import Retries
from ray_decorator.core.progress import NoProgress
from ray_decorator.core.serialization.failures import failure_of
from ray_decorator.core.values.contents import Content
from ray_decorator.core.values.model import Job, Outcome, Receipt
from ray_decorator.run.engine import engine as module
from ray_decorator.run.engine.engine import Engine
from ray_decorator.run.engine.flights import Staged, is_finished
from ray_decorator.run.jobs import JobMaker

OUTS = {0: Content("0" * 32, 3, 1), 1: Content("1" * 32 + ".dir", 3, 1)}


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def engine(cluster: FakeCluster, store: FakeStore) -> Iterator[Engine]:
    made = Engine(cluster, store, NoProgress(), lambda staged, lacks: staged)
    yield made
    made.close()


@pytest.fixture
def staged(tmp_path: Path) -> Callable[[str], Staged]:
    maker = JobMaker(str(tmp_path), (), embedded=False, in_place=False)
    return lambda name: Staged(asked := call(name, tmp_path), maker.make(asked, {}))


def outcome_of(future: Future[Outcome]) -> Outcome:
    return future.result(SECONDS)


def test_a_cluster_that_is_lost_while_it_takes_a_function(
    engine: Engine, cluster: FakeCluster, staged: Callable[[str], Staged]
) -> None:
    """Ray's own `put` waits for ever for a store that hangs, in the thread that asks."""
    hangs, ended = threading.Event(), threading.Event()

    def on_put() -> None:
        hangs.set()
        ended.wait(SECONDS)

    def loses() -> None:
        hangs.wait(SECONDS)
        engine.lost(ClusterError("Ray is gone"))

    cluster.on_put = on_put
    threading.Thread(target=loses, daemon=True).start()
    with pytest.raises(ClusterError, match=r"^Ray is gone$"):
        engine.start(staged("a"))
    assert hangs.is_set() and not ended.is_set() and not cluster.jobs
    ended.set()


def test_a_value_comes_back_and_all_outs_come_home_at_once(
    engine: Engine, cluster: FakeCluster, store: FakeStore, staged: Callable[[str], Staged], tmp_path: Path
) -> None:
    future = engine.start(staged("a"))
    cluster.await_jobs(1)[0].set_result(value(42, outs=OUTS, seconds=1.5, node="n1"))
    assert outcome_of(future) == Outcome("a", 42, None, 1.5, 0, 20, "n1")
    assert store.pulled == [tmp_path / "a.pkl", tmp_path / "a"]


def test_an_exception_comes_back_with_its_traceback_as_cause(
    engine: Engine, cluster: FakeCluster, staged: Callable[[str], Staged]
) -> None:
    future = engine.start(staged("a"))
    try:
        raise KeyError("lost it")
    except KeyError as exc:
        cluster.await_jobs(1)[0].set_result(Receipt(failure=failure_of(exc)))
    error = outcome_of(future).error
    assert isinstance(error, KeyError) and "lost it" in str(error.__cause__)


def test_a_crashed_job_has_its_error_and_what_it_left(
    engine: Engine, cluster: FakeCluster, store: FakeStore, staged: Callable[[str], Staged], tmp_path: Path
) -> None:
    cluster.left["a"] = Receipt(outs={1: OUTS[1]})
    future = engine.start(staged("a"))
    cluster.await_jobs(1)[0].set_exception(JobError("a crashed"))
    assert str(outcome_of(future).error) == "a crashed"
    assert store.pulled == [tmp_path / "a"]


def test_of_a_job_whose_node_is_lost_its_newest_checkpoint_comes_home(
    engine: Engine, cluster: FakeCluster, store: FakeStore, staged: Callable[[str], Staged], tmp_path: Path
) -> None:
    store.checkpoints["a"] = {0: OUTS[0]}
    future = engine.start(staged("a"))
    cluster.await_jobs(1)[0].set_exception(JobDiedError("a lost its node"))
    error = outcome_of(future).error
    assert str(error) == "a lost its node" and store.pulled == [tmp_path / "a.pkl"]
    assert error.__notes__ == ["Nothing else is left of it: model.path came home as in its newest checkpoint"]


def test_a_rescue_keeps_no_other_job_waiting(
    engine: Engine, cluster: FakeCluster, staged: Callable[[str], Staged]
) -> None:
    go_on = threading.Event()
    cluster.on_rescue = lambda: go_on.wait(SECONDS) and None
    crashed = [engine.start(staged(f"crashed{n}")) for n in range(8)]
    well = engine.start(staged("well"))
    *first, last = cluster.await_jobs(9)
    for future in first:
        future.set_exception(JobError("crashed"))
    last.set_result(value(1))
    assert outcome_of(well).value == 1
    assert not any(future.done() for future in crashed)
    go_on.set()
    assert [str(outcome_of(future).error) for future in crashed] == ["crashed"] * 8


def test_a_store_that_lost_objects_gets_them_again_once_for_all_jobs(
    engine: Engine, cluster: FakeCluster, store: FakeStore, staged: Callable[[str], Staged]
) -> None:
    futures = [engine.start(staged(name)) for name in "abc"]
    for pending in cluster.await_jobs(3):
        pending.set_result(Receipt(missing=("d1",)))
    for pending in cluster.await_jobs(6)[3:]:
        pending.set_result(value("done"))
    assert [outcome_of(future).value for future in futures] == ["done"] * 3
    assert store.uploads == [("d1",)]


def test_a_store_that_loses_them_again_and_again_is_an_error(
    engine: Engine, cluster: FakeCluster, staged: Callable[[str], Staged]
) -> None:
    cluster.on_submit = lambda job, pending: pending.set_result(Receipt(missing=("d1", "d2")))
    error = outcome_of(engine.start(staged("a"))).error
    assert isinstance(error, JobError)
    assert "a: the store lost objects again right after they were uploaded (d1, d2). Is a" in str(error)
    assert "a directory that the job's node does not see? Then set s3_base_path" in str(error)
    assert len(cluster.jobs) == 3


def test_a_node_that_lacks_something_is_given_it(
    cluster: FakeCluster, store: FakeStore, staged: Callable[[str], Staged]
) -> None:
    given: list[str] = []

    def restage(one: Staged, lacks: str) -> Staged:
        given.append(lacks)
        return one

    engine = Engine(cluster, store, NoProgress(), restage)
    future = engine.start(staged("a"))
    cluster.await_jobs(1)[0].set_result(Receipt(lacks="bundle"))
    cluster.await_jobs(2)[1].set_result(Receipt(lacks="content"))
    cluster.await_jobs(3)[2].set_result(value("done"))
    assert (outcome_of(future).value, given) == ("done", ["bundle", "content"])


def test_what_cannot_be_given_is_that_jobs_error(
    cluster: FakeCluster, store: FakeStore, staged: Callable[[str], Staged]
) -> None:
    def restage(one: Staged, lacks: str) -> Staged:
        raise InputError("code: cannot be read")

    engine = Engine(cluster, store, NoProgress(), restage)
    cluster.on_submit = lambda job, pending: pending.set_result(
        Receipt(lacks="bundle") if job.name == "a" else value(2)
    )
    bad, good = engine.start(staged("a")), engine.start(staged("b"))
    assert str(outcome_of(bad).error) == "code: cannot be read"
    assert outcome_of(good).value == 2


def test_what_concerns_all_jobs_ends_the_run(
    engine: Engine, cluster: FakeCluster, staged: Callable[[str], Staged]
) -> None:
    futures = [engine.start(staged(name)) for name in "ab"]
    packages = failure_of(PackagesError("no uv"))
    cluster.await_jobs(2)[1].set_result(Receipt(failure=packages, fatal=True))
    with pytest.raises(PackagesError, match="no uv"):
        engine.wait(futures)
    assert not futures[0].done()


def test_outs_that_cannot_come_are_named_and_put_aside(
    engine: Engine, cluster: FakeCluster, store: FakeStore, staged: Callable[[str], Staged], tmp_path: Path
) -> None:
    store.error = InputError("a.pkl: is a directory, and a file is to be written there; move it away")
    future = engine.start(staged("a"))
    cluster.await_jobs(1)[0].set_result(value(1, outs={0: OUTS[0]}))
    assert str(outcome_of(future).error) == (
        "outs key 'model.path': a.pkl: is a directory, and a file is to be written there; move it away. "
        f"What the job wrote is at {tmp_path}/a.pkl.ray_s3"
    )


def test_an_out_whose_bytes_are_gone_is_named_with_file_and_key(
    engine: Engine, cluster: FakeCluster, store: FakeStore, staged: Callable[[str], Staged]
) -> None:
    store.error = MissingObjectError(("d",), "s3://bucket", ("w.bin (files/md5/d)",), "run it again")
    future = engine.start(staged("a"))
    cluster.await_jobs(1)[0].set_result(value(1, outs={0: OUTS[0]}))
    error = outcome_of(future).error
    assert isinstance(error, MissingObjectError) and error.digests == ("d",)
    assert "or spoilt: outs key 'model.path', w.bin (files/md5/d). Somebody" in str(error)
    assert str(error).endswith("; run it again.")
    store.error = CorruptObjectError("w.bin (files/md5/d): its bytes are others", ("d",))
    other = engine.start(staged("b"))
    cluster.await_jobs(2)[1].set_result(value(1, outs={0: OUTS[0]}))
    assert str(outcome_of(other).error) == "outs key 'model.path', w.bin (files/md5/d): its bytes are others"


def test_a_failed_job_keeps_its_own_error_when_its_directory_cannot_come(
    engine: Engine, cluster: FakeCluster, store: FakeStore, staged: Callable[[str], Staged]
) -> None:
    store.error = MissingObjectError(("d",), "s3://bucket")
    future = engine.start(staged("a"))
    receipt = Receipt(failure=failure_of(ValueError("mine")), outs={1: OUTS[1]})
    cluster.await_jobs(1)[0].set_result(receipt)
    error = outcome_of(future).error
    assert isinstance(error, ValueError)
    assert "could not be brought home: 1 object(s) are gone" in error.__notes__[0]


class TestStop:
    @pytest.fixture(autouse=True)
    def at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_CANCEL_SECONDS", 0.05)
        monkeypatch.setattr(module, "_LANDING_SECONDS", 0.05)

    def test_what_heeds_it_is_cancelled_and_what_does_not_is_killed(
        self, engine: Engine, cluster: FakeCluster, staged: Callable[[str], Staged]
    ) -> None:
        futures = [engine.start(staged(name)) for name in ("heeds", "stubborn")]
        heeds, stubborn = cluster.await_jobs(2)
        heeds.set_result(Receipt(failure=failure_of(KeyboardInterrupt())))
        outcome_of(futures[0])
        engine.stop(futures)
        assert cluster.cancelled == [("stubborn", False), ("stubborn", True)]
        stubborn.set_exception(JobError("killed"))
        error = outcome_of(futures[1]).error
        assert isinstance(error, JobCancelledError) and str(error) == "stubborn was cancelled"
        assert [is_finished(future) for future in futures] == [True, False]

    def test_what_has_finished_meanwhile_still_comes_home(
        self, engine: Engine, cluster: FakeCluster, store: FakeStore, staged: Callable[[str], Staged]
    ) -> None:
        future = engine.start(staged("a"))
        [pending] = cluster.await_jobs(1)
        store.on_pull = lambda: pytest.fail("twice") if store.pulled else None
        stopping = threading.Thread(target=engine.stop, args=([future],))
        stopping.start()
        pending.set_result(value("done", outs=OUTS))
        assert outcome_of(future).value == "done"
        stopping.join(SECONDS)
        assert not stopping.is_alive()

    @pytest.mark.parametrize("receipt", [Receipt(missing=("d",)), Receipt(lacks="bundle")])
    def test_nothing_is_started_anew(
        self, engine: Engine, cluster: FakeCluster, staged: Callable[[str], Staged], receipt: Receipt
    ) -> None:
        future = engine.start(staged("a"))
        [pending] = cluster.await_jobs(1)
        engine.stop([future])
        pending.set_result(receipt)
        assert isinstance(outcome_of(future).error, JobCancelledError)
        assert len(cluster.jobs) == 1


class TestLost:
    def test_all_that_flies_gets_the_error_and_what_had_answered_comes_home(
        self, engine: Engine, cluster: FakeCluster, store: FakeStore, staged: Callable[[str], Staged]
    ) -> None:
        landing, go_on = threading.Event(), threading.Event()
        store.on_pull = lambda: landing.set() or (go_on.wait(SECONDS) and None)
        answered, silent = engine.start(staged("a")), engine.start(staged("b"))
        cluster.await_jobs(2)[0].set_result(value("home", outs=OUTS))
        assert landing.wait(SECONDS)
        engine.lost(ClusterError("Ray is gone"))
        with pytest.raises(ClusterError, match="Ray is gone"):
            silent.result(SECONDS)
        go_on.set()
        assert outcome_of(answered).value == "home"

    def test_a_job_brings_the_news(
        self, engine: Engine, cluster: FakeCluster, staged: Callable[[str], Staged]
    ) -> None:
        told, waits = engine.start(staged("told")), engine.start(staged("waits"))
        cluster.await_jobs(2)[0].set_exception(ClusterLostError("Ray is gone"))
        for future in (told, waits):
            with pytest.raises(ClusterError, match="Ray is gone"):
                future.result(SECONDS)
        assert cluster.rescued == []

    def test_what_comes_too_late_changes_nothing(
        self, engine: Engine, cluster: FakeCluster, store: FakeStore, staged: Callable[[str], Staged]
    ) -> None:
        future = engine.start(staged("a"))
        [pending] = cluster.await_jobs(1)
        engine.lost(ClusterError("Ray is gone"))
        pending.set_result(value("late", outs=OUTS))
        with pytest.raises(ClusterError):
            future.result(SECONDS)
        assert store.pulled == []

    def test_while_a_job_is_submitted(
        self, engine: Engine, cluster: FakeCluster, staged: Callable[[str], Staged]
    ) -> None:
        cluster.on_submit = lambda job, pending: engine.lost(ClusterError("Ray is gone"))
        with pytest.raises(ClusterError, match="Ray is gone"):
            engine.start(staged("a")).result(SECONDS)

    def test_while_objects_are_uploaded_again(
        self, engine: Engine, cluster: FakeCluster, store: FakeStore, staged: Callable[[str], Staged]
    ) -> None:
        def reupload(*_: object) -> None:
            engine.lost(ClusterError("Ray is gone"))

        store.reupload = reupload  # type: ignore[method-assign]
        future = engine.start(staged("a"))
        cluster.await_jobs(1)[0].set_result(Receipt(missing=("d",)))
        with pytest.raises(ClusterError, match="Ray is gone"):
            future.result(SECONDS)

    @pytest.mark.parametrize(
        ("end", "wanted"), [(JobDiedError("crashed"), "Ray is gone"), (ValueError("its own"), "its own")]
    )
    def test_while_it_is_asked_what_a_job_has_left(
        self, engine: Engine, cluster: FakeCluster, staged: Callable[[str], Staged], end: Exception, wanted: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:  # fmt: skip
        """Its answer never comes: nobody waits for it."""
        looking, ended = threading.Event(), threading.Event()
        cluster.on_rescue = lambda: looking.set() or (ended.wait(3 * SECONDS) and None)
        future = engine.start(staged("a"))
        [pending] = cluster.await_jobs(1)
        if isinstance(end, JobDiedError):
            pending.set_exception(end)
        else:
            pending.set_result(Receipt(failure=failure_of(end), left=True))
        assert looking.wait(SECONDS)
        engine.lost(ClusterError("Ray is gone"))
        try:
            error = future.exception(SECONDS) or outcome_of(future).error
            assert str(error) == wanted and type(error) is (
                type(end) if wanted == "its own" else ClusterError
            )
        finally:
            ended.set()
        assert caplog.messages == []

    @pytest.mark.parametrize("what", ["bundle", "content"])
    def test_while_its_node_is_given_what_it_lacks(
        self, cluster: FakeCluster, store: FakeStore, staged: Callable[[str], Staged], what: str
    ) -> None:
        looking, ended = threading.Event(), threading.Event()

        def restage(one: Staged, lacks: str) -> Staged:
            assert lacks == what
            looking.set()
            ended.wait(3 * SECONDS)
            return one

        engine = Engine(cluster, store, NoProgress(), restage)
        future = engine.start(staged("a"))
        cluster.await_jobs(1)[0].set_result(Receipt(lacks=what))
        assert looking.wait(SECONDS)
        engine.lost(ClusterError("Ray is gone"))
        try:
            assert isinstance(future.exception(SECONDS), ClusterError)
        finally:
            ended.set()
        engine.close()
        assert len(cluster.jobs) == 1

    def test_while_the_next_attempt_is_submitted(
        self, engine: Engine, cluster: FakeCluster, staged: Callable[[str], Staged]
    ) -> None:
        submitting, ended = threading.Event(), threading.Event()
        future = engine.start(staged("a"))

        def on_submit(job: Job, pending: Future[Receipt]) -> None:
            submitting.set()
            ended.wait(3 * SECONDS)

        cluster.on_submit = on_submit
        cluster.await_jobs(1)[0].set_result(Receipt(lacks="process"))
        assert submitting.wait(SECONDS)
        engine.lost(ClusterError("Ray is gone"))
        try:
            assert isinstance(future.exception(SECONDS), ClusterError)
        finally:
            ended.set()

    def test_nobody_waits_for_room_any_more(
        self, cluster: FakeCluster, store: FakeStore, staged: Callable[[str], Staged]
    ) -> None:
        engine = Engine(cluster, store, NoProgress(), lambda one, lacks: one, max_concurrent=1)
        engine.start(staged("a"))
        met: list[BaseException] = []

        def second() -> None:
            try:
                engine.start(staged("b"))
            except ClusterError as exc:
                met.append(exc)

        waiting = threading.Thread(target=second)
        waiting.start()
        engine.lost(ClusterError("Ray is gone"))
        waiting.join(SECONDS)
        assert [str(error) for error in met] == ["Ray is gone"]

    def test_stopping_waits_for_what_had_answered_alone(
        self, engine: Engine, cluster: FakeCluster, staged: Callable[[str], Staged]
    ) -> None:
        futures = [engine.start(staged(name)) for name in "ab"]
        cluster.await_jobs(2)[0].set_result(value(1))
        outcome_of(futures[0])
        engine.lost(ClusterError("Ray is gone"))
        engine.stop(futures)
        assert cluster.cancelled == []


def test_all_futures_settle_when_it_is_closed(
    engine: Engine, cluster: FakeCluster, staged: Callable[[str], Staged]
) -> None:
    go_on, looks = threading.Event(), threading.Event()

    def on_rescue() -> None:
        looks.set()
        go_on.wait(SECONDS)

    cluster.on_rescue = on_rescue
    crashed, runs = engine.start(staged("a")), engine.start(staged("b"))
    cluster.await_jobs(2)[0].set_exception(JobError("crashed"))
    assert looks.wait(SECONDS)
    engine.close()
    for future in (crashed, runs):
        assert isinstance(future.exception(SECONDS), ClusterError)
    go_on.set()


def test_a_function_travels_once_for_all_jobs_of_a_batch(
    engine: Engine, cluster: FakeCluster, staged: Callable[[str], Staged], monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[bytes] = []
    monkeypatch.setattr(cluster, "put", put.append)
    for name in "abc":
        engine.start(staged(name))
    assert put == [b"func"]


def test_a_fault_of_our_own_is_that_jobs_error(
    engine: Engine,
    cluster: FakeCluster,
    store: FakeStore,
    staged: Callable[[str], Staged],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def pull(*_: object) -> None:
        raise RuntimeError("a fault")

    store.pull_all = pull  # type: ignore[method-assign, assignment]
    with caplog.at_level(logging.WARNING):
        future = engine.start(staged("a"))
        cluster.await_jobs(1)[0].set_result(value(1, outs=OUTS))
        assert str(outcome_of(future).error) == "a fault"


def test_a_job_that_waits_for_room_lends_its_cpus(
    cluster: FakeCluster, store: FakeStore, staged: Callable[[str], Staged]
) -> None:
    def lend(pending: list[Future[Receipt]], seconds: float | None) -> bool:
        for one in pending:  # they can run now
            if seconds is not None and not one.done():
                one.set_result(value("done"))
                return True
        return False

    cluster.on_lend = lend
    engine = Engine(cluster, store, NoProgress(), lambda one, lacks: one, max_concurrent=1)
    first, second, third = (engine.start(staged(name)) for name in "abc")
    assert [outcome_of(future).value for future in (first, second)] == ["done"] * 2
    assert not third.done()


def test_what_only_the_driver_knows_is_added_to_a_jobs_error(
    cluster: FakeCluster, store: FakeStore, staged: Callable[[str], Staged]
) -> None:
    def explain(error: BaseException) -> None:
        error.add_note("it is at home")

    engine = Engine(cluster, store, NoProgress(), lambda one, lacks: one, explain=explain)
    outcome = engine.start(staged("a"))
    cluster.await_jobs(1)[0].set_result(
        Receipt(failure=failure_of(ModuleNotFoundError("No module", name="m")))
    )
    error = outcome_of(outcome).error
    assert isinstance(error, ModuleNotFoundError) and error.name == "m"
    assert error.__notes__ == ["it is at home"]
    engine.close()


class TestRetries:
    @pytest.fixture(autouse=True)
    def at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_CANCEL_SECONDS", 0.05)
        monkeypatch.setattr(module, "_LANDING_SECONDS", 0.05)

    @pytest.fixture
    def engine(self, cluster: FakeCluster, store: FakeStore) -> Iterator[Engine]:
        retries = Retries(2, ("builtins.OSError",))
        made = Engine(cluster, store, NoProgress(), lambda staged, lacks: staged, retries=retries)
        yield made
        made.close()

    @staticmethod
    def raised(error: Exception, *, replaced: bool = True) -> Receipt:
        return Receipt(failure=failure_of(error), replaced=replaced)

    def test_one_counter_for_all_causes(
        self,
        engine: Engine,
        cluster: FakeCluster,
        staged: Callable[[str], Staged],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        future = engine.start(staged("a"))
        cluster.await_jobs(1)[0].set_exception(JobDiedError("a crashed: it was killed"))
        cluster.await_jobs(2)[1].set_result(self.raised(ConnectionError("reset")))
        cluster.await_jobs(3)[2].set_result(value("done"))
        outcome = outcome_of(future)
        assert (outcome.value, outcome.attempts) == ("done", 3)
        jobs = [job for job, _ in cluster.jobs]
        assert [job.attempt for job in jobs] == [1, 2, 3] and len({job.id for job in jobs}) == 3
        assert [job.retry_on for job in jobs] == [("builtins.OSError",), ("builtins.OSError",), ()]
        assert caplog.messages == [
            "a: attempt 1 of 3 failed, and is replaced by another one (crashed: it was killed)",
            "a: attempt 2 of 3 failed, and is replaced by another one (ConnectionError: reset)",
        ]
        assert [(job.id, job.replaced) for job in cluster.rescued] == [(jobs[0].id, True)]

    def test_the_last_one_is_rescued_and_its_error_says_how_many_there_were(
        self, engine: Engine, cluster: FakeCluster, store: FakeStore, staged: Callable[[str], Staged]
    ) -> None:
        cluster.left["a"] = Receipt(outs={1: OUTS[1]})
        cluster.on_submit = lambda job, pending: pending.set_exception(JobDiedError("a lost its node"))
        outcome = outcome_of(engine.start(staged("a")))
        assert str(outcome.error) == "a lost its node" and outcome.attempts == 3
        assert outcome.error is not None
        assert outcome.error.__notes__ == ["This was attempt 3: ray_remote_kwargs.max_retries is 2"]
        assert [job.replaced for job in cluster.rescued] == [True, True, False]
        assert len(store.pulled) == 1

    @pytest.mark.parametrize(
        "end",
        [
            JobError("a failed on Ray: its runtime_env"),
            JobCancelledError("a was cancelled"),
            ClusterError("gone"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_what_another_attempt_would_not_mend_is_final(
        self, engine: Engine, cluster: FakeCluster, staged: Callable[[str], Staged], end: Exception
    ) -> None:
        future = engine.start(staged("a"))
        cluster.await_jobs(1)[0].set_exception(end)
        assert outcome_of(future).error is end
        assert len(cluster.jobs) == 1

    def test_an_exception_that_is_not_to_be_retried_is_final(
        self, engine: Engine, cluster: FakeCluster, staged: Callable[[str], Staged]
    ) -> None:
        future = engine.start(staged("a"))
        cluster.await_jobs(1)[0].set_result(self.raised(KeyError("x"), replaced=False))
        assert isinstance(outcome_of(future).error, KeyError)
        assert len(cluster.jobs) == 1

    def test_what_a_node_lacks_and_the_store_lost_is_no_attempt(
        self, engine: Engine, cluster: FakeCluster, staged: Callable[[str], Staged]
    ) -> None:
        future = engine.start(staged("a"))
        cluster.await_jobs(1)[0].set_exception(JobDiedError("a crashed"))
        cluster.await_jobs(2)[1].set_result(Receipt(lacks="bundle"))
        cluster.await_jobs(3)[2].set_result(Receipt(missing=("d",)))
        cluster.await_jobs(4)[3].set_result(value(1))
        assert outcome_of(future).attempts == 2
        assert [job.attempt for job, _ in cluster.jobs] == [1, 2, 2, 2]

    def test_without_bound(
        self, cluster: FakeCluster, store: FakeStore, staged: Callable[[str], Staged]
    ) -> None:
        engine = Engine(cluster, store, NoProgress(), lambda one, lacks: one, retries=Retries(None))

        def ends(job: Job, pending: Future[Receipt]) -> None:
            if job.attempt < 30:
                pending.set_exception(JobDiedError("a crashed"))
            else:
                pending.set_result(value("at last"))

        cluster.on_submit = ends
        outcome = outcome_of(engine.start(staged("a")))
        assert (outcome.value, outcome.attempts) == ("at last", 30)
        engine.close()

    def test_cancelled_between_two_attempts(
        self, engine: Engine, cluster: FakeCluster, staged: Callable[[str], Staged]
    ) -> None:
        looking, go_on = threading.Event(), threading.Event()
        cluster.on_rescue = lambda: looking.set() or (go_on.wait(SECONDS) and None)
        future = engine.start(staged("a"))
        cluster.await_jobs(1)[0].set_exception(JobDiedError("a crashed"))
        assert looking.wait(SECONDS)
        engine.stop([future])
        go_on.set()
        assert isinstance(outcome_of(future).error, JobCancelledError)
        assert len(cluster.jobs) == 1

    def test_cancelled_while_the_next_one_is_submitted(
        self, engine: Engine, cluster: FakeCluster, staged: Callable[[str], Staged]
    ) -> None:
        future = engine.start(staged("a"))
        cluster.on_submit = lambda job, pending: engine.stop([future]) if job.attempt == 2 else None
        cluster.await_jobs(1)[0].set_result(self.raised(OSError("disk")))
        cluster.await_jobs(2)[1].set_exception(JobDiedError("killed"))
        assert isinstance(outcome_of(future).error, JobCancelledError)
        assert ("a", True) in cluster.cancelled and len(cluster.jobs) == 2

    def test_a_cancelled_job_that_would_be_retried_is_not(
        self, engine: Engine, cluster: FakeCluster, staged: Callable[[str], Staged]
    ) -> None:
        future = engine.start(staged("a"))
        [pending] = cluster.await_jobs(1)
        engine.stop([future])
        pending.set_result(self.raised(OSError("disk")))
        assert isinstance(outcome_of(future).error, JobCancelledError)
        assert len(cluster.jobs) == 1

    @pytest.mark.parametrize("how", ["lost", "close"])
    def test_lost_or_closed_between_two_attempts(
        self, engine: Engine, cluster: FakeCluster, staged: Callable[[str], Staged], how: str
    ) -> None:
        looking, go_on = threading.Event(), threading.Event()
        cluster.on_rescue = lambda: looking.set() or (go_on.wait(SECONDS) and None)
        future = engine.start(staged("a"))
        cluster.await_jobs(1)[0].set_exception(JobDiedError("a crashed"))
        assert looking.wait(SECONDS)
        if how == "lost":
            engine.lost(ClusterError("Ray is gone"))
        else:
            engine.close()
        go_on.set()
        assert isinstance(future.exception(SECONDS), ClusterError)
        assert len(cluster.jobs) == 1

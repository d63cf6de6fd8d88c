"""What a user does with hydra/launcher=ray_s3, then what must be true. Real Ray, real store."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import signal
import stat
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from sweeps import sweep

from ray_decorator import ray_zen
from ray_decorator.core.errors import InputError, JobError, PicklingError, RemoteTraceback

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that the app is started in, with its data and a store of its own."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("alpha")
    (tmp_path / "data" / "b.txt").write_text("beta")
    monkeypatch.setenv("RAY_S3_BASE_PATH", (tmp_path / "store").as_uri())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def count_bytes(cfg: DictConfig) -> int:
    files = sorted(Path(cfg.data.path).rglob("*.txt"))
    text = "".join(file.read_text() for file in files)
    Path(cfg.model.path).parent.mkdir(parents=True, exist_ok=True)
    Path(cfg.model.path).write_text(f"{cfg.x}:{text}")
    (Path(HydraConfig.get().runtime.output_dir) / "where.json").write_text(
        json.dumps({"pid": os.getpid(), "data": cfg.data.path, "model": cfg.model.path})
    )
    return len(text) * cfg.x


DATA = {"x": 1, "data": {"path": "data"}, "model": {"path": "models/${hydra:job.num}/model.txt"}}


def test_a_sweep_stages_deps_and_brings_outs_home_in_order(home: Path) -> None:
    jobs = sweep(DATA, count_bytes, ["x=1,2,3"], deps=["data.path"], outs=["model.path"])
    assert [job.return_value for job in jobs] == [9, 18, 27]
    assert [job.overrides for job in jobs] == [["x=1"], ["x=2"], ["x=3"]]
    for num, job in enumerate(jobs):
        assert (home / f"models/{num}/model.txt").read_text() == f"{num + 1}:alphabeta"
        assert job.working_dir == str(home)  # as Hydra says of jobs that do not change their directory
        where = json.loads((home / f"sweep/{num}/where.json").read_text())
        assert where["pid"] != os.getpid()
        assert not where["data"].startswith(str(home / "data"))
        assert not where["model"].startswith(str(home / "models"))


def test_a_tilde_is_the_users_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home))
    config = {**DATA, "data": {"path": "~/data"}, "model": {"path": "~/model.txt"}}
    [job] = sweep(config, count_bytes, [], deps=["data.path"], outs=["model.path"])
    assert job.return_value == 9
    assert (home / "model.txt").read_text() == "1:alphabeta"


def test_returns_and_saved_configs_carry_the_paths_of_home(home: Path) -> None:
    [job] = sweep(DATA, count_bytes, [], deps=["data.path"], outs=["model.path"])
    assert job.cfg == OmegaConf.create(DATA)
    assert job.hydra_cfg.hydra.runtime.output_dir == str(home / "sweep/0")
    saved = OmegaConf.load(home / "sweep/0/.hydra/config.yaml")
    assert saved == OmegaConf.create(DATA)
    hydra = OmegaConf.load(home / "sweep/0/.hydra/hydra.yaml")
    assert hydra.hydra.runtime.output_dir == str(home / "sweep/0")
    assert hydra.hydra.sweep.dir == "sweep"


def retried(cfg: DictConfig) -> str:
    out = Path(HydraConfig.get().runtime.output_dir)
    (out / "note.txt").write_text("from the job")
    return str(out)


def test_the_job_directory_comes_home_through_the_store_too(home: Path) -> None:
    # with max_retries a job may not work in the directory at home: an earlier attempt's files would mix in
    [job] = sweep({"x": 1}, retried, [], ray_remote_kwargs={"max_retries": 1})
    assert job.return_value != str(home / "sweep/0")
    assert (home / "sweep/0/note.txt").read_text() == "from the job"
    saved = OmegaConf.load(home / "sweep/0/.hydra/hydra.yaml")
    assert saved.hydra.runtime.output_dir == str(home / "sweep/0")
    assert saved.hydra.sweep.dir == "sweep"
    assert not Path(job.return_value).exists()


class Model:
    """Records the process that it is built in."""

    def __init__(self, width: int) -> None:
        self.width, self.pid = width, os.getpid()


def build(cfg: DictConfig) -> int:
    from hydra.utils import instantiate

    return instantiate(cfg.model).pid


def test_models_are_instantiated_on_the_worker(home: Path) -> None:
    [job] = sweep({"model": {"_target_": f"{__name__}.Model", "width": 3}}, build, [])
    assert isinstance(job.return_value, int)
    assert job.return_value != os.getpid()


def test_keys_take_wildcards_lists_dicts_and_null(home: Path) -> None:
    config = {
        "data": {"a": {"path": "data/a.txt"}, "b": {"path": "data/b.txt"}, "c": {"path": None}},
        "many": ["data/a.txt", "data"],
        "named": {"first": "data/b.txt"},
    }
    [job] = sweep(config, read_all, [], deps=["data.*.path", "many", "named"])
    assert job.return_value == ["alpha", "beta", None, "alpha", ["a.txt", "b.txt"], "beta"]


def read_all(cfg: DictConfig) -> list[Any]:
    return [
        Path(cfg.data.a.path).read_text(),
        Path(cfg.data.b.path).read_text(),
        cfg.data.c.path,
        Path(cfg.many[0]).read_text(),
        sorted(os.listdir(cfg.many[1])),
        Path(cfg.named.first).read_text(),
    ]


def read_odd(cfg: DictConfig) -> list[str]:
    odd = cfg.odd
    return [Path(path).read_text() for path in (odd[1], odd["a.b"], cfg.listed[0])]


def test_keys_of_any_kind_and_what_resolvers_make(home: Path) -> None:
    OmegaConf.register_new_resolver("two_files", lambda: ["data/a.txt", "data/b.txt"], replace=True)
    config = {"odd": {1: "data/a.txt", "a.b": "data/b.txt"}, "listed": "${two_files:}"}
    (home / "elsewhere").mkdir()
    [job] = sweep(config, read_odd, [], deps=["odd", "listed"])
    assert job.return_value == ["alpha", "beta", "alpha"]
    [job] = sweep({"odd": {1: "data/a.txt"}}, staged_elsewhere, [], deps=["odd.1"])
    assert job.return_value == "alpha"


def staged_elsewhere(cfg: DictConfig) -> str:
    assert Path(cfg.odd[1]).is_absolute()
    return Path(cfg.odd[1]).read_text()


def test_a_value_that_cannot_be_resolved_says_why(home: Path) -> None:
    with pytest.raises(InputError, match=r"key 'data' has no value: .*'NO_SUCH_VARIABLE' not found"):
        sweep({"data": "${oc.env:NO_SUCH_VARIABLE}"}, read_a, [], deps=["data"])


def write_nested(cfg: DictConfig) -> list[str]:
    Path(cfg.file).parent.mkdir(parents=True, exist_ok=True)
    Path(cfg.file).write_text("inner")
    return sorted(str(path.relative_to(cfg.folder)) for path in Path(cfg.folder).rglob("*.txt"))


def test_outs_within_outs_stand_on_the_worker_as_at_home(home: Path) -> None:
    (home / "real").mkdir()
    (home / "link").symlink_to("real")
    for file in ("real/sub/m.txt", "link/sub/m.txt", "real/../real/sub/m.txt"):
        [job] = sweep({"folder": "real", "file": file}, write_nested, [], outs=["file", "folder"])
        assert job.return_value == ["sub/m.txt"]
        assert (home / "real/sub/m.txt").read_text() == "inner"
        (home / "real/sub/m.txt").unlink()


def leave(cfg: DictConfig) -> None:
    sys.exit(0)


def test_a_job_that_exits_with_0_has_failed(home: Path) -> None:
    with pytest.raises(JobError, match="#0 ended with SystemExit: 0"):
        sweep({"x": 1}, leave, [])


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def raise_unspeakable(cfg: DictConfig) -> None:
    raise Unspeakable


def test_an_exception_without_words_keeps_its_type(home: Path) -> None:
    with pytest.raises(Unspeakable):
        sweep({"x": 1}, raise_unspeakable, [])


def crash_once(cfg: DictConfig) -> str:
    mark = Path(cfg.mark)
    if not mark.exists():
        mark.write_text("crashed")
        os._exit(1)
    return "second"


def test_a_retry_leaves_nothing_of_the_crash_behind(home: Path, session_caches: Path) -> None:
    jobs = session_caches / "node" / "jobs"
    before = set(jobs.glob("*"))  # of other tests, whose jobs were killed
    [job] = sweep({"mark": str(home / "mark")}, crash_once, [], ray_remote_kwargs={"max_retries": 1})
    assert job.return_value == "second"
    assert set(jobs.glob("*")) <= before


def test_jobs_with_one_directory_are_refused_before_the_first_starts(home: Path) -> None:
    with pytest.raises(InputError, match=r"#0 x=1 .* and job #1 x=2"):
        sweep({"x": 1}, look, ["x=1,2", "hydra.sweep.subdir=same"])
    assert not (home / "sweep/same/.hydra").exists()


def append(cfg: DictConfig) -> None:
    with open(Path(cfg.checkpoint) / "steps.txt", "a") as file:
        file.write("more")


def test_a_key_in_deps_and_outs_is_staged_in_and_brought_back(home: Path) -> None:
    (home / "checkpoint").mkdir()
    (home / "checkpoint" / "steps.txt").write_text("some")
    (home / "checkpoint" / "other.bin").write_bytes(b"\0\1")
    sweep({"checkpoint": "checkpoint"}, append, [], deps=["checkpoint"], outs=["checkpoint"])
    sweep({"checkpoint": "checkpoint"}, append, [], deps=["checkpoint"], outs=["checkpoint"])
    assert (home / "checkpoint" / "steps.txt").read_text() == "somemoremore"
    assert (home / "checkpoint" / "other.bin").read_bytes() == b"\0\1"


def spoil(cfg: DictConfig) -> str:
    with contextlib.suppress(PermissionError):  # or it is written to the job's own copy
        (Path(cfg.data) / "a.txt").write_text("spoilt")
    return (Path(cfg.data) / "b.txt").read_text()


def test_a_job_that_writes_into_a_dep_spoils_it_for_nobody(home: Path) -> None:
    sweep({"data": "data"}, spoil, [], deps=["data"])
    [job] = sweep({"data": "data"}, read_a, [], deps=["data"])
    assert job.return_value == "alpha"
    assert (home / "data/a.txt").read_text() == "alpha"


def read_a(cfg: DictConfig) -> str:
    return (Path(cfg.data) / "a.txt").read_text()


def misbehave(cfg: DictConfig) -> int:
    logging.getLogger(__name__).info("about to %s", cfg.how)
    (Path(HydraConfig.get().runtime.output_dir) / "partial.txt").write_text("so far")
    Path(cfg.out).parent.mkdir(parents=True, exist_ok=True)
    Path(cfg.out).write_text(cfg.how)
    if cfg.how == "raise":
        raise KeyError("lost it")
    if cfg.how == "exit":
        sys.exit(7)
    if cfg.how == "crash":
        os._exit(9)
    if cfg.how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return 1


@pytest.mark.parametrize("retries", [0, 1])
def test_a_job_that_fails_fails_alone(home: Path, capfd: pytest.CaptureFixture[str], retries: int) -> None:
    config = {"how": "fine", "out": "outs/${how}.txt"}
    # Hydra reports the first failure once the batch is done, as it does for its own launchers
    with pytest.raises(KeyError, match="lost it") as caught:
        sweep(
            config,
            misbehave,
            ["how=raise,exit,crash,kill,fine"],
            outs=["out"],
            ray_remote_kwargs={"max_retries": retries},
        )
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "in misbehave" in str(caught.value.__cause__)
    assert os.listdir(home / "outs") == ["fine.txt"]
    assert (home / "outs/fine.txt").read_text() == "fine"
    for num in range(5):
        assert (home / f"sweep/{num}/partial.txt").read_text() == "so far"
        assert "about to" in (home / f"sweep/{num}/zen_launch.log").read_text()
    assert "KeyError: 'lost it'" in (home / "sweep/0/zen_launch.log").read_text()
    shown = capfd.readouterr()
    text = shown.out + shown.err
    log = home / "sweep/0/zen_launch.log"
    assert f"#0 how=raise failed: KeyError: 'lost it'. Its log: {log}" in text
    assert "#1 how=exit failed: SystemExit: 7." in text
    assert "#2 how=crash crashed: its process ended with exit code 9" in text
    assert "#3 how=kill crashed: its process was killed by SIGKILL" in text


def leak(cfg: DictConfig) -> None:
    os.chdir("/")
    os.environ["LEAKED"] = "yes"
    sys.path.insert(0, "/leaked")
    OmegaConf.register_new_resolver("leaked", lambda: "yes")


def look(cfg: DictConfig) -> list[Any]:
    return [
        os.getcwd(),
        os.environ.get("LEAKED"),
        "/leaked" in sys.path,
        OmegaConf.has_resolver("leaked"),
        len(logging.getLogger().handlers),
    ]


def test_nothing_of_a_job_stays_in_the_worker(home: Path) -> None:
    before = [job.return_value for job in sweep({"x": 1}, look, ["x=1,2,3,4"])]
    sweep({"x": 1}, leak, ["x=1,2,3,4"])
    after = [job.return_value for job in sweep({"x": 1}, look, ["x=1,2,3,4"])]
    assert after == before
    assert before[0][:4] == [str(home), None, False, False]


def test_outs_that_collide_are_refused_before_anything_starts(home: Path) -> None:
    with pytest.raises(InputError) as caught:
        sweep({**DATA, "model": {"path": "model.txt"}}, count_bytes, ["x=1,2"], outs=["model.path"])
    message = str(caught.value)
    for part in ("#0 x=1", "#1 x=2", "model.path", str(home / "model.txt")):
        assert part in message
    assert "${hydra.job.num}" in message
    assert "${hydra:runtime.output_dir}" in message
    assert not (home / "sweep/0/.hydra").exists()
    assert not (home / "model.txt").exists()


@pytest.mark.parametrize(
    "cure",
    ["models/${hydra.job.num}.txt", "${hydra:runtime.output_dir}/model.txt", "models/${hydra:job.num}"],
)
def test_what_that_message_advises_is_a_cure(home: Path, cure: str) -> None:
    config = {**DATA, "model": {"path": cure}}
    jobs = sweep(config, count_bytes, ["x=1,2"], deps=["data.path"], outs=["model.path"])
    assert [job.return_value for job in jobs] == [9, 18]
    for num in range(2):
        path = cure.replace("${hydra.job.num}", str(num)).replace("${hydra:job.num}", str(num))
        path = path.replace("${hydra:runtime.output_dir}", str(home / f"sweep/{num}"))
        assert (home / path).read_text() == f"{num + 1}:alphabeta"


def test_nested_outs_are_refused(home: Path) -> None:
    with pytest.raises(InputError, match="one inside the other"):
        sweep({"out": "o"}, count_bytes, ["out=o,o/deeper"], outs=["out"])


def test_missing_deps_are_a_file_not_found_error(home: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        sweep({"data": {"path": "nowhere"}}, count_bytes, ["+x=1,2"], deps=["data.path"])
    assert isinstance(caught.value, InputError) and caught.value.filename == str(home / "nowhere")
    assert "nowhere, which does not exist" in str(caught.value) and "(2 jobs: #0 " in str(caught.value)


async def awaited(x: int) -> int:
    await asyncio.sleep(0)
    return 2 * x


def test_a_ray_zen_of_a_coroutine_function_runs_it(home: Path) -> None:
    [job] = sweep({"x": 4}, ray_zen(awaited), [])
    assert job.return_value == 8


def test_all_that_is_wrong_is_said_at_once(home: Path) -> None:
    config = {"x": 1, "data": {"path": "nowhere"}, "n": 3}
    with pytest.raises(InputError) as caught:
        sweep(config, count_bytes, ["x=1,2"], deps=["data.path", "data.pth", "n"])
    message = str(caught.value)
    assert len(caught.value.problems) == 3
    assert f"deps key 'data.path' is {home / 'nowhere'}, which does not exist" in message
    assert "deps key 'data.pth' does not exist. Nearest: 'data.path'" in message
    assert "deps key 'n' is 3 (int)" in message
    assert "2 jobs: #0 x=1, #1 x=2" in message
    assert not (home / "store").exists() or not any((home / "store").rglob("*.dir"))


def test_a_socket_below_a_dep_is_named(home: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(home / "data" / "s"))
        with pytest.raises(InputError, match=r"data/s.*socket|socket.*data/s"):
            sweep({"data": "data"}, read_a, [], deps=["data"])


def test_a_task_that_cannot_be_pickled_names_the_culprit(home: Path) -> None:
    import threading

    lock = threading.Lock()

    def task(cfg: DictConfig) -> None:
        with lock:
            pass

    with pytest.raises(PicklingError, match=r"'lock'.*_thread\.lock"):
        sweep({"x": 1}, task, [])


@pytest.mark.parametrize(
    ("launcher", "message"),
    [
        ({"s3_base_path": "ftp://host/dir"}, "ftp://host/dir"),
        ({"ray_remote_kwargs": {"num_gpus": 64}}, "GPU=64"),
        ({"ray_remote_kwargs": {"resources": {"tpu": 1}}}, "tpu=1"),
        ({"ray_remote_kwargs": {"num_cpuz": 1}}, "num_cpuz"),
        ({"ray_remote_kwargs": {"accelerator_type": "A100"}}, "accelerator_type:A100=0.001"),
        ({"ray_remote_kwargs": {"label_selector": {"zone": "x"}}}, "none has the labels"),
        ({"max_concurrent": 0}, "max_concurrent is 0"),
        ({"ray_address": "nonsense"}, "'nonsense'"),
    ],
)
def test_bad_settings_are_refused(home: Path, launcher: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message):
        sweep({"x": 1}, look, [], **launcher)


def test_a_ray_elsewhere_needs_a_store_that_it_can_reach(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_S3_BASE_PATH")
    with pytest.raises(InputError, match="no s3_base_path"):
        sweep({"x": 1}, look, [], ray_address="10.0.0.1:6379")


def nap(cfg: DictConfig) -> tuple[float, float]:
    started = time.time()
    time.sleep(cfg.get("seconds", 0.4))
    return started, time.time()


def test_max_concurrent_bounds_the_jobs_in_flight(home: Path) -> None:
    spans = [job.return_value for job in sweep({"x": 1}, nap, ["x=1,2,3"], max_concurrent=1)]
    for (_, ended), (started, _) in itertools.pairwise(spans):
        assert started >= ended


def test_jobs_run_side_by_side(home: Path) -> None:
    sweep({"x": 1, "seconds": 2}, nap, ["x=1,2"])  # the worker processes are there now
    spans = [job.return_value for job in sweep({"x": 1, "seconds": 2}, nap, ["x=1,2"])]
    assert max(started for started, _ in spans) < min(ended for _, ended in spans)


def writes_two(cfg: DictConfig) -> None:
    Path(cfg.first).mkdir()
    (Path(cfg.first) / "inside.txt").write_text("hours of work")
    Path(cfg.second).write_text("more")
    (Path(HydraConfig.get().runtime.output_dir) / "note.txt").write_text("from the job")


@pytest.mark.parametrize("retries", [0, 1])
def test_an_out_that_is_in_the_way_of_nothing_keeps_none_of_the_others(home: Path, retries: int) -> None:
    (home / "first").write_text("a file of the user's")
    (home / "first.ray_s3").write_text("another one")
    config = {"first": "first", "second": "second"}
    with pytest.raises(InputError, match=r"outs key 'first': .* is a file, and a directory is to be") as told:
        sweep(config, writes_two, [], outs=["first", "second"], ray_remote_kwargs={"max_retries": retries})
    assert f"What the job wrote is at {home / 'first.ray_s3-1'}" in str(told.value)
    assert (home / "first").read_text() == "a file of the user's"
    assert (home / "first.ray_s3").read_text() == "another one"
    assert (home / "first.ray_s3-1/inside.txt").read_text() == "hours of work"
    assert (home / "second").read_text() == "more"
    assert (home / "sweep/0/note.txt").read_text() == "from the job"


def writes_what_cannot_be_sent(cfg: DictConfig) -> None:
    Path(cfg.first).mkdir()
    os.mkfifo(Path(cfg.first) / "fifo")
    (Path(cfg.first) / "weights.txt").write_text("hours of work")
    os.mkfifo(cfg.second)
    Path(cfg.third).write_text("more")


def test_an_out_that_cannot_be_sent_keeps_none_of_the_others(home: Path) -> None:
    config = {"first": "first", "second": "second", "third": "third"}
    with pytest.raises(InputError, match="is a FIFO") as told:
        sweep(config, writes_what_cannot_be_sent, [], outs=["first", "second", "third"])
    assert (home / "first/weights.txt").read_text() == "hours of work"
    assert (home / "third").read_text() == "more"
    notes = " ".join(told.value.__notes__)
    assert "its out 'second'" in notes
    kept = Path(
        notes.rpartition(" at ")[2].partition(". Bring them later, on that node, with: ray-s3 fetch /")[0]
    )
    assert stat.S_ISFIFO(next(kept.rglob("second")).stat().st_mode)

"""Apps in processes of their own, as a user starts them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import warm_python
import yaml
from script_app import RAISES, SCRIPT, TOLD

APP = """
import os, time
from pathlib import Path
import hydra
from omegaconf import DictConfig


class Model:
    def __init__(self, width):
        self.width, self.pid = width, os.getpid()


@hydra.main(version_base=None, config_path=None, config_name=None)
def main(cfg: DictConfig):
    {body}


if __name__ == "__main__":
    main()
"""


def write_app(directory: Path, body: str) -> Path:
    app = directory / "app.py"
    app.write_text(APP.format(body=body))
    return app


def start(app: Path, *arguments: str, python: Sequence[str] = (sys.executable,)) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*python, str(app), *arguments, "hydra/launcher=ray_s3", "hydra.sweep.dir=sweep"],
        cwd=app.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        # a test run that was put in the background ignores it, and so would what it starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def ended(process: subprocess.Popen[str], seconds: float) -> str:
    """What it printed, once it has ended; where it has not by then, what its threads were at."""
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        pytest.fail(f"still there after {seconds} s:\n{process.communicate()[0]}")


def run(app: Path, *arguments: str, code: int = 0) -> str:
    with start(app, *arguments, python=warm_python.starter()) as process:
        output = ended(process, 120)
    assert process.returncode == code, output
    return output


@pytest.fixture(scope="module")
def swept(ray_session: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A sweep of two jobs, whose workers have run none before: where it ran, and what it printed."""
    body = """import pickle
    from hydra.core.hydra_config import HydraConfig
    from hydra.utils import instantiate
    print(f'line of {cfg.x}')
    assert len(pickle.dumps(HydraConfig.get())) > 0
    model = instantiate(cfg.model)
    assert type(model) is Model and isinstance(model, Model) and model.width == 3
    assert model.pid == os.getpid()
    Path(cfg.out).write_text(str(model.pid))
    return cfg.x * 1.5"""
    home = tmp_path_factory.mktemp("swept")
    (home / "c.yaml").write_text(
        f"model: {{_target_: __main__.Model, width: 3}}\nout: {home}/out${{x}}.txt\n"
    )
    chosen = (f"--config-dir={home}", "--config-name=c", "hydra.launcher.outs=[out]")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", ray_session)
        patch.setenv("RAY_S3_BASE_PATH", (home / "store").as_uri())
        (home / "store").mkdir()
        return home, run(write_app(home, body), *chosen, "+x=1,2")


def test_each_line_of_a_job_bears_its_number_and_overrides(swept: tuple[Path, str]) -> None:
    _, output = swept
    for number, x in enumerate((1, 2)):
        assert re.search(rf"^\(#{number} \+x={x} pid=\d+\) line of {x}$", output, re.M), output
    row = [line for line in output.splitlines() if re.match(r"\s*1\s+\+x=2\s+COMPLETED", line)]
    assert len(row) == 1
    assert row[0].split()[-1] == "sweep/1"
    assert re.search(r" 3 ", row[0])
    assert "\x1b" not in output  # no colours where nobody sees them


def test_classes_of_the_script_are_found_by_target_and_hydras_config_can_be_pickled_in_a_first_job(
    swept: tuple[Path, str],
) -> None:
    for x in (1, 2):  # written after what the job asserts
        assert int((swept[0] / f"out{x}.txt").read_text()) != os.getpid()


@pytest.mark.usefixtures("ray_session_address")
def test_bad_input_is_one_message_and_no_traceback(tmp_path: Path) -> None:
    app = write_app(tmp_path, "pass")
    output = run(app, "+data.path=nowhere", "hydra.launcher.deps=[data.pth]", code=1)
    assert "deps key 'data.pth' does not exist. Nearest: 'data.path', 'data' (job #0 " in output
    assert "Traceback" not in output


def test_a_ray_where_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_S3_BASE_PATH", (tmp_path / "store").as_uri())
    app = write_app(tmp_path, "pass")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        started = time.monotonic()
        for form in (address, f"ray://{address}"):
            output = run(app, f"hydra.launcher.ray_address='{form}'", code=1)
            assert f"Nobody answers at ray_address {form}" in output
            assert "Traceback" not in output
        assert time.monotonic() - started < 30


def test_a_port_that_is_not_rays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_S3_BASE_PATH", (tmp_path / "store").as_uri())
    app = write_app(tmp_path, "pass")
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(100)
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        started = time.monotonic()
        output = run(app, f"hydra.launcher.ray_address='{address}'", code=1)
        listens = f"What listens at ray_address {address} takes connections, but has said nothing for 8 s"
        assert listens in output
        assert time.monotonic() - started < 40


@pytest.mark.usefixtures("ray_session_address")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_ctrl_c_stops_the_jobs_and_keeps_what_is_done(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    body = """Path(cfg.mark, f'{cfg.x}.started').write_text(str(os.getpid()))
    Path(cfg.out).parent.mkdir(exist_ok=True)
    Path(cfg.out).write_text('done')
    while cfg.x == 2:  # heeds an interrupt; the others do not
        time.sleep(0.05)
    time.sleep(0 if cfg.x == 1 else 300)"""
    app = write_app(tmp_path, body)
    # Ctrl-C reaches the interpreter itself; the others are handed on
    python = (sys.executable,) if number == signal.SIGINT else warm_python.starter()
    chosen = ("+x=1,2,3,4", f"+mark={tmp_path}", "+out=outs/${x}.txt", "hydra.launcher.outs=[out]")
    process = start(app, *chosen, python=python)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("*.started"))) < 3 or not (tmp_path / "outs/1.txt").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(number)
    output = ended(process, 60)
    assert process.returncode == code, output
    assert (tmp_path / "outs/1.txt").read_text() == "done"
    for x in (2, 3):  # one that was interrupted, one that was killed
        assert not (tmp_path / f"outs/{x}.txt").exists()
        assert (tmp_path / f"sweep/{x - 1}/failed/out/{x}.txt").read_text() == "done"
        assert (tmp_path / f"sweep/{x - 1}/app.log").exists()
        assert re.search(rf"^ *{x - 1} .* CANCELLED .* out +sweep/{x - 1}$", output, re.M), output
    assert re.search(r"^\s*0 .* COMPLETED", output, re.M), output
    assert re.search(r"^\s*1 .* CANCELLED", output, re.M), output
    assert "Stopped. These did not finish: #1 +x=2" in output
    assert "Traceback" not in output
    for mark in tmp_path.glob("[23].started"):
        pid = int(mark.read_text())
        stat = Path(f"/proc/{pid}/cmdline")
        assert not stat.exists() or b"x=" not in stat.read_bytes()


@pytest.mark.usefixtures("ray_session_address")
def test_the_third_ctrl_c_leaves_at_once(tmp_path: Path) -> None:
    body = """Path(cfg.mark).touch()
    while True:  # heeds nothing but the end of its process
        try:
            time.sleep(300)
        except KeyboardInterrupt:
            pass"""
    process = start(write_app(tmp_path, body), "+x=1", f"+mark={tmp_path / 'started'}")
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    output = ended(process, 20)
    assert process.returncode == 130, output
    assert "Traceback" not in output and "Fatal" not in output
    assert output.endswith("Left at once: jobs may still be running, and what they wrote is not here.\n")


@pytest.mark.usefixtures("ray_session_address")
def test_optuna_finds_its_optimum(tmp_path: Path) -> None:
    app = write_app(tmp_path, "return (cfg.x - 2) ** 2")
    run(
        app,
        "-m",
        "hydra/sweeper=optuna",
        "hydra.sweeper.direction=minimize",
        "hydra.sweeper.n_trials=12",
        "hydra.sweeper.n_jobs=2",
        "hydra/sweeper/sampler=tpe",
        "hydra.sweeper.sampler.seed=1",
        "+x=interval(-10,10)",
    )
    found = yaml.safe_load((tmp_path / "sweep" / "optimization_results.yaml").read_text())
    assert found["best_value"] < 2
    assert len(list((tmp_path / "sweep").glob("*/app.log"))) == 12


@pytest.fixture
def script(tmp_path: Path) -> Path:
    (tmp_path / "beside.txt").write_text("beside")
    app = tmp_path / "script.py"
    app.write_text(SCRIPT)
    return app


@pytest.mark.usefixtures("ray_session_address")
def test_a_script_finds_its_own_names_as_at_home(script: Path) -> None:
    run(script, "hydra.mode=RUN", "hydra.run.dir=here")
    assert (script.parent / "here/told.txt").read_text().splitlines() == TOLD
    output = run(script, "-m", "+forked=returns,no,raises", code=1)
    for number in range(2):
        assert (script.parent / f"sweep/{number}/told.txt").read_text().splitlines() == TOLD
    assert output.count("the job's") == 2 and "the child's" not in output
    # a failed job ends the app as with Hydra's own launchers, and its traceback shows the script's line
    number = 1 + SCRIPT[: SCRIPT.index(RAISES)].count("\n")
    log = script.parent / "sweep/2/script.log"
    assert f"Its log: {log}" in output
    for text in (output, log.read_text()):
        assert f'File "{script}", line {number}, in main' in text
        assert RAISES in text
        assert f"ValueError: on line {number}" in text


@pytest.mark.usefixtures("ray_session_address")
def test_a_script_need_not_guard_its_last_line(script: Path) -> None:
    unguarded = SCRIPT.replace('if __name__ == "__main__":\n    main()', "main()")
    script.write_text(unguarded.replace("in told(cfg)]", "in [1]]"))
    assert "the job's" in run(script)


@pytest.mark.usefixtures("ray_session_address")
def test_pools_end(tmp_path: Path) -> None:
    """Told to end by SIGTERM, a pool's process may be about to wait for a lock: one in some tens is."""
    body = """import multiprocessing
    for _ in range(80):
        with multiprocessing.get_context('fork').Pool(2) as pool:
            pool.map(abs, range(4))"""
    run(write_app(tmp_path, body), "+x=1")


@pytest.mark.usefixtures("ray_session_address")
def test_a_function_that_hydra_main_hides_is_its_modules_own(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "shown.txt").write_text("shown")
    (package / "inner.py").write_text(
        "from pathlib import Path\nimport hydra\nSEEN = []\n"
        "@hydra.main(version_base=None, config_path=None)\n"
        "def main(cfg):\n"
        "    from package import inner\n"
        "    SEEN.append(1)\n"
        "    return inner.SEEN == [1], (Path(__file__).parent / 'shown.txt').read_text()\n"
    )
    app = tmp_path / "app.py"
    app.write_text("from package.inner import main\nmain()\n")
    assert "(True, 'shown')" in run(app)

"""Runs without ``-m``: beside the same run with Hydra's basic launcher, in processes of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import warm_python
from omegaconf import OmegaConf

pytestmark = pytest.mark.usefixtures("ray_session_address")

APP = """
import json, logging, os, pickle, signal, sys, threading, time, warnings
import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import OmegaConf
from pathlib import Path

OmegaConf.register_new_resolver("double", lambda number: 2 * int(number))
log = logging.getLogger(__name__)
warnings.filterwarnings("ignore", message="quiet")
logging.getLogger("noisy").setLevel(logging.ERROR)
logging.addLevelName(25, "NOTICE")
logging.captureWarnings(True)
ENDS = {"three": 3, "zero": 0, "text": "a last word"}

class Notes(Callback):
    def on_run_start(self, config, **kwargs):
        self.note("run_start", config)
        if config.fate == "changed":
            config.x = "by a callback"
    def on_job_start(self, config, **kwargs): self.note("job_start", config)
    def on_job_end(self, config, job_return, **kwargs): self.note(f"job_end {job_return.status.name}", config)
    def on_run_end(self, config, job_return, **kwargs):
        where = os.path.relpath(job_return.working_dir)
        self.note(f"run_end {job_return.status.name} {list(job_return.overrides)} {where}", config)
    def note(self, text, config):
        with open(Path(config.hydra.runtime.cwd, "notes"), "a") as file:
            print(text, file=file)

@hydra.main(version_base="1.3", config_path=None, config_name="c")
def main(cfg):
    h = HydraConfig.get()
    seen = [h.mode.name, os.path.relpath(h.runtime.output_dir, h.runtime.cwd), cfg.x, "num" in h.job, len(sys.argv)]
    Path(h.runtime.output_dir, "seen.json").write_text(json.dumps(seen[:-1]))
    log.info("x is %s", cfg.x)
    log.log(25, "a level of its own")
    warnings.warn("quiet")
    warnings.warn(f"loud in {h.run.dir}")
    logging.getLogger("noisy").warning("nobody sees it")
    if cfg.fate == "late":
        def write(place, config):
            time.sleep(0.3)  # Hydra and the task are done, Python is not
            Path(place, "late").write_text(f"{pickle.loads(pickle.dumps(Notes)) is Notes} {config.doubled}")
        doubled = OmegaConf.create({"doubled": "${double:4}"})
        threading.Thread(target=write, args=(h.runtime.output_dir, doubled)).start()
    if cfg.fate == "raise":
        def deep():
            raise ValueError("a reason")
        deep()
    if cfg.fate in ("left", "killed"):
        Path(h.runtime.output_dir, "left").write_text("so far")
        os._exit(7) if cfg.fate == "left" else os.kill(os.getpid(), 15)
    if cfg.fate == "interrupt":
        print("caf\\udce9", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(20)
    if cfg.fate not in ("ok", "changed", "late"):
        sys.exit(globals()["ENDS"][cfg.fate])
    return cfg.x

if __name__ == "__main__":
    sweeps = {"sweeper": {"params": {"x": "1,2"}}, "callbacks": {"notes": {"_target_": "__main__.Notes"}}}
    ConfigStore.instance().store(name="c", node={"fate": "ok", "x": 7, "hydra": sweeps})
    if "LINES_TO_RUN" not in os.environ:
        main()
    for line in json.loads(os.environ.get("LINES_TO_RUN", "[]")):
        sys.argv[1:] = line
        code = 0
        try:
            main()
        except SystemExit as exc:  # as Python ends a program
            code = exc.code or 0
            if isinstance(code, str):
                code = print(code, file=sys.stderr) or 1
        for stream in (sys.stdout, sys.stderr):
            print(f"=== {code}", file=stream, flush=True)
"""


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str
    files: dict[str, bytes]

    def seen(self, place: str) -> Any:
        return json.loads(self.files[f"{place}/seen.json"])


def run(directory: Path, launcher: str, *arguments: str, **environ: str) -> Ran:
    home = directory / launcher
    home.mkdir(parents=True)
    (home / "app.py").write_text(APP)
    done = subprocess.run(
        [*warm_python.starter(), "app.py", *arguments, f"hydra/launcher={launcher}"],
        cwd=home, env={**os.environ, **environ}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    files = {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    return Ran(done.returncode, done.stdout, done.stderr, files)


def both(directory: Path, *arguments: str) -> tuple[Ran, Ran]:
    return run(directory, "basic", *arguments), run(directory, "ray_s3", *arguments)


def run_all(directory: Path, launcher: str, lines: Sequence[Sequence[str]]) -> Ran:
    """These command lines, one after another in one process: it connects to Ray once."""
    given = [
        line if any("hydra/launcher=" in part for part in line) else [*line, f"hydra/launcher={launcher}"]
        for line in lines
    ]
    return run(directory, launcher, LINES_TO_RUN=json.dumps(given))


def each_of(ran: Ran, lines: Sequence[Sequence[str]]) -> list[Ran]:
    """What each line's run has printed and its exit code; all have the files of all."""
    out, err = (re.split(r"^=== (\d+)\n", text, flags=re.MULTILINE) for text in (ran.out, ran.err))
    assert ran.code == 0 and out[1::2] == err[1::2] and len(out) == 2 * len(lines) + 1, ran.err
    parts = zip(out[1::2], out[0::2], err[0::2], strict=False)
    return [Ran(int(code), printed, complained, ran.files) for code, printed, complained in parts]


def comparable(ran: Ran, home: Path) -> dict[str, Any]:
    """The files that a run has left, without what differs since it says which launcher runs the job."""
    files: dict[str, Any] = {}
    for name, content in ran.files.items():
        text = content.decode().replace(str(home), "HOME")
        if name.endswith("hydra.yaml"):
            config: Any = OmegaConf.to_container(OmegaConf.create(text))
            config = config["hydra"]
            del config["launcher"]
            config["callbacks"].pop("ray_s3_bare_run", None)
            for choice in ("hydra/launcher", "hydra/callbacks/ray_s3_bare_run"):
                config["runtime"]["choices"].pop(choice, None)
            overrides = config["overrides"]["hydra"]
            config["overrides"]["hydra"] = [each for each in overrides if "launcher" not in each]
            files[name] = config
        else:
            files[name] = re.sub(r"^\[[-\d: ,]+\]", "", text, flags=re.MULTILINE)
    return files


def printed(out: str, launcher: str) -> list[str]:
    """What the job has printed, without the time, and ours without its label; the rest is the driver's."""
    out = re.sub(r"^=== \d+\n", "", out, flags=re.MULTILINE)
    by_job = re.sub(r"^\(#0.*? pid=\d+[^)]*\) ?", "JOB ", out, flags=re.MULTILINE).splitlines()
    lines = [line.removeprefix("JOB ") for line in by_job if launcher == "basic" or line.startswith("JOB ")]
    return [re.sub(r"^\[[-\d: ,]+\]", "", line).replace(f"/{launcher}/", "/") for line in lines]


def test_it_leaves_what_the_basic_launcher_leaves(tmp_path: Path) -> None:
    lines = (
        ["hydra.run.dir=plain"],
        ["hydra.run.dir=twice/${x}", "x=5", "x=6", "hydra/sweeper=optuna", "hydra.sweeper.params=null"],
        ["hydra.run.dir=quoted", "x='a, b'", '+quoted="it\'s"', "+list=[1,2]", "+dict={a: 1,b: {}}", "+none=null",
         "hydra.job.chdir=true", "hydra.job.name=other", "+deep.er=1"],
        ["hydra.run.dir=changed", "hydra.output_subdir=null", "fate=changed"],
        ["hydra.run.dir=late", "fate=late"],
        ["hydra.run.dir=without_a_log", "hydra/job_logging=none", "hydra.output_subdir=meta"],
    )  # fmt: skip
    basic, ours = (run_all(tmp_path, launcher, lines) for launcher in ("basic", "ray_s3"))
    assert all(each.code == 0 for ran in (basic, ours) for each in each_of(ran, lines)), ours.err
    left = comparable(ours, tmp_path / "ray_s3")
    assert left == comparable(basic, tmp_path / "basic")
    assert left["late/late"] == "True 8"
    assert printed(ours.out, "ray_s3") == printed(basic.out, "basic")
    noted = "run_start\njob_start\njob_end COMPLETED\nrun_end COMPLETED"
    assert left["notes"].count(noted) == left["notes"].count("run_start") == len(lines)


FATES = ("three", "zero", "text", "raise", "left", "killed", "interrupt")


@pytest.fixture(scope="module")
def ended(ray_session: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Ran, Ran]]:
    """For each fate a run with Hydra's basic launcher, in a process of its own, and one of ours, in one for all."""
    home = tmp_path_factory.mktemp("ended")
    lines = [(f"fate={fate}", f"hydra.run.dir={fate}") for fate in FATES]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", ray_session)
        patch.setenv("RAY_S3_BASE_PATH", (home / "store").as_uri())
        patch.setenv("PYTHONUNBUFFERED", "1")
        (home / "store").mkdir()
        basic = [run(home / fate, "basic", *line) for fate, line in zip(FATES, lines, strict=True)]
        ours = each_of(run_all(home, "ray_s3", lines), lines)
    return dict(zip(FATES, zip(basic, ours, strict=True), strict=True))


def notes(ours: Ran, fate: str) -> bytes:
    """Those of the run with this fate, of all."""
    runs = ours.files["notes"].split(b"run_start\n")[1:]
    assert len(runs) == len(FATES)
    return b"run_start\n" + runs[FATES.index(fate)]


@pytest.mark.parametrize("fate", ["three", "zero", "text"])
def test_its_exit_code_is_the_jobs_and_what_it_has_written_comes_home(
    ended: dict[str, tuple[Ran, Ran]], fate: str
) -> None:
    basic, ours = ended[fate]
    assert ours.code == basic.code == {"three": 3, "zero": 0, "text": 1}[fate], ours.err
    assert "Traceback" not in ours.err
    assert ("a last word" in ours.err) == (fate == "text")
    assert notes(ours, fate) == basic.files["notes"] == b"run_start\njob_start\n"
    assert ("failed: SystemExit" in ours.out + ours.err) == (fate != "zero")
    assert ours.seen(fate) == basic.seen(fate) == ["RUN", fate, 7, False]  # it has come home


@pytest.mark.parametrize("fate", ["left", "killed"])
def test_its_exit_code_is_that_of_a_process_that_ended_without_python(
    ended: dict[str, tuple[Ran, Ran]], fate: str
) -> None:
    basic, ours = ended[fate]
    assert (basic.code, ours.code) == {"left": (7, 7), "killed": (-15, 128 + 15)}[fate]
    how = {"left": "ended with exit code 7", "killed": "was killed by SIGTERM"}[fate]
    assert f"#0 fate={fate} crashed: its process {how}. Set" in ours.out + ours.err
    assert "Traceback" not in ours.err
    assert ours.files[f"{fate}/left"] == basic.files[f"{fate}/left"] == b"so far"
    assert notes(ours, fate) == basic.files["notes"] == b"run_start\njob_start\n"


def test_one_that_interrupts_itself_ends_as_in_a_shell_and_any_text_goes_to_stderr(
    ended: dict[str, tuple[Ran, Ran]],
) -> None:
    basic, ours = ended["interrupt"]
    assert (basic.code, ours.code) == (-2, 128 + 2)
    assert ours.err.count("Traceback") == 1 and ours.err.strip().endswith("KeyboardInterrupt")
    assert not any(part in ours.err for part in ("site-packages", "ray_decorator/", "hydra_plugins/"))
    assert "caf\\udce9" in basic.err and "caf\\udce9" in ours.out + ours.err
    assert notes(ours, "interrupt") == basic.files["notes"] == b"run_start\njob_start\n"


def test_one_that_raises_prints_one_traceback_with_the_users_frames(
    ended: dict[str, tuple[Ran, Ran]],
) -> None:
    basic, ours = ended["raise"]
    assert ours.code == basic.code == 1
    assert ours.err.count("Traceback") == 1
    assert not any(part in ours.err for part in ("site-packages", "ray_decorator/", "hydra_plugins/"))
    ending = basic.err[basic.err.index("Traceback") :].strip()
    assert ending.replace("/raise/basic/", "/ray_s3/") in ours.err
    assert len(ours.err.splitlines()) <= len(basic.err.splitlines()) + 10
    told = b"run_start\njob_start\njob_end FAILED\nrun_end FAILED ['fate=raise'] .\n"
    assert notes(ours, "raise") == basic.files["notes"] == told


def test_the_program_itself_ends_with_the_jobs_code(tmp_path: Path) -> None:
    basic, ours = both(tmp_path, "fate=text", "hydra.run.dir=here")
    assert ours.code == basic.code == 1 and ours.err.strip().endswith("a last word")


def test_all_else_is_a_sweep_and_a_preset_of_the_users_is_as_the_launcher_itself(tmp_path: Path) -> None:
    preset = tmp_path / "conf" / "hydra" / "launcher"
    preset.mkdir(parents=True)
    (preset / "mine.yaml").write_text("defaults: [ray_s3]\nmax_concurrent: 2\n")
    sweeps = {"x=3,4": [3, 4], "-m": [1, 2], "hydra.mode=MULTIRUN": [1, 2], "-m x=5": [5]}
    lines = [[*line.split(), f"hydra.sweep.dir=swept{at}"] for at, line in enumerate(sweeps)]
    lines.append(["--config-dir", str(tmp_path / "conf"), "hydra/launcher=mine", "hydra.run.dir=here"])
    ours = run_all(tmp_path, "ray_s3", lines)
    assert all(each.code == 0 for each in each_of(ours, lines)), ours.err
    for at, jobs in enumerate(sweeps.values()):
        assert [ours.seen(f"swept{at}/{num}") for num in range(len(jobs))] == [
            ["MULTIRUN", f"swept{at}/{num}", x, True] for num, x in enumerate(jobs)
        ]
    assert ours.seen("here") == ["RUN", "here", 7, False]


@pytest.mark.parametrize("argument", ["hydra.launcher.max_concurrent=1,2", "hydra/launcher=ray_s3,basic"])
def test_nobody_sweeps_over_hydras_own_settings(tmp_path: Path, argument: str) -> None:
    basic, ours = run(tmp_path, "basic", argument), run(tmp_path, "ray_s3", argument)
    assert ours.code == basic.code == 1
    assert "Traceback" not in ours.err and argument in ours.err, ours.err

"""What a program that was written for ray-decorator 0.1 finds here: what is the same, and what differs."""

from __future__ import annotations

import inspect
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import warm_python

import ray_decorator as package
from ray_decorator import InputError, RayZen, ray_decorator, ray_zen

pytestmark = pytest.mark.usefixtures("ray_session")

NAMES = {"ray_decorator", "ray_zen", "RayZen"}  # __all__ of 0.1.18
IN_ORDER = ["deps", "outs", "ray_address", "s3_base_path", "ray_init_kwargs", "ray_remote_kwargs"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of the caller, with its data; the store is named by 0.1's variable."""
    (tmp_path / "local_data").mkdir()
    (tmp_path / "local_data" / "a.txt").write_text("alpha")
    monkeypatch.setenv("RAY_S3_BASE_PATH", (tmp_path / "store").as_uri())
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def upper(data_dir: str, output_dir: str) -> dict[str, Any]:
    out = Path(output_dir)
    out.mkdir(parents=True, exist_ok=True)
    for file in Path(data_dir).iterdir():
        (out / file.name).write_text(file.read_text().upper())
    return {
        "pid": os.getpid(),
        "types": (type(data_dir), type(output_dir)),
        "data": data_dir,
        "out": output_dir,
    }


def test_the_names_are_the_same() -> None:
    assert set(package.__all__) >= NAMES


def test_options_by_position_are_in_the_same_order(home: Path) -> None:
    store = (home / "another").as_uri()
    call = ray_decorator(["data_dir"], ["output_dir"], "local", store, {}, {"num_cpus": 2})(upper)
    call("local_data", "results")
    assert (home / "results/a.txt").read_text() == "ALPHA"
    assert (home / "another/files/md5").is_dir() and not (home / "store").exists()


@pytest.mark.parametrize("position", range(2, 6))
def test_each_option_by_position_is_the_one_of_its_name(position: int) -> None:
    wrong: dict[str, Any] = {
        "ray_address": "nowhere", "s3_base_path": "nowhere",
        "ray_init_kwargs": {}, "ray_remote_kwargs": {"num_cpu": 1},
    }  # fmt: skip
    name = IN_ORDER[position]
    given = [[], [], None, None, None, None]
    given[position] = wrong[name]
    by_position = ray_decorator(*given)(os.getpid)  # type: ignore[arg-type]
    by_name = ray_decorator(**{name: wrong[name]})(os.getpid)
    assert said(by_position) == said(by_name)


def said(call: Any) -> str | None:
    try:
        call()
    except InputError as exc:
        return str(exc)
    return None


def test_a_path_keeps_its_last_name_and_its_type(home: Path) -> None:
    there = ray_decorator(["data_dir"], ["output_dir"])(upper)("./local_data/", "./results")
    assert there["pid"] != os.getpid() and there["types"] == (str, str)
    assert (Path(there["data"]).name, Path(there["out"]).name) == ("local_data", "results")
    assert Path(there["data"]) != home / "local_data"


def test_a_config_s_paths_through_ray_zen_with_all_of_its_options(home: Path) -> None:
    call = ray_zen(
        upper,
        ray_address="local",
        s3_base_path=(home / "another").as_uri(),
        ray_init_kwargs={"runtime_env": {"working_dir": str(home)}},
        ray_remote_kwargs={"num_cpus": 2},
        deps=["data_dir"],
        outs=["output_dir"],
        unpack_kwargs=False,
    )
    assert isinstance(call, RayZen)
    call({"data_dir": "local_data", "output_dir": "results"})
    assert (home / "results/a.txt").read_text() == "ALPHA"


def test_a_ray_zen_has_its_function_s_name_and_text() -> None:
    def task(x: int) -> int:
        """Twice."""
        return 2 * x

    call = ray_zen(task)
    assert (call.__name__, call.__doc__, call.__module__) == ("task", "Twice.", __name__)  # type: ignore[attr-defined]
    assert inspect.unwrap(call) is task
    assert call({"x": 3}) == 6


def test_a_ray_zen_says_what_it_was_given() -> None:
    call = ray_zen(
        upper,
        ray_address="local",
        s3_base_path="s3://bucket/x",
        ray_init_kwargs={"log_to_driver": False},
        ray_remote_kwargs={"num_cpus": 2},
        deps=["data_dir"],
        outs=["output_dir"],
    )
    assert (call.deps, call.outs) == (["data_dir"], ["output_dir"])
    assert (call.ray_address, call.s3_base_path) == ("local", "s3://bucket/x")
    assert call.ray_init_kwargs == {"log_to_driver": False} and call.ray_remote_kwargs == {"num_cpus": 2}


def test_a_ray_zen_that_was_given_nothing_says_so() -> None:
    call = ray_zen(upper)
    assert (call.deps, call.outs) == ([], [])
    assert (call.ray_address, call.s3_base_path) == (None, None)
    assert (call.ray_init_kwargs, call.ray_remote_kwargs) == (None, None)


def test_an_out_that_was_not_written_is_a_warning_and_the_value_comes(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """0.1 raised FileNotFoundError, and the value was lost."""

    @ray_decorator(["data_dir"], ["output_dir"])
    def forgets(data_dir: str, output_dir: str) -> str:
        return "done"

    assert forgets("local_data", "results") == "done"
    assert not (home / "results").exists()
    assert "output 'output_dir' was not produced" in caplog.text


def test_a_key_that_is_none_of_the_function_s_is_refused_before_it_runs() -> None:
    """0.1 went on to the worker, which raised KeyError."""
    with pytest.raises(InputError, match="data_dri"):
        ray_decorator(["data_dri"], [])(upper)("local_data", "results")


def test_a_function_s_error_is_itself() -> None:
    """0.1 raised Ray's RayTaskError, which was a subclass of it."""

    @ray_decorator([], [])
    def fails() -> None:
        raise ZeroDivisionError("as at home")

    with pytest.raises(ZeroDivisionError) as caught:
        fails()
    assert type(caught.value) is ZeroDivisionError


IN_WORKING_DIR = """
import os
from pathlib import Path
from ray_decorator import ray_decorator

@ray_decorator(
    deps=["data_dir"], outs=["output_dir"],
    ray_init_kwargs={"runtime_env": {"working_dir": os.getcwd()}},
)
def process_data(data_dir, output_dir):
    Path(output_dir).write_text(Path("settings.txt").read_text() + Path(data_dir, "a.txt").read_text())
    return "done"

print(process_data("./local_data", "./result.txt"))
"""


def test_working_dir_and_the_two_variables(
    home: Path, monkeypatch: pytest.MonkeyPatch, ray_session: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", ray_session)
    (home / "settings.txt").write_text("relative, ")
    (home / "app.py").write_text(IN_WORKING_DIR)
    done = subprocess.run(
        [*warm_python.starter(), "app.py"], cwd=home, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.splitlines() == ["done"], done.stderr
    assert (home / "result.txt").read_text() == "relative, alpha"
    assert (home / "store/files/md5").is_dir()


WITH_HYDRA = """
import hydra
from ray_decorator import ray_zen

def task(x, path):
    with open(path, "w") as file:
        file.write(str(x))

if __name__ == "__main__":
    hydra.main(version_base=None, config_path="conf", config_name="config")(ray_zen(task, outs=["path"]))()
"""


def test_a_ray_zen_below_hydra_main_finds_its_configs(
    home: Path, monkeypatch: pytest.MonkeyPatch, ray_session: str
) -> None:
    """As in 0.1: Hydra asks a function for its module, to know where a relative config_path begins."""
    monkeypatch.setenv("RAY_ADDRESS", ray_session)
    (home / "conf").mkdir()
    (home / "conf/config.yaml").write_text("{x: 7, path: out.txt}\n")
    (home / "app.py").write_text(WITH_HYDRA)
    done = subprocess.run(
        [*warm_python.starter(), "app.py"], cwd=home, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (home / "out.txt").read_text() == "7"

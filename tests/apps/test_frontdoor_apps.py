"""Apps with @ray_decorator or ray_zen in them, in processes of their own, as a user starts them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
import servers
import terminal
import warm_python
from outliving import outlives


@pytest.fixture(autouse=True)
def home(tmp_path: Path, ray_session_address: str) -> Path:
    """The directory that apps are started in; they join the session's Ray, and share a store."""
    home = tmp_path / "home"
    (home / "data").mkdir(parents=True)
    (home / "data" / "a.txt").write_text("alpha")
    return home


@pytest.fixture
def my_bucket(moto: servers.Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[servers.Server]:
    """The bucket of the examples in the issue and the README, on a real S3 server."""
    host = moto.endpoint.removeprefix("http://")
    urlopen(Request(f"{moto.endpoint}/my-bucket", method="PUT", headers={"Host": host})).read()
    monkeypatch.delenv("RAY_S3_BASE_PATH")
    for name, value in moto.environment().items():
        monkeypatch.setenv(name, value)
    yield moto


def run(home: Path, app: str, *arguments: str, code: int = 0) -> str:
    (home / "app.py").write_text(app)
    done = subprocess.run(
        [*warm_python.starter(), "app.py", *arguments],
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def keys(server: servers.Server) -> str:
    with urlopen(f"{server.endpoint}/my-bucket?list-type=2") as answer:
        return str(answer.read().decode())


PROCESS_DATA = """
import os
from pathlib import Path

from ray_decorator import ray_decorator

@ray_decorator(
    deps=["data_dir"], outs=["output_dir"],
    ray_address="auto", s3_base_path="s3://my-bucket/jobs",
    ray_init_kwargs={"runtime_env": {"working_dir": os.getcwd()}},
    ray_remote_kwargs={"num_cpus": 2},
)
def process_data(data_dir: str, output_dir: str):
    Path(output_dir).mkdir(exist_ok=True)
    for file in Path(data_dir).iterdir():
        Path(output_dir, file.name).write_text(file.read_text().upper())

process_data(data_dir="./local_data", output_dir="./local_results")
"""


def test_the_issue_s_function(home: Path, my_bucket: servers.Server) -> None:
    (home / "data").rename(home / "local_data")
    run(home, PROCESS_DATA)
    assert (home / "local_results" / "a.txt").read_text() == "ALPHA"
    assert "jobs/files/md5/" in keys(my_bucket)


TRAIN = """
import json, os
from pathlib import Path

import hydra
import ray
from omegaconf import DictConfig, OmegaConf

from ray_decorator import ray_decorator

OmegaConf.register_new_resolver("upper", str.upper)


class Model:
    def __init__(self, width):
        self.width, self.pid = width, os.getpid()


@hydra.main(config_name="config", config_path=".", version_base=None)
@ray_decorator(deps=["config.data.path"], outs=["config.training.output_dir"])
def train(config: DictConfig):
    model = hydra.utils.instantiate(config.model)
    out = Path(config.training.output_dir)
    out.mkdir(parents=True, exist_ok=True)
    (out / "seen.json").write_text(json.dumps({
        "text": (Path(config.data.path) / "a.txt").read_text(),
        "data": config.data.path,
        "upper": config.upper,
        "job": config.job,
        "width": model.width,
        "worker": model.pid == os.getpid() != config.driver,
        "task": ray.get_runtime_context().get_task_name(),
    }))
    return config.x * 2


OmegaConf.register_new_resolver("pid", os.getpid)
train()
"""

CONFIG = """
x: 1
data: {path: data}
training: {output_dir: "${hydra:runtime.output_dir}/trained"}
upper: "${upper:${hydra:job.name}}"
job: "${hydra:job.num}"
model: {_target_: __main__.Model, width: 3}
driver: %d
"""


def seen(home: Path, pattern: str) -> dict[str, object]:
    [file] = home.glob(pattern)
    found = json.loads(file.read_text())
    assert not found.pop("data").startswith(str(home))
    assert isinstance(found, dict)
    return found


@pytest.fixture
def config(home: Path) -> None:
    (home / "config.yaml").write_text(CONFIG % os.getpid())


@pytest.mark.usefixtures("config")
def test_the_issue_s_hydra_app(home: Path) -> None:
    app = TRAIN.replace('"job": config.job,', "")
    run(home, app, "hydra.job.chdir=true")
    assert seen(home, "outputs/*/*/trained/seen.json") == {
        "text": "alpha", "upper": "APP", "width": 3, "worker": True, "task": "train",
    }  # fmt: skip


@pytest.mark.usefixtures("config")
def test_with_the_launcher_too_the_job_goes_to_ray_once(home: Path) -> None:
    output = run(home, TRAIN, "hydra/launcher=ray_s3", "hydra.sweep.dir=sweep", "x=1,2")
    for number in range(2):
        assert seen(home, f"sweep/{number}/trained/seen.json") == {
            "text": "alpha", "upper": "APP", "job": number, "width": 3, "worker": True,
            "task": f"#{number} x={number + 1}",
        }  # fmt: skip
    assert "2 jobs" in output or "COMPLETED" in output


@pytest.mark.usefixtures("config")
def test_keys_beside_the_config_are_refused_with_the_launcher(home: Path) -> None:
    app = TRAIN.replace('outs=["config', 'outs=["where", "config').replace(
        "(config: DictConfig", "(config, where='x'"
    )
    output = run(home, app, "hydra/launcher=ray_s3", code=1)
    assert "outs key 'where' of @ray_decorator is no key of 'config'" in output
    assert "Traceback" not in output


ZEN = """
import os, sys
from pathlib import Path

from hydra_zen import builds, store
from transformers import AutoModel

from ray_decorator import ray_zen

@store(name="my_app", model=builds(AutoModel.from_pretrained, pretrained_model_name_or_path="tiny"),
       data_dir="./data", output_dir="./outputs")
def task(model, data_dir, output_dir):
    import ray
    assert model.pid == os.getpid()
    Path(output_dir).mkdir(exist_ok=True)
    text = (Path(data_dir) / "a.txt").read_text()
    name = ray.get_runtime_context().get_task_name()
    Path(output_dir, "out.txt").write_text(f"{model.name} {text} {name}")

store.add_to_hydra_store()
ray_zen(task, deps=["data_dir"], outs=["output_dir"], ray_address="auto",
        s3_base_path="s3://my-bucket/zen").hydra_main(config_name="my_app", config_path=None, version_base=None)()
print("end of the script", *(name for name in sys.modules if name == "built_here"))
"""

TRANSFORMERS = """
import os, sys

class AutoModel:
    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path):
        sys.modules["built_here"] = sys
        model = cls()
        model.name, model.pid = pretrained_model_name_or_path, os.getpid()
        return model
"""


def test_the_issue_s_zen_app(home: Path, my_bucket: servers.Server) -> None:
    (home / "transformers.py").write_text(TRANSFORMERS)
    output = run(home, ZEN)
    assert (home / "outputs" / "out.txt").read_text() == "tiny alpha task"
    assert output.splitlines()[-1] == "end of the script"  # nothing was built here
    assert "zen/files/md5/" in keys(my_bucket)


def test_ray_zen_with_the_launcher_goes_to_ray_once(home: Path) -> None:
    (home / "transformers.py").write_text(TRANSFORMERS)
    begin, end = ZEN.index("ray_zen(task"), ZEN.index("print(")
    call = ZEN[begin:end].replace("s3://my-bucket/zen", f"{home.as_uri()}/store")
    again = 'sys.argv.append("output_dir=again")\n' + call.replace("config_path=None", 'config_path="."')
    output = run(
        home, ZEN[:begin] + call + again + ZEN[end:], "hydra/launcher=ray_s3", "hydra.sweep.dir=sweep"
    )
    assert (home / "outputs" / "out.txt").read_text() == "tiny alpha #0"
    assert (home / "again" / "out.txt").read_text() == "tiny alpha #0 output_dir=again"
    assert output.splitlines()[-1] == "end of the script"


def test_zen_itself_with_the_launcher(home: Path) -> None:
    (home / "transformers.py").write_text(TRANSFORMERS)
    begin, end = ZEN.index("ray_zen(task"), ZEN.index("print(")
    main = 'zen(task).hydra_main(config_name="my_app", config_path=None, version_base=None)\n'
    app = ZEN[:begin] + "from hydra_zen import zen\n" + main + ZEN[end:]
    output = run(
        home,
        app,
        "hydra/launcher=ray_s3",
        "hydra.sweep.dir=sweep",
        "hydra.launcher.deps=[data_dir]",
        "hydra.launcher.outs=[output_dir]",
    )
    assert (home / "outputs" / "out.txt").read_text() == "tiny alpha #0"
    assert output.splitlines()[-1] == "end of the script"


ALREADY = """
import ray
ray.init(address="auto")
from ray_decorator import ray_decorator

@ray_decorator()
def where():
    return ray.get_runtime_context().get_job_id()

assert where() == ray.get_runtime_context().get_job_id()
assert ray.is_initialized()
print("same")
"""


def test_a_ray_that_the_caller_has_initialised_is_used_and_left_running(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_S3_BASE_PATH")
    assert run(home, ALREADY).splitlines()[-1] == "same"


PRIVATE = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(message)s")
from ray_decorator import ray_decorator

@ray_decorator(outs=["out"])
def hello(out):
    open(out, "w").write("hello")

hello("out.txt")
hello("out.txt")
"""


def test_with_nothing_set_ray_is_private_one_line_says_so_and_a_terminal_shows_that_it_starts(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_ADDRESS", "RAY_S3_BASE_PATH"):
        monkeypatch.delenv(name)
    monkeypatch.chdir(home)
    seen = terminal.run(PRIVATE, columns=150)
    assert (home / "out.txt").read_text() == "hello"
    assert any(screen[-1].startswith("starting Ray on this machine") for screen in seen.screens)
    alone = "data stays where it is; for a cluster set ray_address and s3_base_path"
    assert "\n".join(seen.last).count(alone) == 1
    assert not any("starting Ray" in line for line in seen.last)


def test_a_ray_that_runs_on_this_machine_needs_no_store(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_S3_BASE_PATH")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    assert ":" in os.environ["RAY_ADDRESS"]  # not local, nor auto
    output = run(home, PRIVATE)
    assert (home / "out.txt").read_text() == "hello"
    assert output.count("Ray runs on this machine alone, and data stays where it is") == 1
    assert "starting a private one" not in output
    assert [entry.name for entry in (home / "cache" / "ray_s3").iterdir() if entry.is_dir()] == []  # no store


NO_RAY_HERE = """
import functools, os, subprocess
from ray._private import services
# other Rays may run on the machine of these tests
services.find_gcs_addresses = functools.cache(set)
services.find_bootstrap_address = lambda temp_dir: None

from ray_decorator import ray_decorator


@ray_decorator(ray_address="auto")
def starts():
    keep = {**os.environ, "RAY_S3_KEEP": "1"}
    return subprocess.Popen(["sleep", "600"], env=keep, start_new_session=True, stdout=-3, stderr=-3).pid, os.getpid()

print(*starts())
"""


def test_auto_starts_a_private_ray_where_none_runs_says_so_and_ends_it_but_for_what_a_job_keeps(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS")
    output = run(home, NO_RAY_HERE)
    assert "No Ray runs on this machine (ray_address is 'auto'): starting a private one" in output
    kept, worker = map(int, output.splitlines()[-1].split())
    assert outlives(kept, worker)

"""A stage of a `dvc.yaml` whose command runs on Ray, under the real dvc."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers
import warm_python
from dvc_repositories import Dvc
from store_fixtures import use
from trees import read, tree

from ray_decorator import ray_decorator
from ray_decorator.content.manifest import object_key
from ray_decorator.store.identity import locate
from ray_decorator.store.store import open_store

APP = """
from pathlib import Path
import hydra


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg):
    text = "".join(file.read_text() for file in sorted(Path(cfg.data.path).glob("*.txt")))
    Path(cfg.model.path).write_text(text.upper())


if __name__ == "__main__":
    main()
"""
FILES = {
    "train.py": APP,
    "data/a.txt": "alpha ",
    "data/b.txt": "beta",
    "conf/config.yaml": "data: {path: data}\nmodel: {path: model.pkl}\n",
    "conf/hydra/launcher/cluster.yaml": "defaults: [ray_s3]\ndeps: dvc\nouts: dvc\n",
    "dvc.yaml": "stages:\n  train:\n"
    "    cmd: python train.py hydra/launcher=cluster hydra.sweep.dir=run\n"
    "    deps: [train.py, data]\n    outs: [model.pkl]\n",
}


def keys(store: Path) -> list[str]:
    return [str(path.relative_to(store)) for path in store.rglob("*") if path.is_file()]


@pytest.fixture(scope="module", autouse=True)
def python(ray_session: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Stages find their imports made, too: of a Ray that asks for tokens, as the session's does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", warm_python.on_path(tmp_path_factory.mktemp("bin")))
        yield


@pytest.fixture(scope="module")
def template(dvc: Dvc, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template") / "repository"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    dvc(root, "init", "--no-scm", "--quiet")
    dvc(root, "remote", "add", "--default", "store", "../store")
    return root


@pytest.fixture
def repository(tmp_path: Path, template: Path) -> Path:
    shutil.copytree(template, tmp_path / "repository")
    return tmp_path / "repository"


@pytest.mark.usefixtures("ray_session_address")
def test_a_stage_runs_on_ray_and_shares_the_remote_and_what_dvcignore_names_is_neither_sent_nor_seen(
    dvc: Dvc, repository: Path, tmp_path: Path
) -> None:
    (repository / "data/c.txt").write_text("SECRET")
    (repository / "data/sub").mkdir()
    (repository / "data/sub/d.tmp").write_text("SECRET too")
    (repository / ".dvcignore").write_text("*.tmp\n/data/c.txt\n")
    # RAY_S3_BASE_PATH is the very directory that is the DVC remote
    dvc(repository, "repro")
    assert (repository / "model.pkl").read_text() == "ALPHA BETA"
    assert "up to date" in dvc(repository, "status")
    # the data and the model have been there since the job ran
    pushed = dvc(repository, "push")
    assert "Everything is up to date" in pushed
    (repository / "data/b.txt").unlink()
    (repository / "data/b.txt").write_text("gamma")
    dvc(repository, "repro")
    assert (repository / "model.pkl").read_text() == "ALPHA GAMMA"
    stored = [path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert b"gamma" in stored and not [data for data in stored if b"SECRET" in data]


def copies(data: str, same: str, begun: str, go: str) -> str:
    """The out is the dep, byte for byte. Of "retried", the first attempt fails."""
    Path(begun).touch()
    for _ in range(600):
        if Path(go).exists():
            break
        time.sleep(0.1)
    Path(same).mkdir()
    shutil.copy(Path(data, "a.txt"), same)
    Path(same, "own.txt").write_text(f"made of {Path(data).name}")
    if data.endswith("retried") and os.environ["RAY_S3_ATTEMPT"] == "1":
        raise ConnectionError("once more")
    return Path(data, "a.txt").read_text()


@pytest.mark.usefixtures("ray_session")
def test_gc_while_jobs_run(
    dvc: Dvc,
    repository: Path,
    tmp_path: Path,
    session_caches: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What no commit names is DVC's to delete. Outs come home, and a retry's deps are uploaded again."""
    store, go, names = tmp_path / "store", tmp_path / "go", ("once", "retried")
    monkeypatch.setenv("RAY_S3_BASE_PATH", store.as_uri())
    monkeypatch.chdir(repository)
    tree(repository, {f"{name}/a.txt": name.encode() for name in names})
    dvc(repository, "add", "data")
    dvc(repository, "push")
    tree(store, {"ray_s3/code/files/md5/ab/cdef": b"ours", "ray_s3/jobs/f.json": b"ours too"})
    run = ray_decorator(["data"], ["same"], ray_remote_kwargs={"max_retries": 1, "retry_exceptions": True})
    submit = run(copies).submit
    jobs = [submit(name, f"{name}.out", str(tmp_path / f"{name}.begun"), str(go)) for name in names]
    wait_for(*(tmp_path / f"{name}.begun" for name in names))
    deps = {
        object_key(dvc.digest_of(repository, repository / name / file))
        for name in names
        for file in ("", "a.txt")
    }
    before = set(keys(store))
    assert deps < before
    dvc(repository, "gc", "--workspace", "--cloud", "--force")
    assert set(keys(store)) == before - deps
    shutil.rmtree(session_caches / "node" / "cache")
    go.touch()
    assert [job.result(120) for job in jobs] == list(names)
    for name in names:
        assert read(repository / f"{name}.out") == {
            "a.txt": name.encode(),
            "own.txt": f"made of {name}".encode(),
        }
        out = {
            object_key(dvc.digest_of(repository, repository / f"{name}.out" / file)) for file in ("", "a.txt")
        }
        assert out < set(keys(store))
    assert object_key(dvc.digest_of(repository, repository / "retried")) in keys(store)
    [said] = [line for line in caplog.messages if "no longer holds" in line]
    assert "/retried (deps key 'data', files/md5/" in said
    assert {key for key in before if key.startswith("ray_s3/")} <= set(keys(store))


def wait_for(*paths: Path) -> None:
    for _ in range(600):
        if all(path.exists() for path in paths):
            return
        time.sleep(0.1)
    raise AssertionError(f"not there within a minute: {paths}")


@pytest.mark.usefixtures("ray_session_address")
def test_the_default_remote_is_the_store_with_keys_of_its_own(
    dvc: Dvc, repository: Path, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys are in .dvc/config.local alone; the job reads and writes where `dvc push` would."""
    server = rclone  # it checks the keys
    url = f"s3://{servers.BUCKET}/{uuid.uuid4().hex}"
    use(server, monkeypatch)
    for name in list(server.environment()):
        monkeypatch.delenv(name)
    monkeypatch.setenv("RAY_S3_BASE_PATH", "dvc")
    dvc(repository, "remote", "add", "--force", "--default", "store", url)
    dvc(repository, "remote", "modify", "store", "endpointurl", server.endpoint)
    for key, value in (("access_key_id", servers.ACCESS_KEY), ("secret_access_key", servers.SECRET_KEY)):
        dvc(repository, "remote", "modify", "--local", "store", key, value)
    done = dvc.process(repository, "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert servers.SECRET_KEY not in done.stdout + done.stderr
    assert (repository / "model.pkl").read_text() == "ALPHA BETA"
    recorded = set(re.findall(r"md5: ([0-9a-f]{32}(?:\.dir)?)", (repository / "dvc.lock").read_text()))
    data, model = (
        dvc.digest_of(repository, repository / "data"),
        dvc.digest_of(repository, repository / "model.pkl"),
    )
    assert {data, model} <= recorded
    use(server, monkeypatch)
    store = open_store(locate(url))
    keys = {key for page in store.list("") for key, _ in page}
    assert {object_key(data), object_key(model)} <= keys
    assert not [
        p
        for p in repository.rglob("*")
        if p.is_file() and p.name != "config.local" and servers.SECRET_KEY.encode() in p.read_bytes()
    ]


def train(repository: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [*warm_python.starter(), "train.py", "hydra/launcher=cluster", "hydra.run.dir=run", *overrides]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=180, check=False)


@pytest.fixture(scope="module")
def trained(dvc: Dvc, template: Path, ray_session: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a repository whose data are added and pushed, and whose stage has run, and with its store."""
    directory = tmp_path_factory.mktemp("trained")
    repository = shutil.copytree(template, directory / "repository")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", ray_session)
        patch.setenv("RAY_S3_BASE_PATH", (directory / "store").as_uri())
        (directory / "store").mkdir()
        for command in (["add", "data"], ["push"], ["repro"]):
            dvc(repository, *command)
    return directory


@pytest.mark.usefixtures("ray_session_address")
@pytest.mark.parametrize("where", ["remote", "cache, no store", "nowhere"])
def test_data_that_is_not_here(
    dvc: Dvc, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """`dvc repro` would refuse it; the program itself runs. `dvc commit` wants the data here again, and no rerun."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    repository = tmp_path / "repository"
    shutil.rmtree(repository / "data")
    (repository / "model.pkl").unlink()
    if where == "cache, no store":
        shutil.rmtree(tmp_path / "store")
        monkeypatch.delenv("RAY_S3_BASE_PATH")
    else:
        monkeypatch.setenv("RAY_S3_BASE_PATH", "dvc")
        shutil.rmtree(repository / ".dvc" / "cache")
    if where == "nowhere":
        shutil.rmtree(tmp_path / "store")
    done = train(repository, *(["hydra.launcher.ray_address=auto"] if "no store" in where else []))
    if where == "nowhere":
        assert done.returncode != 0
        assert "data: is not here; data.dvc tracks it, but neither file://" in done.stderr
        assert "Run `dvc pull data`" in done.stderr
        return
    assert done.returncode == 0, done.stdout + done.stderr
    assert (repository / "model.pkl").read_text() == "ALPHA BETA"
    assert "deps key 'data.path': data is not here; as data.dvc tracks it, " in done.stdout
    assert not (repository / "data").exists()
    if where == "remote":
        dvc(repository, "pull", "data")
        dvc(repository, "commit", "--force", "train")
        assert "up to date" in dvc(repository, "push")


ASKING = """
import json, os
from pathlib import Path
import dvc.api
import hydra


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg):
    told = {name: value for name, value in os.environ.items() if name in ("DVC_ROOT", "DVC_STAGE")}
    Path(cfg.model.path).write_text(json.dumps([told, dvc.api.params_show()], sort_keys=True))


if __name__ == "__main__":
    main()
"""


@pytest.mark.usefixtures("ray_session_address")
def test_a_job_knows_its_stage_and_its_parameters_as_at_home(dvc: Dvc, repository: Path) -> None:
    """The workers of the session's Ray were started without DVC's variables."""
    (repository / "train.py").write_text(ASKING)
    (repository / "params.yaml").write_text("lr: 0.5\n")
    text = (repository / "dvc.yaml").read_text()
    (repository / "dvc.yaml").write_text(text + "    params: [lr]\n")
    dvc(repository, "repro")
    on_ray = (repository / "model.pkl").read_text()
    (repository / "dvc.yaml").write_text(text.replace("=cluster", "=basic") + "    params: [lr]\n")
    dvc(repository, "repro")
    assert on_ray == (repository / "model.pkl").read_text()
    assert '"DVC_STAGE": "train"' in on_ray and '{"lr": 0.5}' in on_ray


LIVE = """
import os
from dvclive import Live
import hydra


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg):
    token = os.environ["DVC_STUDIO_TOKEN"].encode()
    assert token not in open("/proc/self/environ", "rb").read()
    with Live(dir=cfg.live, dvcyaml=None) as live:
        live.log_param("lr", cfg.lr)
        for step in range(3):
            live.log_metric("loss", cfg.lr / (step + 1))
            live.next_step()


if __name__ == "__main__":
    main()
"""


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="it looks into Linux's /proc")
@pytest.mark.usefixtures("ray_session_address")
def test_dvclive_logs_in_a_job_of_a_queued_experiment(
    dvc: Dvc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files come home, and the experiment is DVC's own. The token is in no process's first environment."""
    root = tmp_path / "live"
    files = {
        "train.py": LIVE,
        "conf/config.yaml": "live: dvclive\nlr: 0.5\n",
        "conf/hydra/launcher/cluster.yaml": FILES["conf/hydra/launcher/cluster.yaml"],
        ".gitignore": "multirun/\noutputs/\n",
        "dvc.yaml": "stages:\n  train:\n"
        "    cmd: python train.py hydra/launcher=cluster\n"
        "    deps: [train.py]\n    params: [conf/config.yaml: [lr]]\n"
        "    metrics: [dvclive/metrics.json: {cache: false}]\n    plots: [dvclive/plots: {cache: false}]\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name, value in {"DVC_STUDIO_TOKEN": uuid.uuid4().hex, "DVC_STUDIO_OFFLINE": "true"}.items():
        monkeypatch.setenv(name, value)
    for command in (["init", "-q"], ["config", "user.name", "a"], ["config", "user.email", "a@b"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    dvc(root, "init", "--quiet")
    for command in (["add", "-A"], ["commit", "-qm", "start"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    dvc(root, "exp", "run", "--queue", "--name", "half", "--set-param", "conf/config.yaml:lr=2")
    dvc(root, "exp", "run", "--run-all")

    def git(*command: str) -> str:
        return subprocess.check_output(["git", *command], cwd=root, text=True)

    [half] = [ref for ref in git("for-each-ref", "--format=%(refname)", "refs/exps").split() if "half" in ref]
    assert json.loads(git("show", f"{half}:dvclive/metrics.json")) == {
        "step": 2,
        "loss": pytest.approx(2 / 3),
    }
    steps = git("show", f"{half}:dvclive/plots/metrics/loss.tsv").splitlines()
    assert [line.split("\t")[0] for line in steps] == ["step", "0", "1", "2"]
    assert "lr: 2" in git("show", f"{half}:conf/config.yaml")
    assert not (root / "dvclive").exists()  # it ran in a directory of its own

"""Which of the driver's variables travel: those that the config names, and those that the app has changed."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import dvc.env
import pytest
from omegaconf import OmegaConf

from ray_decorator.core.machine import start
from ray_decorator.core.values.inherited import Variable
from ray_decorator.project import environ

PROGRAM = """
import json, os, sys
os.environ.update({"SET": "1", "CHANGED": "2", "HOME": "/elsewhere", "AWS_PROFILE": "p"})
os.environ.update({"RAY_X": "1", "PYTHONX": "1"})
os.environ["SAME"] = os.environ["SAME"]
del os.environ["UNSET"]
from ray_decorator.project import environ
found = environ.inherited(b"", b"")
print(json.dumps([{name: each.value for name, each in found.environ.items()}, found.argv]))
"""


def started(*more: str, **variables: str) -> Any:
    given = {"PATH": os.environ["PATH"], "CHANGED": "1", "SAME": "1", "UNSET": "1", "KEPT": "1", **variables}
    command = [sys.executable, "-c", PROGRAM, *more]
    done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_the_app_has_set_changed_and_unset_since_it_was_started() -> None:
    found, argv = started("x=1", "a b")
    assert found == {"SET": "1", "CHANGED": "2", "UNSET": None}
    assert argv == ["-c", "x=1", "a b"]


def test_what_dvc_gives_to_a_stage_travels_and_what_is_of_this_machine_stays() -> None:
    known = [value for name, value in vars(dvc.env).items() if name.startswith("DVC_")]
    found, _ = started(**dict.fromkeys(known, "x"))
    stay = {"DVC_SITE_CACHE_DIR", "DVC_SYSTEM_CONFIG_DIR", "DVC_GLOBAL_CONFIG_DIR", "DVC_PAGER"}
    stay |= {"DVC_DAEMON", "DVC_DAEMON_LOGFILE"}
    assert stay < set(known)
    assert {name for name in found if name.startswith("DVC_")} == set(known) - stay
    assert {"DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"} <= found.keys()


def test_where_the_system_does_not_tell_it_is_what_changed_since_our_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(start, "ENVIRON", {**os.environ, "BEFORE": "1"})
    monkeypatch.setattr(environ, "at_start", lambda: start.ENVIRON)
    monkeypatch.setenv("SINCE", "1")
    found = environ.inherited(b"", b"").environ
    assert (found["SINCE"], found["BEFORE"]) == (Variable("1"), Variable(None))


@pytest.mark.parametrize("told", [b"", b"a new title\0\0\0X=1\0", b"=x\0Y=1\0"])
def test_an_environment_that_a_title_was_written_over_tells_nothing(
    told: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "environ").write_bytes(told)
    monkeypatch.setattr(environ, "_TOLD", str(tmp_path / "environ"))
    assert environ.at_start.__wrapped__() is start.ENVIRON


def test_an_environment_as_linux_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "environ").write_bytes("A=1\0B==\0C=\0D=ä\xff\n=\0".encode("latin-1"))
    monkeypatch.setattr(environ, "_TOLD", str(tmp_path / "environ"))
    found = environ.at_start.__wrapped__()
    assert {name: os.fsencode(value) for name, value in found.items()} == {
        "A": b"1", "B": b"=", "C": b"", "D": b"\xe4\xff\n=",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "${oc.env:NAMED}", "${oc.env: NAMED }", "${oc.env:'NAMED'}", "${oc.env:\"NAMED\",x}", "${oc.env:NAMED,null}",
        "${oc.decode:${oc.env:NAMED}}", "a/${oc.env:NAMED}/b", "${oc.env:OTHER,${oc.env:NAMED}}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["func", "payload"])
def test_what_a_config_names(text: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environ, "at_start", lambda: dict(os.environ))
    monkeypatch.setenv("NAMED", "of the driver")
    config = OmegaConf.create({"a": [{"b": text}], "not": "${oc.env:OTHER,1}"})
    pickled = pickle.dumps({"inside": pickle.dumps(config)})
    given = (pickled, b"") if where == "func" else (b"", pickled)
    assert environ.inherited(*given).environ == {"NAMED": Variable("of the driver")}
    assert config.a[0].b is not None


@pytest.mark.parametrize(
    "name",
    ["HOME", "PATH", "PWD", "TMPDIR", "HOSTNAME", "LD_PRELOAD", "PYTHONPATH", "CUDA_VISIBLE_DEVICES", "RAY_ADDRESS",
     "SLURM_JOB_ID", "XDG_CACHE_HOME", "AWS_SECRET_ACCESS_KEY", "SSL_CERT_FILE",
     "JPY_PARENT_PID", "IPYTHONENABLE", "PYDEVD_USE_FRAME_EVAL", "DEBUGPY_RUNNING", "VSCODE_PID", "PYCHARM_HOSTED",
     "COLAB_GPU", "KMP_INIT_AT_FORK", "QT_QPA_FONTDIR", "WANDB_SERVICE"],
)  # fmt: skip
def test_what_belongs_to_a_machine_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "set by the app")
    named = pickle.dumps("${oc.env:" + name + "}")
    assert name not in environ.inherited(named, named).environ
    assert environ.variables([name]) == {name: Variable("set by the app")}


@pytest.mark.parametrize(
    "name",
    [
        "HOMES",
        "MY_PATH",
        "USER",
        "OMP_NUM_THREADS",
        "CUBLAS_WORKSPACE_CONFIG",
        "MY_RAY_X",
        "KMP_DUPLICATE_LIB_OK",
        "QT_QPA_PLATFORM",
        "WANDB_API_KEY",
        "MPLBACKEND",
        "FORCE_COLOR",
    ],
)
def test_what_only_looks_like_it_travels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "set by the app, for itself")
    assert environ.inherited(b"", b"").environ[name] == Variable("set by the app, for itself")


def test_those_of_aws_are_kept_apart_and_those_of_the_app_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    at_start = {
        **os.environ,
        "AWS_REGION": "r",
        "AWS_PROFILE": "a",
        "AWS_CA_BUNDLE": "x",
        "AWS_MAX_ATTEMPTS": "3",
    }
    monkeypatch.setattr(environ, "at_start", lambda: at_start)
    for name, value in {**at_start, "AWS_PROFILE": "b", "AWS_SECRET_ACCESS_KEY": "s"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_CA_BUNDLE")
    found = environ.inherited(b"", pickle.dumps("${oc.env:AWS_MAX_ATTEMPTS}"))
    assert found.environ == {} and found.aws is not None
    assert {name: each.value for name, each in found.aws.items()} == {
        "AWS_REGION": "r", "AWS_PROFILE": "b", "AWS_CA_BUNDLE": None, "AWS_MAX_ATTEMPTS": "3",
        "AWS_SECRET_ACCESS_KEY": "s",
    }  # fmt: skip
    assert found.aws_everywhere == {
        "AWS_PROFILE", "AWS_CA_BUNDLE", "AWS_MAX_ATTEMPTS", "AWS_SECRET_ACCESS_KEY"
    }  # fmt: skip


def test_a_notebooks_backend_stays_unless_the_config_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    assert "MPLBACKEND" not in environ.inherited(b"", b"").environ
    named = pickle.dumps("${oc.env:MPLBACKEND}")
    assert environ.inherited(b"", named).environ["MPLBACKEND"].value == os.environ["MPLBACKEND"]
    monkeypatch.setenv("MPLBACKEND", "Agg")
    assert environ.inherited(b"", b"").environ["MPLBACKEND"] == Variable("Agg")


def test_paths_are_known_by_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real" / "a:b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    values = {
        "LINK": f"{tmp_path}/link/data/",
        "COLON": f"{tmp_path}/link/a:b",
        "LIST": f"{tmp_path}/link:{tmp_path}/real",
        "RELATIVE": "link/data",
        "URL": f"file://{tmp_path}/link",
        "EMPTY": "",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    found = environ.variables(values)
    assert {name: each.value for name, each in found.items()} == values
    assert {name: each.real for name, each in found.items() if each.real is not None} == {
        "LINK": f"{tmp_path}/real/data", "COLON": f"{tmp_path}/real/a:b",
    }  # fmt: skip

"""Ray is connected to before the launcher's larger part is imported, where the settings are right."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hydra_plugins.hydra_ray_s3_launcher import _begin
from ray_decorator import ray_decorator
from ray_decorator.cluster.connecting import connection
from ray_decorator.core.options.settings import Settings
from ray_decorator.core.values.inherited import JOB

FAR = {"ray_address": "192.0.2.7:6379", "s3_base_path": "s3://bucket/x"}


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    asked: list[Settings] = []
    monkeypatch.setattr(connection, "begin", asked.append)
    monkeypatch.delenv(JOB, raising=False)
    return asked


def _task(config: object) -> None:
    pass


def test_what_the_launcher_and_the_task_say_is_connected_to(begun: list[Settings]) -> None:
    _begin.connect(FAR, _task)
    _begin.connect({"s3_base_path": "s3://bucket/x"}, ray_decorator(ray_address="192.0.2.8:1")(_task))
    assert [each.ray_address for each in begun] == ["192.0.2.7:6379", "192.0.2.8:1"]


def test_wrong_settings_and_processes_of_jobs_connect_to_nothing(
    begun: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    _begin.connect({"ray_address": "nonsense"}, _task)
    monkeypatch.setenv(JOB, "1")
    _begin.connect(FAR, _task)
    assert begun == []


def test_it_comes_before_what_is_slow_to_import() -> None:
    code = f"import sys, {_begin.__name__}; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert _begin.__name__ in imported
    assert imported & {"ray", "ray_decorator.run.session", "boto3", "http.client", "sqlite3"} == set()

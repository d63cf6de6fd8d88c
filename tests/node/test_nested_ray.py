"""What a job on another machine gives the Ray that it uses itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import ray
import ray._private.services as services
import ray.util

from ray_decorator.core.values.bundles import Requirements
from ray_decorator.node import nested_ray, runner

PINS = Requirements(sys.version_info[:2], "linux-x86_64", {"six": "1.16.0"})


@pytest.fixture(autouse=True)
def on_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_S3_NODE_ID", "abc")
    monkeypatch.setattr(services, "find_node_ids", services.find_node_ids)


def test_its_tasks_get_the_packages_unless_there_is_a_hook_of_the_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {"env_vars": {"A": "b"}}
    assert nested_ray.ray_begins(given) == given
    assert services.find_node_ids() == ["abc"]
    monkeypatch.setattr(runner, "_requirements", PINS)
    made = nested_ray.ray_begins(given)
    assert made["env_vars"] == {"A": "b"} and callable(made["worker_process_setup_hook"])
    users = {"worker_process_setup_hook": "my.hook"}
    assert nested_ray.ray_begins(users) == users


def test_what_needs_a_password_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = Requirements((3, 11), "linux", {"mine": "@ https://me:secret@host/mine.whl"})
    monkeypatch.setattr(runner, "_requirements", secret)
    assert nested_ray.ray_begins(None) == {}
    indexes = {
        "UV_DEFAULT_INDEX": "https://host/simple",
        "UV_INDEX": "https://me:secret@a/simple https://b/simple",
        "UV_INDEX_A_PASSWORD": "secret",
    }
    kept = nested_ray._without_passwords(Requirements((3, 11), "linux", {}, indexes=indexes))
    assert kept.indexes == {"UV_DEFAULT_INDEX": "https://host/simple", "UV_INDEX": "https://b/simple"}


def test_where_the_node_directory_cannot_be_used_a_task_has_the_clusters_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "node").symlink_to(tmp_path)
    monkeypatch.setenv("RAY_S3_NODE_DIR", str(tmp_path / "node"))
    nested_ray._with_packages(PINS, b"no zip")()
    said = capsys.readouterr().err
    assert said.startswith("ray-s3: this task has the cluster's own packages alone: ")
    assert f"{tmp_path}/node is a symlink" in said and "RAY_S3_NODE_DIR" in said
    assert [path.name for path in tmp_path.iterdir()] == ["node"]


def test_a_driver_is_in_the_placement_group_of_its_job_alone(
    monkeypatch: pytest.MonkeyPatch, ray_session: str
) -> None:
    from ray._private.worker import Worker

    for name in ("placement_group_id", "should_capture_child_tasks_in_placement_group"):
        monkeypatch.setattr(Worker, name, getattr(Worker, name))
    group = ray.util.placement_group([{"CPU": 1}])
    assert ray.get(group.ready(), timeout=60)

    def seen() -> list[str | None]:
        """By this process, and by a task of its own."""

        def tell() -> str | None:
            found = ray.util.get_current_placement_group()
            return found.id.hex() if found is not None else None

        return [tell(), ray.get(ray.remote(num_cpus=0)(tell).remote(), timeout=60)]

    for given, expected in [
        (f"{group.id.hex()} captures", [group.id.hex(), group.id.hex()]),
        (group.id.hex(), [group.id.hex(), None]),
        ("", [None, None]),
    ]:
        monkeypatch.setenv("RAY_S3_PLACEMENT_GROUP", given)
        nested_ray.ray_begins(None)
        assert seen() == expected
    ray.util.remove_placement_group(group)

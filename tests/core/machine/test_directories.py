"""Only a directory that nobody else can write to is used for what is run and trusted."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

import pytest

from ray_decorator.core.errors import InputError
from ray_decorator.core.machine.directories import (
    cache_home,
    config_home,
    node_directory,
    node_root,
    private_directory,
)

OURS = pwd.getpwuid(os.getuid()).pw_name
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what belongs to others")


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        private_directory(path)
    said = str(caught.value)
    assert said.startswith(f"{path} ")
    assert "RAY_S3_NODE_DIR" in said
    return said


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_missing_one_is_made_for_its_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert private_directory(tmp_path / "new") == tmp_path / "new"
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == 0o700


def test_one_that_others_could_read_is_closed(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old").chmod(0o755)
    private_directory(tmp_path / "old")
    assert mode(tmp_path / "old") == 0o700


@pytest.mark.parametrize("bits", [0o770, 0o702, 0o1777])
def test_one_that_others_could_write_to_is_refused_as_it_is(bits: int, tmp_path: Path) -> None:
    path = tmp_path / "open"
    path.mkdir()
    path.chmod(bits)
    assert f"can be written to by others than {OURS} (mode {bits:04o}), so others could put files" in refused(
        path
    )
    assert mode(path) == bits


@pytest.mark.parametrize("target", ["there", "nowhere"])
def test_a_link_is_refused(target: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / target)
    assert f"is a symlink (made by {OURS})" in refused(tmp_path / "link")
    assert not (tmp_path / "nowhere").exists()


def test_a_file_and_a_place_where_nothing_can_be_made_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert f"is not a directory (it belongs to {OURS})" in refused(tmp_path / "file")
    assert f"cannot be used as a private directory (File exists: {tmp_path}/file)" in refused(
        tmp_path / "file" / "below"
    )


@as_root
def test_one_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    os.chown(tmp_path / "theirs", 1000, 1000)
    try:
        owner = pwd.getpwuid(1000).pw_name
    except KeyError:
        owner = "uid 1000"
    assert f"belongs to {owner}, not to the user of this process (uid 0)" in refused(tmp_path / "theirs")


def test_a_nodes_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_S3_NODE_DIR", str(tmp_path / "node"))
    assert node_root() == str(tmp_path / "node")
    assert node_directory("cache") == tmp_path / "node" / "cache"
    assert mode(tmp_path / "node") == mode(tmp_path / "node" / "cache") == 0o700
    (tmp_path / "node" / "jobs").symlink_to(tmp_path)
    with pytest.raises(InputError, match="node/jobs is a symlink"):
        node_directory("jobs")
    (tmp_path / "node").chmod(0o777)
    with pytest.raises(InputError, match=r"node can be written to by others .*RAY_S3_NODE_DIR"):
        node_directory("cache")


@pytest.mark.parametrize("end", ["/", "/.", "//"])
def test_a_link_is_refused_however_its_path_is_spelt(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "there")
    monkeypatch.setenv("RAY_S3_NODE_DIR", f"{tmp_path}/link{end}")
    with pytest.raises(InputError, match="link is a symlink"):
        node_directory("jobs")
    assert list((tmp_path / "there").iterdir()) == []


def test_a_relative_path_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_S3_NODE_DIR", "node")
    with pytest.raises(InputError, match=r"^node is a relative path, .* RAY_S3_NODE_DIR .* absolute path"):
        node_directory("jobs")
    assert list(tmp_path.iterdir()) == []


def test_where_they_are_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_S3_NODE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Path(node_root()).name == f"ray_s3_{os.getuid()}"
    assert cache_home() == tmp_path / ".cache" / "ray_s3"
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert config_home() == tmp_path / ".config"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    assert config_home() == tmp_path / "settings"

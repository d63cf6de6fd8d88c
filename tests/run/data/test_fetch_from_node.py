"""`ray-s3 fetch <node>:<path>`: what a job left on a node of a cluster, brought through Ray."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from trees import read, tree

from ray_decorator.__main__ import main
from ray_decorator.run.data import fetch_from_node

FILES = {"a": b"1" * 100, "sub/b": b"22"}


@pytest.mark.ray
def test_a_directory_and_a_file_of_a_node(
    ray_session: str, session_caches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(fetch_from_node, "_PART", 64)
    kept = tree(session_caches / "node" / "kept" / f"fetch-{os.getpid()}" / "model", FILES)
    host = socket.gethostname()
    there = f"{host}:{kept}"
    monkeypatch.chdir(tmp_path)
    # here the path is there as well: as on a machine of another name, it is asked of the node
    assert main(["fetch", there, "home"]) == 0 and main(["fetch", f"{there}/sub/b", "b"]) == 0
    assert read(tmp_path / "home") == FILES and (tmp_path / "b").read_bytes() == b"22"
    assert "home is complete (102 B received)" in capsys.readouterr().out
    assert read(kept) == FILES, "it is on the node as before"
    tree(tmp_path / "home", {"a": b"mine"})
    assert main(["fetch", there, "home"]) == main(["fetch", f"{there}-not", "x"]) == 1
    assert main(["fetch", f"nobody:{kept}", "x"]) == 1
    said = capsys.readouterr().err
    for part in (
        "other bytes are in the way",
        f"node {host} has nothing at {kept}-not",
        "has no node 'nobody' now",
    ):
        assert part in said
    assert sorted(os.listdir(tmp_path)) == ["b", "home"], "nothing half done remains"

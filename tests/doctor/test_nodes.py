"""What nodes say of themselves, and what is said of one whose own directory cannot be trusted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ray_decorator.core.values.bundles import Requirements
from ray_decorator.core.values.stores import Location
from ray_decorator.doctor.nodes import _whereabouts, ask_nodes

pytestmark = pytest.mark.ray


def test_this_machines_own_node(ray_session: str, tmp_path: Path) -> None:
    requirements = Requirements(sys.version_info[:2], "linux-x86_64", {"no-such-thing": "1.0"})
    (node,) = ask_nodes(requirements, Location(tmp_path.as_uri()), [str(tmp_path)])
    assert node.error is None and node.home and node.unreachable is None
    assert node.python == sys.version_info[:3]
    assert node.ray == __import__("ray").__version__
    assert node.resources["CPU"] == 2
    assert node.lacking == {"no-such-thing": None} and node.prebuilt == 0


def test_a_store_that_is_not_there(ray_session: str, tmp_path: Path) -> None:
    (node,) = ask_nodes(None, Location((tmp_path / "nowhere").as_uri()), [])
    assert node.unreachable == f"there is no directory {tmp_path / 'nowhere'}"


def test_a_node_directory_that_others_can_write_to(ray_session: str, session_caches: Path) -> None:
    root = session_caches / "node"
    root.mkdir(exist_ok=True)
    root.chmod(0o777)
    try:
        (node,) = ask_nodes(None, None, [])
    finally:
        root.chmod(0o700)
    assert node.error is not None
    assert f"{root} can be written to by others than" in node.error and "(mode 0777)" in node.error


def test_what_of_a_store_a_node_must_reach() -> None:
    assert _whereabouts(Location("file:///data")) == "/data"
    assert _whereabouts(Location("s3://b/x", endpoint="http://10.0.0.1:9000")) == ("10.0.0.1", 9000)
    assert _whereabouts(Location("s3://b/x", region="eu-west-1")) == ("s3.eu-west-1.amazonaws.com", 443)

"""What is ours on the nodes of a cluster is asked and cleared there."""

from __future__ import annotations

from pathlib import Path

import pytest
from trees import tree

from ray_decorator.cluster.every_node import Answer
from ray_decorator.doctor import ours_on_nodes
from ray_decorator.job.disk.ours import Ours

NODES = [{"NodeManagerHostname": name, "NodeID": name * 8} for name in "abc"]


def test_nodes_that_share_a_directory_are_one() -> None:
    found = {"place": ("boot", 1, 2), "found": [("/n/cache", "files", 1, 5, "")]}
    other = {"place": ("other", 1, 2), "found": []}
    answers = [Answer(node, value) for node, value in zip(NODES, (found, other, found), strict=True)]
    silent = Answer({"NodeManagerHostname": "d", "NodeID": "d" * 8}, error="did not answer within 600 s")
    merged = ours_on_nodes._merged([*answers, silent])
    assert [(node.name, node.error) for node in merged] == [
        ("a/aaaaaa, c/cccccc", None),
        ("b/bbbbbb", None),
        ("d/dddddd", "did not answer within 600 s"),
    ]
    assert merged[0].found == (Ours("/n/cache", "files", 1, 5),)


@pytest.mark.ray
def test_this_machines_own_node(ray_session: str, session_caches: Path) -> None:
    root = session_caches / "node"
    kept = tree(root / "kept", {"of this test/model": b"m" * 10_000})
    for path in (root, kept):
        path.chmod(0o700)

    def there(nodes: list[ours_on_nodes.NodeOurs]) -> dict[str, Ours]:
        (node,) = nodes
        assert node.error is None
        return {one.path: one for one in node.found}

    before = there(ours_on_nodes.survey(kept=True))[str(kept)]
    assert before.size >= 10_000 and before.what == "outs that could not come home"
    assert str(kept) in there(ours_on_nodes.clear(kept=False))
    assert str(kept) not in there(ours_on_nodes.clear(kept=True)) and not any(kept.iterdir())
    root.chmod(0o777)
    try:
        (node,) = ours_on_nodes.survey(kept=True)
    finally:
        root.chmod(0o700)
    assert node.error is not None and f"{root} can be written to by others" in node.error

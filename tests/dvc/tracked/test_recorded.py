"""What ``.dvc`` files and ``dvc.lock`` record, in all the forms that DVC has written: as the real dvc reads it."""

from __future__ import annotations

from pathlib import Path

import dvc_repositories
import pytest
from dvc_locks import locked, ours, theirs, written
from dvc_repositories import Dvc
from trees import tree

from ray_decorator.core.errors import InputError
from ray_decorator.core.values.model import PathSlot
from ray_decorator.dvc.tracked.outputs import Outputs
from ray_decorator.dvc.tracked.recorded import recorded


def test_what_dvc_2_wrote_is_told(tmp_path: Path) -> None:
    root = dvc_repositories.init(tmp_path / "repository")
    (root / "old.dvc").write_text(f"outs:\n- md5: {'1' * 32}\n  size: 3\n  path: old\n")
    [found] = recorded(str(root / "old.dvc"))
    assert found.is_old and found.digest == "1" * 32


def test_a_spoilt_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    root = dvc_repositories.init(tmp_path / "repository")
    (root / "x.dvc").write_text("outs: [\n")
    with pytest.raises(InputError, match=r"x\.dvc: cannot be read as a file of DVC's"):
        Outputs().tracking(root / "x")


TEMPLATES = """
vars: [{dir: sub, name: net, far: other}]
stages:
  z_new: {cmd: x, outs: [m.bin]}
  less: {cmd: x, outs: [kept.bin]}
  there: {wdir: "${dir}", cmd: x, outs: [m.bin]}
  each: {foreach: [sub, deep], do: {wdir: "${item}", cmd: x, outs: [e.bin]}}
  far: {cmd: x, outs: [{"${name}.pkl": {remote: "${far}", cache: false}}]}
  grid: {matrix: {n: [1, 2]}, cmd: x, outs: [{"${item.n}.pkl": {remote: "${far}"}}]}
"""
LOCK = locked(
    a_old="m.bin=1",
    each_at_gone="e.bin=1",
    less="dropped.bin=1 kept.bin=2",
    z_new="m.bin=2",
    there="m.bin=3",
    each_at_sub="e.bin=4",
    each_at_deep="e.bin=5",
    far="net.pkl=6",
    grid_at_1="1.pkl=7",
    grid_at_2="2.pkl=8",
)


def test_a_lock_counts_by_what_its_stages_are_today(dvc: Dvc, tmp_path: Path) -> None:
    root = dvc_repositories.init(tmp_path / "repository")
    tree(root, {"sub/x": b"", "deep/x": b""})
    written(root, yaml=TEMPLATES, lock=LOCK)
    (root / ".dvc" / "config").write_text(
        "[core]\n    no_scm = True\n['remote \"other\"']\n    url = /tmp/other\n"
    )
    real = theirs(dvc, root)
    assert len(real) == 8
    assert ours(Outputs().all_of(str(root))) == real
    found = Outputs().tracking(root / "m.bin")
    assert found is not None and found.digest == "2" * 32
    assert Outputs().tracking(root / "dropped.bin") is None
    absent = PathSlot.at(("e",), "e", root / "sub" / "e.bin")
    assert Outputs().untracked([absent]) == []


def test_where_only_dvc_can_read_the_templates_what_is_written_without_them_counts(
    dvc: Dvc, tmp_path: Path
) -> None:
    root = dvc_repositories.init(tmp_path / "repository")
    (root / "params.py").write_text("x = 1\n")
    plain = """
vars: [params.py]
stages:
  a_less: {cmd: "x ${x}", outs: [other.bin]}
  z_new: {cmd: x, outs: [m.bin: {cache: false}]}
  each: {foreach: [1], do: {cmd: x, outs: ["${item}.bin"]}}
"""
    lock = locked(a_gone="m.bin=1", a_less="m.bin=2 other.bin=3", z_new="m.bin=4", each_at_1="1.bin=5")
    written(root, yaml=plain, lock=lock)
    assert ours(Outputs().all_of(str(root))) == theirs(dvc, root)


@pytest.mark.parametrize("text", ["stages: [a]", "stages: {a: x}", "- a"])
def test_a_pipeline_that_is_none_is_an_error(tmp_path: Path, text: str) -> None:
    root = dvc_repositories.init(tmp_path / "repository")
    written(root, yaml=text, lock=locked(a="m.bin=1"))
    with pytest.raises(InputError, match=r"dvc.yaml: .*orrect it"):
        Outputs().tracking(root / "zz")
    written(root, yaml="stages: {a: {cmd: x, outs: [m.bin]}}", lock="schema: '2.0'\nstages: [a]\n")
    with pytest.raises(InputError, match=r"dvc.lock: its stages are no mapping; let `dvc repro` write"):
        Outputs().tracking(root / "zz")


FORMS = {
    "v2": "md5: abcd\nwdir: ~\nouts: [{md5: MD5, path: v2.txt, cache: true}]",
    "import": "md5: abcd\nfrozen: true\ndesc: d\nmeta: {a: [1]}\n"
    "deps: [{path: x, repo: {url: 'https://example.org/r', rev: v1, rev_lock: abc}}]\n"
    "outs: [{path: imported, hash: md5, md5: MD5, size: 2, remote: other, push: false, isexec: true, desc: d, "
    "type: model, labels: [a], meta: {k: v}, persist: true}]",
    "url": "deps: [{path: 'https://example.org/x', etag: '\"abc\"', size: 3}]\n"
    "outs: [{path: never_downloaded, hash: md5}, {path: nor_this, md5: null}]",
    "versions": "outs: [{path: versions, hash: md5, files: [{relpath: ü/a, md5: MD5, size: 2, "
    "cloud: {other: {etag: abc, version_id: v}}}, {relpath: b, md5: MD5}]}]",
    "cloud": "outs: [{path: cloud, hash: md5, md5: MD5, cloud: {other: {etag: abc, version_id: v}}, cache: False}]",
}


def test_forms_of_all_versions(dvc: Dvc, tmp_path: Path) -> None:
    root = dvc_repositories.init(tmp_path / "repository")
    (root / ".dvc" / "config").write_text("[core]\nno_scm = true\n['remote \"other\"']\nurl = /tmp/other\n")
    tree(root, {f"{name}.dvc": text.replace("MD5", "a" * 32).encode() for name, text in FORMS.items()})
    found = Outputs().all_of(str(root))
    real = theirs(dvc, root)
    assert len(real) == 4 and ours(found) == real
    assert {Path(one.path).name for one in found if not one.digest} == {"never_downloaded", "nor_this"}
    assert [Path(one.path).name for one in found if one.is_old and one.digest] == ["v2.txt"]
    assert [Path(one.path).name for one in found if one.is_executable] == ["imported"]
    tree(root, {"far.dvc": f"outs: [{{path: 's3://bucket/x', md5: {'1' * 32}}}]".encode()})
    assert list(recorded(str(root / "far.dvc"))) == []

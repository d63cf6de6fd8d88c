"""What this process has imported travels, from wherever it was imported."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import pytest
from projects import (
    collected,
    importing,
    make,
    names,
    on_a_worker,
    repository,
    write,
)

from ray_decorator.project.imports import imported, loaded_by_path


def test_what_this_process_imported_travels_though_ignored(tmp_path: Path) -> None:
    root = repository(tmp_path / "app", "train.py", "src/tp_pkg/_version.py", "src/tp_pkg/_other.py")
    write(root / ".gitignore", "_*.py")
    name = "tp_pkg_version_of_this_test"
    spec = importlib.util.spec_from_file_location(name, root / "src/tp_pkg/_version.py")
    assert spec is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        project = collected(root / "train.py")
    finally:
        del sys.modules[name]
    assert names(project) == ["0/.gitignore", "0/src/tp_pkg/_version.py", "0/train.py"]


@pytest.mark.parametrize("kind", ["package", "folder of modules"])
def test_a_package_imported_from_behind_a_link_can_be_imported_there(tmp_path: Path, kind: str) -> None:
    lib = make(tmp_path / "elsewhere", "tp_real/used.py", "tp_real/late.py", "tp_real/sub/a.csv", "other.py")
    if kind == "package":
        make(lib, "tp_real/__init__.py")
    root = make(tmp_path / "app", "train.py")
    (root / "tp_linked").symlink_to(lib / "tp_real")
    with importing(root, "tp_linked.used"):
        project = collected(root / "train.py")
    assert [name for name in names(project) if not name.endswith("__init__.py")] == [
        "0/tp_linked/late.py",
        "0/tp_linked/sub/a.csv",
        "0/tp_linked/used.py",
        "0/train.py",
    ]
    assert project.roots == (root,)
    code = "import tp_linked.used, tp_linked.late; print(tp_linked.late.__name__)"
    assert on_a_worker(project, tmp_path / "there", code) == "tp_linked.late"


def test_links_below_others_and_into_the_project_itself_too(tmp_path: Path) -> None:
    lib = make(tmp_path / "elsewhere", "outer/__init__.py", "inner/__init__.py", "inner/a.py", "unused/x.py")
    (lib / "outer/tp_inner").symlink_to("../inner")
    (lib / "outer/unused").symlink_to("../unused")
    root = make(tmp_path / "app", "train.py", "src/tp_pkg/__init__.py", "src/tp_pkg/b.py")
    (root / "src/tp_pkg/tp_outer").symlink_to(lib / "outer")
    (root / "src/tp_same").symlink_to("tp_pkg")
    (tmp_path / "alias").symlink_to(root)
    with importing(tmp_path / "alias/src", "tp_pkg.tp_outer.tp_inner.a", "tp_same.b"):
        project = collected(root / "train.py", sys_path=[root, root / "src"])
    code = "import tp_pkg.tp_outer.tp_inner.a, tp_same.b; print(tp_same.b.__name__)"
    assert on_a_worker(project, tmp_path / "there", code) == "tp_same.b"
    assert not [name for name in names(project) if "unused" in name]


def test_links_that_lead_round_are_followed_once(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "train.py", "tp_a/__init__.py", "tp_b/__init__.py")
    (root / "tp_a/to_b").symlink_to("../tp_b")
    (root / "tp_b/to_a").symlink_to("../tp_a")
    (root / "tp_round").symlink_to(".")
    with importing(root, "tp_a.to_b", "tp_b.to_a", "tp_round.tp_a"):
        project = collected(root / "train.py")
    code = "import tp_a.to_b, tp_b.to_a, tp_round.tp_a; print('all')"
    assert on_a_worker(project, tmp_path / "there", code) == "all"


def test_behind_a_link_the_rules_are_the_same(tmp_path: Path) -> None:
    lib = repository(tmp_path / "lib", "tp_real/__init__.py", "tp_real/a.log", "tp_real/big/x.bin")
    make(
        lib, "tp_real/id_rsa", "tp_real/model/m.bin", "tp_real/runs/.hydra/hydra.yaml", "tp_real/_version.py"
    )
    write(lib / ".gitignore", "*.log", "/tp_real/big", "_version.py")
    root = make(tmp_path / "app", "train.py")
    (root / "tp_linked").symlink_to(lib / "tp_real")
    with importing(root, "tp_linked._version"):
        project = collected(root / "train.py", left_out=[root / "tp_linked/model"])
        assert names(project) == ["0/tp_linked/__init__.py", "0/tp_linked/_version.py", "0/train.py"]
        assert names(collected(root / "train.py", left_out=[lib / "tp_real"])) == ["0/train.py"]
        write(root / ".gitignore", "/tp_linked/")
        (lib / "tp_real/late.py").touch()
        assert names(collected(root / "train.py")) == ["0/.gitignore", *names(project)]


def test_a_link_in_the_home_directory_is_followed_as_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make(tmp_path / "home", "train.py", "Documents/diary.txt")
    monkeypatch.setenv("HOME", str(home))
    (home / "tp_linked").symlink_to(make(tmp_path / "lib", "tp_real/__init__.py", "tp_real/a.py") / "tp_real")
    (home / "tp_home").symlink_to(home)
    with importing(home, "tp_linked", "tp_home.train"):
        project = collected(home / "train.py")
    assert names(project) == ["0/tp_linked/__init__.py", "0/tp_linked/a.py", "0/train.py"]


def test_files_are_real_paths_and_links_are_those_on_the_way(tmp_path: Path) -> None:
    make(tmp_path / "lib", "tp_behind/__init__.py")
    root = make(tmp_path / "app", "tp_plain.py", "tp_left_out/__init__.py")
    (root / "tp_behind").symlink_to(tmp_path / "lib/tp_behind")
    (tmp_path / "alias").symlink_to(root)
    with importing(tmp_path / "alias", "tp_plain", "tp_behind", "tp_left_out"):
        found = imported((str(root / "tp_left_out") + "/", sys.prefix, sys.base_prefix))
    mine = {path for path in found.files if path.startswith(str(tmp_path))}
    assert mine == {str(root / "tp_plain.py"), str(tmp_path / "lib/tp_behind/__init__.py")}
    assert found.links == {str(root / "tp_behind")}


def test_a_module_that_was_loaded_by_its_path_is_known_by_its_name(tmp_path: Path) -> None:
    lib = make(tmp_path / "lib", "tp_plain.py", "tp_pack/__init__.py", "tp_pack/inner.py", "odd-name.py")
    with importing(lib, "tp_plain", "tp_pack.inner"):
        spec = importlib.util.spec_from_file_location("tp_odd", lib / "odd-name.py")
        assert spec is not None
        sys.modules["tp_odd"] = importlib.util.module_from_spec(spec)
        found = loaded_by_path(frozenset(), tuple(sys.path), len(sys.modules))
        assert {name: path for name, path in found.items() if name.startswith("tp_")} == {
            "tp_odd": str(lib / "odd-name.py")
        }
        assert loaded_by_path(frozenset({str(lib)}), tuple(sys.path), len(sys.modules)).get("tp_odd") is None

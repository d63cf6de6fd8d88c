"""Which of the user's own files travel to a cluster: real projects, with the real git where there is one."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import random
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import ray_decorator
from ray_decorator.content.hash_cache import HashCache
from ray_decorator.content.snapshot import snapshot_of
from ray_decorator.core.errors import InputError
from ray_decorator.core.progress import NoProgress, Phase
from ray_decorator.environment.installed import Local
from ray_decorator.project.collect import Project, collect, describe
from ray_decorator.store.identity import locate
from ray_decorator.store.store import open_store
from ray_decorator.store.transfer import pull, push

CHECKOUT = Path(ray_decorator.__file__).resolve().parent.parent


class Hashed:
    """A Progress that counts the files hashed."""

    def __init__(self) -> None:
        self.files = 0

    def expect(self, phase: Phase, items: int, size: int = 0) -> None:
        self.files += items if phase == "hashing" else 0

    def advance(self, phase: Phase, items: int, size: int = 0) -> None:
        return None


def make(root: Path, *names: str, **texts: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    for name, text in texts.items():
        (root / name.replace("__", "/")).write_text(text)
    return root


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def repository(root: Path, *names: str) -> Path:
    make(root, *names)
    root.mkdir(exist_ok=True)
    git(root, "init", "-q")
    return root


def collected(
    main: Path | None = None,
    cwd: Path | None = None,
    sys_path: Sequence[Path | str] | None = None,
    left_out: Collection[Path] = (),
    local: Sequence[Local] = (),
) -> Project:
    """As from the command line: the script's folder stands on sys.path."""
    assert main is None or main.is_file()
    entries = [main.parent] if sys_path is None and main else (sys_path or [])
    return collect(
        main=main,
        cwd=cwd or (main.parent if main else Path("/")),
        sys_path=[str(entry) for entry in entries],
        left_out=left_out,
        local=local,
    )


def names(project: Project) -> list[str]:
    assert list(project.files) == sorted(project.files)
    assert all(os.path.isabs(path) and os.path.isfile(path) for _, path in project.files)
    assert project.size == sum(os.path.getsize(path) for _, path in project.files)
    return [relpath for relpath, _ in project.files]


@contextlib.contextmanager
def importing(entry: Path, *modules: str) -> Iterator[None]:
    """As an app whose sys.path has ``entry`` and which has imported ``modules``."""
    before = set(sys.modules)
    sys.path.insert(0, str(entry))
    importlib.invalidate_caches()
    try:
        for module in modules:
            importlib.import_module(module)
        yield
    finally:
        sys.path.remove(str(entry))
        for module in set(sys.modules) - before:
            del sys.modules[module]


def on_a_worker(project: Project, there: Path, code: str) -> str:
    """What ``code`` prints where nothing but the project's tree is."""
    for name, path in project.files:
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, there / name)
    entries = [str(there / entry) for entry in project.sys_path]
    command = [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = {entries}\n{code}"]
    return subprocess.run(command, cwd=there, check=True, capture_output=True, text=True).stdout.strip()


def editable(source: Path, **packages: Path) -> Local:
    return Local(source.name, "1.0", True, source, (), packages)


# where the roots are


def test_src_layout_travels_with_the_marker_s_folder_and_keeps_its_import_path(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "pyproject.toml", "src/pkg/__init__.py", "scripts/train.py", "conf/a.yaml")
    make(root, "src/pkg/labels.csv")
    project = collected(
        root / "scripts/train.py", cwd=root / "conf", sys_path=[root / "scripts", root / "src"]
    )
    assert names(project) == [
        "0/conf/a.yaml",
        "0/pyproject.toml",
        "0/scripts/train.py",
        "0/src/pkg/__init__.py",
        "0/src/pkg/labels.csv",
    ]
    assert project.sys_path == ("0/scripts", "0/src")
    assert project.cwd == "0/conf"
    assert project.roots == (root,)
    assert dict(project.files)["0/conf/a.yaml"] == str(root / "conf/a.yaml")


def test_a_flat_app_without_any_marker_is_its_own_folder(tmp_path: Path) -> None:
    make(tmp_path / "work", "train.py", "model.py", "sub/data.json", "../elsewhere.py")
    project = collected(tmp_path / "work/train.py", cwd=tmp_path)
    assert names(project) == ["0/model.py", "0/sub/data.json", "0/train.py"]
    assert project.sys_path == ("0",)
    assert project.cwd is None  # it lies outside of the code


@pytest.mark.parametrize("marker", ["pyproject.toml", "setup.py", "setup.cfg", ".git"])
def test_each_marker_makes_a_project(tmp_path: Path, marker: str) -> None:
    make(tmp_path / "app", marker, "lib.py", "tools/deep/run.py")
    assert "0/lib.py" in names(collected(tmp_path / "app/tools/deep/run.py"))


def test_the_nearest_marker_counts(tmp_path: Path) -> None:
    root = repository(tmp_path / "mono", "other/big.py", "apps/one/pyproject.toml", "apps/one/run.py")
    assert names(collected(root / "apps/one/run.py")) == ["0/pyproject.toml", "0/run.py"]


def test_two_roots_in_the_order_of_sys_path(tmp_path: Path) -> None:
    make(tmp_path / "app", "train.py")
    make(tmp_path / "shared", "setup.py", "lib/tools.py")
    project = collected(tmp_path / "app/train.py", sys_path=[tmp_path / "shared/lib", tmp_path / "app"])
    assert names(project) == ["0/train.py", "1/lib/tools.py", "1/setup.py"]
    assert project.sys_path == ("1/lib", "0")
    assert project.roots == (tmp_path / "app", tmp_path / "shared")


def test_a_root_inside_another_one_is_part_of_it(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "pyproject.toml", "train.py", "vendored/setup.py", "vendored/lib.py")
    project = collected(root / "train.py", sys_path=[root / "vendored", root])
    assert names(project) == ["0/pyproject.toml", "0/train.py", "0/vendored/lib.py", "0/vendored/setup.py"]
    assert project.sys_path == ("0/vendored", "0")
    assert project.roots == (root,)


def test_what_python_imports_from_travels_from_an_ignored_folder_and_from_inside_a_venv(
    tmp_path: Path,
) -> None:
    root = repository(tmp_path / "app", "train.py", "generated/proto.py", "generated/__pycache__/a.pyc")
    make(root, "venv/pyvenv.cfg", "venv/lib/x.py", "venv/src/dist/setup.py", "venv/src/dist/dist.py")
    write(root / ".gitignore", "/generated/", "/venv/")
    source = root / "venv/src/dist"
    project = collected(
        root / "train.py", sys_path=[root, root / "generated", source], local=[editable(source)]
    )
    assert names(project) == [
        "0/.gitignore",
        "0/generated/proto.py",
        "0/train.py",
        "0/venv/src/dist/dist.py",
        "0/venv/src/dist/setup.py",
    ]
    assert project.sys_path == ("0", "0/generated", "0/venv/src/dist")


def test_editable_install_by_path(tmp_path: Path) -> None:
    make(tmp_path / "app", "train.py")
    lib = make(tmp_path / "lib", "pyproject.toml", "src/lib/__init__.py")
    project = collected(
        tmp_path / "app/train.py", sys_path=[tmp_path / "app", lib / "src"], local=[editable(lib)]
    )
    assert names(project) == ["0/train.py", "1/pyproject.toml", "1/src/lib/__init__.py"]
    assert project.sys_path == ("0", "1/src")


def test_editable_install_by_finder(tmp_path: Path) -> None:
    make(tmp_path / "app", "train.py")
    lib = make(tmp_path / "lib", "pyproject.toml", "python/core/__init__.py", "one.py")
    elsewhere = make(tmp_path / "elsewhere", "part/__init__.py", "part/a.py", "not_this.py", "single.py")
    dist = editable(
        lib,
        core=lib / "python/core",
        one=lib / "one.py",
        part=elsewhere / "part",
        single=elsewhere / "single.py",
    )
    project = collected(tmp_path / "app/train.py", local=[dist])
    assert project.packages == {
        "core": "1/python/core",
        "one": "1/one.py",
        "part": "2",
        "single": "site/single.py",
    }
    assert names(project)[1:] == [
        "1/one.py",
        "1/pyproject.toml",
        "1/python/core/__init__.py",
        "2/__init__.py",
        "2/a.py",
        "site/single.py",
    ]


def test_files_of_local_distributions_stand_last_on_the_path(tmp_path: Path) -> None:
    make(tmp_path / "app", "train.py")
    site = make(tmp_path / "site", "dist/__init__.py", "dist-1.0.dist-info/METADATA", "bin/run", "d.pyc")
    files = [(str(path.relative_to(site)), path) for path in sorted(site.rglob("*")) if path.is_file()]
    files = [("../../" + name if name.startswith("bin") else name, path) for name, path in files]
    dist = Local("dist", "1.0", False, None, (*files, ("dist/gone.py", site / "dist/gone.py")))
    project = collected(tmp_path / "app/train.py", local=[dist])
    assert names(project) == ["0/train.py", "site/dist-1.0.dist-info/METADATA", "site/dist/__init__.py"]
    assert project.sys_path == ("0", "site")


def test_a_console_script_is_nobody_s_project(tmp_path: Path) -> None:
    scripts = Path(sysconfig.get_path("scripts"))
    make(tmp_path / "lib", "lib.py")
    for main in (
        next(path for path in sorted(scripts.iterdir()) if path.is_file()),
        Path(pytest.__file__),
        Path(os.__file__),
    ):
        project = collected(
            main, cwd=tmp_path, sys_path=[tmp_path / "lib", scripts, Path(pytest.__file__).parents[1]]
        )
        assert names(project) == ["0/lib.py"]
        assert project.sys_path == ("0",)


def test_an_interactive_session_is_where_it_was_started(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "setup.cfg", "notebooks/a.ipynb", "helpers.py")
    project = collected(cwd=root / "notebooks")
    assert names(project) == ["0/helpers.py", "0/notebooks/a.ipynb", "0/setup.cfg"]
    assert project.cwd == "0/notebooks"
    assert project.sys_path == ()
    assert collected(cwd=root / "notebooks", sys_path=[CHECKOUT]) == project


def test_a_script_in_the_home_directory_brings_its_modules_and_not_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = repository(tmp_path / "home", "train.py", "helper.py", "pkg/__init__.py", "pkg/sub/a.txt")
    make(home, "Documents/diary.txt", ".ssh/id_rsa", ".netrc", ".bashrc", "labels.csv", "venv/pyvenv.cfg")
    make(home, ".aws/credentials", ".env", "pyproject.toml", "work/lib/setup.py", "work/lib/lib.py")
    write(home / ".gitignore", "*")
    (home / "film.mp4").write_bytes(bytes(1024 * 1024))
    git(home, "add", "-f", ".bashrc", "Documents/diary.txt")
    monkeypatch.setenv("HOME", str(home))
    project = collected(home / "train.py", cwd=home / "Documents", sys_path=[home, home / "work/lib"])
    assert names(project) == [
        "0/helper.py",
        "0/labels.csv",
        "0/pkg/__init__.py",
        "0/pkg/sub/a.txt",
        "0/pyproject.toml",
        "0/train.py",
        "1/lib.py",
        "1/setup.py",
    ]
    assert project.sys_path == ("0", "1")
    assert project.cwd is None


def test_a_folder_below_a_home_under_git_is_a_project_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = repository(tmp_path / "home", ".bashrc", "exp/train.py", "exp/lib.py", "other/a.py")
    write(home / ".gitignore", "*")
    monkeypatch.setenv("HOME", str(home))
    assert names(collected(home / "exp/train.py")) == ["0/lib.py", "0/train.py"]


@pytest.mark.parametrize("where", ["home's parent", "the temp directory"])
def test_neither_a_folder_above_home_nor_the_temp_directory_is_taken_whole(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = make(tmp_path / "top", "train.py", "pyproject.toml", "sub/data.txt", "pkg/__init__.py", "hers/x.py")
    monkeypatch.setenv("HOME", str(top / "me") if where == "home's parent" else str(tmp_path / "me"))
    if where == "the temp directory":
        monkeypatch.setattr(tempfile, "tempdir", str(top))
    assert names(collected(top / "train.py")) == ["0/pkg/__init__.py", "0/pyproject.toml", "0/train.py"]


def test_this_package_s_own_checkout_does_not_travel_for_being_installed(tmp_path: Path) -> None:
    make(tmp_path / "app", "train.py")
    local = [editable(CHECKOUT, ray_decorator=CHECKOUT / "ray_decorator")]
    project = collected(
        tmp_path / "app/train.py", cwd=tmp_path, sys_path=[tmp_path / "app", CHECKOUT], local=local
    )
    assert names(project) == ["0/train.py"]
    assert (project.sys_path, project.packages) == (("0",), {})


def test_this_package_s_own_checkout_travels_where_the_user_works_in_it(tmp_path: Path) -> None:
    make(tmp_path / "app", "train.py")
    project = collected(tmp_path / "app/train.py", cwd=CHECKOUT, sys_path=[tmp_path / "app", CHECKOUT])
    assert project.roots == (tmp_path / "app", CHECKOUT)
    assert "1/ray_decorator/project/collect.py" in names(project)
    assert project.cwd == "1"


# what of a root travels


def test_gitignore_at_every_level_with_negation(tmp_path: Path) -> None:
    root = repository(tmp_path / "app", "train.py", "a.log", "keep.log", "data/big.bin", "src/b.log")
    make(root, "src/notes/c.log", "src/notes/d.txt", "build/lib/e.py", "src/build/f.py", "data/README")
    write(root / ".gitignore", "*.log", "!keep.log", "/build/", "data/*", "!data/README")
    write(root / "src/.gitignore", "!b.log", "notes/*.txt")
    write(root / ".git/info/exclude", "train.pdf")
    make(root, "train.pdf")
    found = names(collected(root / "train.py"))
    assert found == [
        "0/.gitignore",
        "0/data/README",
        "0/keep.log",
        "0/src/.gitignore",
        "0/src/b.log",
        "0/src/build/f.py",
        "0/train.py",
    ]
    others = git(root, "ls-files", "--others", "--exclude-standard").splitlines()
    assert found == sorted(f"0/{name}" for name in others)


def test_gitignore_counts_without_git_and_from_above_the_root(tmp_path: Path) -> None:
    make(tmp_path / "plain", "train.py", "a.log")
    write(tmp_path / "plain/.gitignore", "*.log")
    assert names(collected(tmp_path / "plain/train.py")) == ["0/.gitignore", "0/train.py"]
    mono = repository(tmp_path / "mono", "app/pyproject.toml", "app/train.py", "app/a.log", "app/raw/x")
    write(mono / ".gitignore", "*.log", "/app/raw/")
    assert names(collected(mono / "app/train.py")) == ["0/pyproject.toml", "0/train.py"]


def test_a_project_in_an_ignored_folder_still_travels(tmp_path: Path) -> None:
    mono = repository(tmp_path / "mono", "scratch/pyproject.toml", "scratch/train.py", "scratch/a.log")
    write(mono / ".gitignore", "scratch/", "*.log")
    assert names(collected(mono / "scratch/train.py")) == ["0/pyproject.toml", "0/train.py"]


def test_in_a_linked_worktree_too(tmp_path: Path) -> None:
    root = repository(tmp_path / "app", "train.py", "forced.bin")
    write(root / ".gitignore", "*.bin")
    git(root, "add", "-f", ".")
    git(root, "commit", "-qm", "x")
    git(root, "worktree", "add", "-q", str(tmp_path / "tree"))
    write(root / ".git/info/exclude", "*.pdf")
    make(tmp_path / "tree", "a.pdf", "b.bin")
    assert names(collected(tmp_path / "tree/train.py")) == ["0/.gitignore", "0/forced.bin", "0/train.py"]


def test_what_git_tracks_travels_though_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = repository(
        tmp_path / "app", "train.py", "weights/small.bin", "weights/big.bin", "ü/ä\n.bin", ".env"
    )
    write(root / ".gitignore", "*.bin", "weights/", ".env")
    git(root, "add", "-f", "weights/small.bin", "ü/ä\n.bin", ".env")
    # as in a hook of another repository
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert names(collected(root / "train.py")) == [
        "0/.gitignore",
        "0/train.py",
        "0/weights/small.bin",
        "0/ü/ä\n.bin",
    ]


def test_what_git_tracks_but_is_deleted_does_not(tmp_path: Path) -> None:
    root = repository(tmp_path / "app", "train.py", "gone.py")
    git(root, "add", ".")
    (root / "gone.py").unlink()
    assert names(collected(root / "train.py")) == ["0/train.py"]


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


NEVER = [
    ".git/config .hg/x .svn/x .dvc/config venv/pyvenv.cfg venv/lib/a.py env/conda-meta/history env/lib/a.py",
    "__pycache__/a.py pkg/a.pyc .mypy_cache/a .ruff_cache/a .pytest_cache/a .ipynb_checkpoints/a.ipynb",
    ".tox/a .nox/a web/node_modules/a.js .env pkg/.env .env.local .env/a.py outputs/a/b multirun/a/b",
    "conf/key.pem id_rsa id_rsa.pub .aws/credentials scripts/outputs/x scripts/multirun/x",
    "id_ed25519 keys/id_ed25519.pub id_ed25519_sk id_ecdsa id_ecdsa_sk.pub id_dsa conf/.netrc .pypirc",
    ".ssh/config deep/.ssh/known_hosts .aws/config .gnupg/pubring.kbx conf/client.p12 conf/client.pfx",
]


@pytest.mark.parametrize("tracked", [False, True])
@pytest.mark.parametrize("never", NEVER)
def test_what_never_travels(tmp_path: Path, never: str, tracked: bool) -> None:
    root = make(tmp_path / "app", "pyproject.toml", "scripts/train.py")
    for name in never.split():
        if not (root / name).exists() and not any(parent.is_file() for parent in (root / name).parents):
            make(root, name)
    if tracked:
        if not (root / ".git").exists():
            git(root, "init", "-q")
            git(root, "add", "-f", ".")
        assert never != NEVER[3] or "conf/key.pem" in git(root, "ls-files")
    assert names(collected(root / "scripts/train.py")) == ["0/pyproject.toml", "0/scripts/train.py"]


def test_what_only_looks_like_it_travels(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "pyproject.toml", "train.py", "src/outputs/__init__.py", ".env.example")
    make(
        root, "outputs/__init__.py", "id_rsa_tools.py", "credentials", "src/deep/multirun/x.yaml", "data.dvc"
    )
    make(root, "id_ed25519_tools.py", "measured.key", "netrc", "ssh/config")
    assert names(collected(root / "train.py")) == [
        "0/.env.example",
        "0/credentials",
        "0/data.dvc",
        "0/id_ed25519_tools.py",
        "0/id_rsa_tools.py",
        "0/measured.key",
        "0/netrc",
        "0/outputs/__init__.py",
        "0/pyproject.toml",
        "0/src/deep/multirun/x.yaml",
        "0/src/outputs/__init__.py",
        "0/ssh/config",
        "0/train.py",
    ]


RUNS = [
    "runs/1/multirun.yaml runs/1/0/.hydra/hydra.yaml runs/1/0/model.pkl runs/1/1/crashed.log",
    "runs/named/multirun.yaml runs/named/lr=1/.hydra/hydra.yaml runs/named/lr=2/crashed.log",
    "runs/solo/.hydra/hydra.yaml runs/solo/train.log runs/solo/deep/weights.pt runs/solo/copied.py",
    "src/app/outputs/2026-01-02/03-04-05/train.log src/app/outputs/last.txt",
    "deep/multirun/2026-01-02/03-04-05/0/train.log deep/multirun/2026-01-03/.gitkeep",
]


@pytest.mark.parametrize("runs", RUNS)
def test_what_earlier_runs_have_left_does_not_travel(tmp_path: Path, runs: str) -> None:
    root = make(tmp_path / "app", "pyproject.toml", "scripts/train.py", "runs/README.md", *runs.split())
    assert names(collected(root / "scripts/train.py")) == [
        "0/pyproject.toml",
        "0/runs/README.md",
        "0/scripts/train.py",
    ]


def test_what_only_looks_like_an_earlier_run_s_travels(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "pyproject.toml", "scripts/train.py", "src/multirun/2026.py")
    make(root, "conf/mode/multirun.yaml", "conf/mode/single.yaml", "conf/1/a.yaml", "conf/.hydra/x.yaml")
    make(root, "daily/outputs/2026-01-02/table.csv", "outputs-2026/2026-01-02/03-04-05/x")
    make(root, "src/outputs/__init__.py", "src/outputs/2026-01-02/03-04-05/.hydra/hydra.yaml")
    assert names(collected(root / "scripts/train.py")) == [
        "0/conf/.hydra/x.yaml",
        "0/conf/1/a.yaml",
        "0/conf/mode/multirun.yaml",
        "0/conf/mode/single.yaml",
        "0/daily/outputs/2026-01-02/table.csv",
        "0/outputs-2026/2026-01-02/03-04-05/x",
        "0/pyproject.toml",
        "0/scripts/train.py",
        "0/src/multirun/2026.py",
        "0/src/outputs/__init__.py",
    ]


@pytest.mark.parametrize("kept_by", ["the root", "sys.path", "the working directory", "an import", "git"])
def test_code_travels_though_a_job_has_run_in_its_folder(tmp_path: Path, kept_by: str) -> None:
    """As with hydra.run.dir=. and hydra.sweep.dir=."""
    root = make(tmp_path / "app", "setup.py", "train.py", "tp_jobs/lib.py", "tp_jobs/deep/a.csv")
    make(root, "tp_jobs/multirun.yaml", "tp_jobs/.hydra/hydra.yaml", "tp_jobs/0/.hydra/hydra.yaml")
    make(root, "tp_jobs/0/model.pkl")
    inside = root / "tp_jobs"
    if kept_by == "the root":
        main = make(inside, "setup.py", "train.py") / "train.py"
        project = collected(main)
    elif kept_by == "sys.path":
        project = collected(root / "train.py", sys_path=[root, inside])
    elif kept_by == "the working directory":
        project = collected(root / "train.py", cwd=inside / "deep")
    elif kept_by == "an import":
        with importing(root, "tp_jobs.lib"):
            project = collected(root / "train.py")
    else:
        git(root, "init", "-q")
        git(root, "add", "tp_jobs/lib.py", "tp_jobs/deep")
        project = collected(root / "train.py")
    found = {os.path.relpath(path, inside) for _, path in project.files}
    assert {"lib.py", "deep/a.csv"} <= found
    assert not {"0/model.pkl", "0/.hydra/hydra.yaml"} & found


def test_a_folder_of_modules_named_outputs_that_the_app_imports_from_travels(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "train.py", "outputs/tp_writers.py", "outputs/tp_late.py")
    make(root, "outputs/2026-01-02/03-04-05/.hydra/hydra.yaml", "outputs/2026-01-02/03-04-05/train.log")
    with importing(root, "outputs.tp_writers"):
        project = collected(root / "train.py")
    assert names(project) == ["0/outputs/tp_late.py", "0/outputs/tp_writers.py", "0/train.py"]


def test_deps_and_outs_are_left_out_also_by_another_name(tmp_path: Path) -> None:
    root = make(
        tmp_path / "app", "train.py", "data/a.bin", "model/m.bin", "database/x.py", "one.csv", "runs/1/l"
    )
    (root / "also.csv").symlink_to(root / "one.csv")
    (root / "also.bin").symlink_to("data/a.bin")
    (tmp_path / "alias").symlink_to(root)
    left_out = [root / "data", tmp_path / "alias/model", root / "one.csv", root / "runs/1", root / "to come"]
    assert names(collected(root / "train.py", left_out=left_out)) == ["0/database/x.py", "0/train.py"]


def test_an_out_that_is_the_project_itself_leaves_the_code_where_it_is(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "train.py", "lib.py", "data/a")
    project = collected(root / "train.py", left_out=[root, tmp_path, root / "data"])
    assert names(project) == ["0/lib.py", "0/train.py"]


def test_links_to_files_are_read_through_and_those_to_folders_left_out(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "real.py", "lib/a.py")
    root = make(tmp_path / "app", "train.py", "pkg/a.py")
    (root / "link.py").symlink_to(tmp_path / "elsewhere/real.py")
    (root / "lib").symlink_to(tmp_path / "elsewhere/lib")
    (root / "same").symlink_to("pkg")
    (root / "round").symlink_to(".")
    project = collected(root / "train.py")
    assert names(project) == ["0/link.py", "0/pkg/a.py", "0/train.py"]
    assert Path(dict(project.files)["0/link.py"]).read_text() == "# real.py\n"


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


def test_sockets_fifos_and_dangling_links_are_passed_over(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "train.py")
    os.mkfifo(root / "fifo")
    (root / "dangling").symlink_to("nowhere")
    (root / "loop").symlink_to("loop")
    listening = socket.socket(socket.AF_UNIX)
    folder = os.open(root, os.O_RDONLY)
    try:
        listening.bind(f"/proc/self/fd/{folder}/socket" if sys.platform == "linux" else str(root / "socket"))
        assert (root / "socket").is_socket()
        assert names(collected(root / "train.py")) == ["0/train.py"]
    finally:
        os.close(folder)
        listening.close()


def as_nobody(check: Callable[[], Any]) -> None:
    """Run ``check`` in a process that permissions count for."""
    child = os.fork()
    if not child:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            check()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_file_that_cannot_be_read_is_named_with_what_to_do(tmp_path: Path) -> None:
    top = Path(tempfile.mkdtemp())  # pytest's own is closed to others
    top.chmod(0o755)

    def check() -> None:
        with pytest.raises(InputError) as caught:
            collected(root / "train.py")
        assert caught.value.problems == tuple(
            f"{path}: cannot be read, and would travel with the project's code; "
            "add it to .gitignore if it is no code, or make it readable"
            for path in (root / "closed", root / "secret.py")
        )
        write(root / ".gitignore", "secret.py", "closed/")
        assert names(collected(root / "train.py")) == ["0/.gitignore", "0/train.py"]

    try:
        root = make(top.resolve() / "app", "train.py", "secret.py", "closed/a.py")
        root.chmod(0o777)
        (root / "secret.py").chmod(0)
        (root / "closed").chmod(0)
        as_nobody(check)
    finally:
        (top / "app/closed").chmod(0o700)
        shutil.rmtree(top)


def test_names_of_any_kind(tmp_path: Path) -> None:
    odd = ["ü/日本 語.py", "a b\tc.txt", "quote'\".py", "new\nline.py", "back\\slash.py", "-dash.py"]
    root = repository(tmp_path / "app", "train.py", *odd)
    bad = os.fsdecode(b"\xff.txt")
    (root / bad).write_text("x")
    git(root, "add", ".")
    assert names(collected(root / "train.py")) == sorted(f"0/{name}" for name in ["train.py", bad, *odd])


LINES = ["a", "*", "*.py", "x.*", "/a", "b/", "a/b", "a/**", "**/x.py", "a/**/b", "[ab]", "[!a]", "?", "f*o"]
LINES += [f"!{line}" for line in LINES] + [
    "\\!c",
    "# note",
    "",
    "a b ",
    "\\#d",
    "**",
    "*/",
    "/*/",
    "**/",
    "foo/*",
]


@pytest.mark.parametrize("seed", range(15))
def test_ignores_exactly_what_git_ignores(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    root = repository(tmp_path / "app")
    for _ in range(40):
        parts = [chance.choice(["a", "b", "foo", "x.py", "x.txt", "!c", "a b", "#d"]) for _ in range(4)]
        path = root.joinpath(*parts[: chance.randint(1, 4)])
        if not path.exists() and not any(parent.is_file() for parent in path.parents):
            make(root, str(path.relative_to(root)))
    folders = [path for path in sorted(root.rglob("*")) if path.is_dir() and ".git" not in path.parts]
    for folder in [root, *chance.sample(folders, 2)]:
        write(folder / ".gitignore", *(chance.choice(LINES) for _ in range(chance.randint(1, 5))))
    listed = git(root, "ls-files", "-z", "--others", "--exclude-standard").split("\0")[:-1]
    project = collected(cwd=root)
    assert names(project) == sorted(f"0/{name}" for name in listed)


# how fast, how much


def test_ignored_data_cost_nothing_and_five_thousand_files_little(tmp_path: Path) -> None:
    root = repository(tmp_path / "app", "train.py")
    template = [f"{name}_{n}*" for n in range(20) for name in ("tmp", "cache")]
    write(root / ".gitignore", "/data/", "*.log", *template, *(f"/raw/{n}.csv" for n in range(3000)))
    for folder, count in (("pkg", 5000), ("data", 5000)):
        for n in range(count):
            if n < 50:
                (root / folder / str(n)).mkdir(parents=True)
            (root / folder / str(n % 50) / f"module_{n}.py").touch()
    taken = []
    for _ in range(3):
        started = time.process_time()
        project = collected(root / "train.py")
        taken.append(time.process_time() - started)
    assert len(project.files) == 5002
    assert min(taken) < 0.5  # CPU seconds; other processes do not count
    git(root, "add", ".")
    assert len(collected(root / "train.py").files) == 5002


def test_describe_names_the_largest(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "train.py", "sub/small.txt")
    (root / "sub/big.bin").write_bytes(bytes(5000))
    project = collected(root / "train.py")
    assert describe(project, 2) == [("sub/big.bin", 5000), ("sub/small.txt", 16)]
    make(tmp_path / "lib", "lib.py")
    two = collected(root / "train.py", sys_path=[root, tmp_path / "lib"])
    assert describe(two, 1) == [(str(root / "sub/big.bin"), 5000)]


def test_a_large_tree_is_said_with_the_cure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make(tmp_path / "app", "train.py")
    for name, size in (("film.mp4", 210_000_000), ("b.bin", 2_000_000), ("c.bin", 1_000_000)):
        with open(root / name, "wb") as file:
            file.truncate(size)
    with caplog.at_level(logging.WARNING):
        collected(root / "train.py")
    assert [record.getMessage() for record in caplog.records] == [
        "4 files of 213 MB travel to the cluster as the project's code; the largest: film.mp4 (210.0 MB), "
        "b.bin (2.0 MB), c.bin (1.0 MB). Add what is no code to .gitignore, or send none: code: none."
    ]
    caplog.clear()
    write(root / ".gitignore", "*.mp4")
    collected(root / "train.py")
    assert not caplog.records


# as content of the store


def aged(project: Project) -> None:
    """Their stamps tell a later change: the clock has ticked since."""
    time.sleep(0.15)


def test_the_second_snapshot_hashes_nothing_and_a_changed_file_changes_one_entry(
    tmp_path: Path, hashes: HashCache
) -> None:
    root = make(tmp_path / "app", "train.py", "pkg/a.py", "pkg/b.py")
    make(tmp_path / "lib", "lib.py", "nested/x.py")
    project = collected(root / "train.py", sys_path=[root, tmp_path / "lib"])
    aged(project)
    counts = []
    for _ in range(2):
        counted = Hashed()
        first = snapshot_of(project.files, hashes, counted)
        counts.append(counted.files)
    assert counts == [5, 0]
    assert [entry.relpath for entry in first.entries] == names(project)
    (root / "pkg/a.py").write_text("changed")
    counted = Hashed()
    second = snapshot_of(project.files, hashes, counted)
    assert counted.files == 1
    assert second.content.digest != first.content.digest
    differing = [a.relpath for a, b in zip(first.entries, second.entries, strict=True) if a.md5 != b.md5]
    assert differing == ["0/pkg/a.py"]


@pytest.mark.parametrize("count", [0, 1])
def test_a_selection_is_a_tree_however_small(tmp_path: Path, hashes: HashCache, count: int) -> None:
    make(tmp_path / "app", "train.py")
    files = [("0/train.py", str(tmp_path / "app/train.py"))][:count]
    taken = snapshot_of(files, hashes, NoProgress())
    assert taken.content.is_tree and taken.manifest is not None
    assert taken.content.files == count


def test_the_tree_comes_out_of_a_store_as_it_went_in(tmp_path: Path, hashes: HashCache) -> None:
    root = make(tmp_path / "app", "train.py", "run.sh", "ü/日本 語.txt")
    (root / "run.sh").chmod(0o755)
    (root / "pkg").mkdir()
    (root / "pkg/empty.py").touch()
    (root / "link.py").symlink_to("train.py")
    make(tmp_path / "lib", "lib.py")
    project = collected(root / "train.py", sys_path=[root, tmp_path / "lib"])
    taken = snapshot_of(project.files, hashes, NoProgress())
    assert taken.content.executables == ("0/run.sh",)
    assert taken.content.size == project.size
    store = open_store(locate((tmp_path / "store").as_uri()))
    assert push(taken, store, hashes, NoProgress()) > 0
    assert push(taken, store, hashes, NoProgress()) == 0
    pull(taken.content, tmp_path / "there", store, None, NoProgress())
    there = tmp_path / "there"
    found = {str(path.relative_to(there)): path for path in there.rglob("*") if path.is_file()}
    assert {name: path.read_bytes() for name, path in found.items()} == {
        name: Path(path).read_bytes() for name, path in project.files
    }
    assert os.access(found["0/run.sh"], os.X_OK) and not found["0/train.py"].stat().st_mode & 0o111


def test_files_that_vanish_or_are_none_any_more_are_all_named(tmp_path: Path, hashes: HashCache) -> None:
    root = make(tmp_path / "app", "train.py", "gone.py", "other.py")
    project = collected(root / "train.py")
    (root / "gone.py").unlink()
    (root / "other.py").unlink()
    (root / "other.py").mkdir()
    with pytest.raises(InputError) as caught:
        snapshot_of(project.files, hashes, NoProgress())
    assert caught.value.problems == tuple(
        f"{root / name}: changed while it was being read; run again when nothing writes to it"
        for name in ("gone.py", "other.py")
    )

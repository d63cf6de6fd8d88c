"""Which files of a project are its code, whatever git says of them."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

import pytest
from projects import (
    as_nobody,
    collected,
    editable,
    git,
    importing,
    make,
    names,
    repository,
    write,
)

from ray_decorator.core.errors import InputError
from ray_decorator.project.files.limits import Limits
from ray_decorator.project.files.walk import Walk
from ray_decorator.project.imports import Imported

NEVER = [
    ".git/config .hg/x .svn/x .dvc/config venv/pyvenv.cfg venv/lib/a.py env/conda-meta/history env/lib/a.py",
    "__pycache__/a.py pkg/a.pyc .mypy_cache/a .ruff_cache/a .pytest_cache/a .ipynb_checkpoints/a.ipynb",
    ".tox/a .nox/a web/node_modules/a.js outputs/a/b multirun/a/b scripts/outputs/x scripts/multirun/x",
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
        assert never != NEVER[2] or "scripts/outputs/x" in git(root, "ls-files")
    assert names(collected(root / "scripts/train.py")) == ["0/pyproject.toml", "0/scripts/train.py"]


def test_what_only_looks_like_it_travels(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "pyproject.toml", "train.py", "src/outputs/__init__.py", ".env.example")
    make(
        root, "outputs/__init__.py", "id_rsa_tools.py", "credentials", "src/deep/multirun/x.yaml", "data.dvc"
    )
    make(root, "id_ed25519_tools.py", "measured.keys", "netrc", "ssh/config")
    assert names(collected(root / "train.py")) == [
        "0/.env.example",
        "0/credentials",
        "0/data.dvc",
        "0/id_ed25519_tools.py",
        "0/id_rsa_tools.py",
        "0/measured.keys",
        "0/netrc",
        "0/outputs/__init__.py",
        "0/pyproject.toml",
        "0/src/deep/multirun/x.yaml",
        "0/src/outputs/__init__.py",
        "0/ssh/config",
        "0/train.py",
    ]


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


def test_ignored_data_cost_nothing_and_two_thousand_files_little(tmp_path: Path) -> None:
    root = repository(tmp_path / "app", "train.py")
    template = [f"{name}_{n}*" for n in range(20) for name in ("tmp", "cache")]
    write(root / ".gitignore", "/data/", "*.log", *template, *(f"/raw/{n}.csv" for n in range(3000)))
    for folder, count in (("pkg", 2000), ("data", 2000)):
        for n in range(count):
            if n < 50:
                (root / folder / str(n)).mkdir(parents=True)
            (root / folder / str(n % 50) / f"module_{n}.py").touch()
    taken = []
    for _ in range(3):
        started = time.process_time()
        project = collected(root / "train.py")
        taken.append(time.process_time() - started)
    assert len(project.files) == 2002
    assert min(taken) < 0.2  # CPU seconds; other processes do not count
    git(root, "add", ".")
    assert len(collected(root / "train.py").files) == 2002


def test_a_walk_gathers_sizes_and_all_problems(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "a.py", "b/c.py", "left/d.py", "closed/e.py", "b/key.pem")
    limits = Limits(
        left_out=frozenset({str(root / "left")}),
        closed=frozenset({str(root / "closed")}),
        never_whole=frozenset({"/"}),
        in_use=frozenset(),
    )
    problems: list[str] = []
    walk = Walk(str(root), limits, problems)
    walk.whole(Imported(frozenset({str(root / "closed/e.py")}), frozenset()), [])
    assert walk.files == {str(root / "a.py"): 7, str(root / "b/c.py"): 9}
    assert problems == []


@pytest.mark.parametrize("with_git", [True, False])
def test_a_folder_that_cannot_be_read_is_named_at_any_depth(with_git: bool) -> None:
    top = Path(tempfile.mkdtemp())  # pytest's own is closed to others
    top.chmod(0o777)

    def check() -> None:
        os.environ["HOME"] = str(top)
        root = make(top.resolve() / "app", "train.py", "a/b/closed/x.py", "ignored/c.py", "a/id.pem/x")
        if with_git:
            repository(root)
        write(root / ".gitignore", "ignored/")
        for name in ("a/b/closed", "ignored", "a/id.pem"):
            (root / name).chmod(0)
        with pytest.raises(InputError) as caught:
            collected(root / "train.py", left_out=[root / "a/id.pem"])
        assert [problem.partition(":")[0] for problem in caught.value.problems] == [str(root / "a/b/closed")]

    try:
        as_nobody(check)
    finally:
        for name in ("a/b/closed", "ignored", "a/id.pem"):
            (top / "app" / name).chmod(0o700)
        shutil.rmtree(top)


EARLIER = ["models/a.pkl", "models/b", "runs/bare"]


@pytest.mark.parametrize("with_git", [False, True])
def test_what_earlier_runs_wrote_stays_and_is_named(tmp_path: Path, with_git: bool) -> None:
    root = make(
        tmp_path / "app", "pyproject.toml", "train.py", "models/__init__.py", "models/a.pkl", "models/b/c"
    )
    make(
        root,
        "runs/bare/train.log",
        "runs/bare/failed/model.path/m",
        "models/a.pkl.ray_s3",
        "models/b.failed/x",
    )
    make(root, "models/a.pkl.ray_s3-2", "models/a.pkl.txt", "models/bb/c")
    (root / "latest.pkl").symlink_to("models/a.pkl")
    if with_git:
        git(root, "init", "-q")
    earlier = [root / name for name in (*EARLIER, "gone")]
    project = collected(root / "train.py", earlier=earlier)
    assert names(project) == [
        "0/models/__init__.py",
        "0/models/a.pkl.txt",
        "0/models/bb/c",
        "0/pyproject.toml",
        "0/train.py",
    ]
    beside = ["models/a.pkl.ray_s3", "models/a.pkl.ray_s3-2", "models/b.failed", "latest.pkl"]
    assert [os.path.relpath(path, root) for path in project.earlier] == sorted([*EARLIER, *beside])
    again = collected(root / "train.py", earlier=earlier, include=["/models/b/", "/latest.pkl"])
    assert {"0/models/b/c", "0/latest.pkl"} < set(names(again))


def test_what_git_tracks_or_the_app_uses_is_code_though_an_earlier_run_wrote_it(tmp_path: Path) -> None:
    root = repository(
        tmp_path / "app", "train.py", "tracked.json", "all/tracked.json", "all/other", "lib/m.py"
    )
    make(root, "tw_made/__init__.py", "tw_made/b.py")
    git(root, "add", "tracked.json", "all/tracked.json")
    earlier = [root, root / "tracked.json", root / "all", root / "lib", root / "tw_made"]
    with importing(root, "tw_made"):
        project = collected(root / "train.py", sys_path=[root, root / "lib"], earlier=earlier)
    assert names(project) == [
        "0/all/tracked.json",
        "0/lib/m.py",
        "0/tracked.json",
        "0/train.py",
        "0/tw_made/__init__.py",
        "0/tw_made/b.py",
    ]
    assert project.earlier == (str(root / "all"),)

"""A module that a worker does not find, and that is at home: why, and what sends it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from projects import collected, editable, git, make, repository, write

from ray_decorator.project.at_home import explain, explain_packages
from ray_decorator.project.collect import Project


def no_module(name: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"No module named {name!r}", name=name)


def notes(
    error: BaseException, project: Project | None, *entries: Path, left_out: tuple[Path, ...] = ()
) -> list[str]:
    explain(error, project, [str(entry) for entry in entries], left_out)
    return getattr(error, "__notes__", [])


@pytest.mark.parametrize("with_git", [False, True])
@pytest.mark.parametrize(
    ("module", "file", "line"),
    [
        ("gen", "gen.py", "/gen.py"),
        ("pkg.gen", "pkg/gen.py", "/pkg/gen.py"),
        ("made", "made/__init__.py", "/made/"),
        ("made.part", "made/part.py", "/made/part.py"),
        ("space", "space/deep/a.py", "/space/"),
        ("pkg.fast", "pkg/fast.cpython-311-x86_64-linux-gnu.so", "/pkg/fast.cpython-311-x86_64-linux-gnu.so"),
    ],
)
def test_what_gitignore_names(tmp_path: Path, module: str, file: str, line: str, with_git: bool) -> None:
    root = make(tmp_path / "app", "pyproject.toml", "train.py", "pkg/__init__.py", "made/__init__.py", file)
    write(root / ".gitignore", "*.log", "gen.py", "made/", "space", "*.so")
    if with_git:
        git(root, "init", "-q")
    project = collected(root / "train.py")
    [note] = notes(no_module(module), project, root)
    at = root / (file if module != "space" else "space")
    ignored_by = {"gen": "gen.py", "pkg.gen": "gen.py", "space": "space", "pkg.fast": "*.so"}.get(
        module, "made/"
    )
    number = f":{['', '*.log', 'gen.py', 'made/', 'space', '*.so'].index(ignored_by)}" if with_git else ""
    assert note == (
        f"Module {module!r} is at home, and did not travel: {at} ({root}/.gitignore{number} {ignored_by!r} "
        f"ignores it). Send it with code_include: [{line!r}]"
    )
    assert str(at) not in [path for _, path in project.files]
    again = collected(root / "train.py", include=[line])
    assert notes(no_module(module), again, root) == []


def test_what_a_link_to_a_folder_leads_to(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "pyproject.toml", "train.py", "libs/pkg/__init__.py", "libs/pkg/part.py")
    (root / "alias").symlink_to("libs/pkg")
    (tmp_path / "linked").symlink_to("app")
    for with_git in (False, True):
        if with_git:
            repository(root)
        project = collected(root / "train.py")
        for entry in (root, tmp_path / "linked"):
            [note] = notes(no_module("alias"), project, entry)
            assert note == (
                f"Module 'alias' is at home, and did not travel: {root}/alias/__init__.py (a link to a folder leads "
                "there). Send it with code_include: ['/alias/']"
            )
            assert notes(no_module("libs.pkg.part"), project, entry) == []
        again = collected(root / "train.py", include=["/alias/"])
        assert notes(no_module("alias"), again, root) == []


def test_a_secret_a_dep_and_what_is_nobodys(tmp_path: Path) -> None:
    root = make(
        tmp_path / "app", "pyproject.toml", "train.py", ".aws/logins.py", "data/reader.py", "venv/tool.py"
    )
    make(root, "venv/pyvenv.cfg")
    project = collected(root / "train.py", left_out=[root / "data"])
    start = "is at home, and did not travel:"
    assert notes(no_module("logins"), project, root / ".aws") == [
        f"Module 'logins' {start} {root}/.aws/logins.py (its name is one that secrets have). "
        "Send it with code_include: ['/.aws/logins.py']"
    ]
    assert notes(no_module("data.reader"), project, root, left_out=(root / "data",)) == [
        f"Module 'data.reader' {start} {root}/data/reader.py is, or is in, a dep or an out of a job. "
        "Move it out of there"
    ]
    assert notes(no_module("venv.tool"), project, root) == [
        f"Module 'venv.tool' {start} {root}/venv/tool.py (it is none of the project's code). "
        "Send it with code_include: ['/venv/tool.py']"
    ]
    assert notes(no_module("train"), None, root) == [
        f"Module 'train' {start} {root}/train.py. No code travels with code: none"
    ]


def test_what_an_earlier_run_wrote(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "pyproject.toml", "train.py", "made/rules.py", "made/data.csv")
    project = collected(root / "train.py", earlier=[root / "made"])
    for module, path, line in (("made.rules", "made/rules.py", "/made/rules.py"), ("made", "made", "/made/")):
        assert notes(no_module(module), project, root) == [
            f"Module {module!r} is at home, and did not travel: {root}/{path} (an earlier run wrote it there). "
            f"Send it with code_include: [{line!r}]"
        ]


def test_a_module_that_travelled_or_that_there_is_not_needs_no_word(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "train.py", "pkg/a.py", "data/table.csv")
    project = collected(root / "train.py")
    for name in ("train", "pkg", "pkg.a", "data", "numpy_of_another_kind", ""):
        assert notes(no_module(name), project, root) == []
    assert notes(ValueError("no import"), project, root) == []


def test_whatever_the_import_has_made_of_it(tmp_path: Path) -> None:
    root = repository(tmp_path / "app", "train.py", "pkg/__init__.py", "pkg/gen.py")
    write(root / ".gitignore", "gen.py")
    project = collected(root / "train.py")
    from_package = ImportError(f"cannot import name 'gen' from 'pkg' ({root}/pkg/__init__.py)", name="pkg")
    caused = RuntimeError("Error locating target 'pkg.gen.Model'")
    caused.__cause__ = ImportError("Error loading 'pkg.gen.Model'")
    caused.__cause__.__context__ = no_module("pkg.gen")
    group = ExceptionGroup("two", [ValueError("x"), no_module("pkg.gen")])
    for error in (from_package, caused, group):
        [note] = notes(error, project, root)
        assert note.startswith("Module 'pkg.gen' is at home") and "['/pkg/gen.py']" in note
    caused.__cause__.__cause__ = caused  # goes round
    assert len(notes(caused, project, root)) == 2


@dataclass(frozen=True)
class Frozen(Exception):
    code: int


def test_an_error_that_takes_no_attributes_takes_the_note(tmp_path: Path) -> None:
    root = make(tmp_path / "app", "pyproject.toml", "train.py", ".aws/logins.py")
    error = Frozen(3)
    object.__setattr__(error, "__cause__", no_module("logins"))
    [note] = notes(error, collected(root / "train.py"), root / ".aws")
    assert note.startswith("Module 'logins' is at home") and error == Frozen(3)


def test_of_an_editable_install(tmp_path: Path) -> None:
    make(tmp_path / "app", "train.py")
    lib = repository(tmp_path / "lib", "pyproject.toml", "python/core/__init__.py", "python/core/version.py")
    write(lib / ".gitignore", "version.py")
    project = collected(tmp_path / "app/train.py", local=[editable(lib, core=lib / "python/core")])
    [note] = notes(no_module("core.version"), project, tmp_path / "app")
    assert f"{lib}/.gitignore:1 'version.py' ignores it" in note and "['/python/core/version.py']" in note


def test_a_package_that_jobs_are_not_given() -> None:
    error = RuntimeError("it failed")
    error.__cause__ = no_module("omegaconf.gone")
    explain_packages(error, {"omegaconf", "other"}, "packages says so")
    assert error.__notes__ == [
        "Package 'omegaconf', which has the module 'omegaconf', is at home, and jobs are not given it: packages says "
        "so. List it in pyproject.toml's dependencies, or set packages to a mapping that does not leave it out, such "
        "as {exclude: []}"
    ]
    explain_packages(error, {"other"}, "")
    explain_packages(no_module("not_there_at_all"), {"other"}, "")
    assert len(error.__notes__) == 1


def test_a_module_that_was_made_by_hand_hides_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stubbed", ModuleType("stubbed"))
    error = no_module("stubbed.part")
    explain_packages(error, {"other"}, "")
    assert not hasattr(error, "__notes__")

"""What jobs need on other machines: the project's code, and the driver's packages, as the settings say."""

from __future__ import annotations

import logging
import sys
import types
from dataclasses import replace
from pathlib import Path

import dvc_repositories
import pytest
from dvc_repositories import Dvc
from projects import git, importing
from trees import QUIET, read, tree

from ray_decorator.core.errors import InputError
from ray_decorator.core.options.settings import Settings
from ray_decorator.core.paths import Folder
from ray_decorator.core.progress import NoProgress
from ray_decorator.core.values.bundles import Bundle
from ray_decorator.environment.installed import installed_distributions
from ray_decorator.run.data.bundle import Bundler, collected, needed_packages
from ray_decorator.run.data.staging import Staging

SETTINGS = Settings("auto", "", False)
WITHOUT_PACKAGES = replace(SETTINGS, packages="none")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As in a driver whose script is app/train.py, started there."""
    root = tree(
        tmp_path / "app",
        {"pyproject.toml": b"[project]\nname='p'\n", "train.py": b"x = 1\n", "out/m": b"model"},
    )
    main = types.ModuleType("__main__")
    main.__file__ = str(root / "train.py")
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(
        sys, "path", [str(root), *(e for e in sys.path if "site-packages" in e or "lib/python" in e)]
    )
    monkeypatch.chdir(root)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return root


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging((tmp_path / "store").as_uri(), "driver")


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage() for record in caplog.records if record.name == "ray_decorator.run.data.bundle"
    ]


def test_code_goes_to_the_store_once_without_what_is_left_out(
    project: Path, staging: Staging, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundler = Bundler(WITHOUT_PACKAGES, staging)
    with caplog.at_level(logging.INFO, "ray_decorator.run.data.bundle"):
        bundle = bundler.make([project / "out"], QUIET)
        assert bundler.make([project / "out"], QUIET) == bundle
    assert bundle.requirements is None and bundle.code is not None
    assert (bundle.code.cwd, bundle.code.content.is_tree) == (bundle.code.sys_path[0], True)
    assert bundle.code.roots == (Folder(str(project), True),) and bundle.start == Folder(str(project), True)
    assert bundle.code.main is not None and bundle.code.main.endswith("train.py")
    staging.pull_all([(bundle.code.content, tmp_path / "there")], NoProgress())
    place = tmp_path / "there" / (bundle.code.cwd or "")
    assert set(read(place)) == {"pyproject.toml", "train.py"}
    said = told(caplog)
    assert len(said) == 1 and said[0].startswith("The project's code goes along: ")


@pytest.mark.parametrize(("name", "times"), [("run.log", 2), ("run.log", 9), ("train.py", 9)])
def test_what_is_written_meanwhile_is_read_again_and_a_log_that_grows_on_stays_here(
    project: Path, staging: Staging, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, times: int
) -> None:
    class Writing(NoProgress):
        """Writes to the file before its bytes are read."""

        left = times

        def expect(self, step: str, files: int, size: int) -> None:
            if self.left and step == "hashing":
                self.left -= 1
                with open(project / name, "a") as file:
                    file.write("# more\n")

    (project / name).touch()
    bundler = Bundler(WITHOUT_PACKAGES, staging)
    if name == "train.py":
        with pytest.raises(InputError, match=r"train\.py: changed while it was being read"):
            bundler.make([project / "out"], Writing())
        return
    code = bundler.make([project / "out"], Writing()).code
    assert code is not None and code.cwd is not None
    staging.pull_all([(code.content, tmp_path / "there")], NoProgress())
    sent = read(tmp_path / "there" / code.cwd)
    grows_on = (
        f"Not sent with the project's code, since something writes to it all the time: {project / name}"
    )
    assert (sent.get(name), told(caplog)) == ((None, [grows_on]) if times > 3 else (b"# more\n" * times, []))
    assert {"pyproject.toml", "train.py"} <= set(sent)


@pytest.mark.parametrize("names, files", [([".env"], "1 file"), (["a.pem", ".aws/config"], "2 files")])
def test_how_many_files_are_kept_back_as_secrets_is_said_once(
    project: Path, staging: Staging, caplog: pytest.LogCaptureFixture, names: list[str], files: str
) -> None:
    tree(project, dict.fromkeys(names, b"secret"))
    bundler = Bundler(WITHOUT_PACKAGES, staging)
    with caplog.at_level(logging.INFO, "ray_decorator.run.data.bundle"):
        for number in range(3):
            (project / "train.py").write_text(f"x = {number}\n")
            bundler.make([], QUIET)
    assert [said for said in told(caplog) if "goes along" not in said] == [
        f"Kept back from the project's code, as secrets: {files}; `ray-s3 doctor` names them, and code_include "
        "sends those that are none"
    ]


def test_code_include_sends_what_is_ignored_and_says_once_what_it_does_not_find(
    project: Path, staging: Staging, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree(project, {".gitignore": b"gen/\n", "gen/a.py": b"a = 1\n", ".env": b"A=1\n"})
    settings = replace(WITHOUT_PACKAGES, code_include=("/gen/", "/gne/", ".env"))
    bundler = Bundler(settings, staging)
    for _ in range(2):
        bundle = bundler.make([project / "out"], QUIET)
    assert bundle.code is not None
    staging.pull_all([(bundle.code.content, tmp_path / "there")], NoProgress())
    place = tmp_path / "there" / (bundle.code.cwd or "")
    assert {"gen/a.py", ".env", "train.py"} < set(read(place))
    assert told(caplog) == [
        f"code_include: '/gne/' matches no file below {project}; write it as in a .gitignore there"
    ]


def test_a_project_in_a_dvc_repository_has_its_place_there_and_dvc_knows_all_that_it_knows_at_home(
    dvc: Dvc, project: Path, staging: Staging, tmp_path: Path
) -> None:
    texts = {
        "dvc.yaml": "vars: [more.yaml]\nstages:\n"
        "  train: {cmd: python train.py, wdir: app, params: [lr, {../x.toml: [a]}]}\n",
        "other/dvc.yaml": "params: [own.json]\nstages: {a: {cmd: 'true', params: [p]}}",
        "params.yaml": "q: 1\n",
        "app/params.yaml": "lr: 0.5\n",
        "other/params.yaml": "p: 2\n",
        "other/own.json": '{"o": 3}',
        "more.yaml": "m: 4\n",
        "x.toml": "a = 5\nb = 6\n",
        "data.dvc": f"outs: [{{path: data, hash: md5, md5: '{'0' * 32}.dir'}}]\n",
        ".dvcignore": "/cache\n/store\n/there\n/ignored\n",
        "ignored/dvc.yaml": "params: [none.yaml]",
    }
    dvc_repositories.init(tmp_path)
    tree(
        tmp_path,
        {name: text.encode() for name, text in texts.items()} | {"other/big.py": b"", "data/x": b"1"},
    )
    bundle = Bundler(WITHOUT_PACKAGES, staging).make([project / "out"], QUIET)
    assert bundle.code is not None
    assert (bundle.code.cwd, bundle.code.main, bundle.code.sys_path) == (
        "0/app",
        "0/app/train.py",
        ("0/app",),
    )
    assert bundle.code.roots == (Folder(str(tmp_path), True),)
    staging.pull_all([(bundle.code.content, tmp_path / "there")], NoProgress())
    wanted = texts.keys() - {"ignored/dvc.yaml"} | {"app/train.py", "app/pyproject.toml", ".dvc/config"}
    assert set(read(tmp_path / "there" / "0")) == wanted
    ask = "import dvc.api; print(dvc.api.params_show(), dvc.api.read('train.py'))"
    at_home, far = dvc.answers(project, ask), dvc.answers(tmp_path / "there" / "0" / "app", ask)
    assert "'lr': 0.5" in at_home and "'p': 2" in at_home and far == at_home


def test_data_that_dvc_tracks_is_no_code_where_there_is_no_git(
    project: Path, staging: Staging, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With git, it is in a .gitignore."""
    md5, outs = "1" * 32, ""
    for name in ("data/raw", "single.bin"):
        (project / "data").mkdir(exist_ok=True)
        (project / f"{name}.dvc").write_text(
            f"outs:\n- {{path: {Path(name).name}, hash: md5, md5: '{md5}'}}\n"
        )
    for name in ("cached", "m.json"):
        outs += f"    - {{path: {name}, hash: md5, md5: '{md5}'}}\n"
    (project / "dvc.yaml").write_text(
        "stages: {e: {cmd: x, outs: [cached], metrics: [m.json: {cache: false}]}}"
    )
    (project / "dvc.lock").write_text(f"schema: '2.0'\nstages:\n  e:\n    cmd: x\n    outs:\n{outs}")
    tree(project, {"data/raw/a": b"1", "data/notes.md": b"n", "single.bin": b"2", "params.yaml": b"lr: 1\n"})
    tree(project, {"cached": b"3", "m.json": b"{}", ".dvc/config": b""})
    bundle = Bundler(WITHOUT_PACKAGES, staging).make([project / "out"], QUIET)
    assert bundle.code is not None
    staging.pull_all([(bundle.code.content, tmp_path / "there")], NoProgress())
    there = set(read(tmp_path / "there" / "0"))
    assert there == {
        ".dvc/config", "train.py", "data/notes.md", "data/raw.dvc", "dvc.lock", "dvc.yaml", "m.json",
        "params.yaml", "pyproject.toml", "single.bin.dvc",
    }  # fmt: skip
    assert told(caplog) == []
    looked = collected(WITHOUT_PACKAGES, None, [str(project)], [], [], installed_distributions(), quiet=True)
    assert not {"0/data/raw/a", "0/single.bin", "0/cached"}.intersection(name for name, _ in looked.files)


@pytest.mark.parametrize("with_git", [True, False])
def test_what_dvcignore_names_stays_at_home_unless_git_tracks_it(
    project: Path, staging: Staging, tmp_path: Path, caplog: pytest.LogCaptureFixture, with_git: bool
) -> None:
    tree(project, {".dvcignore": b"train.py\n*.env\n/helpers/\n/raw/\n", ".dvc/config": b"", "a.env": b"1"})
    tree(project, {"helpers/tb_new.py": b"", "helpers/tb_old.py": b"", "raw/rows.csv": b"1", "new.py": b""})
    (project / "linked.csv").symlink_to("raw/rows.csv")
    if with_git:
        git(project, "init", "-q")
        git(project, "add", "helpers/tb_old.py")
    bundler = Bundler(WITHOUT_PACKAGES, staging)
    with importing(project / "helpers", "tb_new", "tb_old"):
        bundle = bundler.make([project / "out"], QUIET)
        bundler.make([project / "out"], QUIET)
    assert bundle.code is not None
    staging.pull_all([(bundle.code.content, tmp_path / "there")], NoProgress())
    there = set(read(tmp_path / "there" / (bundle.code.cwd or "")))
    tracked = {"helpers/tb_old.py"} if with_git else set()
    assert there == {".dvc/config", ".dvcignore", "new.py", "pyproject.toml", "train.py"} | tracked
    missed = "helpers/tb_new.py" if with_git else "helpers/tb_new.py, helpers/tb_old.py"
    assert told(caplog) == [
        f"Imported here, but not sent with the project's code: {missed}. A .dvcignore names them, or DVC tracks "
        "them, and git does not. A job that imports them needs `git add`, or code_include: ['/…'] with their paths"
    ]
    error = ModuleNotFoundError("No module named 'helpers.tb_new'", name="helpers.tb_new")
    bundler.explain(error)
    assert error.__notes__ == [
        f"Module 'helpers.tb_new' is at home, and did not travel: {project}/helpers/tb_new.py "
        f"({project}/.dvcignore:3: /helpers/ ignores it). Send it with code_include: ['/helpers/tb_new.py']"
    ]
    with importing(project / "helpers", "tb_new"):  # what a job here reads makes it another job
        looked = collected(
            WITHOUT_PACKAGES, None, [str(project)], [], [], installed_distributions(), quiet=True
        )
    assert str(project / "helpers/tb_new.py") in dict(looked.files).values()
    sent = Bundler(replace(WITHOUT_PACKAGES, code_include=("/helpers/", "/linked.csv")), staging)
    bundle = sent.make([project / "out"], QUIET)
    assert bundle.code is not None
    staging.pull_all([(bundle.code.content, tmp_path / "included")], NoProgress())
    included = set(read(tmp_path / "included" / (bundle.code.cwd or "")))
    assert {
        "helpers/tb_new.py",
        "helpers/tb_old.py",
        "linked.csv",
    } < included and "raw/rows.csv" not in included


def test_what_we_keep_in_the_project_is_none_of_its_code(
    project: Path, staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(
        project,
        {
            ".cache/ray_s3/hashes.sqlite": b"of CI, which keeps caches in the project",
            ".cache/ray_s3.py": b"y = 1\n",
            "nodes/cache/files/md5/ab/c": b"of a node",
            "a store/files/md5/ab/c": b"a dep",
        },
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(project / ".cache"))
    monkeypatch.setenv("RAY_S3_NODE_DIR", str(project / "nodes"))
    settings = replace(WITHOUT_PACKAGES, store_url=(project / "a store").as_uri())
    found = collected(settings, None, [], [project / "out"], (), installed_distributions(), quiet=True)
    assert [Path(path).relative_to(project).as_posix() for _, path in found.files] == [
        ".cache/ray_s3.py",
        "pyproject.toml",
        "train.py",
    ]


def test_nothing_travels_where_the_settings_say_so(project: Path, staging: Staging, tmp_path: Path) -> None:
    assert Bundler(replace(WITHOUT_PACKAGES, code="none"), staging).make([], QUIET) == Bundle(
        None, None, Folder(str(project), True)
    )
    assert not (tmp_path / "store").exists()


def test_packages_are_the_drivers() -> None:
    needed = needed_packages(SETTINGS, None)
    assert needed is not None
    assert needed.requirements.python == sys.version_info[:2]
    assert {"cloudpickle", "obstore"} <= set(needed.requirements.pins)
    assert needed_packages(replace(SETTINGS, packages="none"), None) is None

"""A node's Python and the driver's packages: real uv, real environments, a small index on 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from package_index import REPOSITORY, Index, Node, answer, asking, make_venv, make_wheel, serve

from ray_decorator.environment import build
from ray_decorator.environment.inventory import platform_name

pytestmark = pytest.mark.app

_HERE = [sys.version_info[0], sys.version_info[1]]


def wanted(index: Index, **pins: str) -> dict[str, Any]:
    return {
        "python": tuple(_HERE),
        "platform": platform_name(),
        "pins": pins,
        "indexes": {"UV_DEFAULT_INDEX": index.url},
    }


def prebuilt(node: Node, wanted: Mapping[str, Any]) -> int:
    """How many packages the environment has that was built there for them."""
    code = f"""
from pathlib import Path
print(json.dumps(build.prebuilt_packages(Requirements(**{dict(wanted)!r}), Path({str(node.root)!r}))))
"""
    found: int = node.ask(code)
    return found


def listing(directory: Path) -> list[str]:
    return sorted(str(path) for path in directory.rglob("*") if "__pycache__" not in path.parts)


def imported(python: str, name: str) -> list[str]:
    """The version by its module, the version by its metadata, and where it comes from."""
    code = (
        f"import {name}, importlib.metadata as m; print({name}.version, m.version('{name}'), {name}.__file__)"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, env={})
    return done.stdout.split()


def test_what_the_node_has_in_that_version_needs_no_environment(node: Node, index: Index) -> None:
    node.uv = False
    found = node.interpreter(wanted(index, alpha="1.0.0", beta="1.0"))
    assert (found.python, found.stderr) == (str(node.python), "")
    assert not node.root.exists()


def test_packages_none_takes_the_nodes_python_if_it_has_what_every_job_needs(
    node: Node, tmp_path: Path
) -> None:
    bare = node.interpreter(None)
    assert bare.error == (
        f"The cluster's Python on {os.uname().nodename} ({node.python}) lacks what this project itself needs "
        "there: cloudpickle, obstore, omegaconf (for every job), hydra-core (for Hydra jobs), pathspec (for "
        "decorated functions), boto3 (for credentials: worker). With `packages: none` nothing is installed: "
        "run `pip install cloudpickle obstore omegaconf hydra-core pathspec boto3` in the cluster's own "
        "environment, or set `packages: auto`."
    )
    needed = [make_wheel(tmp_path / "ours", name, "1.0") for name in ("cloudpickle", "obstore", "omegaconf")]
    node.python = make_venv(tmp_path / "enough", *needed[:2])
    assert "needs there: omegaconf (for every job), hydra-core" in node.interpreter(None).error
    # a PYTHONPATH or a runtime_env may bring them without any metadata
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "omegaconf.py").write_text("")
    library = f"{REPOSITORY}{os.pathsep}{tmp_path / 'lib'}"
    assert node.interpreter(None, PYTHONPATH=library).python == str(node.python)
    node.python = make_venv(tmp_path / "all", *needed)
    found = node.interpreter(None)
    assert (found.python, found.error, found.stderr) == (str(node.python), "", "")
    assert not node.root.exists()


def test_an_environment_lies_over_the_clusters_own_and_leaves_it_as_it_is(node: Node, index: Index) -> None:
    before = listing(node.python.parents[1])
    found = node.interpreter(wanted(index, alpha="2.0", beta="1.0", gamma="1.0"))
    assert found.error == ""
    environment = Path(found.python).parents[1]
    assert environment.parent == node.root / "envs"
    assert imported(found.python, "alpha")[:2] == ["2.0", "2.0"]
    assert imported(found.python, "gamma")[2].startswith(str(environment))
    assert imported(found.python, "beta")[2].startswith(str(node.python.parents[1]))
    assert listing(node.python.parents[1]) == before
    assert "building an environment with 2 packages on " in found.stderr
    assert f"ray-s3: built {environment} in " in found.stderr

    node.uv = False  # what is there is found without
    assert prebuilt(node, wanted(index, alpha="2.0", beta="1.0", gamma="1.0")) == 2
    again = node.interpreter(wanted(index, alpha="2.0", beta="1.0", gamma="1.0"))
    assert (again.python, again.stderr) == (found.python, "")


def test_the_clusters_python_may_be_no_virtual_environment(node: Node, index: Index) -> None:
    base = getattr(sys, "_base_executable", sys.executable)
    node.python = Path(base)
    sites = node.ask("print(json.dumps(inventory.site_directories()))")
    before = [sorted(os.listdir(site)) for site in sites]
    found = node.interpreter(wanted(index, gamma="1.0"))
    assert found.error == ""
    assert imported(found.python, "gamma")[0] == "1.0"
    node.python = Path(found.python)
    own, *others = node.ask("print(json.dumps(inventory.site_directories()))")
    assert (own.startswith(str(node.root)), others) == (True, sites)
    assert [sorted(os.listdir(site)) for site in sites] == before


def test_a_process_that_enters_an_environment_imports_from_it_first(node: Node, index: Index) -> None:
    python = node.interpreter(wanted(index, alpha="2.0", beta="1.0")).python
    code = f"""
build.enter({python!r})
import alpha, beta, sys
print(json.dumps([alpha.version, beta.__file__, sys.path]))
"""
    alpha, beta, path = node.ask(code)
    assert alpha == "2.0"
    assert beta.startswith(str(node.python.parents[1]))  # what is equal is still the cluster's
    assert path[0].startswith(str(Path(python).parents[1]))


def test_a_python_that_has_all_is_used_as_it_is(tmp_path: Path) -> None:
    assert build.interpreter(None, tmp_path / "root") == sys.executable
    build.enter(sys.executable)
    assert not (tmp_path / "root").exists()


def test_two_jobs_at_once_build_one_environment(node: Node, index: Index) -> None:
    index.delay = 0.4
    code = asking(wanted(index, alpha="2.0", gamma="1.0"), node.root)
    with node.start(code) as one, node.start(code) as other:
        answers = [answer(one), answer(other)]
    assert answers[0].python == answers[1].python != ""
    assert sorted(each.builds for each in answers) == [0, 1]


def test_what_a_crashed_build_left_is_built_anew(node: Node, index: Index) -> None:
    found = node.interpreter(wanted(index, gamma="1.0"))
    environment = Path(found.python).parents[1]
    assert prebuilt(node, wanted(index, gamma="1.0")) == 1
    (environment / "complete").unlink()
    (environment / "rubbish").write_text("")
    assert prebuilt(node, wanted(index, gamma="1.0")) == 0
    again = node.interpreter(wanted(index, gamma="1.0"))
    assert (again.python, again.builds) == (found.python, 1)
    assert not (environment / "rubbish").exists()


def test_a_killed_build_is_taken_over_when_its_uv_is_done(node: Node, index: Index) -> None:
    index.delay = 0.7
    with node.start(asking(wanted(index, gamma="1.0"), node.root)) as process:
        while not any(path.startswith("/simple") for path in index.asked):
            time.sleep(0.01)
        process.kill()
    found = node.interpreter(wanted(index, gamma="1.0"))
    assert found.builds == 1
    assert imported(found.python, "gamma")[0] == "1.0"


def test_a_failed_build_says_what_uv_says_and_is_believed_for_a_minute(node: Node, index: Index) -> None:
    request = wanted(index, gamma="9.9")
    found = node.interpreter(request)
    assert "1 package(s) (gamma==9.9)" in found.error
    assert "there is no version of gamma==9.9" in found.error
    assert os.uname().nodename in found.error
    assert "packages: none" in found.error
    envs = node.root / "envs"
    assert not [path for path in envs.iterdir() if path.is_dir()]

    again = node.interpreter(request)
    assert again.builds == 0
    assert again.error.startswith(found.error) and "s ago" in again.error

    # other indexes are another question
    assert node.interpreter({**request, "indexes": {"UV_INDEX": index.url, "UV_NO_INDEX": "1"}}).builds == 1
    (failed,) = envs.glob("*.failed")
    os.utime(failed, (time.time() - 61, time.time() - 61))
    make_wheel(index.wheels, "gamma", "9.9")
    assert imported(node.interpreter(request).python, "gamma")[0] == "9.9"


def test_an_index_that_does_not_answer_fails_soon_and_keeps_its_password(node: Node, index: Index) -> None:
    index.password = "hunter2secret"
    url = index.url_with_password.replace(str(index.port), "9")  # discard: nobody listens
    started = time.monotonic()
    found = node.interpreter({**wanted(index, gamma="1.0"), "indexes": {"UV_DEFAULT_INDEX": url}})
    assert time.monotonic() - started < 60
    assert "127.0.0.1:9/simple" in found.error
    # uv repeats what it cannot read
    broken = node.interpreter(wanted(index, gamma=f"@ {url.replace('127.0.0.1', '/')}"))
    assert "http://***@/:9/simple" in broken.error
    assert "hunter2secret" not in found.error + found.stderr + broken.error + broken.stderr
    assert not _files_with(node.root, "hunter2secret")


def test_passwords_of_indexes_reach_uv_and_no_file(node: Node, index: Index, tmp_path: Path) -> None:
    index.password = "hunter2secret"
    (further,) = [Index(tmp_path / "private", "hunter3secret")]
    make_wheel(further.wheels, "delta", "1.0")
    node.home.rmdir()  # so that uv's cache lies below the root, too
    for served in serve(further):
        request = wanted(index, gamma="1.0", delta="1.0")
        request["indexes"] = {
            "UV_DEFAULT_INDEX": index.url_with_password,
            "UV_INDEX": f"private={served.url}",
            "UV_INDEX_PRIVATE_USERNAME": "anna",
            "UV_INDEX_PRIVATE_PASSWORD": "hunter3secret",
            "UV_INDEX_STRATEGY": "unsafe-best-match",
        }
        found = node.interpreter(request)
        assert found.error == ""
    assert imported(found.python, "delta")[0] == imported(found.python, "gamma")[0] == "1.0"
    assert list((node.root / "uv-cache").iterdir())
    assert "secret" not in found.stderr
    for secret in ("hunter2secret", "hunter3secret"):
        assert not _files_with(node.root, secret)


def _files_with(directory: Path, text: str) -> list[Path]:
    files = (path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
    return [path for path in files if text.encode() in path.read_bytes()]


def test_an_archive_from_a_url_is_compared_by_name(node: Node, index: Index) -> None:
    url = f"@ http://127.0.0.1:{index.port}/files/gamma-1.0-py3-none-any.whl"
    found = node.interpreter(wanted(index, gamma=url, alpha="@ http://127.0.0.1:9/alpha-7-py3-none-any.whl"))
    assert imported(found.python, "gamma")[0] == "1.0"
    assert imported(found.python, "alpha")[0] == "1.0"


def test_another_platform_gets_its_own_dependencies_at_the_drivers_versions(node: Node, index: Index) -> None:
    make_wheel(
        index.wheels, "delta", "1.0", ("here; sys_platform == 'linux'", "there; sys_platform == 'plan9'")
    )
    make_wheel(index.wheels, "here", "1.0")
    make_wheel(index.wheels, "gamma", "2.0")
    request = wanted(index, alpha="2.0", beta="1.0", gamma="1.0", delta="1.0", there="1.0")
    request |= {"platform": "plan9-mips", "roots": ("alpha", "delta", "gamma")}
    found = node.interpreter(request)
    assert found.error == ""
    for name, version in {"alpha": "2.0", "gamma": "1.0", "delta": "1.0", "here": "1.0"}.items():
        assert imported(found.python, name)[0] == version
    assert subprocess.run([found.python, "-c", "import there"], capture_output=True).returncode == 1


def test_no_uv_is_an_error_that_says_what_differs(node: Node, index: Index) -> None:
    node.uv = False
    pins = {f"package{number}": f"{number}.0" for number in range(1, 8)}
    found = node.interpreter(wanted(index, alpha="1.0", **pins))
    assert (
        "lacks 7 package(s) (package1==1.0, package2==2.0, package3==3.0, package4==4.0, package5==5.0, …)"
        in (found.error)
    )
    assert "pip install uv" in found.error and "packages: none" in found.error
    beside = node.python.parent / "uv"
    beside.symlink_to(shutil.which("uv") or "")
    assert node.ask("print(json.dumps(inventory.find_uv()))") == str(beside)


def test_another_minor_version_of_python_is_an_error_that_names_both(node: Node, index: Index) -> None:
    found = node.interpreter({**wanted(index), "python": (3, 99)})
    here = ".".join(map(str, _HERE))
    assert (
        f"The driver runs Python 3.99, the cluster's node {os.uname().nodename} Python {here}" in found.error
    )
    assert f"start the driver with Python {here}, or the cluster with Python 3.99" in found.error


def test_environments_that_nobody_used_for_a_month_go_when_another_is_built(node: Node, index: Index) -> None:
    assert prebuilt(node, wanted(index, gamma="1.0")) == prebuilt(node, wanted(index, alpha="1.0")) == 0
    old, kept = (
        Path(node.interpreter(wanted(index, **pin)).python) for pin in ({"gamma": "1.0"}, {"alpha": "2.0"})
    )
    month_ago = time.time() - 31 * 86400
    for python in (old, kept):
        os.utime(python.parents[1] / "complete", (month_ago, month_ago))
    assert prebuilt(node, wanted(index, gamma="1.0")) == 1  # to ask is no use of it
    node.interpreter(wanted(index, alpha="2.0"))  # used again
    node.interpreter(wanted(index, alpha="2.0", gamma="1.0"))
    assert not old.exists() and kept.exists()


def test_a_root_that_cannot_be_written_is_an_error_that_says_so(node: Node, index: Index) -> None:
    node.root.write_text("a file")
    assert "set RAY_S3_NODE_DIR on the nodes" in node.interpreter(wanted(index, gamma="1.0")).error


def test_the_node_side_imports_the_standard_library_alone(node: Node) -> None:
    code = """
import sys, sysconfig
roots = tuple({sysconfig.get_path(p, vars={}) for p in ("stdlib", "platstdlib")})
files = {n: getattr(m, "__file__", None) for n, m in sys.modules.items()}
foreign = [n for n, f in files.items() if f and (not f.startswith(roots) or "site-packages" in f)]
print(json.dumps(sorted(n for n in foreign if n not in ("_virtualenv", "__main__"))))
"""
    modules = node.ask(code)
    assert "ray_decorator.environment.build" in modules
    assert [name for name in modules if name.partition(".")[0] != "ray_decorator"] == []

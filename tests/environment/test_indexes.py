"""Where a driver's packages come from: real configuration files, and an index that serves a node."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from package_index import Index, Node, make_venv, make_wheel, serve

from ray_decorator.environment import indexes
from ray_decorator.environment.inventory import platform_name


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a user who has configured nothing."""
    for name in list(os.environ):
        if name.startswith(("UV_", "PIP_", "XDG_")) or name == "NETRC":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_nothing_configured_is_nothing_sent(home: Path) -> None:
    assert indexes.variables(None, {"torch": "2.5.1"}) == {}
    assert indexes.variables(home, {}) == {}


def test_uvs_own_variables_come_before_pips(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://pip.example/simple")
    assert indexes.variables(None, {}) == {"UV_DEFAULT_INDEX": "https://pip.example/simple"}
    monkeypatch.setenv("UV_INDEX", "one=https://one.example/simple https://two.example/simple")
    monkeypatch.setenv("UV_EXTRA_INDEX_URL", "https://three.example/simple file:///here/simple")
    monkeypatch.setenv("UV_FIND_LINKS", "/wheels,https://links.example/a")
    monkeypatch.setenv("UV_INDEX_ONE_PASSWORD", "secret")
    monkeypatch.setenv("UV_INDEX_OTHER_PASSWORD", "not asked for")
    assert indexes.variables(None, {}) == {
        "UV_INDEX": "one=https://one.example/simple https://two.example/simple https://three.example/simple",
        "UV_FIND_LINKS": "https://links.example/a",
        "UV_INDEX_ONE_PASSWORD": "secret",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_pips_files_are_read_as_pip_reads_them(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", str(home / "named.conf"))
    write(home / ".pip/pip.conf", "[global]\nindex-url = https://old.example/%20simple\n")
    write(
        home / ".config/pip/pip.conf",
        "[global]\nindex-url = https://user.example/simple\ntrusted-host = user.example\n"
        "[install]\nfind-links =\n  /opt/wheels\n  https://links.example/a\n",
    )
    write(
        home / "named.conf",
        "[global]\nextra-index-url = https://a.example/simple\n    https://b.example/simple\n    file:///disk/simple\n",
    )
    assert indexes.variables(None, {}) == {
        "UV_DEFAULT_INDEX": "https://user.example/simple",
        "UV_INDEX": "https://a.example/simple https://b.example/simple",
        "UV_FIND_LINKS": "https://links.example/a",
        "UV_INSECURE_HOST": "user.example",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_the_project_its_workspace_and_the_user_name_indexes(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        home / "work/uv.lock",
        """
[[package]]
name = "a"
source = { registry = "https://pypi.example/simple" }
[[package]]
name = "b"
source = { registry = "https://locked.example/simple" }
[[package]]
name = "c"
source = { registry = "https://private.example/simple" }
[[package]]
name = "d"
source = { registry = "../wheels" }
""",
    )
    member = home / "work/member"
    write(
        member / "pyproject.toml",
        """
[[tool.uv.index]]
name = "my-private"
url = "https://private.example/simple/"
[[tool.uv.index]]
url = "https://mirror.example/simple"
default = true
""",
    )
    write(home / ".config/uv/uv.toml", 'extra-index-url = ["https://mine.example/simple"]\n')
    monkeypatch.setenv("UV_INDEX_MY_PRIVATE_USERNAME", "anna")
    assert indexes.variables(member, {}) == {
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_INDEX": "my-private=https://private.example/simple/ https://mine.example/simple "
        "https://locked.example/simple",
        "UV_INDEX_MY_PRIVATE_USERNAME": "anna",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_a_password_in_netrc_goes_along(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / ".netrc", "machine index.example login anna password pass@word\n").chmod(0o600)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "mine=https://index.example:8443/simple")
    sent = indexes.variables(None, {})
    assert sent == {"UV_DEFAULT_INDEX": "mine=https://anna:pass%40word@index.example:8443/simple"}


def test_a_build_of_pytorch_that_was_installed_by_hand_names_its_index(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert indexes.variables(None, {"torch": "2.5.1+cu121"}) == {"UV_TORCH_BACKEND": "cu121"}
    assert indexes.variables(None, {"torch": "2.5.1+company"}) == {}
    monkeypatch.setenv("UV_INDEX", "https://mirror.example/whl/cu121")
    assert "UV_TORCH_BACKEND" not in indexes.variables(None, {"torch": "2.5.1+cu121"})


def test_a_broken_file_is_named_and_left_out(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = write(home / "project/pyproject.toml", "[tool.uv\n")
    assert indexes.variables(broken.parent, {}) == {}
    assert str(broken) in caplog.text


def test_the_private_index_of_a_driver_serves_its_nodes(
    home: Path, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = Index(tmp_path / "private", "hunter2secret")
    make_wheel(private.wheels, "delta", "1.0")
    make_wheel(private.wheels, "alpha", "0.1")  # an older one, which hides the other index's from uv
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    for served in serve(private):
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", served.url_with_password)
        (tmp_path / "home").mkdir()
        node = Node(make_venv(tmp_path / "cluster"), tmp_path / "root", tmp_path / "home")
        pins = {"alpha": "2.0", "delta": "1.0"}
        found = node.interpreter(
            {
                "python": tuple(sys.version_info[:2]),
                "platform": platform_name(),
                "pins": pins,
                "indexes": indexes.variables(None, pins),
            }
        )
    assert found.error == ""
    assert subprocess.run([found.python, "-c", "import alpha, delta"], env={}).returncode == 0

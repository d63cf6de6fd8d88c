"""Options: arguments over environment over defaults, and every message that refuses one."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from ray_decorator.core.errors import InputError
from ray_decorator.core.options.settings import OptionArguments, Options, Settings
from ray_decorator.core.values.inherited import Inherited, Variable

NOTHING = Options()
FAR = Options(ray_address="10.0.0.1:6379", s3_base_path="s3://bucket/x")
CHOICE = (
    "packages is {!r}; expected auto, none, or a mapping of lists of names, such as "
    "{{'exclude': ['dvc']}} or {{'only': ['torch']}}"
)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_ADDRESS", *(f"RAY_S3_{n}" for n in ("BASE_PATH", "PACKAGES", "CODE", "CREDENTIALS"))):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_the_keyword_arguments_are_the_fields() -> None:
    assert list(OptionArguments.__annotations__) == [each.name for each in fields(Options)]


class TestOver:
    def test_what_is_not_set_comes_from_the_other(self) -> None:
        mine = Options(ray_address="local", max_concurrent=3)
        other = Options(ray_address="auto", s3_base_path="s3://b", packages="none", max_concurrent=9)
        assert mine.over(other) == replace(other, ray_address="local", max_concurrent=3)

    @pytest.mark.parametrize("empty", [None, ""])
    def test_an_empty_text_is_not_set(self, empty: str | None) -> None:
        assert Options(ray_address=empty).over(FAR) == FAR

    def test_mappings_are_merged(self) -> None:
        mine = Options(ray_remote_kwargs={"num_cpus": 2})
        other = Options(ray_remote_kwargs={"num_cpus": 1, "num_gpus": 1}, ray_init_kwargs={"namespace": "n"})
        merged = mine.over(other)
        assert merged.ray_remote_kwargs == {"num_cpus": 2, "num_gpus": 1}
        assert merged.ray_init_kwargs == {"namespace": "n"}
        assert Options(ray_init_kwargs={}).over(other).ray_init_kwargs == {"namespace": "n"}

    @pytest.mark.parametrize("empty", [None, [], ()])
    def test_an_empty_list_is_not_set(self, empty: Any) -> None:
        other = Options(code_include=["gen/"])
        assert Options(code_include=empty).over(other) == other
        assert Options(code_include=["a.py"]).over(other).code_include == ["a.py"]

    def test_nothing_over_nothing(self) -> None:
        assert NOTHING.over(NOTHING) == NOTHING


class TestResolve:
    @pytest.mark.parametrize("wrong", [0, -1.0, True, "60"])
    def test_an_interval_is_a_time(self, wrong: Any) -> None:
        assert Options(checkpoint_interval=60).resolve().checkpoint_interval == 60
        with pytest.raises(
            InputError, match=r"checkpoint_interval is .*; expected seconds, such as 60, or null"
        ):
            Options(checkpoint_interval=wrong).resolve()

    def test_packages_may_be_chosen_by_lists(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_S3_PACKAGES", "none")
        settings = Options(packages={"exclude": [], "only": None}).resolve()
        assert (settings.packages, settings.packages_exclude, settings.packages_only) == ("auto", (), None)
        settings = Options(packages={"only": ["torch"]}).resolve()
        assert (settings.packages, settings.packages_exclude, settings.packages_only) == (
            "auto",
            None,
            ("torch",),
        )

    def test_code_include_is_a_list_of_its_own(self) -> None:
        given = ["gen/", "/conf/local.yaml"]
        settings = Options(code_include=given).resolve()
        given.clear()
        assert settings.code_include == ("gen/", "/conf/local.yaml")

    def test_defaults(self, tmp_path: Path) -> None:
        settings = NOTHING.resolve()
        assert settings == Settings(
            ray_address="local",
            store_url=(tmp_path / "ray_s3" / "store").as_uri(),
            store_is_default=True,
            packages="auto",
            code="auto",
            credentials="driver",
        )

    def test_the_environment_over_defaults(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_ADDRESS", "ray://10.0.0.1:10001")
        monkeypatch.setenv("RAY_S3_BASE_PATH", "s3://bucket/x")
        monkeypatch.setenv("RAY_S3_PACKAGES", "none")
        monkeypatch.setenv("RAY_S3_CODE", "none")
        monkeypatch.setenv("RAY_S3_CREDENTIALS", "worker")
        settings = NOTHING.resolve()
        assert (settings.ray_address, settings.store_url) == ("ray://10.0.0.1:10001", "s3://bucket/x")
        assert (settings.packages, settings.code, settings.credentials) == ("none", "none", "worker")
        assert not settings.store_is_default

    def test_arguments_over_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_ADDRESS", "auto")
        monkeypatch.setenv("RAY_S3_BASE_PATH", "s3://other")
        monkeypatch.setenv("RAY_S3_PACKAGES", "none")
        settings = Options(ray_address="local", s3_base_path="file:///x", packages="auto").resolve()
        assert (settings.ray_address, settings.store_url, settings.packages) == ("local", "file:///x", "auto")

    def test_a_named_store_is_not_embedded(self) -> None:
        assert not Options(s3_base_path="file:///x").resolve().store_is_default

    @pytest.mark.parametrize("address", ["auto", "localhost:6379", "127.0.0.1:1", "ray://127.1.2.3:1"])
    def test_a_ray_that_runs_here_needs_no_store(self, address: str) -> None:
        assert Options(ray_address=address).resolve().store_is_default

    @pytest.mark.parametrize("address", ["auto", "host:6379", "[::1]:6379", "ray://host:10001"])
    def test_addresses_of_each_form(self, address: str) -> None:
        assert replace(FAR, ray_address=address).resolve().ray_address == address

    def test_kwargs_are_copies(self) -> None:
        given: dict[str, Any] = {"num_cpus": 1}
        settings = Options(ray_remote_kwargs=given).resolve()
        given["num_cpus"] = 2
        assert settings.ray_remote_kwargs == {"num_cpus": 1}


ADDRESS = (
    "ray_address is {!r}; expected 'local', 'auto', 'host:port' (such as 10.0.0.1:6379) or "
    "'ray://host:port' (such as ray://10.0.0.1:10001)"
)
REACH = (
    "ray_address is 'host:6379', but there is no s3_base_path: workers on other machines cannot see this "
    "machine's disk. Set s3_base_path (or RAY_S3_BASE_PATH) to s3://bucket/prefix"
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (replace(FAR, ray_address="host"), ADDRESS.format("host")),
        (replace(FAR, ray_address="host:port"), ADDRESS.format("host:port")),
        (replace(FAR, ray_address=":6379"), ADDRESS.format(":6379")),
        (replace(FAR, ray_address="http://host:6379"), ADDRESS.format("http://host:6379")),
        (replace(FAR, ray_address="ray://host"), ADDRESS.format("ray://host")),
        (Options(ray_address="host:6379"), REACH),
        (Options(max_concurrent=0), "max_concurrent is 0; expected 1 or more, or null"),
        (Options(max_concurrent=-1), "max_concurrent is -1; expected 1 or more, or null"),
        (Options(packages="some"), "packages is 'some'; expected auto or none"),
        (Options(packages={"exclud": []}), CHOICE.format({"exclud": []})),
        (Options(packages={"only": "a"}), CHOICE.format({"only": "a"})),
        (Options(code="all"), "code is 'all'; expected auto or none"),
        (
            Options(code_include="gen/"),
            "code_include is 'gen/'; expected a list of patterns, such as ['generated/']",
        ),
        (Options(credentials="mine"), "credentials is 'mine'; expected driver or worker"),
    ],
)
def test_what_cannot_be_is_refused(options: Options, message: str) -> None:
    with pytest.raises(InputError) as caught:
        options.resolve()
    assert caught.value.problems == (message,)


def test_all_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_S3_CODE", "all")
    with pytest.raises(InputError) as caught:
        Options(ray_address="nowhere", max_concurrent=0, packages="some").resolve()
    starts = [problem.split(";")[0].split(",")[0] for problem in caught.value.problems]
    assert starts == [
        "ray_address is 'nowhere'",
        "ray_address is 'nowhere'",
        "max_concurrent is 0",
        "packages is 'some'",
        "code is 'all'",
    ]


@pytest.mark.parametrize(
    ("given", "resolved"),
    [(None, ""), (False, ""), ("false", ""), (True, "finished"), ("true", "finished"), ("failed", "failed")],
)
def test_resume(given: Any, resolved: str) -> None:
    assert Options(resume=given).resolve().resume == resolved
    assert Options(resume=False).over(Options(resume=given)).resolve().resume == resolved


@pytest.mark.parametrize("given", ["all", 1, ["failed"]])
def test_another_resume_is_refused(given: Any) -> None:
    with pytest.raises(InputError, match=r"resume is .*; expected false, true or 'failed'"):
        Options(resume=given).resolve()


@pytest.mark.parametrize(
    ("url", "credentials", "what"),
    [
        ("file:///shared", "driver", "all"),
        (None, "driver", "all"),
        ("s3://bucket", "driver", "readable"),
        ("file:///shared", "worker", "none"),
        (None, "worker", "none"),
        ("s3://bucket", "worker", "none"),
    ],
)
def test_which_aws_variables_jobs_are_given(url: str | None, credentials: str, what: str) -> None:
    settings = Options(ray_address="local", s3_base_path=url, credentials=credentials).resolve()
    inherited = Inherited(
        {"OTHER": Variable("1")},
        ("app.py",),
        {name: Variable("x") for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "AWS_REGION")},
        frozenset({"AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"}),
    )
    readable = {
        name: Variable("1" if name == "OTHER" else "x")
        for name in ("OTHER", "AWS_PROFILE", "AWS_ENDPOINT_URL")
    }
    assert (
        settings.given(inherited)
        == {
            "all": inherited,
            "readable": Inherited(readable, ("app.py",)),
            "none": Inherited({"OTHER": Variable("1")}, ("app.py",)),
        }[what]
    )

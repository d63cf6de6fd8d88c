"""A DVC remote as a store: which one, what its keys mean, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import servers
from dvc.config import ConfigError, RemoteConfigError
from dvc_repositories import Dvc
from fsspec.utils import infer_storage_options
from store_fixtures import use
from trees import QUIET, numbered, read, tree

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.core.errors import InputError, StoreDeniedError
from ray_decorator.core.options.settings import Options
from ray_decorator.core.values.stores import Credentials
from ray_decorator.dvc.remote import find, is_remote, with_remote
from ray_decorator.store.identity import Identity, identify
from ray_decorator.store.store import open_store
from ray_decorator.store.transfer import pull, push, snapshot

_NO_SCM = "[core]\nno_scm = true\n"


def configure(root: Path, text: str) -> str:
    (root / ".dvc" / "config").write_text(text)
    return str(root)


def remote(**keys: str) -> str:
    return "['remote \"r\"']\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


def refused(root: Path, text: str, name: str = "r") -> str:
    with pytest.raises(InputError) as caught:
        find(configure(root, text), name)
    return str(caught.value)


class TestWhichOne:
    def test_the_default_one_or_the_one_that_is_named(self, dvc: Dvc, root: Path) -> None:
        dvc(root, "remote", "add", "--default", "One", "s3://bucket/one")
        dvc(root, "remote", "add", "two", "../two")
        assert find(str(root)).url == "s3://bucket/one"
        assert find(str(root), "ONE") == find(str(root))
        assert find(str(root), "two").url == (root.parent / "two").as_uri()

    def test_the_settings_name_it(self, dvc: Dvc, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        dvc(root, "remote", "add", "--default", "one", "s3://bucket/one")
        monkeypatch.setenv("RAY_S3_BASE_PATH", "dvc")
        settings = with_remote(Options().resolve(), root.parent, root / "src")
        assert (settings.store_url, settings.store_name, settings.store_is_default) == (
            "s3://bucket/one",
            "dvc",
            False,
        )
        named = with_remote(Options(s3_base_path="dvc://one").resolve(), root)
        assert named.store_url == "s3://bucket/one"
        other = Options(s3_base_path="s3://bucket/x").resolve()
        assert with_remote(other, root) is other
        assert is_remote("dvc://x") and not is_remote("dvcs") and not is_remote("s3://dvc")

    def test_one_that_is_built_on_another(self, root: Path) -> None:
        text = (
            "['remote \"base\"']\nurl = s3://bucket/base\nregion = eu-west-1\nprofile = p\n"
            "['remote \"r\"']\nurl = remote://Base/below/it\nprofile = q\n"
        )
        found = find(configure(root, text), "r")
        assert found.url == "s3://bucket/base/below/it"
        assert found.account is not None
        assert (found.account.region, found.account.profile) == ("eu-west-1", "q")

    @pytest.mark.parametrize(
        "url",
        [
            "s3://b",
            "s3://b/",
            "s3://b/t/",
            "s3://b/a b%20c",
            "s3://b/a?b",
            "s3://b/a#b?c",
            "s3://b/a?b#c",
            "s3://u@b/p",
        ],
    )
    def test_its_keys_on_s3_are_those_of_dvc(self, root: Path, url: str) -> None:
        """fsspec's function is what dvc-s3 asks where in a bucket a remote is."""
        found = find(configure(root, remote(url=f'"{url}"')), "r")
        assert found.url == f"s3://{infer_storage_options(url)['path']}"

    @pytest.mark.parametrize(
        ("base", "url"),
        [
            ("", "s3://b//x"),
            ("", "s3://b/y//z"),
            ("", "s3://b/t//"),
            ("s3://b/", "/sub"),
            ("s3://b/t/", "/sub"),
        ],
    )
    def test_keys_that_only_dvc_can_make_are_refused(self, root: Path, base: str, url: str) -> None:
        """dvc-s3 writes ``/x/files/md5/…`` and ``t//sub/files/md5/…``; obstore can say neither."""
        text = (
            f"['remote \"base\"']\nurl = {base}\n" + remote(url=f"remote://base{url}")
            if base
            else remote(url=url)
        )
        told = refused(root, text)
        assert f"the DVC remote 'r' is {base}{url}: DVC keeps // in the keys of its objects" in told
        assert "Write its url, or that of the remote that it builds on, with single /" in told

    def test_none_is_an_error_that_names_what_there_is(self, root: Path, tmp_path: Path) -> None:
        two = "['remote \"a\"']\nurl = /a\n['remote \"b\"']\nurl = s3://x/b\n"
        assert "has no default remote. There are: a, b. Choose one with `dvc remote default NAME`" in refused(
            root, two, ""
        )
        assert "has no remote 'c'. There are: a, b. See `dvc remote list`" in refused(root, two, "c")
        assert "has no remote 'r' of its own" in refused(root, remote(url="remote://r/x"))
        assert "'r' has no url" in refused(root, remote(profile="x"))
        settings = Options(s3_base_path="dvc").resolve()
        with pytest.raises(InputError, match=r"'dvc', but .* is in no DVC repository\. Start the app in one"):
            with_remote(settings, tmp_path)


def test_what_is_no_store_is_told_of_all_that_are() -> None:
    for url in ("dvcs", "DVC", "/directory"):
        settings = Options(s3_base_path=url).resolve()
        with pytest.raises(InputError, match=r"which is no store: .*, or a DVC remote: dvc or dvc://name"):
            identify(with_remote(settings).store_url)


class TestWhatCannotServe:
    @pytest.mark.parametrize(
        "url",
        [
            "gs://b/p",
            "azure://c/p",
            "ssh://user:secret@host/p",
            "https://host/p",
            "gdrive://id",
            "hdfs://h/p",
            "oss://b",
        ],
    )
    def test_is_an_error_that_names_the_others(self, root: Path, url: str) -> None:
        text = remote(url=url) + "['remote \"other\"']\nurl = s3://x/b\n"
        told = refused(root, text)
        assert (
            "jobs can use remotes on S3 and in a directory. There are: other. Name one as dvc://NAME" in told
        )
        assert "secret" not in told

    @pytest.mark.parametrize(
        ("key", "value", "told"),
        [
            ("version_aware", "true", "version_aware = true: its objects are not named by their content"),
            ("worktree", "True", "worktree = true: its objects are not named by their content"),
            (
                "sse_customer_key",
                "SECRET",
                "sse_customer_key: jobs cannot do with objects that are encrypted",
            ),
            ("sse_customer_algorithm", "AES256", "sse_customer_algorithm: jobs cannot do with"),
            ("acl", "public-read", "acl: jobs cannot do with access control lists"),
            ("grant_read", "id=x", "grant_read: jobs cannot do with access control lists"),
            ("cache_regions", "true", "cache_regions: jobs cannot do with that key"),
            ("use_ssl", "maybe", "use_ssl, which is neither true nor false"),
            ("jobs", "0", "jobs, which is not a whole number above 0"),
            ("connect_timeout", "1.5", "connect_timeout, which is not a whole number above 0"),
            ("region", "a, b", "region, which is not a single text"),
            ("regoin", "x", "regoin, which DVC does not know for S3"),
            ("access_key_id", "SECRET", "one of access_key_id and secret_access_key: set both"),
        ],
    )
    def test_nor_can_these_keys_of_a_remote_on_s3(self, root: Path, key: str, value: str, told: str) -> None:
        message = refused(root, remote(url="s3://bucket/p", **{key: value}))
        assert f"the DVC remote 'r' has {told}" in message
        assert "SECRET" not in message

    @pytest.mark.parametrize(
        ("key", "value", "told"),
        [
            ("version_aware", "true", "version_aware = true: its objects are not named by their content"),
            ("worktree", "true", "worktree = true: its objects are not named by their content"),
            ("profile", "p", "profile, which DVC does not know for a directory: remove it"),
            ("acl", "private", "acl, which DVC does not know for a directory"),
            ("jobs", "0", "jobs, which is not a whole number above 0"),
            ("protected", "maybe", "protected, which is neither true nor false"),
            ("type", "reflink, softlink", "type, which is none of reflink, hardlink, symlink, copy"),
            ("shared", "all", "shared, which is not 'group'"),
        ],
    )
    def test_nor_can_these_keys_of_a_remote_in_a_directory(
        self, dvc: Dvc, root: Path, key: str, value: str, told: str
    ) -> None:
        for url in ("/x", "file:///x"):
            assert f"the DVC remote 'r' has {told}" in refused(
                root, _NO_SCM + remote(url=url, **{key: value})
            )
        with pytest.raises((ConfigError, RemoteConfigError)), dvc.repo(str(root)) as repo:
            repo.cloud.get_remote_odb("r")

    def test_dvcs_keys_of_a_remote_in_a_directory_are_taken(self, dvc: Dvc, root: Path) -> None:
        from dvc.config_schema import REMOTE_SCHEMAS

        values = {
            "url": "/x",
            "type": "'hardlink,symlink'",
            "shared": "Group",
            "jobs": "2",
            "checksum_jobs": "2",
        }
        keys = {str(key): values.get(str(key), "false") for key in REMOTE_SCHEMAS[""]}
        assert find(configure(root, _NO_SCM + remote(**keys)), "r").url == "file:///x"
        with dvc.repo(str(root)) as repo:
            assert repo.cloud.get_remote_odb("r").path == "/x/files/md5"

    def test_all_that_is_wrong_is_told_at_once(self, root: Path) -> None:
        assert refused(root, remote(url="s3://b/p", acl="x", jobs="0", foo="1")).startswith("3 problems")

    def test_every_key_of_dvcs_schema_is_known(self, root: Path) -> None:
        from dvc.config_schema import REMOTE_SCHEMAS

        keys = {str(key) for key in REMOTE_SCHEMAS["s3"]}
        assert len(keys) > 25
        for key in sorted(keys - {"url"}):
            try:
                find(configure(root, remote(url="s3://bucket/p", **{key: "true"})), "r")
            except InputError as exc:
                assert "does not know" not in str(exc), key


class TestItsKeys:
    def found(self, root: Path, **keys: str) -> Identity:
        made = find(configure(root, remote(url="s3://bucket/p", **keys)), "r")
        return identify(made.url, account=made.account)

    @pytest.fixture(autouse=True)
    def aws(self, monkeypatch: pytest.MonkeyPatch, moto: servers.Server) -> None:
        use(moto, monkeypatch)

    def test_region_endpoint_and_ssl(self, root: Path) -> None:
        here = self.found(root, region="eu-west-3", endpointurl="http://10.1.2.3:9000").here
        assert (here.region, here.endpoint) == ("eu-west-3", "http://10.1.2.3:9000")

    def test_without_ssl_and_without_an_endpoint(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        here = self.found(root, use_ssl="false", region="eu-west-3").here
        assert here.endpoint is not None and here.endpoint.startswith("http://s3.eu-west-3.")

    def test_keys_of_its_own(self, root: Path) -> None:
        identity = self.found(root, access_key_id="own", secret_access_key="'a#, b'", session_token="t")
        keys = identity.location.credentials
        assert keys is not None and (keys.access_key, keys.secret_key, keys.token) == ("own", "a#, b", "t")
        assert "a#, b" not in repr(identity) + repr(identity.here) + repr(identity.location)

    def test_with_the_workers_credentials_they_stay_here(
        self, root: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        made = find(
            configure(root, remote(url="s3://bucket/p", access_key_id="own", secret_access_key="hush")), "r"
        )
        with caplog.at_level(logging.INFO):
            identity = identify(made.url, credentials="worker", account=made.account)
        assert identity.location.credentials is None and identity.location.own_credentials
        assert identity.here.credentials is not None and identity.here.credentials.access_key == "own"
        assert "the keys of the DVC remote 'r' are used on this machine alone" in caplog.text
        assert "hush" not in caplog.text

    def test_a_profile_in_files_of_its_own(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in (
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_CONFIG_FILE",
            "AWS_SHARED_CREDENTIALS_FILE",
        ):
            monkeypatch.delenv(name, raising=False)
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            monkeypatch.delenv(name)
        (root / ".dvc" / "keys").write_text("[p]\naws_access_key_id = k\naws_secret_access_key = s\n")
        (root / ".dvc" / "conf").write_text("[profile p]\nregion = ap-south-1\n")
        here = self.found(root, profile="p", credentialpath="keys", configpath="conf").here
        assert here.credentials is not None
        assert (here.region, here.credentials.access_key, here.credentials.secret_key) == (
            "ap-south-1",
            "k",
            "s",
        )
        # as dvc does: a file that the environment names stays
        monkeypatch.setenv("AWS_CONFIG_FILE", str(root / "other"))
        (root / "other").write_text("[profile p]\nregion = ca-west-1\n")
        here = self.found(root, profile="p", credentialpath="keys", configpath="conf").here
        assert (here.region, here.credentials) == ("ca-west-1", Credentials("k", "s", None))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        with pytest.raises(StoreDeniedError):
            _ = self.found(root, profile="p", credentialpath="keys", configpath="conf").here

    def test_a_profile_that_is_not_there(self, root: Path) -> None:
        with pytest.raises(InputError, match=r"the DVC remote 'r' names none of the profiles"):
            self.found(root, profile="absent")

    def test_without_signatures(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        identity = self.found(root, allow_anonymous_login="true")
        assert identity.location.credentials is None and not identity.location.own_credentials
        open_store(identity.here).check()

    def test_how_requests_are_sent(self, root: Path, tmp_path: Path) -> None:
        here = self.found(
            root, sse="AES256", connect_timeout="7", read_timeout="2000", jobs="3", ssl_verify="false"
        ).here
        assert dataclasses.asdict(here.requests) == {
            "verify": False, "encryption": "AES256", "kms_key": None, "connect_timeout": 7, "read_timeout": 2000,
            "threads": 3,
        }  # fmt: skip
        assert open_store(here).threads == 3
        assert self.found(root, sse_kms_key_id="k").here.requests.encryption == "aws:kms"
        (tmp_path / "ca.pem").write_text("PEM")
        assert self.found(root, ssl_verify=str(tmp_path / "ca.pem")).here.ca_bundle == "PEM"

    def test_encryption_is_asked_of_the_server(self, root: Path, moto: servers.Server) -> None:
        import boto3

        identity = self.found(root, sse="AES256")
        open_store(identity.here).put("encrypted", b"x")
        told = boto3.client("s3", endpoint_url=moto.endpoint).head_object(Bucket="bucket", Key="p/encrypted")
        assert told["ServerSideEncryption"] == "AES256"


_SHOW = """
import json, sys
from ray_decorator.dvc.tracked.cache import Cache
from ray_decorator.dvc.remote import find
from ray_decorator.dvc.repository import root_of
root = root_of(".")
urls = [find(root, name).url for name in ("", "local", "below")]
open(sys.argv[1], "w").write(json.dumps([*urls, Cache(root).path]))
"""


class TestWithTheRealDvc:
    def test_in_the_workspace_of_an_experiment_paths_are_the_main_repositorys(
        self, dvc: Dvc, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for variable in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
            monkeypatch.setenv(variable, "x")
        sub = tmp_path / "git" / "sub"
        (sub / ".dvc").mkdir(parents=True)
        store, local = (
            "['remote \"store\"']\nurl = ../../../store\n",
            "['remote \"local\"']\nurl = ../local\n",
        )
        below = "['remote \"below\"']\nurl = remote://store/below\n"
        (sub / ".dvc" / "config").write_text(
            f"[core]\nremote = store\n[cache]\ndir = ../cache\n{store}{below}"
        )
        (sub / ".dvc" / "config.local").write_text(local)
        (sub / ".dvc" / ".gitignore").write_text("/tmp\n/config.local\n")
        (sub / "show.py").write_text(_SHOW)
        seen = tmp_path / "seen.json"
        (sub / "dvc.yaml").write_text(f"stages:\n  show:\n    cmd: {sys.executable} show.py {seen}\n")
        for git in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
            subprocess.run(["git", *git], cwd=sub.parent, check=True, timeout=60)
        dvc(sub, "exp", "run", "--temp")
        places = ("store", "git/sub/local", "store/below")
        expected = [(tmp_path / place).as_uri() for place in places]
        assert json.loads(seen.read_text()) == [*expected, f"{sub}/cache"]

    def test_what_dvc_pushed_needs_no_upload_and_the_reverse(
        self, dvc: Dvc, root: Path, tmp_path: Path, hashes: HashCache
    ) -> None:
        dvc(root, "remote", "add", "--default", "store", "../the store")
        tree(root / "data", numbered(12))
        dvc(root, "add", "data")
        dvc(root, "push")
        made = find(str(root))
        store = open_store(identify(made.url).here)
        taken = snapshot(root / "data", hashes, QUIET)
        assert push(taken, store, hashes, QUIET) == 0
        pull(taken.content, tmp_path / "back", store, None, QUIET)
        assert read(tmp_path / "back") == numbered(12)
        tree(root / "more", {"x": b"1", "sub/y": b"2"})
        assert push(snapshot(root / "more", hashes, QUIET), store, hashes, QUIET) > 0
        dvc(root, "add", "more")
        assert "Everything is up to date" in dvc(root, "push")

"""Who we are to a store: where credentials come from, whose travel, and how they are kept fresh."""

from __future__ import annotations

import logging
import pickle
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import servers
from issuing import Issuer, issuer, issuing_server
from store_fixtures import use

from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.core.errors import InputError, StoreDeniedError
from ray_decorator.core.values.stores import Location
from ray_decorator.run.data.staging import Staging
from ray_decorator.store.identity import identify
from ray_decorator.store.store import open_store

__all__ = ["issuer", "issuing_server"]

URL = f"s3://{servers.BUCKET}/identity"


class TestCredentialsThatEnd:
    def test_a_store_outlives_them(self, issuer: Issuer) -> None:
        identity = identify(URL)
        store = open_store(identity.location, identity.fresh)
        store.check()
        started = time.time()
        while time.time() < started + 5:
            store.put("key", b"x")
            assert store.head("key") == 1
            time.sleep(0.05)
        assert {status for _, _, status in issuer.seen[1:]} == {200}  # the first is the check's own
        assert 3 <= len({key for key, _, _ in issuer.seen}) <= 7

    def test_each_key_goes_with_its_own_session_token(self, issuer: Issuer) -> None:
        issuer.lasting(60)
        identity = identify(URL)
        open_store(identity.location, identity.fresh).put("key", b"x")
        assert issuer.seen[-1] == (issuer.newest(), f"token-of-{issuer.newest()}", 200)

    def test_a_location_says_until_when(self, issuer: Issuer) -> None:
        issuer.lasting(3600)
        credentials = identify(URL).location.credentials
        assert credentials is not None
        assert credentials.expires == pytest.approx(issuer.issued()[issuer.newest()], abs=0.01)

    def test_long_ones_are_fetched_once_however_many_ask(self, issuer: Issuer) -> None:
        issuer.lasting(120)  # botocore on its own would ask the process again each time
        identity = identify(URL)
        store = open_store(identity.here, identity.fresh)
        known = issuer.newest()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: store.put(f"many/{n}", b"x"), range(40)))
            assert len({identity.location for _ in range(10)}) == 1
        assert issuer.newest() == known

    def test_short_ones_are_fetched_once_a_life_however_many_ask(self, issuer: Issuer) -> None:
        issuer.lasting(
            5
        )  # of which the last tenth is kept: a machine that stands still for longer shows here
        identity = identify(URL)
        store = open_store(identity.here, identity.fresh)
        started = time.time()
        with ThreadPoolExecutor(8) as pool:
            while time.time() < started + 6:
                list(pool.map(lambda n: store.put(f"many/{n}", b"x"), range(8)))
                time.sleep(0.05)
        assert {status for _, _, status in issuer.seen} == {200}
        assert len(issuer.issued()) <= 5

    def test_without_renewal_the_message_says_when_they_ended(self, issuer: Issuer) -> None:
        issuer.lasting(1)
        store = open_store(identify(URL).location)
        store.put("key", b"x")
        time.sleep(1.1)
        with pytest.raises(StoreDeniedError) as info:
            store.put("key", b"x")
        assert re.search(
            rf"{URL} at {issuer.endpoint} does not accept the credentials \(ExpiredToken\): they expired at "
            r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d\. Log in again \(aws sso login, or",
            str(info.value),
        )
        for ask in (store.head, store.get, lambda key: list(store.list(key))):
            with pytest.raises(StoreDeniedError, match="they expired at"):
                ask("key")
        with pytest.raises(StoreDeniedError, match="they expired at"):
            store.put_parts("key", lambda: [b"x" * (6 << 20)], 6 << 20, 5 << 20, 2)

    def test_a_worker_that_is_told_nothing_new(self, issuer: Issuer) -> None:
        issuer.lasting(1)
        location = identify(URL).location
        store = open_store(location, lambda: location.credentials)
        asked: list[float] = []
        silent = open_store(location, lambda: asked.append(time.time()))
        time.sleep(1.1)
        for one in (store, silent):
            for _ in range(3):
                with pytest.raises(StoreDeniedError, match="they expired at"):
                    one.put("key", b"x")
        assert len(asked) == 1

    def test_one_that_starts_when_they_have_ended_already(self, issuer: Issuer) -> None:
        issuer.lasting(0.5)
        identity = identify(URL)
        old = identity.location
        issuer.lasting(60)
        time.sleep(0.6)
        store = open_store(old, identity.fresh)
        store.put("key", b"x")
        assert [status for _, _, status in issuer.seen] == [200]

    def test_a_source_that_fails_meanwhile_and_recovers(
        self, issuer: Issuer, caplog: pytest.LogCaptureFixture
    ) -> None:
        identity = identify(URL)
        store = open_store(identity.here, identity.fresh)
        issuer.breaks()
        time.sleep(1.2)  # due, and still good
        assert identity.fresh() is not None
        assert identity.fresh() is not None
        [warning] = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
        assert f"boto3 cannot give credentials for {URL}" in warning
        assert "the vault is locked" in warning
        assert "The ones at hand are good until" in warning
        time.sleep(1)
        with pytest.raises(StoreDeniedError, match=r"the vault is locked.*stands as credential_process"):
            identity.fresh()
        with pytest.raises(
            StoreDeniedError, match=r"they expired at .*, and were not renewed: .*the vault is locked"
        ):
            store.put("key", b"x")
        issuer.breaks(False)
        issuer.lasting(60)
        time.sleep(2)
        store.put("key", b"x")
        assert issuer.seen[-1] == (issuer.newest(), f"token-of-{issuer.newest()}", 200)

    def test_a_source_that_fails_from_the_start(self, issuer: Issuer) -> None:
        issuer.breaks()
        with pytest.raises(StoreDeniedError, match=r"custom-process: the vault is locked\): run the"):
            identify(URL)

    def test_a_source_that_gives_ended_ones(self, issuer: Issuer) -> None:
        issuer.lasting(-10)
        with pytest.raises(StoreDeniedError, match=r"credentials are still expired\): run the"):
            identify(URL)

    def test_staging_sends_those_of_the_moment(self, issuer: Issuer) -> None:
        staging = Staging(URL, "driver")
        first = staging.location
        ends = first.credentials and first.credentials.expires
        assert ends == pytest.approx(issuer.issued()[issuer.newest()], abs=0.01)
        time.sleep(1.2)
        assert staging.location.credentials == staging.fresh() != first.credentials
        staging.open().put("key", b"x")


class TestProviders:
    def test_environment(self, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
        use(rclone, monkeypatch)
        identity = identify(URL)
        assert identity.provider == "env"
        assert identity.location == identity.here
        assert identity.fresh() == identity.here.credentials
        assert identity.here.credentials is not None
        assert identity.here.credentials.expires is None

    def test_files(self, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        use(rclone, monkeypatch)
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        (tmp_path / "credentials").write_text(
            f"[default]\naws_access_key_id={servers.ACCESS_KEY}\naws_secret_access_key={servers.SECRET_KEY}\n"
        )
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        identity = identify(f"s3://{servers.BUCKET}")
        assert identity.provider == "shared-credentials-file"
        open_store(identity.location).put("key", b"x")

    def test_a_process(self, issuer: Issuer) -> None:
        assert identify(URL).provider == "custom-process"

    def test_a_role_assumed_by_what_a_process_gives(
        self, moto: servers.Server, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with (issuer.directory / "config").open("a") as config:
            config.write(
                f"[profile role]\nregion = us-east-1\nendpoint_url = {moto.endpoint}\n"
                "role_arn = arn:aws:iam::123456789012:role/trainer\nsource_profile = vault\n"
            )
        monkeypatch.setenv("AWS_PROFILE", "role")
        identity = identify(URL)
        credentials = identity.location.credentials
        assert identity.provider == "assume-role"
        assert credentials is not None
        assert credentials.token
        assert credentials.access_key not in issuer.issued()
        assert credentials.expires == pytest.approx(time.time() + 3600, abs=60)
        store = open_store(identity.here, identity.fresh)
        store.put("key", b"x")
        assert store.head("key") == 1

    def test_a_role_that_cannot_be_assumed(self, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
        with (issuer.directory / "config").open("a") as config:
            config.write(
                f"[profile role]\nregion = us-east-1\nendpoint_url = {issuer.endpoint}\n"
                "role_arn = arn:aws:iam::123456789012:role/trainer\nsource_profile = vault\n"
            )
        monkeypatch.setenv("AWS_PROFILE", "role")
        with pytest.raises(StoreDeniedError, match=r"`aws sts get-caller-identity --profile role` says"):
            identify(URL)

    def test_an_sso_session_that_has_ended(
        self, issuer: Issuer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        with (issuer.directory / "config").open("a") as config:
            config.write(
                "[profile sso]\nsso_start_url = https://nowhere.invalid/start\nsso_region = us-east-1\n"
                "sso_account_id = 123456789012\nsso_role_name = trainer\n"
            )
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("AWS_PROFILE", "sso")
        with pytest.raises(StoreDeniedError, match=r"log in again with `aws sso login --profile sso`"):
            identify(URL)

    def test_a_directory_needs_none(self, tmp_path: Path) -> None:
        for whose in ("driver", "worker"):
            identity = identify(tmp_path.as_uri(), credentials=whose)
            assert identity.provider is None
            assert identity.fresh() is None
            assert identity.location == identity.here == Location(tmp_path.as_uri())


class TestTheWorkersOwn:
    def test_none_travel(self, issuer: Issuer) -> None:
        staging = Staging(URL, "worker")
        assert staging.location == Location(URL, issuer.endpoint, "eu-west-7", own_credentials=True)
        staging.open().put("key", b"x")
        assert issuer.seen[-1][0] == issuer.newest()

    def test_neither(self) -> None:
        with pytest.raises(InputError, match=r"credentials is 'mine': expected 'driver' .* or 'worker'"):
            identify(URL, credentials="mine")


def test_no_repr_tells_a_secret(issuer: Issuer, hashes: HashCache) -> None:
    identity = identify(URL)
    location = identity.location
    store = open_store(location, identity.fresh)
    values = (identity, location, location.credentials, store, store._keys)
    shown = "".join(repr(value) + str(value) for value in values)
    assert "issuedsecret" not in shown
    assert "token-of" not in shown
    assert "issuedkey" not in shown
    assert pickle.loads(pickle.dumps(location)) == location

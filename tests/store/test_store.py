"""One behaviour of every store; and what `locate` makes of a user's AWS settings."""

from __future__ import annotations

import datetime
import pickle
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
import servers
from store_fixtures import s3_store, use

from ray_decorator.core.errors import (
    BucketNotFoundError,
    InputError,
    StoreDeniedError,
    StoreError,
    StoreUnreachableError,
)
from ray_decorator.core.values.stores import Credentials, Location
from ray_decorator.store.identity import locate
from ray_decorator.store.store import Store, open_store
from ray_decorator.store.transport.uplink import LEAST


def not_knowing(
    unknown: str, server: servers.Server
) -> AbstractContextManager[tuple[servers.Server, servers.Requests]]:
    return servers.counting(server, fault=lambda verb, path: "501" if verb == unknown else None)


class TestEveryStore:
    def test_an_object_is_read_as_it_was_written(self, store: Store) -> None:
        store.check()
        store.put("files/md5/ab/c d é", b"bytes")
        assert store.head("files/md5/ab/c d é") == 5
        incoming = store.get("files/md5/ab/c d é")
        assert incoming is not None
        assert incoming.size == 5
        assert bytes(incoming.read()) == b"bytes"

    def test_an_empty_object(self, store: Store) -> None:
        store.put("files/md5/d4/1d8c", b"")
        incoming = store.get("files/md5/d4/1d8c")
        assert incoming is not None
        assert (incoming.size, bytes(incoming.read())) == (0, b"")

    def test_what_is_not_there_is_none(self, store: Store) -> None:
        assert store.head("files/md5/no/thing") is None
        assert store.get("files/md5/no/thing") is None
        store.delete("files/md5/no/thing")

    def test_delete(self, store: Store) -> None:
        store.put("a/b", b"x")
        store.delete("a/b")
        assert store.head("a/b") is None

    def test_list_has_all_keys_below_a_prefix_with_their_sizes(self, store: Store) -> None:
        assert [row for page in store.list("files/md5") for row in page] == []
        for number in range(3):
            store.put(f"files/md5/0{number}/k", b"x" * number)
        store.put("ray_s3/jobs/1.json", b"{}")
        found = sorted(row for page in store.list("files/md5") for row in page)
        assert found == [("files/md5/00/k", 0), ("files/md5/01/k", 1), ("files/md5/02/k", 2)]

    def test_the_topmost_folders(self, store: Store) -> None:
        assert store.folders() == frozenset()
        for key in ("files/md5/ab/cd", "files/x", "ray_s3/y", "top"):
            store.put(key, b"1")
        assert store.folders() == {"files", "ray_s3"}

    def test_parts_become_one_object(self, store: Store) -> None:
        chunks = [bytes([number]) * (5 << 20) for number in range(3)] + [b"end"]
        store.put_parts("big", lambda: chunks, size=(15 << 20) + 3, part=5 << 20, window=2)
        incoming = store.get("big")
        assert incoming is not None
        assert b"".join(bytes(chunk) for chunk in incoming.chunks(1 << 20)) == b"".join(chunks)

    def test_an_upload_whose_source_fails_leaves_nothing(self, store: Store) -> None:
        def chunks():  # type: ignore[no-untyped-def]
            yield b"x" * (6 << 20)
            yield b"y" * (6 << 20)
            raise InputError("the file changed")

        with pytest.raises(InputError, match="the file changed"):
            store.put_parts("big", chunks, size=20 << 20, part=5 << 20, window=2)
        assert store.head("big") is None

    def test_an_upload_that_fails_does_not_pass_for_the_object_that_was_there(
        self, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RAY_S3_STORE_PATIENCE", "1")
        faults = servers.counting(rclone, fault=lambda verb, path: "503" if "partNumber" in path else None)
        with faults as (proxy, _):
            store, size = s3_store(proxy, monkeypatch), 6 << 20
            store.put("big", b"x" * size)
            with pytest.raises(StoreError, match="503"):
                store.put_parts("big", lambda: [b"y" * size], size, 5 << 20, 2)

    @pytest.mark.parametrize("answer", ["AccessDenied", "500", "501"])
    def test_why_an_upload_stopped_is_told_though_the_store_does_not_forget_its_parts(
        self, answer: str, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As where the credentials lack s3:AbortMultipartUpload, or the server knows no such thing (s3rver)."""
        monkeypatch.setenv("RAY_S3_STORE_PATIENCE", "2")

        def chunks():  # type: ignore[no-untyped-def]
            yield b"x" * (6 << 20)
            raise InputError("the file changed")

        forgets = servers.counting(
            rclone,
            refuse=lambda verb, path: answer == "AccessDenied" and verb == "DELETE",
            fault=lambda verb, path: answer if answer != "AccessDenied" and verb == "DELETE" else None,
        )
        with forgets as (proxy, requests):
            store = s3_store(proxy, monkeypatch)
            with pytest.raises(InputError, match="the file changed"):
                store.put_parts("big", chunks, size=20 << 20, part=5 << 20, window=2)
        assert "DELETE" in requests.verbs() and len(requests.paths("POST")) == 1, requests.seen

    @pytest.mark.parametrize("answer", ["500", "501"])
    def test_an_upload_whose_parts_are_taken_and_become_nothing_ends(
        self, answer: str, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RAY_S3_STORE_PATIENCE", "4")
        begun: list[str] = []

        def fault(verb: str, path: str) -> servers.Fault | None:
            if verb == "POST" and "?uploads" in path:
                begun.append(path)
                assert len(begun) < 10, "it goes on for ever"
            return answer if verb == "POST" and "uploadId=" in path else None  # type: ignore[return-value]

        with servers.counting(rclone, fault=fault) as (proxy, _):
            store = s3_store(proxy, monkeypatch)
            with pytest.raises(StoreError, match="uploadId="):
                store.put_parts("big", lambda: [b"y" * (5 << 20)] * 2, 10 << 20, 5 << 20, 2)

    def test_what_a_server_does_not_know_is_not_waited_for(
        self, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with not_knowing("PUT", rclone) as (proxy, _):
            store = s3_store(proxy, monkeypatch)
            began = time.monotonic()
            with pytest.raises(StoreError, match="NotImplemented"):
                store.put("a", b"x")
            assert time.monotonic() - began < 30, "the patience is 180 s"
            assert store.head("a") is None

    def test_a_server_that_lists_no_more_than_one_page_is_no_store_of_that_page(
        self, moto: servers.Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def as_version_1(path: str) -> str:  # such a server leaves out what it does not know
            return re.sub("(list-type|start-after|continuation-token)=", "unknown=", path)

        with servers.counting(moto, rewritten=as_version_1) as (proxy, _):
            store = s3_store(proxy, monkeypatch)
            with ThreadPoolExecutor(8) as pool:
                for part, keys in (("full", 1000), ("more", 1001), ("few", 3)):
                    list(pool.map(lambda n, part=part: store.put(f"{part}/{n:04}", b""), range(keys)))
            for part in ("full", "more"):
                with pytest.raises(StoreError, match="1000 objects: its server does not know ListObjectsV2"):
                    list(store.list(part))
            assert len([row for page in store.list("few") for row in page]) == 3
        direct = open_store(replace(store._location, endpoint=moto.endpoint))
        for part, keys in (("full", 1000), ("more", 1001), ("few", 3)):
            assert len([row for page in direct.list(part) for row in page]) == keys

    def test_an_object_is_deleted_also_where_deleting_many_at_once_is_unknown(
        self, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with not_knowing("POST", rclone) as (proxy, _):
            store = s3_store(proxy, monkeypatch)
            store.put("a", b"x")
            store.delete("a")
            store.delete("never there")
            assert store.head("a") is None

    def test_repr_and_pickles_of_a_location_tell_no_secret_on_screen(self, store: Store) -> None:
        assert servers.SECRET_KEY not in repr(store) + repr(store._location) + str(store._location)
        assert pickle.loads(pickle.dumps(store._location)) == store._location


class TestCheck:
    def test_wrong_secret(self, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
        use(rclone, monkeypatch)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nottherightone")
        with pytest.raises(StoreDeniedError) as info:
            open_store(locate("s3://bucket")).check()
        assert "does not accept the credentials (SignatureDoesNotMatch): check AWS_PROFILE" in str(info.value)
        assert "nottherightone" not in str(info.value)

    def test_unknown_key(self, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
        use(rclone, monkeypatch)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebodyelse")
        with pytest.raises(StoreDeniedError, match="InvalidAccessKeyId"):
            open_store(locate("s3://bucket")).check()

    @pytest.mark.parametrize("kind", ["rclone", "moto"])
    def test_missing_bucket(
        self, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use(request.getfixturevalue(kind), monkeypatch)
        with pytest.raises(
            BucketNotFoundError, match=r"s3://nobucket/p at http://127.* does not exist: create it"
        ):
            open_store(locate("s3://nobucket/p")).check()

    def test_nobody_listens(self, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
        use(rclone, monkeypatch)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{servers.free_port()}")
        started = time.monotonic()
        with pytest.raises(
            StoreUnreachableError, match=r"nobody answers for s3://bucket at http://127.* AWS_ENDPOINT_URL"
        ):
            open_store(locate("s3://bucket")).check()
        assert time.monotonic() - started < 10

    def test_a_server_that_accepts_and_is_silent(
        self, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use(rclone, monkeypatch)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
            started = time.monotonic()
            with pytest.raises(StoreUnreachableError, match="nobody answers"):
                open_store(locate("s3://bucket")).check()
            assert time.monotonic() - started < 10

    @pytest.mark.parametrize("status", [200, 400, 403, 404])
    def test_a_server_of_web_pages(
        self, status: int, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As a console's port, or a proxy on the way."""
        use(rclone, monkeypatch)
        with servers.web_pages(status) as endpoint:
            monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
            with pytest.raises(StoreUnreachableError, match=r"not as S3 does: .*Check AWS_ENDPOINT_URL"):
                open_store(locate("s3://bucket")).check()

    def test_one_request(self, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
        with servers.counting(rclone) as (server, requests):
            s3_store(server, monkeypatch).check()
        assert requests.verbs() == ["GET"]

    def test_a_directory_is_made(self, tmp_path: Path) -> None:
        open_store(locate(f"file://{tmp_path}/new/store")).check()
        assert (tmp_path / "new" / "store").is_dir()

    def test_a_directory_that_cannot_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError, match=r"file:///.*/file/store"):
            open_store(locate(f"file://{tmp_path}/file/store")).check()


class TestLocate:
    @pytest.mark.parametrize(
        "url", ["gs://bucket/x", "/tmp/x", "s3://", "file://relative/x", "file:///", "bucket"]
    )
    def test_what_is_no_store(self, url: str) -> None:
        with pytest.raises(InputError) as info:
            locate(url)
        assert f"s3_base_path is {url!r}" in str(info.value)
        assert "s3://bucket, s3://bucket/prefix, file:///absolute/directory" in str(info.value)

    def test_prefixes_are_made_one_of_a_kind(
        self, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use(rclone, monkeypatch)
        assert locate("s3://bucket/").url == "s3://bucket"
        assert locate("s3://bucket//a//b/").url == "s3://bucket/a/b"
        assert locate("file:///tmp/a%20b/").url == "file:///tmp/a b"
        assert locate("file:///tmp/a#b?c").url == "file:///tmp/a#b?c"

    def test_no_credentials(self, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
        use(rclone, monkeypatch)
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        with pytest.raises(
            StoreDeniedError, match="no AWS credentials were found for s3://bucket: set AWS_PROFILE"
        ):
            locate("s3://bucket")

    def test_unknown_profile(self, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
        use(rclone, monkeypatch)
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        with pytest.raises(InputError, match=r"\(nobody\) could not be found: AWS_PROFILE names none"):
            locate("s3://bucket")

    def test_a_profile_has_endpoint_region_and_ca_bundle(
        self, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        use(rclone, monkeypatch)
        for name in rclone.environment():
            monkeypatch.delenv(name)
        (tmp_path / "ca.pem").write_text("PEM")
        (tmp_path / "config").write_text(
            "[profile lab]\nregion = eu-west-7\nendpoint_url = http://s3.lab:9000\n"
            f"ca_bundle = {tmp_path}/ca.pem\n"
            "aws_access_key_id = key\naws_secret_access_key = secret\naws_session_token = token\n"
        )
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_PROFILE", "lab")
        assert locate("s3://bucket/x") == Location(
            "s3://bucket/x", "http://s3.lab:9000", "eu-west-7", "PEM", Credentials("key", "secret", "token")
        )

    def test_a_ca_bundle_that_cannot_be_read(
        self, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use(rclone, monkeypatch)
        monkeypatch.setenv("AWS_CA_BUNDLE", "/no/such.pem")
        with pytest.raises(InputError, match=r"the CA bundle '/no/such\.pem'"):
            locate("s3://bucket")

    def test_a_store_behind_a_ca_of_its_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        certificate, key = _certificate(tmp_path)
        options = ("--cert", str(certificate), "--key", str(key))
        with servers.rclone(tmp_path / "s3", *options, scheme="https") as server:
            with pytest.raises(StoreUnreachableError):
                s3_store(server, monkeypatch).check()
            monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
            store = open_store(locate("s3://bucket"))
            store.check()
            store.put("key", b"x")
            assert store.head("key") == 1
            store.put_parts("parts", lambda: [b"x" * LEAST, b"y"], LEAST + 1, LEAST, 2)
            assert store.head("parts") == LEAST + 1

    def test_a_worker_environment_does_not_mix_with_the_drivers_settings(
        self, rclone: servers.Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = s3_store(rclone, monkeypatch)
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "of the worker's own role")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "theworkers")
        monkeypatch.setenv("AWS_REGION", "eu-north-1")
        there = open_store(store._location)
        there.check()
        there.put("key", b"x")
        assert store.head("key") == 1


def test_a_store_that_dies_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_S3_STORE_PATIENCE", "1")
    with servers.rclone(tmp_path) as server:
        store = s3_store(server, monkeypatch)
        store.put("key", b"x")
    with pytest.raises(StoreUnreachableError, match="nobody answers"):
        store.get("key")


def _certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    paths = directory / "cert.pem", directory / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths


def test_the_default_store_is_not_where_others_could_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "ray_s3").mkdir()
    (tmp_path / "ray_s3").chmod(0o777)
    with pytest.raises(InputError, match=f"{tmp_path}/ray_s3 can be written to by others"):
        open_store(locate((tmp_path / "ray_s3" / "store").as_uri()))
    assert not (tmp_path / "ray_s3" / "store").exists()
    open_store(locate((tmp_path / "mine" / "store").as_uri())).check()

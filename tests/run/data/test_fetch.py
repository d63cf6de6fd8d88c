"""`ray-s3 fetch`: what could not come home comes later, and replaces nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import whole_trees
from trees import QUIET, read, sent, tree

from ray_decorator.__main__ import main
from ray_decorator.content import extras_file
from ray_decorator.content.hashes.hash_cache import HashCache
from ray_decorator.content.looking.snapshot import snapshot
from ray_decorator.content.manifest import object_key
from ray_decorator.core.errors import InputError, MissingObjectError
from ray_decorator.run.data.fetch import fetch
from ray_decorator.store.identity import locate
from ray_decorator.store.pushing import push_extras
from ray_decorator.store.store import Store, open_store
from ray_decorator.store.transfer import push

FILES = {"a": b"1", "sub/b": b"22"}


def test_a_directory_and_a_file_in_each_spelling(store: Store, tmp_path: Path, hashes: HashCache) -> None:
    digest = sent(tree(tmp_path / "t", FILES), store, hashes).content.digest
    assert fetch(f"{store.url}/{digest}", tmp_path / "new" / "home", QUIET) == 3
    assert read(tmp_path / "new" / "home") == FILES
    assert fetch(f"{store.url}/{object_key(digest)}", tmp_path / "new" / "home", QUIET) == 0
    digest = sent(tmp_path / "t" / "sub" / "b", store, hashes).content.digest
    assert fetch(f"{store.url}/{digest}", tmp_path / "b", QUIET) == 2
    assert (tmp_path / "b").read_bytes() == b"22"


def test_a_digest_alone_is_in_the_store_of_the_environment(
    tmp_path: Path, hashes: HashCache, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = (tmp_path / "store").as_uri()
    digest = sent(tree(tmp_path / "t", FILES), open_store(locate(url)), hashes).content.digest
    monkeypatch.setenv("RAY_S3_BASE_PATH", url)
    monkeypatch.chdir(tmp_path)
    assert main(["fetch", digest, "home"]) == 0
    assert read(tmp_path / "home") == FILES
    assert capsys.readouterr().out == "home is complete (3 B received)\n"


@pytest.mark.parametrize("from_store", [True, False])
def test_nothing_is_replaced(
    tmp_path: Path, hashes: HashCache, from_store: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tree(tmp_path / "t", FILES)
    url = (tmp_path / "store").as_uri()
    digest = sent(source, open_store(locate(url)), hashes).content.digest
    home = tree(tmp_path / "home", {"a": b"mine", "other": b"mine too"})
    what = f"{url}/{digest}" if from_store else str(source)
    with pytest.raises(InputError, match=r"1 file\(s\) with other bytes are in the way: .*/home/a\. Move"):
        fetch(what, home, QUIET)
    assert main(["fetch", what, str(home)]) == 1
    assert "are in the way" in capsys.readouterr().err
    assert read(home) == {"a": b"mine", "other": b"mine too"} and read(source) == FILES
    (home / "a").write_bytes(b"1")
    fetch(what, home, QUIET)
    assert read(home) == {**FILES, "other": b"mine too"}


def test_what_lies_in_an_area_of_ours(store: Store, tmp_path: Path, hashes: HashCache) -> None:
    source = tree(tmp_path / "t", {"log": b"1"})
    taken = snapshot(source, hashes, QUIET).within("directories")
    push(taken, store, hashes, QUIET)
    digest = taken.content.digest
    assert fetch(f"{store.url}/ray_s3/directories/{digest}", tmp_path / "one", QUIET) > 0
    assert read(tmp_path / "one") == read(source)
    with pytest.raises(MissingObjectError):
        fetch(f"{store.url}/{digest}", tmp_path / "two", QUIET)


def test_what_is_not_there_says_so(store: Store, tmp_path: Path) -> None:
    store.put("files/md5/00/x", b"")
    with pytest.raises(MissingObjectError, match=r"files/md5/00/0+"):
        fetch(f"{store.url}/{'0' * 32}", tmp_path / "home", QUIET)
    with pytest.raises(
        InputError, match=r"no/such/path is neither a path on this machine nor a content's name"
    ):
        fetch("no/such/path", tmp_path / "home", QUIET)


def test_what_a_manifest_cannot_say_comes_too(
    tmp_path: Path, hashes: HashCache, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(locate((tmp_path / "store").as_uri()))
    there = whole_trees.build(
        tmp_path / "t", {**whole_trees.TREES["modes"], "none/": 0o755, "latest": "closed"}
    )
    content = sent(there, store, hashes).content
    push_extras([content], store)
    extras = extras_file.dump(content)
    assert extras is not None
    what = f"{store.url}/{content.digest}+{extras[0]}"
    fetch(what, tmp_path / "home", QUIET)
    assert whole_trees.described(tmp_path / "home") == whole_trees.described(there)
    for mine in ("file", "link"):
        home = tmp_path / mine
        home.mkdir()
        (home / "latest").write_bytes(b"mine") if mine == "file" else (home / "latest").symlink_to(
            "/elsewhere"
        )
        with pytest.raises(InputError, match=r"are in the way: .*/latest\. Move"):
            fetch(what, home, QUIET)
        assert len(list(home.iterdir())) == 1
    store.delete(extras_file.key_of(extras[0]))
    fetch(what, tmp_path / "plain", QUIET)
    assert (
        read(tmp_path / "plain") == read(there) and "is not there any more: files come without" in caplog.text
    )

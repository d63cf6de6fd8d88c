"""The driver's side of a store: hashed once, pushed as a batch, and pushed again where it was lost."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

import dvc_repositories
import pytest
import servers
from dvc_repositories import Dvc
from fake_cluster import call
from store_fixtures import s3_store
from trees import QUIET, Tally, read, tree

from ray_decorator.content.manifest import md5, object_key
from ray_decorator.core.errors import InputError, MissingObjectError
from ray_decorator.core.records.records import Checkpoint, checkpoint_key, dump
from ray_decorator.core.values.contents import Content
from ray_decorator.core.values.model import Dep, Home, Job, Out, PathId, PathSlot
from ray_decorator.run.data.staging import Staging
from ray_decorator.store.transfer import Snapshot


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def staging(home: Path) -> Staging:
    return Staging((home / "store").as_uri(), "driver")


def slots(*paths: Path) -> list[PathSlot]:
    return [PathSlot.at((n,), f"key{n}", path) for n, path in enumerate(paths)]


def hashed(staging: Staging, *paths: Path) -> list[Snapshot]:
    found = staging.hash(slots(*paths), QUIET)
    assert all(isinstance(one, Snapshot) for one in found.values())
    return [one for one in found.values() if isinstance(one, Snapshot)]


def test_the_store_is_opened_when_it_is_needed(staging: Staging, home: Path) -> None:
    (home / "a").write_bytes(b"1")
    assert len(hashed(staging, home / "a")) == 1
    assert not (home / "store").exists()
    assert staging.open() is staging.open()


def test_where_no_data_travels_a_cache_that_cannot_be_used_is_no_problem(
    staging: Staging, home: Path
) -> None:
    (home / "elsewhere").mkdir()
    (home / "cache").mkdir()
    (home / "cache" / "ray_s3").symlink_to(home / "elsewhere")
    staging.record_outs([call("#0", home)])
    assert staging.hash([], QUIET) == {}
    with pytest.raises(InputError, match="is a symlink"):
        staging.hash(slots(home), QUIET)


def test_one_path_under_two_names_is_hashed_once_and_a_wrong_one_is_named(
    staging: Staging, home: Path
) -> None:
    (home / "a").write_bytes(b"1")
    (home / "link").symlink_to("a")
    found = staging.hash(slots(home / "a", home / "link", home / "gone"), QUIET)
    assert list(found) == [str(home / "a"), str(home / "gone")]
    wrong = found[str(home / "gone")]
    assert isinstance(wrong, InputError) and "gone" in str(wrong)


def test_what_is_there_is_not_sent_again(staging: Staging, home: Path) -> None:
    tree(home / "a", {"x": b"same", "y": b"other"})
    (home / "b").write_bytes(b"same")
    both = hashed(staging, home / "a", home / "b")
    sent = staging.push(both, QUIET)
    assert sent[0] > 0 and sent[1] == 0  # its bytes went up with the tree
    assert staging.push(both, QUIET) == [0, 0]


def test_what_a_dvcignore_names_is_not_staged(staging: Staging, home: Path) -> None:
    (home / ".dvc").mkdir()
    (home / ".dvcignore").write_text("*.env\n")
    tree(home / "data", {"a.env": b"SECRET", "b": b"1"})
    (home / "x.env").write_text("SECRET")
    found = staging.hash(slots(home / "data", home / "x.env"), QUIET)
    taken, refused = found[str(home / "data")], found[str(home / "x.env")]
    assert isinstance(taken, Snapshot) and [entry.relpath for entry in taken.entries] == ["b"]
    assert isinstance(refused, InputError) and ".dvcignore:1: *.env" in str(refused)
    staging.push([taken], QUIET)
    # nor by a name that is in no repository
    (home.parent / "link").symlink_to(home / "data")
    (home.parent / "link.env").symlink_to(home / "x.env")
    found = staging.hash(slots(home.parent / "link", home.parent / "link.env"), QUIET)
    linked, refused = found[str(home / "data")], found[str(home / "x.env")]
    assert isinstance(linked, Snapshot) and linked.content == taken.content
    assert isinstance(refused, InputError) and ".dvcignore:1: *.env" in str(refused)
    assert not [p for p in (home / "store").rglob("*") if p.is_file() and b"SECRET" in p.read_bytes()]


def test_of_two_names_of_a_directory_the_one_in_a_repository_says_what_counts(
    staging: Staging, home: Path
) -> None:
    tree(home / "disk", {".env": b"SECRET", "b": b"1"})
    (home / "repository" / ".dvc").mkdir(parents=True)
    (home / "repository" / ".dvcignore").write_text(".env\n")
    (home / "repository" / "data").symlink_to(home / "disk")
    [taken] = hashed(staging, home / "disk", home / "repository" / "data")
    assert taken.content.files == 1
    [whole] = hashed(staging, home / "disk")
    assert whole.content.files == 2


@pytest.mark.parametrize(("folder", "told"), [("ab", 1), ("files", 0), ("abc", 0)])
def test_a_dvc_remote_in_the_layout_of_dvc_2_is_told_of(
    home: Path, caplog: pytest.LogCaptureFixture, folder: str, told: int
) -> None:
    tree(home / "store", {f"{folder}/cdef": b"1"})
    with caplog.at_level(logging.WARNING):
        Staging((home / "store").as_uri(), "driver").open()
        assert caplog.messages == []
        Staging((home / "store").as_uri(), "driver", is_remote=True).open()
    assert sum("as DVC 2 laid them out" in message for message in caplog.messages) == told


def test_outs_come_home_and_beside_what_is_in_the_way(staging: Staging, home: Path) -> None:
    [taken] = hashed(staging, tree(home / "out", {"x": b"1"}))
    staging.push([taken], QUIET)
    [pulled] = staging.pull_all([(taken.content, home / "back")], QUIET)
    assert (pulled.error, read(home / "back")) == (None, {"x": b"1"})
    (home / "taken").write_text("the user's")
    beside = staging.pull_aside(taken.content, home / "taken", QUIET)
    assert beside.name.startswith("taken.ray_s3") and read(beside) == {"x": b"1"}
    assert (home / "taken").read_text() == "the user's"


class TestLost:
    def test_it_is_uploaded_again_once_however_many_jobs_miss_it(
        self, staging: Staging, home: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (home / "a").write_bytes(b"1")
        [taken] = hashed(staging, home / "a")
        staging.push([taken], QUIET)
        since = staging.reuploads([taken])
        assert since == {taken.content.digest: 0}
        [stored] = [
            path for path in (home / "store").rglob("*") if path.is_file() and path.read_bytes() == b"1"
        ]
        stored.unlink()
        with caplog.at_level(logging.WARNING):
            staging.reupload([taken], since, [taken.content.digest], QUIET)
            assert stored.read_bytes() == b"1"
            stored.unlink()
            staging.reupload([taken], since, [taken.content.digest], QUIET)  # another job of the same time
            assert not stored.exists()
        assert staging.reuploads([taken]) == {taken.content.digest: 1}
        [record] = caplog.records
        key = object_key(taken.content.digest)
        assert record.getMessage().endswith(
            "no longer holds 1 object(s) as they were staged there (deleted, or other bytes): "
            f"{home / 'a'} (deps key 'key0', {key}). They were uploaded again"
        )
        staging.reupload([taken], staging.reuploads([taken]), [taken.content.digest], QUIET)
        assert stored.exists() and staging.reuploads([taken]) == {taken.content.digest: 2}

    @pytest.mark.parametrize("bytes_there", [b"22", b"2"], ids=["another size", "the same size"])
    def test_a_spoilt_object_is_replaced(self, staging: Staging, home: Path, bytes_there: bytes) -> None:
        tree(home / "t", {"x/a": b"1"})
        [taken] = hashed(staging, home / "t")
        staging.push([taken], QUIET)
        [entry] = taken.entries
        stored = home / "store" / object_key(entry.md5)
        stored.write_bytes(bytes_there)
        staging.reupload([taken], staging.reuploads([taken]), [entry.md5], QUIET)
        assert stored.read_bytes() == b"1"

    def test_bytes_that_are_nowhere_any_more_are_named(self, staging: Staging, home: Path) -> None:
        tree(home / "t", {"x/a": b"1"})
        [taken] = hashed(staging, home / "t")
        staging.push([taken], QUIET)
        [entry] = taken.entries
        (home / "store" / object_key(entry.md5)).unlink()
        (home / "t" / "x" / "a").write_bytes(b"2")
        with pytest.raises(MissingObjectError) as info:
            staging.reupload([taken], staging.reuploads([taken]), [entry.md5], QUIET)
        assert f"{home}/t/x/a (deps key 'key0', {object_key(entry.md5)})" in str(info.value)
        assert "these bytes are not at home any more" in str(info.value)

    def test_the_code_goes_up_again_with_what_a_job_reads(self, staging: Staging, home: Path) -> None:
        (home / "a").write_bytes(b"1")
        tree(home / "src", {"train.py": b"x = 1"})
        [taken] = hashed(staging, home / "a")
        staging.push([taken], QUIET)
        code, sent = staging.push_code([("train.py", str(home / "src" / "train.py"))], QUIET)
        assert sent > 0 and code.content.files == 1
        assert (home / "store/ray_s3/code" / object_key(code.content.digest)).exists()
        assert set(staging.reuploads([taken])) == {taken.content.digest, code.content.digest}


def test_of_a_job_whose_node_is_lost_the_newest_checkpoint_by_its_outs(staging: Staging, home: Path) -> None:
    content, other = Content("0" * 32, 3, 1), Content("1" * 32, 3, 1)
    deps = tuple(Dep(key, key, content, inside=inside) for key, inside in (("a", None), ("b", (1, "in/b"))))
    outs = (Out("a", "a"), Out("dir", "dir"), Out("b", "b", inside=(1, "in/b"), is_dep=True))
    job = Job("abc-2", "#0", b"", deps, outs, False, "/", (), 0, attempt=2)
    assert staging.checkpoint(job) == {}
    made = Checkpoint(2, 1.0, ((0, content), (1, other), (7, other)))
    staging.open().put(checkpoint_key("abc", 2), dump(made) or b"")
    assert staging.checkpoint(job) == {2: replace(other, area="checkpoints/abc/2")}
    at_home = replace(job, outs=(replace(outs[2], inside=None, home=Home("/", PathId("/", "", 0, 0))),))
    assert staging.checkpoint(at_home) == {}, "it cannot be lost"


STAGE_TWO = """
import json
from pathlib import Path
from trees import QUIET, Tally, settle
from ray_decorator.core.values.model import PathSlot
from ray_decorator.run.data.staging import Staging

settle()
reads = []
for _ in range(2):
    tally = Tally()
    staging = Staging(Path("../store").resolve().as_uri(), "driver")
    slot = PathSlot.at((0,), "data", Path("mid").absolute())
    staging.push([staging.hash([slot], tally)[slot.real]], QUIET)
    reads.append(tally.done.get("hashing", [0])[0])
Path("end").write_text(json.dumps(reads))
"""


@pytest.mark.parametrize(("kind", "reads"), [("symlink", [0, 0]), ("hardlink", [0, 0]), ("copy", [3, 0])])
def test_what_one_stage_of_dvcs_wrote_is_not_hashed_for_the_next_one(
    dvc: Dvc, home: Path, monkeypatch: pytest.MonkeyPatch, kind: str, reads: list[int]
) -> None:
    root = dvc_repositories.init(home / "repository")
    (root / ".dvc" / "config").write_text(f"[core]\nno_scm = true\n[cache]\ntype = {kind}\n")
    (root / "one.py").write_text(
        "import os\nos.mkdir('mid')\nfor name in 'abc': open(f'mid/{name}', 'w').write(name)"
    )
    (root / "two.py").write_text(STAGE_TWO)
    (root / "dvc.yaml").write_text(
        "stages:\n"
        f"  one: {{cmd: {sys.executable} one.py, outs: [mid]}}\n"
        f"  two: {{cmd: {sys.executable} two.py, deps: [mid], outs: [end]}}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "support"))
    with contextlib.chdir(root), dvc.repo() as repo:
        repo.reproduce()
    assert json.loads((root / "end").read_text()) == reads


def test_single_files_that_the_remote_has_are_neither_read_nor_sent(
    dvc: Dvc, home: Path, monkeypatch: pytest.MonkeyPatch, rclone: servers.Server
) -> None:
    root = dvc_repositories.init(home / "repository")
    (root / ".dvc" / "config").write_text("[core]\nno_scm = true\n[cache]\ntype = hardlink\n")
    files = [root / name for name in ("a", "b", "new")]
    for file in files:
        file.write_text(file.name)
    with contextlib.chdir(root), dvc.repo() as repo:
        repo.add([str(file) for file in files])
    with servers.counting(rclone) as (proxy, requests):
        remote = s3_store(proxy, monkeypatch)
        for file in files[:2]:
            remote.put(object_key(md5(file.read_bytes()).hexdigest()), file.read_bytes())
        requests.seen.clear()
        staging, tally = Staging(remote.url, "driver"), Tally()
        taken = list(staging.hash(slots(*files), tally).values())
        sent = staging.push([one for one in taken if isinstance(one, Snapshot)], tally)
    assert "hashing" not in tally.expected and sent == [0, 0, 3]
    assert sorted(requests.verbs()) == ["GET", "HEAD", "HEAD", "HEAD", "PUT"]

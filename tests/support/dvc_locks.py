"""Pipelines with locks that are written by hand, and what the real dvc and ours read in them."""

from __future__ import annotations

from pathlib import Path

from dvc_repositories import Dvc

from ray_decorator.dvc.tracked.recorded import Output


def written(root: Path, **texts: str) -> None:
    for name, text in texts.items():
        (root / f"dvc.{name}").write_text(text)


def locked(**outs: str) -> str:
    """A ``dvc.lock``: what each stage wrote, whose md5 is of one digit."""
    return "schema: '2.0'\nstages:\n" + "".join(
        f"  {stage.replace('_at_', '@')}:\n    cmd: x\n    outs:\n"
        + "".join(
            f"    - {{path: {path}, hash: md5, md5: '{digit * 32}', size: 1}}\n"
            for path, digit in (out.split("=") for out in text.split())
        )
        for stage, text in outs.items()
    )


def theirs(dvc: Dvc, root: Path) -> dict[str, tuple[str, str | None, bool]]:
    with dvc.repo(str(root)) as repo:
        return {
            out.fs_path: (out.hash_info.value, out.remote, out.use_cache)
            for out in repo.index.outs
            if out.hash_info
        }


def ours(found: list[Output]) -> dict[str, tuple[str, str | None, bool]]:
    assert len({one.path for one in found}) == len(found)
    return {one.path: (one.digest, one.remote, one.is_cached) for one in found if one.digest}

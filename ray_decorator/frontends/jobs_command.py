"""``ray-s3 jobs``: which jobs have finished, by their receipts in the store."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..core.errors import RayS3Error
from ..core.options.settings import Settings
from ..display.receipts import show_receipts
from ..run.ledger.history import receipts

_EPILOG = """\
examples:
  ray-s3 jobs
  ray-s3 jobs --app train --last 200
  ray-s3 jobs s3_base_path=s3://bucket/prefix
  ray-s3 jobs hydra/launcher=cluster

Overrides are those of `ray-s3 doctor`. Without any, the store is the one of RAY_S3_BASE_PATH, else that of runs with
nothing configured, whose jobs leave their receipts on this machine.
"""


def main(arguments: Sequence[str], settings_of: Callable[[Sequence[str], Path | None], Settings]) -> int:
    """Run the command line; its exit code. ``settings_of`` resolves overrides and a directory of presets."""
    options = _parser().parse_intermixed_args(arguments)
    try:
        settings = settings_of(options.overrides, options.config_dir)
        found = receipts(settings, options.app)
    except (RayS3Error, OSError) as exc:
        print(f"ray-s3 jobs: {exc}", file=sys.stderr)
        return 1
    shown = found[-options.last :]
    if shown:
        show_receipts(shown)
    of = f" of {options.app}" if options.app else ""
    more = f"; the last {len(shown)} are shown" if len(shown) < len(found) else ""
    print(f"{len(found)} receipts{of} in {settings.store_url}{more}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ray-s3 jobs",
        description="List the jobs of Hydra apps that have finished: when, overrides, value, node, seconds, and the "
        "bytes that they wrote. hydra.launcher.resume=true brings them home instead of running them again.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="override", help="such as s3_base_path=s3://bucket/prefix"
    )
    parser.add_argument("--app", default="", metavar="NAME", help="only those of this app (hydra.job.name)")
    parser.add_argument(
        "--last", type=_count, default=50, metavar="N", help="so many, the newest; default: 50"
    )
    parser.add_argument("--config-dir", type=Path, metavar="DIR", help="where your presets are")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)

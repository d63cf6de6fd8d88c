"""Data of a DVC repository to a remote on S3 and back, beside the real dvc with dvc-s3, on one `rclone serve s3`.

    python tests/benchmarks/dvc.py [--rounds 3] [--files 5000] [--dvc ENVIRONMENT] [--python BEFORE --python AFTER]

5,000 files of 20 kB. All take turns, and all are whole processes; each time with new data and a new prefix of the
bucket, and with nothing known of either. uv installs dvc into an environment of its own, unless ``--dvc`` names one.

Then dvc has pushed, and ours stages what is there: links into dvc's cache, and a directory that is not here at all.
Requests are counted behind a proxy, files that are opened by Python's audit events. At last another workspace of the
same cache is checked out and staged, as the next experiment of a queue is.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import programs
from uv import find_uv_bin

sys.path.append(str(Path(__file__).parents[1] / "support"))

import servers

SIZE = 20_000
OURS = """
import json, pickle, sys, time
from pathlib import Path

opened = set()
sys.addaudithook(lambda event, args: opened.add(str(args[0])) if event == "open" else None)

from ray_decorator.core.values.model import PathSlot
from ray_decorator.core.progress import NoProgress
from ray_decorator.dvc.remote import find
from ray_decorator.run.data.staging import Staging

verb, repository, content = sys.argv[1:]
started, quiet = time.perf_counter(), NoProgress()
remote, data = find(repository), Path(repository, "data")
staging = Staging(remote.url, "driver", remote.account, is_remote=True)
staging.open()
opening, cpu = time.perf_counter() - started, time.process_time()
if verb == "up":
    slot = PathSlot.at((0,), "data", data)
    taken = staging.hash([slot], quiet)[slot.real]
    staging.push([taken], quiet)
    Path(content).write_bytes(pickle.dumps(taken.content))
else:
    [pulled] = staging.pull_all([(pickle.loads(Path(content).read_bytes()), data)], quiet)
    assert pulled.error is None
told = {"seconds": time.perf_counter() - started - opening, "cpu": time.process_time() - cpu, "opening": opening}
read = [path for path in opened if path.startswith((f"{data}/", f"{repository}/.dvc/cache/files/md5/"))]
print(json.dumps({**told, "files read": sum(not path.endswith(".dir") for path in read)}))
"""
UP, DOWN = "up, of dvc add && dvc push", "down, of dvc pull"
SYMLINKED, HARDLINKED, ABSENT = (f"on the remote, {how}" for how in ("symlinks", "hardlinks", "not here"))
READ, REQUESTS, NEXT = "files read", "requests", "staging of the next experiment, s"
LIMITS = {UP: 0.3, DOWN: 0.3} | {
    f"{row}: {what}": most
    for row in (SYMLINKED, HARDLINKED, ABSENT)
    for what, most in ((REQUESTS, 3), (READ, 0), (NEXT, 0.1))
}


@dataclass(frozen=True)
class Bench:
    root: Path
    server: servers.Server
    dvc: Path
    results: programs.Results

    def repository(self, name: str, kind: str = "copy", server: servers.Server | None = None) -> Path:
        """A new one, with a default remote of its own and no data."""
        root = self.root / name
        root.mkdir()
        environ = self._environ()
        for command in (
            ["init", "--no-scm", "--quiet"],
            ["config", "cache.type", kind],
            ["remote", "add", "--quiet", "--default", "store", f"s3://{servers.BUCKET}/{name}"],
            ["remote", "modify", "store", "endpointurl", (server or self.server).endpoint],
        ):
            programs.run([self.dvc, *command], root, environ)
        return root

    def run_dvc(self, repository: Path, *arguments: str) -> float:
        return programs.run([self.dvc, *arguments], repository, self._environ()).seconds

    def ours(
        self, python: Path, verb: str, repository: Path, content: Path, **more: str
    ) -> tuple[float, dict[str, float]]:
        """Seconds of the whole process, and what it says of itself."""
        command = [python, self.root / "ours.py", verb, repository, content]
        ran = programs.run(command, repository, {**self._environ(), **more})
        return ran.seconds, json.loads(ran.output.splitlines()[-1])

    def _environ(self) -> dict[str, str]:
        keys = self.server.environment()
        del keys["AWS_ENDPOINT_URL"]  # the remote has it
        return programs.environment(self.root, **keys, DVC_NO_ANALYTICS="1")


def there_and_back(bench: Bench, files: int, number: int, pythons: Sequence[Path]) -> None:
    spent: dict[str, tuple[float, float]] = {}
    for who in programs.in_turns([*pythons, "dvc"], number):
        name = who if isinstance(who, str) else programs.label(who)
        repository = bench.repository(f"{name}{number}")
        programs.make_files(repository / "data", files, (SIZE, SIZE))
        same, content = bench.root / "same", bench.root / "content"
        shutil.copytree(repository / "data", same)
        if isinstance(who, str):
            up = bench.run_dvc(repository, "add", "--quiet", "data")
            up += bench.run_dvc(repository, "push", "--quiet")
            shutil.rmtree(repository / "data")
            shutil.rmtree(repository / ".dvc" / "cache")
            down = bench.run_dvc(repository, "pull", "--quiet")
        else:
            up, _ = bench.ours(who, "up", repository, content)
            shutil.rmtree(repository / "data")
            down, _ = bench.ours(who, "down", repository, content)
        subprocess.run(["diff", "-rq", same, repository / "data"], check=True)
        spent[name] = up, down
        for way, seconds in (("up", up), ("down", down)):
            bench.results.add(f"{way}, s", name, seconds)
        for gone in (same, repository, bench.root / "s3" / servers.BUCKET / repository.name):
            shutil.rmtree(gone)
    for python in pythons:
        ours = spent[programs.label(python)]
        for row, mine, theirs in zip((UP, DOWN), ours, spent["dvc"], strict=True):
            bench.results.add(row, programs.label(python), mine / theirs)


def on_the_remote(bench: Bench, files: int, kind: str, number: int, python: Path) -> None:
    """What dvc has pushed is staged: by its links, once more in another workspace, and where it is not here."""
    content, row = bench.root / "content", f"on the remote, {kind}s"
    with servers.counting(bench.server) as (behind, requests):
        first = bench.repository(f"{kind}{number}{programs.label(python)}", kind, behind)
        other, known = bench.root / f"{first.name}-next", str(bench.root / f"known{first.name}")
        programs.make_files(first / "data", files, (SIZE, SIZE))
        bench.run_dvc(first, "add", "--quiet", "data")
        bench.run_dvc(first, "push", "--quiet")

        def stage(repository: Path, **more: str) -> dict[str, float]:
            requests.seen.clear()
            _, told = bench.ours(python, "up", repository, content, **more)
            return {**told, REQUESTS: len(requests.seen)}

        def add(row: str, told: dict[str, float]) -> None:
            for what in (REQUESTS, READ):
                bench.results.add(f"{row}: {what}", programs.label(python), told[what])
            bench.results.add(f"{row}: staging, s", programs.label(python), told["seconds"])

        add(row, stage(first, XDG_CACHE_HOME=known))
        shutil.copytree(first, other, ignore=shutil.ignore_patterns("cache", "tmp", "data"))
        bench.run_dvc(other, "cache", "dir", str(first / ".dvc" / "cache"))
        bench.run_dvc(other, "checkout", "--quiet")
        told = stage(other, XDG_CACHE_HOME=known)
        assert told[READ] == 0
        bench.results.add(f"{row}: {NEXT}", programs.label(python), told["seconds"])
        bench.results.add(f"{row}: {NEXT} of CPU", programs.label(python), told["cpu"])
        bench.results.add("identity found and store opened, s", programs.label(python), told["opening"])
        shutil.rmtree(first / "data")
        add(ABSENT, stage(first))
    for gone in (first, other, bench.root / "s3" / servers.BUCKET / first.name):
        shutil.rmtree(gone)


def installed(root: Path) -> Path:
    """dvc with dvc-s3 in an environment of their own: beside another boto3, they do not resolve."""
    uv = find_uv_bin()
    subprocess.run([uv, "venv", "--quiet", root / "dvc"], check=True)
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", root / "dvc" / "bin" / "python", "dvc", "dvc-s3"],
        check=True,
    )
    return root / "dvc"


def main() -> int:
    parser = programs.parser(__doc__, rounds=3)
    parser.add_argument("--files", type=int, default=programs.FILES)
    parser.add_argument("--dvc", type=Path, help="an environment with dvc and dvc-s3")
    options = parser.parse_args()
    pythons = programs.pythons(options)
    with programs.directory() as root, servers.rclone(root / "s3") as server:
        venv = (options.dvc or installed(root)).absolute()
        bench = Bench(root, server, venv / "bin" / "dvc", programs.Results(pythons))
        (root / "ours.py").write_text(OURS)
        there_and_back(Bench(root, server, bench.dvc, programs.Results(pythons)), 10, 0, pythons)  # bytecode
        for number in range(options.rounds):
            there_and_back(bench, options.files, number, pythons)
            for kind in ("symlink", "hardlink"):
                for python in programs.in_turns(pythons, number):
                    on_the_remote(bench, options.files, kind, number, python)
            print(f"round {number} of {options.rounds}", flush=True)
    return bench.results.show(LIMITS)


if __name__ == "__main__":
    sys.exit(main())

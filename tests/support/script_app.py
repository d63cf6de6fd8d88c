"""A script that uses its own names in all ways that scripts do: it says the same wherever it runs."""

SCRIPT = """\
import concurrent.futures, enum, inspect, multiprocessing, os, pickle, sys, threading
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra.utils import get_class, instantiate

LOCK = threading.Lock()
UNSENT = (n for n in "cannot be pickled")


@dataclass
class Item:
    size: int


class Kind(enum.Enum):
    ONE = 1


class NeverNamed:
    def __init__(self, by):
        self.by = by


def square(n):
    return n * n


def locked():
    with LOCK:
        return 1


def unsent():
    return next(UNSENT)


def pooled(method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(square, [1, 2, 3])


def forked(end):
    child = os.fork()
    if not child:
        end()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def told(cfg):
    yield pickle.loads(pickle.dumps(Item(2))) == Item(2)
    yield pickle.loads(pickle.dumps(Kind.ONE)) is Kind.ONE
    yield pickle.loads(pickle.dumps(square))(3)
    yield get_class("__main__." + "Never" + "Named").__name__
    yield instantiate({"_target_": "__main__." + "Never" + "Named", "by": 4}).by
    for method in ("fork", "spawn", "forkserver"):
        yield pooled(method)
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        yield list(pool.map(square, [4, 5]))
    yield Path(__file__).name, (Path(__file__).parent / "beside.txt").read_text()
    yield Path(sys.modules["__main__"].__file__).name
    yield inspect.getsource(square)
    yield forked(lambda: sys.exit(5))
    yield locked()


@hydra.main(version_base=None, config_path=None)
def main(cfg):
    lines = [repr(line) for line in told(cfg)]
    if cfg.get("forked") == "returns" and not os.fork():
        return "the child's"
    if cfg.get("forked") == "raises":
        raise ValueError("on line " + str(inspect.currentframe().f_lineno))
    if cfg.get("forked") == "returns":
        os.wait()
    (Path(hydra.core.hydra_config.HydraConfig.get().runtime.output_dir) / "told.txt").write_text(
        "\\n".join(lines)
    )
    return "the job's"


if __name__ == "__main__":
    main()
"""

TOLD = [
    "True",
    "True",
    "9",
    "'NeverNamed'",
    "4",
    "[1, 4, 9]",
    "[1, 4, 9]",
    "[1, 4, 9]",
    "[16, 25]",
    "('script.py', 'beside')",
    "'script.py'",
    r"'def square(n):\n    return n * n\n'",
    "5",
    "1",
]
RAISES = 'raise ValueError("on line " + str(inspect.currentframe().f_lineno))'

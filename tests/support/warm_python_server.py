"""See `warm_python`: imports what apps import, and forks a program for each that asks.

Standard library only, before the imports. A program runs in the fork as Python runs it: the same ``__main__``,
``sys.argv``, ``sys.path``, streams and traceback.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import gc
import importlib
import importlib.util
import json
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
import types
import warnings
from importlib.machinery import BuiltinImporter, SourceFileLoader
from pathlib import Path
from typing import Any

_interrupted: list[BaseException] = []  # in a program: what it has not caught


def serve(place: str) -> dict[str, Any]:
    """What the program is to run with, in each fork; in the server itself, this never returns."""
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(place)
    listener.listen(100)
    print("ready", flush=True)
    asking: dict[int, socket.socket] = {}  # by the program's pid
    while True:
        for ready in select.select([0, wake, listener, *asking.values()], [], [])[0]:
            if ready == 0:  # the tests have ended
                for pid in asking:
                    os.kill(pid, signal.SIGKILL)
                shutil.rmtree(os.path.dirname(place))
                os._exit(0)
            elif ready == wake:
                os.read(wake, 4096)
                _tell_ends(asking)
            elif ready is listener:
                connection, _ = listener.accept()
                wanted, streams = _read(connection)
                pid = os.fork()
                if not pid:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for number, stream in enumerate(streams):
                        os.dup2(stream, number)
                    for each in (*streams, wake, woken, listener.detach(), connection.detach()):
                        os.close(each)
                    for other in asking.values():
                        os.close(other.detach())
                    return wanted
                for stream in streams:
                    os.close(stream)
                asking[pid] = connection
                _tell(connection, pid)
            else:  # the starter is gone, unless the program has ended just now
                for pid in [pid for pid, connection in asking.items() if connection is ready]:
                    os.kill(pid, signal.SIGKILL)
                    asking.pop(pid).close()


def _read(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile() as asked:
        wanted: dict[str, Any] = json.loads(asked.readline())
    return wanted, streams


def _tell_ends(asking: dict[int, socket.socket]) -> None:
    while asking:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        if (connection := asking.pop(pid, None)) is not None:
            _tell(connection, status)
            connection.close()


def _tell(connection: socket.socket, number: int) -> None:
    with contextlib.suppress(ConnectionError):  # the starter was killed just now
        connection.sendall(b"%d\n" % number)


def become(wanted: dict[str, Any]) -> None:
    """Run the program, as ``python arguments…`` does."""
    os.setsid()
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["environ"])
    tempfile.tempdir = None
    time.tzset()
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdout.reconfigure(line_buffering=os.isatty(1), write_through=unbuffered)  # type: ignore[union-attr]
    if os.environ.get("PYTHONFAULTHANDLER"):
        faulthandler.enable()
    sys.orig_argv = [sys.executable, *wanted["arguments"]]
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    what, *arguments = wanted["arguments"]
    filters = [one for one in [os.environ.get("PYTHONWARNINGS")] if one]
    while what == "-W":
        filters.append(arguments[0])
        what, *arguments = arguments[1:]
    for action in filters:
        sys.warnoptions.append(action)
        warnings.simplefilter(action)  # type: ignore[arg-type]
    if what == "-m":
        sys.argv = arguments
        sys.path.insert(0, os.getcwd())
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    elif what == "-c":
        sys.argv = ["-c", *arguments[1:]]
        sys.path.insert(0, "")
        _run(arguments[0], "<string>", None)
    else:
        file = os.path.join(os.getcwd(), what)
        sys.argv = [what, *arguments]
        sys.path.insert(0, os.path.dirname(os.path.realpath(file)))
        _run(Path(file).read_text(), what, file)


def _run(source: str, name: str, file: str | None) -> None:
    main = types.ModuleType("__main__")
    main.__dict__.update(
        __builtins__=__builtins__, __package__=None, __spec__=None, __loader__=BuiltinImporter
    )
    if file is not None:
        main.__dict__.update(__file__=file, __cached__=None, __loader__=SourceFileLoader("__main__", file))
    sys.modules["__main__"] = main
    code = compile(source, file or name, "exec", dont_inherit=True)
    try:
        exec(code, main.__dict__)
    except SystemExit:
        raise
    except BaseException as exc:
        if type(exc) is KeyboardInterrupt:
            _interrupted.append(exc)
        shown = exc.__traceback__ and exc.__traceback__.tb_next
        sys.excepthook(type(exc), exc.with_traceback(shown), shown)
        sys.exit(1)


def _know_hydras_grammars() -> None:
    """Parsers learn from what they parse: of overrides, and of Hydra's own configs, which each app reads."""
    import hydra.conf
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    overrides = [
        "a/b=c",
        "x=1,2",
        "+a.b=[1,'c d']",
        "~y",
        "a={b: c}",
        "x=${y}/z",
        "x=choice(1,2)",
        "a.b.c=d/e-f_g.h",
    ]
    OverridesParser.create().parse_overrides(overrides)
    OmegaConf.structured(hydra.conf.HydraConf)
    for file in Path(hydra.conf.__file__).parent.rglob("*.yaml"):
        OmegaConf.load(file)


def _end_as_interrupted() -> None:
    if _interrupted:
        sys.stdout.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests that run in the background ignore it
    atexit.register(_end_as_interrupted)  # the first one is called last
    del sys.path[0]  # this file's directory
    place, *imports = sys.argv[1:]
    for name in imports:
        if importlib.util.find_spec(name.partition(".")[0]) is not None:
            with contextlib.suppress(ModuleNotFoundError):  # another Ray has other modules
                importlib.import_module(name)
    if "hydra.main" in sys.modules:
        _know_hydras_grammars()
    gc.collect()
    gc.freeze()
    become(serve(place))

"""What a job prints reaches the driver as the job's own, and before the job is reported as done.

A Ray worker's streams are files, which Ray reads bit by bit. Ray names lines by marks that it writes to these files
between tasks. So before a job ends, all that it has printed is written, also what C code keeps. Then comes the job's
own end mark, for which the driver waits (cluster.printed), or at least a newline: Ray's mark would else be part of
the job's last line.

Programs that the job starts write to the same files. What a C program among them keeps in its own buffer appears when
that is full or the program ends, as at home in a pipe.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import io
import os
import stat
import sys
from collections.abc import Iterator
from typing import Any

from ...core.values.model import END_MARK

_STREAMS = (1, 2)
_NAMES = ("stdout", "stderr")
_MODES = ("encoding", "errors", "line_buffering", "write_through")
_LINE_BUFFERED = 1  # _IOLBF of <stdio.h>, in glibc, musl and on macOS


class Output:
    """What is written to this process's streams from now on."""

    def __init__(self) -> None:
        _let_c_write_lines()
        self._sizes = {stream: size for stream in _STREAMS if (size := _size(stream)) is not None}

    def end(self, job_id: str | None) -> int:
        """The job prints no more. Mark the end of each stream that it wrote to, unless the id is None; how many.

        Once more after what is said while its outs leave: the marks of what has come since are added.
        """
        _flush()
        marks = 0
        for stream, before in self._sizes.items():
            if (size := _size(stream)) is None or size <= before:
                continue
            # after an unfinished line too, which Ray may have read already: a newline would show an empty one
            text = f"{END_MARK}{job_id}\n" if job_id else "" if _ends_a_line(stream, size) else "\n"
            marks += 1 if job_id else 0
            with contextlib.suppress(OSError):  # the disk is full: the driver waits in vain, for a moment
                os.write(stream, text.encode())
            self._sizes[stream] = _size(stream) or size
        return marks


@contextlib.contextmanager
def streams_restored() -> Iterator[None]:
    """Whatever a job does with stdout and stderr (closes or replaces them), later jobs print as before.

    Ray itself writes to `sys.stdout` between tasks, and ends a worker where it cannot.
    """
    files = [getattr(sys, name) for name in _NAMES]
    originals = [getattr(sys, f"__{name}__") for name in _NAMES]
    modes = [{mode: getattr(file, mode, None) for mode in _MODES} for file in files]
    copies: dict[int, int] = {}
    for stream in _STREAMS:
        with contextlib.suppress(OSError):  # it is closed
            copies[stream] = os.dup(stream)
    for name, file, original in zip(_NAMES, files, originals, strict=True):
        _have_one(name, file, original)
    try:
        yield
    finally:
        _flush()  # to where the job has led it
        # first of all: one that the job has opened may close stream 1 or 2 with it
        for name, file, original in zip(_NAMES, files, originals, strict=True):
            setattr(sys, name, file)
            setattr(sys, f"__{name}__", original)
        for stream, copy in copies.items():
            with contextlib.suppress(OSError):  # the job has closed all that it could
                os.dup2(copy, stream)
                os.close(copy)
        for name, stream, file, mode in zip(_NAMES, _STREAMS, files, modes, strict=True):
            setattr(sys, name, _as_before(stream, file, mode))


def _have_one(name: str, file: Any, original: Any) -> None:
    """`sys.stdout` is `sys.__stdout__`, as at home, and takes the same text: Ray puts a file of its own in place.

    Ray's raises an error for a file's name that is no UTF-8, say. What is printed to the other one would appear
    when the worker ends, if ever.
    """
    errors = getattr(original, "errors", None)
    if errors and errors != getattr(file, "errors", None) and hasattr(file, "reconfigure"):
        file.reconfigure(errors=errors)
    setattr(sys, f"__{name}__", file)


def _as_before(stream: int, file: Any, mode: dict[str, Any]) -> Any:
    if getattr(file, "closed", False):
        raw = io.FileIO(stream, "w", closefd=False)
        return io.TextIOWrapper(
            raw, mode["encoding"], mode["errors"], line_buffering=True, write_through=True
        )
    if hasattr(file, "reconfigure"):
        file.reconfigure(**mode)
    return file


def _size(stream: int) -> int | None:
    """Of the file behind it; None where that is none, and nothing is known of what was written."""
    try:
        status = os.fstat(stream)
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _ends_a_line(stream: int, size: int) -> bool:
    with contextlib.suppress(OSError), open(_path(stream), "rb") as file:
        file.seek(size - 1)
        return file.read(1) == b"\n"
    return True


def _path(stream: int) -> str:
    """The stream itself was opened for writing."""
    if (ask := getattr(fcntl, "F_GETPATH", None)) is not None:  # macOS
        return os.fsdecode(fcntl.fcntl(stream, ask, bytes(1024)).rstrip(b"\0"))
    return f"/proc/self/fd/{stream}"


def _flush() -> None:
    for file in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # whatever the job has put there
            file.flush()
    with contextlib.suppress(Exception):  # a C library that has no such function
        _libc().fflush(None)


@functools.cache
def _let_c_write_lines() -> None:
    """C code writes each line at once, as on a terminal, not in blocks, as it does to a file."""
    for name in ("stdout", "__stdoutp"):  # the latter on macOS
        with contextlib.suppress(ValueError, OSError, AttributeError):
            stdout = ctypes.c_void_p.in_dll(_libc(), name)
            _libc().setvbuf(stdout, None, _LINE_BUFFERED, ctypes.c_size_t(0))


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)

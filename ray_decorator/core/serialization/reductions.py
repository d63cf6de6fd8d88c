"""Exceptions whose classes say themselves how they are pickled, and urllib's HTTPError, which holds a connection."""

from __future__ import annotations

import copyreg
import io
import sys
import threading
from typing import Any

_BODY, _BODY_SECONDS = 1024 * 1024, 5.0


def reduced(error: BaseException) -> tuple[Any, ...] | None:
    """Function, arguments, state of a pickling that is not Python's own for exceptions; None if there is none."""
    kind = type(error)
    http = sys.modules.get("urllib.error")
    if http is not None and isinstance(error, http.HTTPError):
        return _http_error, (kind, error.filename, error.code, error.msg, error.hdrs, _body(error))
    if kind in copyreg.dispatch_table:
        parts: Any = copyreg.dispatch_table[kind](error)
    elif any(_reduces(each) for each in kind.__mro__):
        try:
            parts = error.__reduce_ex__(4)
        except Exception:  # as good as none
            return None
    else:
        return None
    return parts[:3] if isinstance(parts, tuple) and not any(parts[3:]) else None


def _reduces(kind: type) -> bool:
    return kind.__module__ != "builtins" and not {"__reduce__", "__reduce_ex__"}.isdisjoint(vars(kind))


def made_from(parts: tuple[Any, ...]) -> BaseException:
    """The exception that :func:`reduced` took apart. Raises what its class raises."""
    function, arguments, *state = parts
    made: BaseException = function(*arguments)
    if state and state[0] is not None:
        made.__setstate__(state[0])
    return made


def _http_error(
    kind: Any, url: Any, code: Any, message: Any, headers: Any, body: bytes | None
) -> BaseException:
    from urllib.error import HTTPError

    made: Any = OSError.__new__(kind)
    HTTPError.__init__(made, url, code, message, headers, None if body is None else io.BytesIO(body))
    return made  # type: ignore[no-any-return]


def _body(error: Any) -> bytes | None:
    """What the server says about the error, as far as it comes within a few seconds."""
    if error.fp is None:
        return None
    parts: list[bytes] = []

    def read() -> None:
        try:
            parts.append(error.fp.read(_BODY))
        except Exception:  # closed, or the connection is gone
            return

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    reading.join(_BODY_SECONDS)
    return b"".join(parts)

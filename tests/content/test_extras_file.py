"""What a manifest cannot say, as an object: it comes back as it was, and is never trusted."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from ray_decorator.content.extras_file import dump, key_of, load
from ray_decorator.core.errors import CorruptObjectError
from ray_decorator.core.values.contents import Content, Extras

PLAIN = Content("0" * 32 + ".dir", 1, 2)
WHOLE = Content(PLAIN.digest, 1, 2, ("run",), Extras((("/", 0o077), ("k\udcff", 0o7)), ("e",), (("l", "e"),)))
PARTS = {"executables": [], "folders": [], "links": [], "private": []}


def test_it_comes_back_as_it_was() -> None:
    made = dump(WHOLE)
    assert made is not None and load(made[1], made[0], PLAIN) == WHOLE
    assert key_of(made[0]) == f"ray_s3/extras/{made[0][:2]}/{made[0][2:]}"
    assert dump(PLAIN) is None


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ([], "TypeError"),
        ({}, "KeyError"),
        ({**PARTS, "folders": "abc"}, "expected a list, found str"),
        ({**PARTS, "folders": [1]}, "expected a path, found int"),
        ({**PARTS, "links": [["a"]]}, "not enough values"),
        ({**PARTS, "links": [["a", "b", "c"]]}, "too many values"),
        ({**PARTS, "private": [["a", 0o700]]}, "expected bits of group and others"),
        ({**PARTS, "private": [["a", True]]}, "expected bits of group and others"),
        ({**PARTS, "executables": ["x" * 9999, 1]}, "expected a path, found int"),
    ],
)
def test_what_is_none_is_refused(parts: Any, complaint: str) -> None:
    data = json.dumps(parts).encode()
    with pytest.raises(CorruptObjectError, match=complaint) as info:
        load(data, hashlib.md5(data).hexdigest(), PLAIN)
    assert len(str(info.value)) < 400


def test_bytes_of_another_name_are_refused() -> None:
    with pytest.raises(CorruptObjectError, match="its bytes do not hash to its name"):
        load(b"{}", "0" * 32, PLAIN)

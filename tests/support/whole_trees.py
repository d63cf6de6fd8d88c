"""Trees with all that a job may leave beside plain files, and what of them must be the same everywhere.

A name that ends in a slash is a directory, a text is where a link leads (``{root}``: the tree's own path), bytes are
a file's; with a mode where that is none of the usual ones.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

Entry = bytes | str | int | tuple[bytes, int]
Tree = Mapping[str, Entry]

DIRECTORY = 0o755

TREES: dict[str, Tree] = {
    "nothing": {},
    "empty directories": {"a/": DIRECTORY, "b/c/d/": DIRECTORY, "e/f.txt": b"f", "e/g/": DIRECTORY},
    "links to directories": {
        "step-100/w.bin": b"w",
        "latest": "step-100",
        "again": "latest",
        "deep/er/up": "../../step-100",
        "none/": DIRECTORY,
        "to none": "none",
        "round": ".",
        "deep/top": "..",
    },
    "links to files": {
        "step-100/w.bin": b"w",
        "last.ckpt": "step-100/w.bin",
        "best.ckpt": "last.ckpt",
        "step-100/beside": "w.bin",
        "step-200/other": "../step-100/w.bin",
    },
    "absolute links": {
        "step/w": b"w",
        "file": "{root}/step/w",
        "folder": "{root}/step",
        "deep/up": "{root}/step",
    },
    "modes": {
        "key": (b"key", 0o600),
        "group": (b"group", 0o640),
        "others": (b"others", 0o604),
        "run": (b"run", 0o700),
        "tool": (b"tool", 0o755),
        "plain": b"plain",
        "closed/": 0o700,
        "closed/in": b"in",
        "closed/deep/": 0o750,
        "enter/": 0o711,
        "enter/a": b"a",
    },
    "names": {
        "ü\n/ä b/": DIRECTORY,
        os.fsdecode(b"not\xffutf8"): (b"x", 0o600),
        os.fsdecode(b"link\xff"): os.fsdecode(b"not\xffutf8"),
        "-dash": b"-",
        ".hidden": b"h",
        "to hidden": ".hidden",
        "...": b"dots",
        "to dots": "...",
    },
}


def build(root: Path, tree: Tree) -> Path:
    """Make the tree, as a job would."""
    root.mkdir(parents=True, exist_ok=True)
    for name, entry in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(entry, str):
            path.symlink_to(entry.replace("{root}", str(root)))
        elif isinstance(entry, int):
            path.mkdir(exist_ok=True, parents=True)
            path.chmod(entry)
        else:
            data, mode = entry if isinstance(entry, tuple) else (entry, 0o644)
            path.write_bytes(data)
            path.chmod(mode)
    return root


def described(root: Path) -> dict[str, tuple[object, ...]]:
    """By relative path: what it is; a link's target (an absolute one as a relative one would be), else the modes'
    bits of group and others for reading and entering, and all for executing; a file's bytes."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                target = os.readlink(path)
                if os.path.isabs(target):
                    target = os.path.relpath(os.path.realpath(target), os.path.realpath(folder))
                found[os.path.relpath(path, root)] = ("link", target)
            elif stat.S_ISDIR(mode):
                found[os.path.relpath(path, root)] = ("directory", oct(mode & 0o055))
            else:
                found[os.path.relpath(path, root)] = ("file", oct(mode & 0o155), Path(path).read_bytes())
    return found

"""Any tree that a file system can hold, made by hypothesis; and what of it is to come back from a store.

``Entry``: bytes and a mode are a file, entries and a mode a directory, a text is where a link leads (``{root}``: the
tree's own path), an int is the kind of something that is neither.
"""

from __future__ import annotations

import os
import shutil
import stat
import unicodedata
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

Entry = Any

SPECIAL = [
    "a", "b", "A", "c.txt", "...", "..a", "-rf", " ", "\n", "a\\b", "*", "~", ".git", ".hg", ".dvc", ".dvcignore",
    ".ray_s3-0123abcd-1-0.tmp", ".ray_s3-x", "n" * 255, "\u202e", "𝒳", "CON", "%2F",
    os.fsdecode(b"\xff"), os.fsdecode(b"\xc3"),
    *(unicodedata.normalize(form, "ü") for form in ("NFC", "NFD")),
]  # fmt: skip
FILE_MODES = [0o644, 0o600, 0o755, 0o700, 0o640, 0o604, 0o444, 0o400, 0o000, 0o777, 0o4755, 0o611]
FOLDER_MODES = [0o755, 0o700, 0o711, 0o750, 0o555, 0o500, 0o777, 0o1777, 0o000]
TARGETS = [
    "a", "b", "A", "a/a", "a/b", ".", "..", "../a", "../b", "../..", "./a", "a/..", "a//b", "/", "/etc/hostname",
    "/etc", "{root}", "{root}/a", "{root}/a/b", "../{name}/a", ".git", "nowhere", "n" * 255,
]  # fmt: skip

names = st.one_of(
    st.sampled_from(SPECIAL),
    st.binary(min_size=1, max_size=9)
    .filter(lambda b: b not in (b".", b"..") and not {0, 47} & set(b))
    .map(os.fsdecode),
)
files = st.tuples(st.binary(max_size=20), st.sampled_from(FILE_MODES))
leaves = st.one_of(
    files, files, st.sampled_from(TARGETS), st.sampled_from([stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR])
)


def _folder(children: st.SearchStrategy[Entry], most: int = 4) -> st.SearchStrategy[Entry]:
    return st.tuples(st.dictionaries(names, children, max_size=most), st.sampled_from(FOLDER_MODES))


trees = _folder(st.recursive(leaves, _folder, max_leaves=8), 6)


def build(root: Path, tree: Entry, top: Path | None = None) -> None:
    """Make the directory ``root``."""
    root.mkdir()
    top = top or root
    for name, entry in tree[0].items():
        path = root / name
        if isinstance(entry, str):
            path.symlink_to(entry.replace("{root}", str(top)).replace("{name}", top.name))
        elif isinstance(entry, int):
            os.mknod(path, entry | 0o644, os.makedev(1, 3))
        elif isinstance(entry[0], bytes):
            path.write_bytes(entry[0])
            path.chmod(entry[1])
        else:
            build(path, entry, top)
    root.chmod(tree[1])


def clear(*roots: Path) -> None:
    """Remove what there is."""
    for root in roots:
        shutil.rmtree(root, ignore_errors=True)


def holds(root: Path) -> tuple[dict[str, tuple[Any, ...]], bool]:
    """By relative path, all that counts: directories, files, and links inside; and whether anything else is there.

    As DVC does, it leaves out version control's own; our own temporaries are nobody's. A link that leads to what does
    not count is the file that it leads to, or nothing.
    """
    found: dict[str, tuple[Any, ...]] = {}
    links: list[str] = []
    odd = False

    def walk(folder: str) -> None:
        nonlocal odd
        for entry in os.scandir(root / folder):
            relpath = os.path.join(folder, entry.name)
            if entry.is_symlink():
                links.append(relpath)
            elif entry.is_dir():
                if entry.name not in (".git", ".hg", ".dvc"):
                    found[relpath] = ("directory", oct(entry.stat().st_mode & 0o055))
                    walk(relpath)
            elif entry.name == ".git" or entry.name == ".ray_s3-0123abcd-1-0.tmp":
                pass
            elif entry.is_file():
                found[relpath] = file(entry.path)
            else:
                odd = True

    walk("")
    real_root = os.path.realpath(root)
    counted = {os.path.join(real_root, relpath) for relpath in found} | {real_root}
    for link in links:
        path, name = root / link, os.path.basename(link)
        real = os.path.realpath(path)
        try:
            mode = os.stat(path).st_mode
        except OSError:
            odd = True
            continue
        if name in (".git", ".hg", ".dvc") if stat.S_ISDIR(mode) else name == ".git":
            continue
        if name == ".ray_s3-0123abcd-1-0.tmp" and not stat.S_ISDIR(mode):
            continue
        if real in counted:
            found[link] = ("link", os.path.relpath(real, real_root))
        elif stat.S_ISREG(mode):
            found[link] = file(real)
        else:
            odd = odd or not stat.S_ISDIR(mode)
    return found, odd


def file(path: str) -> tuple[Any, ...]:
    """What of a file is kept: its bytes, who of the others may read it, and whether it is a program."""
    mode = os.stat(path).st_mode
    return ("file", oct(mode & 0o044), bool(mode & 0o111), Path(path).read_bytes())

"""Whose inode numbers are lasting: told by the kernel's table of mounts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from disks import disk

from ray_decorator.content.hashes import inodes

MOUNTS = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 27 8:17 / /media/usb\040stick rw,nosuid shared:7 master:2 - vfat /dev/sdb1 rw,fmask=0022
31 27 0:40 /@home /home rw,relatime - btrfs /dev/sda2 rw,subvol=/@home
32 31 0:41 / /home/me/remote rw - fuse.sshfs me@host:/ rw
33 31 0:42 / /home/me/covered rw - ext4 /dev/sdc1 rw
34 33 0:43 / /home/me/covered rw - fuse.rclone bucket: rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/home", "btrfs"),
        ("/home/me/data", "btrfs"),
        ("/homes/x", "ext4"),
        ("/home/me/remote", "fuse.sshfs"),
        ("/home/me/remote/x/y", "fuse.sshfs"),
        ("/home/me/covered/x", "fuse.rclone"),
        ("/media/usb stick/x", "vfat"),
        ("/proc/self", "proc"),
    ],
)
def test_the_file_system_that_a_path_is_on(path: str, kind: str) -> None:
    assert inodes._type_of(path, MOUNTS) == kind


@pytest.mark.skipif(sys.platform != "linux", reason="the mounts are Linux's")
def test_of_this_machine(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "size=1m"):
        assert inodes.are_lasting((tmp_path / "disk").stat().st_dev, str(tmp_path / "disk"))
    device = Path("/proc/self").stat().st_dev
    assert not inodes.are_lasting(device, "/proc/self")


def test_without_such_a_table_those_of_homes_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(inodes, "_MOUNTS", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert inodes.are_lasting(tmp_path.stat().st_dev, str(tmp_path))
    assert not inodes.are_lasting(-1, str(tmp_path))

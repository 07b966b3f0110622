"""Where the database is: from a URL to an absolute path on a local disk."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from qtasks_core.errors import ConfigError

__all__ = ["locate", "refuse_network_disk"]

EXPECTED = "expected sqlite:///relative.db or sqlite:////absolute/path.db"
STATFS_BYTES = 256  # larger than struct statfs anywhere; its first word is the file system's magic number
# From linux/magic.h and the file systems' own sources. SQLite's shared memory and locks do not work across machines.
NETWORK_DISKS = {
    0x6969: "NFS",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x517B: "SMB",
    0x5346414F: "AFS",
    0x00C36400: "Ceph",
    0x01021997: "9p",
    0x65735546: "FUSE",
    0x0BD00BD0: "Lustre",
    0x01161970: "GFS2",
    0x7461636F: "OCFS2",
}
# One magic number is all that FUSE has, for disks near and far; these mount types are far.
FAR_FUSE = (
    "sshfs",
    "s3fs",
    "rclone",
    "gluster",
    "gcsfuse",
    "goofys",
    "ceph",
    "blobfuse",
    "juicefs",
    "mfs",
    "nfs",
    "smb",
)


def locate(url: str) -> Path:
    """Return the absolute path that a URL names; links are followed, so that one file has one name.

    Raises:
        ConfigError: The URL has another form, or the folder is not there.
    """
    parts = urlsplit(url)
    if parts.scheme != "sqlite" or parts.netloc or parts.query or parts.fragment or not url.startswith("sqlite:///"):
        raise ConfigError(f"{url!r}: {EXPECTED}")
    name = unquote(parts.path[1:])
    if not name or name.endswith("/") or name == ":memory:" or "\0" in name:
        raise ConfigError(f"{url!r}: {EXPECTED} (without a server there is memory://)")
    path = Path(os.path.realpath(name))
    if not os.path.isdir(path.parent):  # noqa: PTH112  # Path.is_dir() raises where a folder must not be entered
        raise ConfigError(f"{url!r}: the folder {str(path.parent)!r} does not exist, or must not be entered")
    return path


def refuse_network_disk(path: Path) -> None:
    """Raise ConfigError when the folder of *path* is on a network file system (known on Linux only)."""
    kind = NETWORK_DISKS.get(_magic(path.parent))
    if kind == "FUSE":
        mounted = _mounted_as(path.parent)
        kind = mounted if any(name in mounted for name in FAR_FUSE) else None
    if kind is not None:
        raise ConfigError(
            f"{str(path)!r} is on a network file system ({kind}), where SQLite loses data; use a local disk"
        )


def _magic(folder: Path) -> int:
    if not sys.platform.startswith("linux"):
        return 0
    answer = (ctypes.c_ulong * (STATFS_BYTES // ctypes.sizeof(ctypes.c_ulong)))()
    if ctypes.CDLL(None).statfs(os.fsencode(folder), answer) != 0:
        return 0
    return int(answer[0]) & 0xFFFFFFFF


def _mounted_as(folder: Path) -> str:
    """Return the mount type of *folder*."""
    best, kind = "", ""
    for line in Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
        _, point, type_, *_ = line.split(" ")
        inside = str(folder) == point or str(folder).startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, type_
    return kind

"""What a process holds at one moment: memory, objects, asyncio tasks, threads, open files."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import resource
import sys
import threading
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from qtasks_testing.resp import call_redis

__all__ = ["Checkpoint", "take_checkpoint"]

PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 1024 * 1024


class Checkpoint(NamedTuple):
    """The figures of one moment.

    Parameters:
        tasks: How many have ended so far.
        seconds: Since the start.
        rss_mib: Resident memory; where /proc is missing, the most it ever was.
        blocks: Allocated blocks of Python's small objects, whatever their type: a leak of one object a task shows.
        objects: What the garbage collector knows.
        asyncio_tasks: On the running loop.
        threads: Of Python.
        files: Open descriptors.
        server_mib: Memory that the server uses; 0 where there is no server of its own to ask.
    """

    tasks: int
    seconds: float
    rss_mib: float
    blocks: int
    objects: int
    asyncio_tasks: int
    threads: int
    files: int
    server_mib: float


def take_checkpoint(tasks: int, seconds: float, url: str) -> Checkpoint:
    """Collect garbage, give free memory back to the system, and measure.

    Parameters:
        tasks: How many have ended so far.
        seconds: Since the start.
        url: The server's.
    """
    for _ in range(3):  # finalizers make garbage
        gc.collect()
    _trim()
    return Checkpoint(
        tasks,
        round(seconds, 1),
        round(_resident_bytes() / MIB, 1),
        sys.getallocatedblocks(),
        len(gc.get_objects()),
        len(asyncio.all_tasks()),
        threading.active_count(),
        _open_files(),
        round(_server_bytes(url) / MIB, 1),
    )


def _trim() -> None:
    """Where the C library has it: what it keeps for later is not a leak."""
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _resident_bytes() -> int:
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * PAGE
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _server_bytes(url: str) -> int:
    place = urlsplit(url)
    if place.scheme != "redis":
        return 0
    sign_in = [("AUTH", place.password)] if place.password else []
    info = call_redis(place.hostname or "localhost", place.port or 6379, *sign_in, ("INFO", "memory"))[-1]
    return int(dict(line.split(":", 1) for line in info.decode().split() if ":" in line)["used_memory"])


def _open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list((folder if folder.is_dir() else Path("/dev/fd")).iterdir())) - 1  # one is the listing's own

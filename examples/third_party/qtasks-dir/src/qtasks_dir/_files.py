"""Files: names that are safe everywhere, drafts that become visible in one step, errors as the engine knows them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import shutil
import time
from typing import TYPE_CHECKING, TypeVar

from qtasks_core.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

__all__ = ["Pauses", "Section", "listing", "off_loop", "quoted", "reachable", "read", "remove"]

T = TypeVar("T")

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")  # upper case: some file systems do not tell it from lower
_LONGEST = 100  # a name is a part of longer ones, and 255 bytes is what a file system takes
_KEPT = 60
_ABANDONED_S = 3600.0
_FIRST_S = 0.001
_LONGEST_S = 0.05
_GROWTH = 1.4


def quoted(name: str) -> str:
    """Return a file name for any text: equal ones for equal texts only; a long one ends with its digest."""
    text = "".join(char if char in _PLAIN else "".join(f"%{byte:02x}" for byte in char.encode()) for char in name)
    if len(text) <= _LONGEST:
        return text or "%"
    return f"{text[:_KEPT]}%%{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def listing(folder: Path) -> list[str]:
    """Return the names in a folder, in no order; none when it is not there."""
    try:
        return os.listdir(folder)  # noqa: PTH208  # names are what is wanted, and there may be thousands
    except (FileNotFoundError, NotADirectoryError):
        return []


def read(path: Path) -> bytes | None:
    """Return what a file holds; None: it is not there (any more)."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def remove(path: Path) -> bool:
    """Remove a file; return whether it was there, and so whether it was this call that removed it."""
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


class Section:
    """A part of an app's directory, with a place for drafts. Nothing is visible before it is complete.

    Parameters:
        root: Its folder.
        is_synced: Whether drafts and folders are synced to the disk.
    """

    def __init__(self, root: Path, *, is_synced: bool) -> None:
        self.root = root
        self.drafts = root / "drafts"
        self._is_synced = is_synced

    def open(self) -> None:
        """Make what is missing."""
        self.drafts.mkdir(parents=True, exist_ok=True)

    def clear(self) -> None:
        """Delete everything: out of sight in one step, then file by file."""
        gone = self.root.with_name(f"cleared~{secrets.token_hex(8)}")
        with contextlib.suppress(FileNotFoundError):
            self.root.rename(gone)
        self.open()
        shutil.rmtree(gone, ignore_errors=True)

    def draft(self, data: bytes, name: str = "draft", *, is_promised: bool = True) -> Path:
        """Write a file that nobody sees yet, and return its path.

        Parameters:
            data: What it holds.
            name: Tells a later process what to do with it, should this one die; made unique here.
            is_promised: Whether it must survive a power cut.
        """
        path = self.draft_path(name)
        try:
            file = path.open("xb")
        except FileNotFoundError:  # cleared just now
            self.open()
            file = path.open("xb")
        with file:
            file.write(data)
            file.flush()
            if self._is_synced and is_promised:
                os.fsync(file.fileno())
        return path

    def draft_path(self, name: str) -> Path:
        """Return a path among the drafts that nobody else has."""
        return self.drafts / f"{name}~{secrets.token_hex(6)}"

    def tidy(self) -> None:
        """Delete drafts of which nobody will make anything: those of processes that died an hour ago."""
        for name in listing(self.drafts):
            draft = self.drafts / name
            with contextlib.suppress(OSError):
                if time.time() - draft.stat().st_ctime > _ABANDONED_S:
                    shutil.rmtree(draft) if draft.is_dir() else draft.unlink()

    def publish(self, draft: Path, path: Path) -> None:
        """Give a draft its name, also in place of another file; make the folder when it is missing.

        Raises:
            FileNotFoundError: The draft is gone.
        """
        try:
            draft.rename(path)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.rename(path)

    def publish_new(self, draft: Path, path: Path) -> bool:
        """Give a draft that name if nobody has it, and remove the draft; return whether it was so."""
        try:
            self.link(draft, path)
        except FileExistsError:
            return False
        finally:
            remove(draft)
        return True

    def link(self, draft: Path, path: Path) -> None:
        """Give a file a second name; make the folder when it is missing.

        Raises:
            FileExistsError: Somebody has that name.
        """
        try:
            path.hardlink_to(draft)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.hardlink_to(draft)

    def sync(self, folders: Iterable[Path]) -> None:
        """Have the names in these folders on the disk."""
        if not self._is_synced:
            return
        for folder in set(folders):
            with contextlib.suppress(FileNotFoundError):  # cleared meanwhile
                handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)


@contextlib.contextmanager
def reachable() -> Iterator[None]:
    """Raise what the system says as what the engine waits for: a full disk may be less full soon.

    Raises:
        UnavailableError: The system refused something.
    """
    try:
        yield
    except OSError as error:
        raise UnavailableError(str(error)) from error


async def off_loop(function: Callable[[], T]) -> T:
    """Call what may wait for the disk in a thread; a caller that is cancelled does not interrupt it.

    Raises:
        UnavailableError: The system refused something.
    """

    def call() -> T:
        with reachable():
            return function()

    return await asyncio.shield(asyncio.to_thread(call))


class Pauses:
    """Waits between two looks that grow from 1 to 50 ms: quick for who is answered soon, cheap for who is not."""

    def __init__(self) -> None:
        self._next_s = _FIRST_S

    async def wait(self) -> None:
        """Sleep for the next one."""
        pause_s, self._next_s = self._next_s, min(self._next_s * _GROWTH, _LONGEST_S)
        await asyncio.sleep(pause_s)

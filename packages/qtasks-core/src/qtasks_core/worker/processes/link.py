"""A pool process's end of the connection to its worker."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING

from qtasks_core.forks import after_fork
from qtasks_core.worker.processes.messages import LENGTH, decode_to_child, encode

if TYPE_CHECKING:
    from qtasks_core.worker.processes.messages import FromChild, ToChild

__all__ = ["Link"]


class Link:
    """Reads on the main thread, writes on any.

    Parameters:
        connection: To the worker.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader = connection.makefile("rb")
        self._lock = threading.Lock()
        self.is_ours = True
        """False in what a task has forked."""
        after_fork(self, Link._forget)

    @classmethod
    def from_stdin(cls) -> Link:
        """Take the connection from where the worker put it; what a task reads from stdin is empty."""
        connection = socket.socket(fileno=os.dup(0))
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        return cls(connection)

    def receive(self) -> ToChild | None:
        """Return the next message; None when the worker says no more."""
        head = self._reader.read(LENGTH.size)
        if len(head) < LENGTH.size:
            return None
        (size,) = LENGTH.unpack(head)
        raw = self._reader.read(size)
        return decode_to_child(raw) if len(raw) == size else None

    def send(self, message: FromChild) -> None:
        """Write a message; a process that a task has forked says nothing, and so does who has lost its worker."""
        if not self.is_ours:
            return
        raw = encode(message)
        with self._lock, contextlib.suppress(OSError):
            self._connection.sendall(raw)

    def _forget(self) -> None:
        self.is_ours = False

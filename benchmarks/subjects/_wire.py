"""A connection to Redis that needs no client library: what the server itself tells of its work and its memory."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Wire"]

TIMEOUT_S = 30.0
INSIDE_SCRIPT = b" lua] "


class Wire:
    """One blocking connection.

    Parameters:
        url: `redis://HOST:PORT/0`.
    """

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._socket = socket.create_connection((place.hostname, place.port), TIMEOUT_S)
        self._file = self._socket.makefile("rb")

    def ask(self, *words: str | bytes | int) -> Any:
        """Run one command and return its answer; an error is raised as RuntimeError."""
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        lines = [b"*%d\r\n" % len(parts), *(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)]
        self._socket.sendall(b"".join(lines))
        return self._answer()

    def cpu_s(self) -> float:
        """Return the seconds of CPU that the server has used."""
        info = self._info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def commands(self) -> int:
        """Return how many commands have been run, those inside scripts too."""
        return int(self._info("stats")["total_commands_processed"])

    def memory(self) -> int:
        """Return the bytes that the server holds."""
        return int(self._info("memory")["used_memory"])

    def count(self, pattern: str) -> int:
        """Return how many keys match *pattern*."""
        return sum(1 for _ in self._keys(pattern))

    def expiring(self) -> int:
        """Return how many keys have a time to live."""
        fields = self._info("keyspace").get("db0", "expires=0").split(",")
        return int(dict(field.split("=") for field in fields)["expires"])

    def watch(self, seconds: float) -> int:
        """Return how many commands come over the wire in so many seconds, from all connections."""
        self.ask("MONITOR")
        end, seen = time.monotonic() + seconds, bytearray()
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                seen += self._socket.recv(65_536)
            except TimeoutError:
                break
        return sum(1 for line in seen.splitlines() if line.startswith(b"+") and INSIDE_SCRIPT not in line)

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def _info(self, section: str) -> dict[str, str]:
        lines = self.ask("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def _keys(self, pattern: str) -> Iterator[bytes]:
        cursor = b"0"
        while True:
            cursor, keys = self.ask("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            yield from keys
            if cursor == b"0":
                return

    def _answer(self) -> Any:
        kind, _, rest = (line := self._file.readline())[:1], None, line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self._answer() for _ in range(int(rest))]
        return rest

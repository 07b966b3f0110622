"""The little of Redis's protocol that a test needs to look into a server, and to disturb it, past its clients."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["RedisReplyError", "call_redis"]

TIMEOUT_S = 10.0


class RedisReplyError(Exception):
    """Redis answered with an error."""


def call_redis(
    host: str, port: int, *commands: tuple[str | bytes | int, ...], tls: str | None = None, timeout_s: float = TIMEOUT_S
) -> list[Any]:
    """Run commands on a connection of their own and return their answers: bytes, int, list or None.

    Parameters:
        host: Where the server is.
        port: The same.
        commands: Each a tuple of words.
        tls: File with the certificate to trust; None speaks without TLS.
        timeout_s: Seconds that connecting, and each answer, may take.

    Raises:
        OSError: The server cannot be reached, or has cut the connection.
        RedisReplyError: A command was answered with an error; those after it were sent too.
    """
    with _connected(host, port, tls, timeout_s) as connection, connection.makefile("rb") as replies:
        connection.sendall(b"".join(map(_encoded, commands)))
        return [_reply(replies) for _ in commands]


def _connected(host: str, port: int, tls: str | None, timeout_s: float) -> socket.socket:
    connection = socket.create_connection((host, port), timeout_s)
    if tls is None:
        return connection
    return ssl.create_default_context(cafile=tls).wrap_socket(connection, server_hostname=host)


def _encoded(words: tuple[str | bytes | int, ...]) -> bytes:
    encoded = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded)


def _reply(replies: BinaryIO) -> Any:
    line = replies.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionResetError("the server has cut the connection")
    kind, text = line[:1], line[1:-2]
    match kind:
        case b"+":
            return text
        case b":":
            return int(text)
        case b"-":
            raise RedisReplyError(text.decode())
        case b"$":
            return None if text == b"-1" else replies.read(int(text) + 2)[:-2]
        case _:
            return None if text == b"-1" else [_reply(replies) for _ in range(int(text))]

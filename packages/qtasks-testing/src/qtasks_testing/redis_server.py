"""Redis and its sentinels as servers of one's own, with every option that a `redis.conf` has."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

from qtasks_testing.polling import eventually_sync
from qtasks_testing.resp import RedisReplyError, call_redis
from qtasks_testing.servers import ServerFailedError, ServerProcess, program

if TYPE_CHECKING:
    import os
    from pathlib import Path

__all__ = ["RedisSentinel", "RedisServer"]


class _RedisProcess(ServerProcess):
    """What a server and a sentinel have in common: they answer commands."""

    password: str | None = None
    certificate: Path | None = None

    def command(self, *words: str | bytes | int) -> Any:
        """Run one command on a connection of its own and return the answer: bytes, int, list or None.

        Raises:
            OSError: The server cannot be reached, or does not answer.
            RedisReplyError: It answered with an error.
        """
        sign_in = [("AUTH", self.password)] if self.password else []
        tls = str(self.certificate) if self.certificate else None
        return call_redis(self.host, self.port, *sign_in, words, tls=tls)[-1]

    def info(self, section: str = "default") -> dict[str, str]:
        """Return a section of INFO, such as "memory", "clients", "replication"."""
        lines = self.command("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def answers(self) -> bool:
        """Tell whether it answers a PING: not while it loads its data."""
        try:
            return bool(self.command("PING") == b"PONG")
        except (OSError, RedisReplyError):
            return False


class RedisServer(_RedisProcess):
    """A `redis-server` of one's own; without options it writes nothing to disk.

    Parameters:
        folder: Where it works; made when it is not there.
        port: Where it listens, on 127.0.0.1; a free one by default.
        password: Of the user `default`.
        unix_socket: Whether it listens on `unix_socket_path` too.
        tls: Whether it speaks TLS only, with a `certificate` made for it (needs `openssl`).
        replica_of: The server that it copies.
        options: As in `redis.conf`, with _ for -: `appendonly="yes", appendfsync="always", maxmemory="20mb"`.

    Without the program the test is skipped, or fails in CI (`qtasks_testing.servers.missing`).
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        port: int | None = None,
        password: str | None = None,
        unix_socket: bool = False,
        tls: bool = False,
        replica_of: RedisServer | None = None,
        **options: str | int,
    ) -> None:
        super().__init__(folder, port=port)
        self._program = program("redis-server", "redis-server")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.password = password
        self.unix_socket_path = self.folder / "redis.sock" if unix_socket else None
        self.certificate = _new_certificate(self.folder) if tls else None
        self._replica_of = replica_of
        self._options = {"save": "", "appendonly": "no", **options}

    @property
    def url(self) -> str:
        """Its URL for database 0, with the password; TLS options are the reader's to add."""
        return self.url_at(self.host, self.port)

    def url_at(self, host: str, port: int) -> str:
        """Return the URL as it is through another address, such as a `TcpProxy`'s."""
        scheme = "rediss" if self.certificate else "redis"
        user = f":{self.password}@" if self.password else ""
        return f"{scheme}://{user}{host}:{port}/0"

    def arguments(self) -> list[str]:
        """Return the command with all options."""
        options = {"bind": self.host, "dir": str(self.folder), **self._listening(), **self._options}
        if self.password:
            options |= {"requirepass": self.password, "masterauth": self.password}
        words = [self._program]
        for name, value in options.items():
            words += [f"--{name.replace('_', '-')}", str(value)]
        if self._replica_of is not None:
            words += ["--replicaof", self._replica_of.host, str(self._replica_of.port)]
        return words

    def wait_synced(self, timeout_s: float = 30.0) -> None:
        """Wait until this replica has what its master has."""
        eventually_sync(lambda: self.info("replication").get("master_link_status") == "up", timeout_s, "a replica")

    def _listening(self) -> dict[str, str | int]:
        listening: dict[str, str | int] = {"port": self.port}
        if self.certificate:
            key = self.certificate.with_suffix(".key")
            files = {"tls-cert-file": str(self.certificate), "tls-key-file": str(key)}
            listening = {"port": 0, "tls-port": self.port, "tls-auth-clients": "no", **files}
            listening["tls-ca-cert-file"] = str(self.certificate)
        if self.unix_socket_path:
            listening["unixsocket"] = str(self.unix_socket_path)
        return listening


class RedisSentinel(_RedisProcess):
    """A sentinel that watches one master, alone (its quorum is one), and makes a replica the next master.

    Parameters:
        folder: Where it works; made when it is not there.
        master: The server that is the master now.
        name: What clients call the master.
        port: Where it listens, on 127.0.0.1; a free one by default.
        down_after_ms: For how many milliseconds the master must be silent to be taken for dead.
        password: That it asks of its own clients.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        master: RedisServer,
        *,
        name: str = "mymaster",
        port: int | None = None,
        down_after_ms: int = 500,
        password: str | None = None,
    ) -> None:
        super().__init__(folder, port=port)
        self._program = program("redis-server", "redis-server")
        self.name = name
        self.password = password
        self._master = master
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [
            f"bind {self.host}",
            f"port {self.port}",
            f'dir "{self.folder}"',
            f"sentinel monitor {name} {master.host} {master.port} 1",
            f"sentinel down-after-milliseconds {name} {down_after_ms}",
            f"sentinel failover-timeout {name} 10000",
        ]
        lines += [f"sentinel auth-pass {name} {master.password}"] if master.password else []
        lines += [f"requirepass {password}"] if password else []
        self._file = self.folder / "sentinel.conf"
        self._file.write_text("\n".join(lines) + "\n", encoding="utf-8")

    @property
    def url(self) -> str:
        """Its URL, `redis+sentinel://:PASSWORD@127.0.0.1:PORT/NAME`; the password is that of the servers."""
        user = f":{self._master.password}@" if self._master.password else ""
        return f"redis+sentinel://{user}{self.host}:{self.port}/{self.name}"

    def arguments(self) -> list[str]:
        """Return the command; the file is the sentinel's own memory too."""
        return [self._program, str(self._file), "--sentinel"]

    def master_port(self) -> int:
        """Return the port of the server that is the master now."""
        return int(self.command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)[1])

    def wait_watching(self, replicas: int = 1, timeout_s: float = 30.0) -> None:
        """Wait until it knows that many replicas: before that there is nothing to fail over to.

        Parameters:
            replicas: How many.
            timeout_s: Seconds that it may take; it looks for new ones each ten seconds.
        """
        known = lambda: len(self.command("SENTINEL", "REPLICAS", self.name)) >= replicas  # noqa: E731  # said once
        eventually_sync(known, timeout_s, f"{replicas} replicas")


def _new_certificate(folder: Path) -> Path:
    """Make a certificate for loopback that is its own authority, with its key beside it."""
    path = folder / "server.pem"
    words = [program("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    words += ["-keyout", str(path.with_suffix(".key")), "-out", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerFailedError(f"no certificate could be made: {done.stderr}")
    return path

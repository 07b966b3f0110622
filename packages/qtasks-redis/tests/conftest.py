"""What the tests of this package share: components on a real server, and a look at what is in it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from qtasks_redis import RedisBroker, RedisGlobalConfig, RedisStorage
from qtasks_redis._home import home_of
from qtasks_redis._keys import Keys
from qtasks_testing.kit import Bench, KitContext, Subject
from qtasks_testing.resp import call_redis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from qtasks_redis._link import Link


class Server:
    """The server as `redis-cli` sees it.

    Parameters:
        url: Its URL.
        bench: Whose namespace is looked at.
    """

    def __init__(self, url: str, bench: Bench) -> None:
        self._parts = urlsplit(url)
        self._keys = Keys(bench.context.namespace, 0)

    def command(self, *words: str | bytes | int) -> Any:
        """Run a command on a connection of its own."""
        return call_redis(str(self._parts.hostname), int(self._parts.port or 0), words)[0]

    def key(self, name: str | bytes) -> bytes:
        """Return the key of that name in the bench's namespace."""
        return self._keys.key(name)

    def names(self) -> set[bytes]:
        """Return the names of all keys of the namespace, those of tasks cut to their kind."""
        prefix = self._keys.prefix
        names = [key[len(prefix) :] for key in self.command("KEYS", prefix + b"*")]
        return {name[:2] if name[1:2] == b":" else name for name in names}

    def counted(self) -> int:
        """Return how many commands the server has run, those of scripts too."""
        stats = self.command("INFO", "stats").decode().splitlines()
        return int(next(line.partition(":")[2] for line in stats if line.startswith("total_commands_processed")))


@pytest.fixture
def server_url(redis_url: str) -> str:
    """Return the URL of the server that all tests share; a module whose tests need it alone has one of its own."""
    return redis_url


@pytest_asyncio.fixture
async def bench(server_url: str) -> AsyncIterator[Bench]:
    """One app on the server; what it starts is stopped after the test."""
    subject = Subject(server_url, broker=RedisBroker, storage=RedisStorage, global_config=RedisGlobalConfig)
    made = Bench(subject, "broker")
    yield made
    await made.close()


@pytest.fixture
def server(server_url: str, bench: Bench) -> Server:
    """Look at the server."""
    return Server(server_url, bench)


@pytest.fixture
def opened() -> Callable[[str], AbstractAsyncContextManager[Link]]:
    """Return a context manager that opens the link of an app to a URL."""

    @contextlib.asynccontextmanager
    async def opened(url: str) -> AsyncIterator[Link]:
        home = home_of(url, KitContext())
        link = await home.open()
        try:
            yield link
        finally:
            await home.close()

    return opened

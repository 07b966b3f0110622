"""Reading and changing one bucket: compare-and-set until nobody was faster, exact also through a lost connection."""

from __future__ import annotations

import asyncio
import os
import random
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from qtasks_core.errors import ConfigError, SendUnknownError, UnavailableError
from qtasks_core.group_commit import Backoff
from qtasks_depends.state.bucket import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtasks_core.app import App
    from qtasks_core.shared_memory import SharedMemory
    from qtasks_depends.state.fields import Spec

    T = TypeVar("T")
    Change = Callable[[Bucket, float], tuple[T, bool]]

__all__ = ["Store"]

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.001, 0.05


class _Unknown(NamedTuple):
    """A write to which no reply came: it may be there, or come yet."""

    write: bytes
    number: int
    result: Any
    error: SendUnknownError


class _Changing:
    """One change of a bucket, attempt after attempt.

    Parameters:
        change: See `Store.change`.
    """

    def __init__(self, change: Change[Any]) -> None:
        self.change = change
        self.result: Any = None
        self.unknown: list[_Unknown] = []

    def is_there(self, found: Bucket) -> bool:
        """Whether a write to which no reply came was applied; its result is the change's then.

        Raises:
            SendUnknownError: That cannot be told any more.
        """
        for one in self.unknown:
            is_applied = found.has(one.write, one.number)
            if is_applied is None:
                raise one.error
            if is_applied:
                self.result = one.result
                return True
        return False


class Store:
    """One bucket of an app.

    Parameters:
        app: The app.
        spec: What the class of the state declares.
        key: Of the bucket, in the global config.
    """

    def __init__(self, app: App, spec: Spec, key: str) -> None:
        self.app = app
        self.key = key
        self._spec = spec

    async def memory(self) -> SharedMemory:
        """Return the app's global config, started on the running loop.

        Raises:
            ConfigError: There is none.
            SendRefusedError: Its server was away for the whole `send_timeout`.
        """
        engine = self.app.engine()
        await engine.start(self.app.config.send_timeout, control=True)
        if engine.shared_memory is None:
            raise ConfigError(
                f"state {self._spec.name!r}: the app has no global config: name one with global_config_url="
            )
        return engine.shared_memory

    def now(self) -> float:
        """Return the time (UTC epoch seconds)."""
        return self.app.new_context().clock()

    async def read(self) -> Bucket:
        """Return the bucket as it is now.

        Raises:
            UnavailableError: The server was away for the whole `send_timeout`.
        """
        found: Bucket = await self._while_away(self._read)
        return found

    async def change(self, change: Change[T]) -> T:
        """Change the bucket as if nobody else did; return what *change* says.

        Within a process the changes of one bucket take turns, so that only processes compete.

        Parameters:
            change: Changes a bucket in place at a time (UTC epoch seconds), and returns its result and whether there is
                anything to write. It is called again when somebody was faster.

        Raises:
            UnavailableError: The server was away for the whole `send_timeout`; nothing was written.
            SendUnknownError: No reply came, and it cannot be told whether it was written.
            Exception: What *change* raises; nothing was written.
        """
        changing = _Changing(change)
        async with self._turn():
            wait_s = _FIRST_WAIT_S
            while not await self._while_away(self._attempt, changing):
                await asyncio.sleep(wait_s * random.random())  # noqa: S311  # jitter is no secret
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
        return changing.result  # type: ignore[no-any-return]  # it is the change's

    async def _attempt(self, changing: _Changing) -> bool:
        """Write once; return whether the change is done. What came in between is found by the next attempt."""
        memory, now = await self.memory(), self.now()
        found = await memory.get(self.key)
        bucket = Bucket.read(found.value, now)
        if found.value is not None and changing.is_there(
            bucket
        ):  # a deletion has undone all, whether it was there or not
            return True
        changing.result, is_changed = changing.change(bucket, now)
        if not is_changed:
            return True
        write = os.urandom(8)
        value = bucket.written(write)
        try:
            revision = await memory.cas(self.key, value, found.revision, bucket.ttl_s(self._spec.ttl, now))
        except SendUnknownError as error:
            if value is not None:
                changing.unknown.append(_Unknown(write, bucket.number, changing.result, error))
            raise UnavailableError(str(error)) from error  # it is looked for by the next attempt
        return revision is not None

    async def _read(self) -> Bucket:
        found = await (await self.memory()).get(self.key)
        return Bucket.read(found.value, self.now())

    async def _while_away(self, ask: Any, *args: Any) -> Any:
        """Ask again while the server is away, for `send_timeout` at most."""
        loop, backoff = asyncio.get_running_loop(), Backoff()
        deadline = loop.time() + self.app.config.send_timeout
        while True:
            try:
                return await ask(*args)
            except UnavailableError as error:
                if loop.time() >= deadline:
                    raise error.__cause__ if isinstance(error.__cause__, SendUnknownError) else error  # noqa: B904  # the first
            await backoff.wait()

    def _turn(self) -> asyncio.Lock:
        """Return the lock of this bucket on the running loop; it lives while somebody uses it."""
        shared = self.app.new_context().shared
        key = ("qtasks_depends.state", id(asyncio.get_running_loop()))
        turns: weakref.WeakValueDictionary[str, asyncio.Lock] = shared(key, weakref.WeakValueDictionary)
        return turns.setdefault(self.key, asyncio.Lock())

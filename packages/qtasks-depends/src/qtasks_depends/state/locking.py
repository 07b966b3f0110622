"""Locks of a state: kept in its bucket, so that a write and the look at the lock are one step."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING, Any, Self

from qtasks_core.errors import ConfigError, QTasksError
from qtasks_depends.state.bucket import LockEntry
from qtasks_depends.state.errors import StateLockLostError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType

    from qtasks_depends.state.bucket import Bucket
    from qtasks_depends.state.states import Operations

__all__ = ["AsyncStateLock", "SyncStateLock"]

logger = logging.getLogger("qtasks.state")

_UNDO_S = 1.0


class AsyncStateLock:
    """A lock, for `async with`; see `AsyncState.lock`.

    Parameters:
        operations: The state that holds it.
        name: Of the lock.
        ttl: Seconds after which it is free.
        timeout: Seconds to wait for it; None: for ever.

    Raises:
        ConfigError: A time is none.
    """

    def __init__(self, operations: Operations, name: str, ttl: float, timeout: float | None) -> None:
        _check_seconds(name, "ttl", ttl)
        if timeout is not None:
            _check_seconds(name, "timeout", timeout)
        self.name = name
        self._operations = operations
        self._store = operations.store
        self._ttl = ttl
        self._timeout = timeout
        self._token = b""

    async def __aenter__(self) -> Self:
        """Wait for the lock and take it.

        Raises:
            TimeoutError: Somebody else held it for the whole timeout.
            RuntimeError: This state holds it already.
        """
        if self.name in self._operations.held:
            raise RuntimeError(f"the lock {self.name!r} is held through this state already: it would wait for itself")
        self._token = os.urandom(16)
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                await self._take()
        except TimeoutError:
            if limit.expired():
                raise TimeoutError(
                    f"the lock {self.name!r} of {self._store.key} was not free within {self._timeout} s"
                ) from None
            raise
        self._operations.held[self.name] = self._token
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the next one have it; one that was lost is the next one's already."""
        self._operations.held.pop(self.name, None)
        try:
            await self._store.change(self._release)
        except QTasksError as failure:
            logger.warning("the lock %r of %s is free when its ttl is over: %s", self.name, self._store.key, failure)

    async def extend(self, ttl: float | None = None) -> None:
        """Hold it for longer, from now on.

        Parameters:
            ttl: Seconds; those that it was taken for by default.

        Raises:
            StateLockLostError: It is not held any more.
            ConfigError: The time is none.
        """
        ttl_s = self._ttl if ttl is None else ttl
        _check_seconds(self.name, "ttl", ttl_s)
        await self._store.change(lambda bucket, now: self._extend(bucket, now, ttl_s))

    # ------------------------------------------------------------ waiting

    async def _take(self) -> None:
        wait_s = await self._try()
        if wait_s <= 0:
            return
        async with self._changes() as changed:
            while wait_s > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await changed.wait()
                changed.clear()
                wait_s = await self._try()

    async def _try(self) -> float:
        """Take the lock when it is free, else return the seconds until it is; a cancel does not leave it taken."""
        taking = asyncio.create_task(self._store.change(self._acquire))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            with contextlib.suppress(QTasksError, TimeoutError):  # then it is free when its time is over
                async with asyncio.timeout(_UNDO_S):
                    await taking
                    await self._store.change(self._release)
            raise

    @contextlib.asynccontextmanager
    async def _changes(self) -> AsyncIterator[asyncio.Event]:
        """Give an event that is set when the bucket changes."""
        changed = asyncio.Event()

        async def watch() -> None:
            async for key, _ in (await self._store.memory()).watch(self._store.key):
                if key == self._store.key:  # others begin like it
                    changed.set()

        watching = asyncio.create_task(watch())
        try:
            yield changed
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            if not watching.cancelled() and watching.exception() is not None:
                logger.warning(
                    "the lock %r of %s was not watched", self.name, self._store.key, exc_info=watching.exception()
                )

    # ------------------------------------------------------------ changes of the bucket

    def _acquire(self, bucket: Bucket, now: float) -> tuple[float, bool]:
        """Take it when it is free; else return the seconds until it is."""
        entry = bucket.locks.get(self.name)
        if entry is not None and entry.until > now and entry.token != self._token:
            return entry.until - now, False
        bucket.forget_locks(now)
        bucket.locks[self.name] = LockEntry(self._token, now + self._ttl)
        return 0.0, True

    def _release(self, bucket: Bucket, now: float) -> tuple[None, bool]:
        entry = bucket.locks.get(self.name)
        is_ours = entry is not None and entry.token == self._token
        if is_ours:
            del bucket.locks[self.name]
        bucket.forget_locks(now)
        return None, is_ours

    def _extend(self, bucket: Bucket, now: float, ttl: float) -> tuple[None, bool]:
        entry = bucket.locks.get(self.name)
        if entry is None or entry.token != self._token or entry.until <= now:
            raise StateLockLostError(
                f"the lock {self.name!r} of {self._store.key} is not held any more: it was not extended"
            )
        bucket.locks[self.name] = LockEntry(self._token, now + ttl)
        return None, True


class SyncStateLock:
    """The same for `with`; see `SyncState.lock`.

    Parameters:
        lock: What is awaited.
        call: Awaits it.
    """

    def __init__(self, lock: AsyncStateLock, call: Callable[..., Any]) -> None:
        self._lock = lock
        self._call = call

    def __enter__(self) -> Self:
        """Wait for the lock and take it; see `AsyncStateLock`."""
        self._call(self._lock.__aenter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the next one have it."""
        self._call(self._lock.__aexit__, kind, error, trace)

    def extend(self, ttl: float | None = None) -> None:
        """Hold it for longer; see `AsyncStateLock.extend`."""
        self._call(self._lock.extend, ttl)


def _check_seconds(lock: str, what: str, seconds: object) -> None:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds <= 0:
        raise ConfigError(f"lock {lock!r}: {what}: expected seconds, more than 0, got {seconds!r}")

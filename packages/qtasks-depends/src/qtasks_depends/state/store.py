"""Reading and changing one bucket: compare-and-set until nobody was faster, exact also through a lost connection."""

from __future__ import annotations

import asyncio
import os
import random
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from qtasks_core.errors import ConfigError, SendRefusedError, SendUnknownError, UnavailableError
from qtasks_core.group_commit import Backoff
from qtasks_depends.state.bucket import Bucket
from qtasks_depends.state.errors import StateTypeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtasks_core.app import App
    from qtasks_core.contract import Versioned
    from qtasks_core.shared_memory import SharedMemory
    from qtasks_depends.state.fields import Spec

    T = TypeVar("T")
    Change = Callable[[Bucket, float], tuple[T, bool]]

__all__ = ["Store"]

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.001, 0.05
_EMPTY_TIMEOUTS = 2
"""How many times `send_timeout` an empty bucket is kept, so that whoever had no reply finds what has become of it."""


class _Unknown(NamedTuple):
    """A write to which no reply came: it may be there, or come yet."""

    write: bytes
    number: int
    until: float | None
    """When it is gone, if it is there (UTC epoch seconds); None: never."""
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

    def is_there(self, bucket: Bucket | None, now: float) -> bool:
        """Whether a write to which no reply came was applied; its result is the change's then.

        Parameters:
            bucket: As it was found; None: there is none. What was written would be there, for an empty one is kept for
                longer than is tried.
            now: The time (UTC epoch seconds).

        Raises:
            SendUnknownError: That cannot be told any more.
        """
        for one in self.unknown:
            is_over = one.until is not None and one.until <= now
            is_applied = bucket.has(one.write, one.number) if bucket else None if is_over else False
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
            UnavailableError: Its server was away for the whole `send_timeout`.
        """
        engine = self.app.engine()
        try:
            await engine.start(self.app.config.send_timeout, control=True)
        except SendRefusedError as error:
            raise UnavailableError(f"state {self._spec.name!r}: {error}") from error
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
            StateTypeError: The bucket would be larger than `max_message_bytes`; nothing was written.
            Exception: What *change* raises; nothing was written.
        """
        changing = _Changing(change)
        async with self._turn():
            wait_s = _FIRST_WAIT_S
            try:
                while not await self._while_away(self._attempt, changing):
                    await asyncio.sleep(wait_s * random.random())  # noqa: S311  # jitter is no secret
                    wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
            except UnavailableError as error:
                if changing.unknown:
                    raise changing.unknown[-1].error from error
                raise
        return changing.result  # type: ignore[no-any-return]  # it is the change's

    async def _attempt(self, changing: _Changing) -> bool:
        """Write once; return whether the change is done. What came in between is found by the next attempt."""
        memory, now = await self.memory(), self.now()
        found = await memory.get(self.key)
        bucket = Bucket.read(found.value, now)
        if changing.is_there(None if found.value is None else bucket, now):
            return True
        changing.result, is_changed = changing.change(bucket, now)
        if not is_changed:
            return True
        write = os.urandom(8)
        value = bucket.written(write)
        self._check_size(value, found)
        ttl_s = bucket.ttl_s(self._spec.ttl, _EMPTY_TIMEOUTS * self.app.config.send_timeout, now)
        try:
            revision = await memory.cas(self.key, value, found.revision, ttl_s)
        except SendUnknownError as error:
            until = None if ttl_s is None else now + ttl_s
            changing.unknown.append(_Unknown(write, bucket.number, until, changing.result, error))
            raise UnavailableError(str(error)) from error  # it is looked for by the next attempt
        return revision is not None

    def _check_size(self, value: bytes, found: Versioned) -> None:
        """Refuse a bucket that is too large, unless it was so before: what makes it smaller is welcome."""
        limit = self.app.config.max_message_bytes
        if len(value) > max(limit, len(found.value or b"")):
            raise StateTypeError(
                f"state {self._spec.name!r}: expected at most {limit} bytes in {self.key} (max_message_bytes), it "
                f"would have {len(value)}: keep less in one bucket, with_options(state_key=…) gives others"
            )

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
            except UnavailableError:
                if loop.time() >= deadline:
                    raise
            await backoff.wait()

    def _turn(self) -> asyncio.Lock:
        """Return the lock of this bucket on the running loop; it lives while somebody uses it."""
        shared = self.app.new_context().shared
        key = ("qtasks_depends.state", id(asyncio.get_running_loop()))
        turns: weakref.WeakValueDictionary[str, asyncio.Lock] = shared(key, weakref.WeakValueDictionary)
        return turns.setdefault(self.key, asyncio.Lock())

"""What users see of a task: a snapshot of its record that can also act, in an awaitable and a blocking form."""

from __future__ import annotations

import asyncio
import warnings
from contextlib import aclosing
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import msgspec
from msgspec import Struct

from qtasks_core.errors import (
    CodecError,
    ResultExpiredError,
    TaskCancelledError,
    TaskDeadError,
    TaskFailedError,
    WireError,
)
from qtasks_core.portal import blocking_iterator
from qtasks_core.wire import RemoteError, unframe, unpack_error, unpack_message

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
    from uuid import UUID

    from qtasks_core.app import App
    from qtasks_core.contract import Status, TaskRecord

__all__ = ["AddCall", "BlockingTask", "Progress", "StreamRestart", "Task", "TaskSnapshot"]

R_co = TypeVar("R_co", covariant=True)


class Progress(Struct, array_like=True, frozen=True):
    """How far a task is."""

    done: float
    """Steps that are done."""
    total: float | None = None
    """Of so many; None is unknown."""
    message: str = ""
    """For people."""


class StreamRestart(Struct, frozen=True):
    """In a stream: what came before is void, a further attempt begins."""

    attempt: int


class TaskSnapshot(Generic[R_co]):
    """A task as it was when it was read: fields, and nothing that talks to a server.

    Parameters:
        app: The app it belongs to.
        record: Its record.
        returns: The type of its result, `Any` when unknown.
    """

    def __init__(self, app: App, record: TaskRecord, returns: Any = Any) -> None:
        self._app = app
        self._record = record
        self._returns = returns

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.task_name} {self.uuid} {self.status}>"

    @property
    def app(self) -> App:
        """The app it belongs to."""
        return self._app

    @property
    def record(self) -> TaskRecord:
        """The record as the storage keeps it."""
        return self._record

    @property
    def uuid(self) -> UUID:
        """The task's id."""
        return self._record.uuid

    @property
    def task_name(self) -> str:
        """The name under which it is registered."""
        return self._record.task_name

    @property
    def status(self) -> Status:
        """One of new, process, retry, success, error, cancel, dead."""
        return self._record.status

    @property
    def priority(self) -> int:
        """Lower goes first."""
        return self._record.priority

    @property
    def queue(self) -> str:
        """The queue it was put on."""
        return self._record.queue

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self._record.attempt

    @property
    def created_at(self) -> float:
        """When it was added (UTC epoch seconds)."""
        return self._record.created_at

    @property
    def updated_at(self) -> float:
        """When its record was last written (UTC epoch seconds)."""
        return self._record.updated_at

    @property
    def started_at(self) -> float | None:
        """When its last run began (UTC epoch seconds)."""
        return self._record.started_at

    @property
    def finished_at(self) -> float | None:
        """When it ended (UTC epoch seconds)."""
        return self._record.finished_at

    @property
    def worker(self) -> str | None:
        """The worker that ran it last."""
        return self._record.worker

    @property
    def reason(self) -> str | None:
        """Why it was cancelled or declared dead."""
        return self._record.reason

    @property
    def args(self) -> tuple[Any, ...]:
        """Its positional arguments, as plain decoded data."""
        return self._arguments[0]

    @property
    def kwargs(self) -> dict[str, Any]:
        """Its keyword arguments, as plain decoded data."""
        return self._arguments[1]

    @property
    def error(self) -> RemoteError | None:
        """What the task raised: type, message and traceback as text."""
        return None if self._record.error is None else unpack_error(self._record.error)

    @property
    def returning(self) -> R_co | None:
        """Its result; None while there is none."""
        return None if self._record.result is None else self._decode_result(self._record)

    @property
    def progress(self) -> Progress | None:
        """The last mark that the task made with `ctx.progress(…)`; None while there is none."""
        return None if self._record.progress is None else _mark(self._record.progress)

    @property
    def is_truncated(self) -> bool:
        """Whether its result holds only the first `generator_items` of the values that it yielded."""
        return "truncated" in self._record.extra

    @cached_property
    def _arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not self._record.body:
            raise ResultExpiredError(f"task {self._record.task_name} {self._record.uuid}: its arguments were not kept")
        return self._app.codecs.plain_arguments(unpack_message(self._record.body))

    def _decode_result(self, record: TaskRecord) -> R_co:
        if record.result is None:
            raise ResultExpiredError(f"task {record.task_name} {record.uuid} succeeded, but its result was not kept")
        try:
            raw = bytes(unframe(record.result))
            return cast("R_co", self._app.codecs.result_decoder(record.codec, self._returns)(raw))
        except (WireError, CodecError) as error:
            raise CodecError(f"the result of task {record.task_name} {record.uuid}: {error}") from None

    def _outcome(self, record: TaskRecord) -> R_co:
        if record.status == "success":
            return self._decode_result(record)
        if record.status == "cancel":
            raise TaskCancelledError(record.reason or "cancelled")
        name = f"task {record.task_name} {record.uuid}"
        if record.status == "dead":
            raise TaskDeadError(f"{name} is dead: {record.reason or 'no reason was kept'}", record.uuid)
        error = RemoteError("", "no error was kept", "") if record.error is None else unpack_error(record.error)
        text = f"{name} failed: {error.type_name}: {error.message}"
        raise TaskFailedError(text, record.uuid, error.type_name, error.traceback)


class Task(TaskSnapshot[R_co]):
    """The awaitable form, of `qtasks.asyncio`."""

    async def result(self, timeout: float | None = None) -> R_co:
        """Wait for the end and return the value.

        Parameters:
            timeout: Seconds; None waits without limit.

        Raises:
            TaskFailedError: The task raised; has the remote traceback.
            TaskCancelledError: It was cancelled or expired.
            TimeoutError: It did not end in time; it goes on.
            ResultExpiredError: Nobody keeps its result.
            Exception: What a middleware raised that was given the value.
        """
        value = self._outcome(await self._final(timeout))
        middlewares = self._app.middlewares
        return await middlewares.result(self, value) if middlewares.hears_results else value

    async def wait(self, timeout: float | None = None) -> Task[R_co]:
        """Wait for the end and return self, renewed; raises as `result`, but not for how the task ended."""
        await self._final(timeout)
        return self

    async def refresh(self) -> Task[R_co]:
        """Read the record again and return self.

        Raises:
            ResultExpiredError: It is gone.
        """
        self._record = await self._app.record(self.uuid)
        return self

    async def cancel(self, reason: str = "cancelled by its caller") -> bool:
        """Ask for the end of the task, whether it waits or runs.

        Parameters:
            reason: Kept with the task.

        Returns:
            True: it was asked for. False: the task had ended.

        Raises:
            ResultExpiredError: Nothing is known of the task.
            ConfigError: This broker has no way to reach running tasks; names the setting that gives it one.
        """
        return await (await self._app.engine().control()).cancel(self.uuid, reason)

    async def stream(self, *, progress: bool = False) -> AsyncGenerator[Any, None]:
        """Yield what the task yields: from its first value on, while it runs and after it ended.

        A further attempt begins anew: then a `StreamRestart` comes before its first value.

        Parameters:
            progress: Yield the marks of `ctx.progress(…)` too, as `Progress`, each at its place among the values.

        Raises:
            TaskFailedError: The task raised; what it had yielded came before.
            TaskCancelledError: It was cancelled or expired.
            ResultExpiredError: Nothing is known of it.
        """
        run: tuple[int, int, float] | None = None
        async with aclosing(self._app.engine().events(self.uuid)) as events:
            async for event in events:
                if event.kind == "progress" and not progress:
                    continue
                if run is not None and run != event.run:
                    yield StreamRestart(event.run[0])
                run = event.run
                yield self._app.codecs.decode_value(event.value) if event.kind == "yield" else _mark(event.value)
        record = await self._final(None)
        if record.status != "success":
            self._outcome(record)

    async def _final(self, timeout: float | None) -> TaskRecord:
        if self._record.ttl_s == 0:
            raise ResultExpiredError(f"task {self.task_name} {self.uuid} was added with results=False: none is kept")
        if self._record.finished_at is None:
            self._record = await self._app.engine().wait(self.uuid, timeout)
        return self._record


class BlockingTask(TaskSnapshot[R_co]):
    """The blocking form, of `qtasks`; each method does what its awaitable twin in `Task` does."""

    @property
    def aio(self) -> Task[R_co]:
        """The awaitable form of the same task."""
        return Task(self._app, self._record, self._returns)

    def result(self, timeout: float | None = None) -> R_co:
        """Wait for the end and return the value; see `Task.result`."""
        if self._app.middlewares.hears_results:
            return self._result_of_twin(timeout)
        return self._outcome(self.renewed(self._cross("wait", timeout, hint="result")).record)

    def wait(self, timeout: float | None = None) -> BlockingTask[R_co]:
        """Wait for the end and return self, renewed; see `Task.wait`."""
        return self.renewed(self._cross("wait", timeout))

    def refresh(self) -> BlockingTask[R_co]:
        """Read the record again and return self; see `Task.refresh`."""
        return self.renewed(self._cross("refresh"))

    def cancel(self, reason: str = "cancelled by its caller") -> bool:
        """Ask for the end of the task; see `Task.cancel`."""
        asked: bool = self._cross("cancel", reason)
        return asked

    def stream(self, *, progress: bool = False) -> Iterator[Any]:
        """Yield what the task yields; see `Task.stream`."""
        return blocking_iterator(self._app.portal, self.aio.stream(progress=progress), "task.aio.stream()")

    def renewed(self, twin: Task[Any]) -> BlockingTask[R_co]:
        """Take what the awaitable form knows; return self."""
        self._record = twin.record
        return self

    def _result_of_twin(self, timeout: float | None) -> R_co:
        """Have the middlewares work on the loop, where they may wait."""
        twin = self.aio
        try:
            return self._app.portal.call(twin.result, timeout, hint="task.aio.result(…)")
        finally:
            self.renewed(twin)

    def _cross(self, method: str, *args: Any, hint: str | None = None) -> Any:
        return self._app.portal.call(getattr(self.aio, method), *args, hint=f"task.aio.{hint or method}(…)")


class AddCall(Generic[R_co]):
    """A task about to be added: await it to add it, or chain `.result()`; left alone it sends nothing and warns."""

    __slots__ = ("_begin", "_name", "_task")

    def __init__(self, name: str, begin: Callable[[], Coroutine[Any, Any, Task[R_co]]]) -> None:
        self._name = name
        self._begin: Callable[[], Coroutine[Any, Any, Task[R_co]]] | None = begin
        self._task: Task[R_co] | None = None

    def __await__(self) -> Generator[Any, None, Task[R_co]]:
        return self._send().__await__()

    async def result(self, timeout: float | None = None) -> R_co:
        """Add the task, wait for its end and return the value; *timeout* covers both. Raises as `Task.result`."""
        if timeout is None:
            return await (await self._send()).result()
        async with asyncio.timeout(timeout):
            return await (await self._send()).result()

    async def wait(self, timeout: float | None = None) -> Task[R_co]:
        """Add the task and wait for its end; raises as `Task.wait`."""
        async with asyncio.timeout(timeout):
            return await (await self._send()).wait()

    async def _send(self) -> Task[R_co]:
        if self._begin is not None:
            begin, self._begin = self._begin, None
            self._task = await begin()
        if self._task is None:
            raise RuntimeError(f"this add of task {self._name!r} is under way or failed; add the task again")
        return self._task

    def __del__(self) -> None:
        if getattr(self, "_begin", None) is not None:
            text = f"add_task of {self._name!r} was never awaited: nothing was sent"
            warnings.warn(text, RuntimeWarning, stacklevel=2, source=self)


def _mark(encoded: bytes) -> Progress:
    return msgspec.msgpack.decode(encoded, type=Progress)

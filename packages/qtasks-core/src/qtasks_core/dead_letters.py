"""Dead letters: messages that came to no good end, to be looked at, sent again or deleted; in both faces.

A task is dead-lettered when its attempts are exhausted (unless `dead_letter=False`), when it killed its workers, when
no worker knew it for too long, or when it cannot be read.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from qtasks_core.contract import Inspectable
from qtasks_core.errors import ConfigError, UnknownWireError, WireError
from qtasks_core.portal import blocking_iterator
from qtasks_core.replaying import Replaying
from qtasks_core.wire import unpack_message

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
    from uuid import UUID

    from qtasks_core.app import App
    from qtasks_core.contract import Envelope, Message

__all__ = ["BlockingDeadLetters", "DeadLetter", "DeadLetters"]

_AT_ONCE = 1000
_PAGE = 100


class DeadLetter:
    """One dead letter.

    Parameters:
        app: Its app.
        queue: Where it waited.
        cursor: Its place among the dead letters of its queue.
        envelope: Its message.
        reason: Why it is dead.
    """

    def __init__(self, app: App, queue: str, cursor: str, envelope: Envelope, reason: str) -> None:
        self._app = app
        self._envelope = envelope
        self.queue = queue
        """Where it waited."""
        self.cursor = cursor
        """Its place among the dead letters of its queue."""
        self.reason = reason
        """Why it is dead."""

    def __repr__(self) -> str:
        return f"<DeadLetter {self.task_name or repr(self.raw[:32])} {self.uuid}: {self.reason}>"

    @property
    def uuid(self) -> UUID:
        """The task's id."""
        return self._envelope.uuid

    @property
    def attempt(self) -> int:
        """Which attempt was the last."""
        return self._envelope.attempt

    @property
    def replays(self) -> int:
        """How often it was sent again before."""
        return self._envelope.replays

    @property
    def created_at(self) -> float:
        """When the task was added (UTC epoch seconds); 0 when that cannot be read."""
        return self._envelope.created_at

    @property
    def raw(self) -> bytes:
        """The body as it arrived; all that there is of a letter that cannot be read."""
        return self._envelope.body

    @property
    def task_name(self) -> str:
        """The task's name; empty when it cannot be read."""
        return "" if isinstance(self._message, WireError) else self._message.task_name

    @property
    def problem(self) -> str | None:
        """Why it cannot be read; None when it can."""
        return str(self._message) if isinstance(self._message, WireError) else None

    @property
    def is_damaged(self) -> bool:
        """Whether nobody will ever read it: it is not sent again."""
        return isinstance(self._message, WireError) and not isinstance(self._message, UnknownWireError)

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments, as plain decoded data.

        Raises:
            WireError: It cannot be read, or its codec is not installed; see `raw`.
            CodecError: The arguments are damaged.
        """
        return self._arguments[0]

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments, as plain decoded data; raises as `args`."""
        return self._arguments[1]

    @cached_property
    def _message(self) -> Message | WireError:
        try:
            return unpack_message(self.raw)
        except WireError as error:
            return error

    @cached_property
    def _arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        message = self._message
        if isinstance(message, WireError):
            raise message
        return self._app.codecs.plain_arguments(message)


class _Selection(NamedTuple):
    """Which letters are meant: those that fulfil all that is said."""

    queue: str | None
    uuids: frozenset[UUID] | None
    cursors: frozenset[str] | None
    where: Callable[[DeadLetter], bool] | None

    @classmethod
    def of(
        cls,
        queue: str | None,
        uuids: Iterable[UUID] | None,
        cursors: Iterable[str] | None,
        where: Callable[[DeadLetter], bool] | None,
    ) -> _Selection:
        """Check and keep what a caller says."""
        if isinstance(cursors, str) or (cursors is not None and queue is None):
            raise ConfigError(f"cursors: expected a list, and queue= beside it, got {cursors!r} and queue={queue!r}")
        return cls(
            queue,
            None if uuids is None else frozenset(uuids),
            None if cursors is None else frozenset(cursors),
            where,
        )

    @property
    def is_all(self) -> bool:
        """Whether it is every letter of its queues."""
        return self.uuids is None and self.cursors is None and self.where is None

    def takes(self, letter: DeadLetter) -> bool:
        """Whether a letter is meant."""
        return (
            (self.cursors is None or letter.cursor in self.cursors)
            and (self.uuids is None or letter.uuid in self.uuids)
            and (self.where is None or self.where(letter))
        )


class DeadLetters:
    """The dead letters of an app, awaitable: `app.dead_letters`.

    Parameters:
        app: The app.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def list(self, queue: str | None = None) -> AsyncGenerator[DeadLetter, None]:
        """Yield dead letters, queue by queue, the oldest first.

        Parameters:
            queue: Its name; None: those of the app's settings and tasks.

        Raises:
            ConfigError: This broker does not show them.
        """
        broker = await self._broker()
        for name in self._queues(queue):
            async for cursor, envelope, reason in broker.peek(name, dead=True):
                yield DeadLetter(self._app, name, cursor, envelope, reason)

    async def replay(
        self,
        queue: str | None = None,
        *,
        uuids: Iterable[UUID] | None = None,
        cursors: Iterable[str] | None = None,
        where: Callable[[DeadLetter], bool] | None = None,
    ) -> int:
        """Send dead letters again: as attempt 1, due now, under the same uuid, whose result can be waited for again.

        Crashes are forgotten, and a time at which the task expired does not count any more. Damaged ones are left.

        Parameters:
            queue: Its name; None: those of the app's settings and tasks.
            uuids: Only these tasks.
            cursors: Only these places of *queue*.
            where: Only letters for which it is true; runs on the event loop.

        Returns:
            How many were sent.

        Raises:
            ConfigError: This broker does not show them; or cursors without a queue.
        """
        selection = _Selection.of(queue, uuids, cursors, where)
        replaying = Replaying(self._app.engine(), await self._broker())
        count = 0
        for name in self._queues(queue):
            chosen = await self._chosen(name, selection, is_replay=True)
            for start in range(0, len(chosen), _AT_ONCE):
                count += await replaying.replay(name, chosen[start : start + _AT_ONCE])
        return count

    async def purge(
        self,
        queue: str | None = None,
        *,
        uuids: Iterable[UUID] | None = None,
        cursors: Iterable[str] | None = None,
        where: Callable[[DeadLetter], bool] | None = None,
    ) -> int:
        """Delete dead letters; the records of their tasks stay until they expire.

        Parameters and errors as those of `replay`.

        Returns:
            How many were deleted.
        """
        selection = _Selection.of(queue, uuids, cursors, where)
        broker = await self._broker()
        count = 0
        for name in self._queues(queue):
            if selection.is_all:
                count += await broker.purge(name, dead=True)
                continue
            chosen = await self._chosen(name, selection, is_replay=False)
            for start in range(0, len(chosen), _AT_ONCE):
                count += await broker.purge(name, dead=True, cursors=chosen[start : start + _AT_ONCE])
        return count

    async def pages(self, queue: str | None = None) -> AsyncGenerator[tuple[DeadLetter, ...], None]:
        """Yield what `list` yields, many at once."""
        page: tuple[DeadLetter, ...] = ()
        async for letter in self.list(queue):
            page = (*page, letter)
            if len(page) == _PAGE:
                yield page
                page = ()
        yield page

    async def _chosen(self, queue: str, selection: _Selection, *, is_replay: bool) -> Sequence[str]:
        """Return the cursors first: what is sent again may be back among the dead before the end is reached."""
        return [
            letter.cursor
            async for letter in self.list(queue)
            if selection.takes(letter) and not (is_replay and letter.is_damaged)
        ]

    async def _broker(self) -> Inspectable:
        engine = self._app.engine()
        await engine.ensure_started()
        if not isinstance(engine.broker, Inspectable):
            raise ConfigError("this broker does not show its dead letters: use the tools of its server")
        return engine.broker

    def _queues(self, queue: str | None) -> tuple[str, ...]:
        if queue is not None:
            return (queue,)
        of_tasks = [task.queue for task in self._app.tasks.values() if task.queue is not None]
        return tuple(dict.fromkeys((*self._app.config.queues, *of_tasks)))


class BlockingDeadLetters:
    """The dead letters of an app, blocking: `app.dead_letters`; each method does what its twin in `DeadLetters` does.

    Parameters:
        app: The app.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._aio = DeadLetters(app)

    def list(self, queue: str | None = None) -> Iterator[DeadLetter]:
        """Yield dead letters, the oldest first; see `DeadLetters.list`."""
        for page in blocking_iterator(self._app.portal, self._aio.pages(queue), "app.aio.dead_letters.list(…)"):
            yield from page

    def replay(
        self,
        queue: str | None = None,
        *,
        uuids: Iterable[UUID] | None = None,
        cursors: Iterable[str] | None = None,
        where: Callable[[DeadLetter], bool] | None = None,
    ) -> int:
        """Send dead letters again; see `DeadLetters.replay`. *where* runs in the calling thread."""
        return self._do("replay", _Selection.of(queue, uuids, cursors, where))

    def purge(
        self,
        queue: str | None = None,
        *,
        uuids: Iterable[UUID] | None = None,
        cursors: Iterable[str] | None = None,
        where: Callable[[DeadLetter], bool] | None = None,
    ) -> int:
        """Delete dead letters; see `DeadLetters.purge`. *where* runs in the calling thread."""
        return self._do("purge", _Selection.of(queue, uuids, cursors, where))

    def _do(self, method: str, selection: _Selection) -> int:
        if selection.where is None:
            return self._cross(method, selection.queue, uuids=selection.uuids, cursors=selection.cursors)
        chosen: dict[str, set[str]] = {}
        for letter in self.list(selection.queue):
            if selection.takes(letter):
                chosen.setdefault(letter.queue, set()).add(letter.cursor)
        return sum(self._cross(method, queue, cursors=cursors) for queue, cursors in chosen.items())

    def _cross(self, method: str, *args: Any, **options: Any) -> int:
        call = partial(getattr(self._aio, method), *args, **options)
        count: int = self._app.portal.call(call, hint=f"app.aio.dead_letters.{method}(…)")
        return count

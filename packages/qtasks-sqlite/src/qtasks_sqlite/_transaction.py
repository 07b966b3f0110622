"""One transaction of the writer: what its jobs get, and what they tell the rest of the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from qtasks_sqlite._faults import translate

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from qtasks_core.contract import TaskRecord

__all__ = ["Effects", "OneByOne", "Transaction"]

T = TypeVar("T")


class OneByOne(Exception):  # noqa: N818  # a signal between jobs and writer, never seen outside
    """A job's quick way does not fit its items: run it alone, item by item."""


class Effects:
    """What a committed transaction changed, for those in this process who wait for it."""

    __slots__ = ("config", "events", "evicted", "final", "ready")

    def __init__(self) -> None:
        self.ready = False
        self.config = False
        self.events = False
        self.evicted = False
        self.final: list[TaskRecord] = []

    def __bool__(self) -> bool:
        return self.ready or self.config or self.events or self.evicted or bool(self.final)


class Transaction:
    """What a job gets. A job may be run again after a rollback, so it changes nothing but the database and *effects*.

    Parameters:
        connection: The writer's, with a transaction open.
        path: The file, for messages.
    """

    __slots__ = ("careful", "connection", "effects", "items", "only", "path")

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection = connection
        self.path = path
        self.careful = False  # True: the job's quick way has failed before, it applies each item by itself
        self.effects = Effects()
        self.items = 0  # how many the last each() was given
        self.only: int | None = None  # the place of the only item that each() is to apply

    def each(self, items: Sequence[T], apply: Callable[[T], Exception | None]) -> list[Exception | None]:
        """Apply items one by one, each under a savepoint.

        Returns, for each, what *apply* returned, or what it raised; then nothing of that item stays.
        """
        self.items = len(items)
        if self.only is not None:
            return [self._one(item, apply) if place == self.only else None for place, item in enumerate(items)]
        return [self._one(item, apply) for item in items]

    def _one(self, item: T, apply: Callable[[T], Exception | None]) -> Exception | None:
        execute = self.connection.execute
        execute("SAVEPOINT item")
        try:
            answer = apply(item)
        except Exception as error:
            if not self.connection.in_transaction:  # SQLite gave up the whole transaction, and the mates with it
                raise
            answer = translate(error, self.path)
            execute("ROLLBACK TO item")
        execute("RELEASE item")
        return answer

"""What the suite of generators watches: values that are held, appends that wait, lists that stop growing."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qtasks_core.contract import Event, PerItem
    from qtasks_core.engine import Engine

__all__ = ["Alive", "SlowAppends", "Still", "Value"]


class Value(msgspec.Struct, weakref=True, eq=False):
    """A value that can be watched."""

    number: int


class Alive:
    """Counts the values that somebody still holds."""

    def __init__(self) -> None:
        self._refs: set[weakref.ref[Value]] = set()
        self.most = 0

    def make(self, number: int) -> Value:
        """Return a new value, counted as long as somebody holds it."""
        value = Value(number)
        self._refs.add(weakref.ref(value, self._refs.discard))
        self.most = max(self.most, len(self._refs))
        return value


class SlowAppends:
    """Lets every append of a worker's storage wait, and counts what it has answered."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.answered = 0
        self._append: Callable[[Sequence[Event]], Any] | None = None

    def prepare(self, engine: Engine) -> None:
        """Stand between a worker and its storage."""
        self._append = engine.storage.append
        engine.storage.append = self._slowly  # type: ignore[method-assign]  # the worker's own object, for this test

    async def _slowly(self, batch: Sequence[Event]) -> PerItem:
        assert self._append is not None
        await self.go_on.wait()
        answers: PerItem = await self._append(batch)
        self.answered += len(answers)
        return answers


class Still:
    """Whether a list has stopped growing: it has as many items as at the last look, several times."""

    def __init__(self, items: list[int]) -> None:
        self._items = items
        self._seen = -1
        self._times = 0

    def has_stopped(self) -> bool:
        """Look once more, and tell."""
        self._times = self._times + 1 if len(self._items) == self._seen else 0
        self._seen = len(self._items)
        return self._times == 10

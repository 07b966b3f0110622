"""One queue: the ready in order, the delayed by due time, the dead by age."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from qtasks_core.contract import Depth

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qtasks_core.memory.task import Task

__all__ = ["Line", "Queue"]

Key = tuple[float, ...]

_FEW_GONE = 64


class Line:
    """Tasks in order of a key. One in the middle leaves in constant time: its entry is skipped later.

    A task waits here under *key* exactly while `task.key is key`.
    """

    __slots__ = ("_gone", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[Key, Task]] = []
        self._gone = 0

    def __len__(self) -> int:
        return len(self._heap) - self._gone

    def __iter__(self) -> Iterator[tuple[Key, Task]]:
        return iter(sorted(self._present()))

    def push(self, key: Key, task: Task) -> None:
        """Let *task* wait under *key*; no two keys are equal."""
        task.key = key
        heappush(self._heap, (key, task))

    def head(self) -> Key | None:
        """Return the lowest key."""
        heap = self._heap
        while heap:
            key, task = heap[0]
            if task.key is key:
                return key
            heappop(heap)
            self._gone -= 1
        return None

    def pop(self) -> Task:
        """Take out the task with the lowest key."""
        while True:
            key, task = heappop(self._heap)
            if task.key is key:
                task.key = None
                return task
            self._gone -= 1

    def remove(self, task: Task) -> None:
        """Take out a task from anywhere."""
        task.key = None
        self._gone += 1
        if self._gone > _FEW_GONE and self._gone * 2 > len(self._heap):
            self._heap = self._present()
            heapify(self._heap)
            self._gone = 0

    def _present(self) -> list[tuple[Key, Task]]:
        return [entry for entry in self._heap if entry[1].key is entry[0]]


class Queue:
    """The lines of one queue; a task is in at most one of them."""

    __slots__ = ("dead", "delayed", "name", "ready", "running", "warned_at")

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready = Line()  # by place
        self.delayed = Line()  # by (due time, number)
        self.running = 0
        self.dead: dict[int, Task] = {}  # by letter number: the oldest first
        self.warned_at = float("-inf")

    def promote(self, now: float) -> None:
        """Move what is due to its place among the ready."""
        while (key := self.delayed.head()) is not None and key[0] <= now:
            task = self.delayed.pop()
            self.ready.push(task.place, task)

    def remove(self, task: Task) -> None:
        """Take out a message that waits."""
        (self.ready if task.key is task.place else self.delayed).remove(task)
        task.lose_message()

    def exhume(self, task: Task) -> None:
        """Take out a dead letter."""
        del self.dead[task.letter]
        task.lose_message()

    def listing(self, *, dead: bool, after: str = "") -> dict[str, Task]:
        """Return tasks by cursor: the dead letters, the oldest first, or what waits, in the order of taking."""
        start: Key = tuple(map(float, after.split(":"))) if after else ()
        lines: tuple[Iterable[tuple[Key, Task]], ...] = (self.ready, self.delayed)
        if dead:
            lines = ([((number,), task) for number, task in self.dead.items()],)
        found: Iterable[tuple[Key, Task]] = (
            ((index, *key), task) for index, line in enumerate(lines) for key, task in line
        )
        return {":".join(map(repr, key)): task for key, task in found if start < key}

    def letter(self, cursor: str) -> Task | None:
        """Return the dead letter at a cursor of `listing`."""
        number = cursor.removeprefix("0:")
        return self.dead.get(int(number)) if number.isdecimal() else None

    def depth(self) -> Depth:
        """Count what is here."""
        return Depth(len(self.ready), len(self.delayed), self.running, len(self.dead))

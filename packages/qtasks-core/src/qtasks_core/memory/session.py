"""The lives of workers, and those of their receive() calls that found nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_core.memory.signal import Signal, call_on

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from qtasks_core.contract import Delivery
    from qtasks_core.memory.task import Task

__all__ = ["Receiver", "Session"]


class Session:
    """One life of a worker: what it reads and what it holds. A delivery not in `held` belongs to nobody any more."""

    __slots__ = ("_loop", "epoch", "held", "lost", "queues", "worker")

    def __init__(
        self,
        worker: str,
        queues: Iterable[str],
        lost: Callable[[Sequence[Delivery]], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._loop = loop
        self.lost = lost
        self.worker = worker
        self.epoch = 0  # given when it is registered
        self.queues = tuple(dict.fromkeys(queues))
        self.held: dict[int, Task] = {}  # by delivery number

    def again(self) -> Session:
        """Return a further life of the same worker."""
        return Session(self.worker, self.queues, self.lost, self._loop)

    def tell_lost(self, deliveries: Sequence[Delivery]) -> None:
        """Tell the worker, on its loop, what is not its own any more."""
        if deliveries:
            call_on(self._loop, self.lost, deliveries)


class Receiver(Signal[None]):
    """A receive() call that waits to be rung."""

    def __init__(self, session: Session, per_queue: Mapping[str, int]) -> None:
        super().__init__()
        self.session = session
        self.per_queue = per_queue

    def takes_from(self, queue: str) -> bool:
        """Whether a message of *queue* is for it."""
        return queue in self.session.queues and self.per_queue.get(queue, 1) > 0

"""Where a test builds components of the subject: they are started for it, and stopped when it is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, cast

from qtasks_testing.kit.consumer import Consumer
from qtasks_testing.kit.context import KitContext

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from uuid import UUID

    from qtasks_core.contract import Backend, Broker, GlobalConfig, Sender, Storage
    from qtasks_testing.kit.subject import Subject

__all__ = ["Bench"]

T = TypeVar("T")


class Bench:
    """One app on the subject: its components, its workers, its clock.

    Parameters:
        subject: The backend under test.
        component: Name of the component that the suite is about.
    """

    def __init__(self, subject: Subject, component: str) -> None:
        self.subject = subject
        self.component = component
        self.context = KitContext()
        self.patience_s = subject.patience_s
        self.silence_s = subject.silence_s
        self._started: list[Backend] = []

    def probe(self) -> Any:
        """Build the suite's component for an app of its own, without starting it."""
        return self.at(self.subject.url)

    def at(self, url: str) -> Any:
        """Build the suite's component for another URL, without starting it."""
        factory = self.subject.factory(self.component)
        assert factory is not None, f"the subject has no {self.component}"
        return factory(url, KitContext())

    def make(self, component: str, context: KitContext | None = None) -> Any:
        """Build a component without starting it."""
        factory = self.subject.factory(component)
        assert factory is not None, f"the subject has no {component}"
        return factory(self.subject.url, context or self.context)

    async def start(self, component: str, context: KitContext | None = None) -> Any:
        """Build a component and start it; it is stopped with the test."""
        made = self.make(component, context)
        self._started.append(made)
        await made.start()
        return made

    async def main(self, context: KitContext | None = None) -> Any:
        """Return a started component of the kind that the suite is about."""
        return await self.start(self.component, context)

    async def sender(self, context: KitContext | None = None) -> Sender:
        """Return a started sender."""
        return cast("Sender", await self.start("sender", context))

    async def broker(self, context: KitContext | None = None) -> Broker:
        """Return a started broker."""
        return cast("Broker", await self.start("broker", context))

    async def storage(self, context: KitContext | None = None) -> Storage:
        """Return a started storage."""
        return cast("Storage", await self.start("storage", context))

    async def global_config(self, context: KitContext | None = None) -> GlobalConfig:
        """Return a started global config."""
        return cast("GlobalConfig", await self.start("global_config", context))

    async def consumer(
        self,
        worker: str = "w1",
        queues: Sequence[str] = ("default",),
        slots: int = 1000,
        context: KitContext | None = None,
    ) -> Consumer:
        """Return a worker's broker that is subscribed to *queues*."""
        broker = await self.broker((context or self.context).seen_by(worker))
        consumer = Consumer(broker, worker, self.patience_s, self.silence_s)
        await consumer.subscribe(queues, slots)
        return consumer

    async def waiting(self) -> Sequence[UUID]:
        """Look through the back door: the uuids of the messages that wait."""
        assert self.subject.back_door is not None, "mark the test with requires(Trait.BACK_DOOR)"
        return await self.subject.back_door(self.context)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass: by moving the clock where the subject goes by it."""
        if self.subject.movable_clock:
            self.context.advance(seconds)
        else:
            await asyncio.sleep(seconds)

    async def elsewhere(self, use: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine function on another event loop in another thread, as a second engine of the process does.

        It may only use what it makes itself.
        """
        return await asyncio.to_thread(lambda: asyncio.run(use()))

    async def close(self) -> None:
        """Stop what was started, the last first."""
        for component in reversed(self._started):
            await component.stop()

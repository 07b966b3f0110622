"""What this worker is asked from outside: cancels, paused queues, and whether it is alive."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING
from uuid import UUID

from qtasks_core.control import CANCEL_PREFIX, PAUSE_PREFIX
from qtasks_core.errors import UnavailableError
from qtasks_core.group_commit import Backoff
from qtasks_core.pinging import PING_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Any

    from qtasks_core.contract import GlobalConfig

__all__ = ["Commands"]

logger = logging.getLogger("qtasks.worker")


class Commands:
    """Watches the shared memory.

    Parameters:
        global_config: Where the word comes from; None: nobody can ask.
        cancel: Told of each task whose end is asked for, with the reason, when the word arrives.
        pause: Told when other queues are paused than before.
        answer: Answers who asks whether this worker is alive.
    """

    def __init__(
        self,
        global_config: GlobalConfig | None,
        cancel: Callable[[UUID, str], None],
        pause: Callable[[], None],
        answer: Callable[[str], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self._global_config = global_config
        self._cancel = cancel
        self._pause = pause
        self._answer = answer
        self._answering: set[asyncio.Task[None]] = set()
        self._watchers: list[asyncio.Task[None]] = []
        self.cancelled: dict[UUID, str] = {}
        """Reasons of the cancels that stand: asked before each start."""
        self.paused: set[str] = set()
        """Queues that nothing is taken from."""

    async def start(self) -> None:
        """Watch, and return when what stands is known: what is paused or cancelled must not be taken or run first."""
        if self._global_config is None or self._watchers:
            return
        try:
            found = await self._global_config.list(PAUSE_PREFIX)
            self.paused = {key.removeprefix(PAUSE_PREFIX) for key, one in found.items() if one.value is not None}
            for key, one in (await self._global_config.list(CANCEL_PREFIX)).items():
                self._on_cancel(key.removeprefix(CANCEL_PREFIX), one.value)
        except UnavailableError as error:
            logger.warning("the global config is away: %s; cancels and pauses are heard later", error)
        self._watchers = [
            asyncio.create_task(self._watch(self._global_config, prefix, told, known))
            for prefix, told, known in (
                (CANCEL_PREFIX, self._on_cancel, lambda: map(str, self.cancelled)),
                (PAUSE_PREFIX, self._on_pause, lambda: self.paused),
                (PING_PREFIX, self._on_ping, lambda: ()),
            )
        ]

    async def stop(self) -> None:
        """Watch no more."""
        tasks = [*self._watchers, *self._answering]
        self._watchers = []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def forget(self, uuid: UUID) -> Coroutine[Any, Any, None] | None:
        """Return what takes back a cancel that was obeyed; None when there was none."""
        if self.cancelled.pop(uuid, None) is None or self._global_config is None:
            return None
        return self._take_back(self._global_config, uuid)

    async def _take_back(self, global_config: GlobalConfig, uuid: UUID) -> None:
        try:
            await global_config.put(f"{CANCEL_PREFIX}{uuid}", None)
        except UnavailableError as error:
            logger.debug("the cancel of task %s stays until it expires: %s", uuid, error)

    async def _watch(
        self,
        global_config: GlobalConfig,
        prefix: str,
        told: Callable[[str, bytes | None], None],
        known: Callable[[], Iterable[str]],
    ) -> None:
        backoff = Backoff()
        while True:
            try:
                if stands := set(known()):
                    present = {key.removeprefix(prefix) for key in await global_config.list(prefix)}
                    for key in stands - present:  # taken back while nobody watched
                        told(key, None)
                async for key, versioned in global_config.watch(prefix):
                    told(key.removeprefix(prefix), versioned.value)
                    backoff.reset()
            except UnavailableError as error:
                logger.warning("the global config is away: %s; cancels and pauses are heard later", error)
            except Exception:
                logger.exception("watching %r failed; trying again", prefix)
            await backoff.wait()

    def _on_cancel(self, key: str, reason: bytes | None) -> None:
        try:
            uuid = UUID(key)
        except ValueError:
            return
        if reason is None:
            self.cancelled.pop(uuid, None)
            return
        self.cancelled[uuid] = text = reason.decode("utf-8", "replace")
        self._cancel(uuid, text)

    def _on_pause(self, queue: str, value: bytes | None) -> None:
        before = set(self.paused)
        (self.paused.discard if value is None else self.paused.add)(queue)
        if self.paused != before:
            self._pause()

    def _on_ping(self, question: str, value: bytes | None) -> None:
        if value is None or self._answer is None:
            return
        answering = asyncio.get_running_loop().create_task(self._answer(question))
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)

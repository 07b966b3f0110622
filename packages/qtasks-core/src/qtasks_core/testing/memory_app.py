"""An app that is connected to memory for the time of a test."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from qtasks_core.app import Wiring
from qtasks_core.components import Sources
from qtasks_core.context import SharedObjects
from qtasks_core.testing.clock import MovedClock
from qtasks_core.testing.handles import AsyncMemory, BlockingMemory

if TYPE_CHECKING:
    from types import TracebackType

    from qtasks_core.app import App, AppFace
    from qtasks_core.engine import Engine

__all__ = ["MEMORY_URL", "MemoryApp", "is_in_memory", "memory_app"]

MEMORY_URL = "memory://"
_CLOSE_TIMEOUT_S = 10.0


def memory_app(app: AppFace) -> MemoryApp:
    """Connect an app to memory for the length of a `with` or an `async with` block, whatever it is connected to.

    Nothing of what is added in it reaches the app's own broker, and nothing runs by itself: what the block is given
    runs it (`run_until_idle`) and moves the time (`advance`). It is the same app object, so code that imports it needs
    no change.

    Parameters:
        app: The app, either face.
    """
    return MemoryApp(app.core)


def is_in_memory(core: App) -> bool:
    """Whether an app is inside of a `memory_app` block."""
    return isinstance(core.new_context().clock, MovedClock)


class MemoryApp:
    """What `memory_app` returns: `with` gives a `BlockingMemory`, `async with` an `AsyncMemory`.

    Parameters:
        core: The app.
    """

    def __init__(self, core: App) -> None:
        self._core = core
        self._before: list[Wiring] = []

    def __enter__(self) -> BlockingMemory:
        self._plug_in()
        return BlockingMemory(self._core)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for loop, engine in self._plug_out().items():
            self._stop(loop, engine)

    async def __aenter__(self) -> AsyncMemory:
        self._plug_in()
        return AsyncMemory(self._core)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for loop, engine in self._plug_out().items():
            if loop is asyncio.get_running_loop():
                await engine.stop()
            else:
                await asyncio.to_thread(self._stop, loop, engine)

    def _plug_in(self) -> None:
        self._before.append(self._core.wiring)
        sources = Sources(MEMORY_URL, MEMORY_URL, MEMORY_URL)
        self._core.wiring = Wiring(sources, SharedObjects(MovedClock()), {}, None)

    def _plug_out(self) -> dict[asyncio.AbstractEventLoop, Engine]:
        engines = self._core.wiring.engines
        self._core.wiring = self._before.pop()
        return engines

    def _stop(self, loop: asyncio.AbstractEventLoop, engine: Engine) -> None:
        """Stop an engine on its own loop, which may be the portal's, or that of a web framework's test client."""
        if loop is _running_loop():
            _kept.add(stopping := loop.create_task(engine.stop()))
            stopping.add_done_callback(_kept.discard)
        elif loop.is_running():
            with contextlib.suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(engine.stop(), loop).result(_CLOSE_TIMEOUT_S)
        else:
            self._core.triggers.thaw(engine)  # its loop has ended, and memory has nothing that stays open


_kept: set[asyncio.Task[Any]] = set()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None

"""The end of an event loop: bounded, whatever is left on it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator

import pytest

from qtasks_core import loops
from qtasks_core.loops import close_loop


@pytest.fixture
def loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def test_what_is_left_is_cancelled_and_may_clean_up(loop: asyncio.AbstractEventLoop) -> None:
    """Coroutines end, and generators that were left in the middle are closed."""
    ended: list[str] = []

    async def generator() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            ended.append("generator")

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("coroutine")

    one = generator()

    async def main() -> None:
        task = loop.create_task(endless())
        assert 1 == await anext(one)
        assert not task.done()
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    close_loop(loop)

    assert ["coroutine", "generator"] == ended
    assert loop.is_closed()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_coroutine_that_does_not_listen_is_left_behind(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while, with a warning."""
    monkeypatch.setattr(loops, "_CANCEL_TIMEOUT_S", 0.05)

    async def deaf() -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    async def main() -> None:
        tasks.append(loop.create_task(deaf()))
        await asyncio.sleep(0)

    tasks: list[asyncio.Task[None]] = []
    loop.run_until_complete(main())
    with caplog.at_level(logging.WARNING):
        close_loop(loop)
    tasks[0]._log_destroy_pending = False  # type: ignore[attr-defined]

    assert loop.is_closed()
    assert "1 coroutines do not listen to their cancellation: they are left behind" in caplog.text


def test_a_thread_that_does_not_end_is_not_waited_for(loop: asyncio.AbstractEventLoop) -> None:
    """One of `asyncio.to_thread`, whose coroutine was cancelled."""
    begun, go = threading.Event(), threading.Event()

    def endless() -> None:
        begun.set()
        go.wait(30)

    async def main() -> None:
        waiting = loop.create_task(asyncio.to_thread(endless))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        assert not waiting.done()

    loop.run_until_complete(main())
    close_loop(loop)
    assert loop.is_closed()
    go.set()

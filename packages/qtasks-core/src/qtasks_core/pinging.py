"""Asking the workers whether they are alive: a client puts a question into the shared memory, workers put answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import msgspec
from msgspec import Struct

from qtasks_core.control import WORKER_PREFIX
from qtasks_core.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from qtasks_core.contract import GlobalConfig, Versioned

__all__ = ["PING_PREFIX", "Answerer", "PingedWorker", "ping"]

PING_PREFIX = "ping/"
PONG_PREFIX = "pong/"
_KEPT_S = 5.0

S = TypeVar("S", bound=Struct)


class PingedWorker(Struct, frozen=True, kw_only=True):
    """A worker that answers, or that is announced and does not."""

    name: str
    """Unique among the workers of the app."""
    age: float
    """Seconds since it started."""
    latency: float | None
    """Seconds until it answered; None: it did not."""
    host: str
    """Where it runs."""
    pid: int
    """Of its process."""
    queues: tuple[str, ...]
    """What it takes from."""


class _Known(Struct, kw_only=True):
    """What an answer and an announcement both say."""

    name: str
    host: str
    pid: int
    started_at: float
    queues: tuple[str, ...] = ()


class Answerer:
    """Answers for one worker.

    Parameters:
        global_config: Where questions come from.
        name: The worker's.
        queues: What it takes from.
        clock: The time now, in epoch seconds.
    """

    def __init__(
        self, global_config: GlobalConfig | None, name: str, queues: tuple[str, ...], clock: Callable[[], float]
    ) -> None:
        self._global_config = global_config
        self._known = _Known(name=name, host=socket.gethostname(), pid=os.getpid(), started_at=clock(), queues=queues)

    async def answer(self, question: str) -> None:
        """Put the answer where who asks looks for it; a server that is away is asked again by who asks again."""
        if self._global_config is None:
            return
        key, value = f"{PONG_PREFIX}{question}/{self._known.name}", msgspec.json.encode(self._known)
        with contextlib.suppress(UnavailableError):
            await self._global_config.put(key, value, _KEPT_S)


async def ping(global_config: GlobalConfig | None, clock: Callable[[], float], timeout_s: float) -> list[PingedWorker]:
    """Ask all workers; return those that answered and those that are announced, by name.

    Parameters:
        global_config: What carries question and answers.
        clock: The time now, in epoch seconds.
        timeout_s: Seconds to wait for those that are announced; where none is, all of them for whoever answers.

    Raises:
        ConfigError: There is no global config, so workers cannot be reached.
    """
    if global_config is None:
        raise ConfigError("to ping the workers they must be reached: name a global config with global_config_url=")
    announced = _read(await global_config.list(WORKER_PREFIX))
    question = uuid4().hex
    try:
        answers = await _ask(global_config, question, set(announced), timeout_s)
    finally:
        await global_config.put(f"{PING_PREFIX}{question}", None)
    now = clock()
    known = {**announced, **{name: answer for name, (answer, _) in answers.items()}}
    return [
        PingedWorker(
            name=name,
            age=max(0.0, now - one.started_at),
            latency=answers[name][1] if name in answers else None,
            host=one.host,
            pid=one.pid,
            queues=one.queues,
        )
        for name, one in sorted(known.items())
    ]


async def _ask(
    global_config: GlobalConfig, question: str, expected: set[str], timeout_s: float
) -> dict[str, tuple[_Known, float]]:
    """Return the answers by the worker's name, each with the seconds that it took."""
    loop = asyncio.get_running_loop()
    answers: dict[str, tuple[_Known, float]] = {}
    prefix = f"{PONG_PREFIX}{question}/"
    began = loop.time()
    await global_config.put(f"{PING_PREFIX}{question}", b"1", timeout_s + _KEPT_S)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s), _closing(global_config.watch(prefix)) as changes:
            async for key, versioned in changes:
                for name, answer in _read({key: versioned}, prefix).items():
                    answers[name] = answer, loop.time() - began
                if expected and expected <= answers.keys():
                    break
    return answers


@contextlib.asynccontextmanager
async def _closing(
    changes: AsyncIterator[tuple[str, Versioned]],
) -> AsyncIterator[AsyncIterator[tuple[str, Versioned]]]:
    """End a watch at once, where it is a generator, and not when it happens to be collected."""
    try:
        yield changes
    finally:
        close: Any = getattr(changes, "aclose", None)
        if close is not None:
            await close()


def _read(values: Any, prefix: str = WORKER_PREFIX) -> dict[str, _Known]:
    """Return what can be read of answers or announcements; other versions may say it in another way."""
    found = {}
    for key, versioned in values.items():
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, TypeError):
            found[key.removeprefix(prefix)] = msgspec.json.decode(versioned.value, type=_Known)
    return found

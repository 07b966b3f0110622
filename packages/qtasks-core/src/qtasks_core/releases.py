"""What is released when a run is over."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

__all__ = ["Release", "Releases"]

T = TypeVar("T")
Release = Callable[[BaseException | None], Awaitable[object]]
"""Gets what the run ended with, None after a success. What it raises takes that error's place."""


class Releases(list[Release]):
    """What is to be done when a run is over, the last appended first, each whatever the others raise."""

    async def enter(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter a context manager that is left when the run is over; it suppresses no error.

        Parameters:
            manager: The context manager.
        """
        value = await manager.__aenter__()

        async def leave(error: BaseException | None) -> None:
            await manager.__aexit__(
                None if error is None else type(error), error, getattr(error, "__traceback__", None)
            )

        self.append(leave)
        return value

    def callback(self, function: Callable[..., Any], *args: Any) -> None:
        """Have a function called, or a coroutine function awaited, when the run is over.

        Parameters:
            function: The function.
            args: What it is called with.
        """

        async def call(_: BaseException | None) -> None:
            answer = function(*args)
            if inspect.isawaitable(answer):
                await answer

        self.append(call)

    async def release(self, error: BaseException | None) -> BaseException | None:
        """Release all; return what the run ends with now.

        Parameters:
            error: What it ended with before.
        """
        while self:
            try:
                await self.pop()(error)
            except BaseException as raised:  # noqa: BLE001  # a cancel must not keep the others from being released
                error = raised
        return error

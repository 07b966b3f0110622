"""Middlewares that tell what they do, or refuse to, and a task to put them around."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from qtasks_core.middlewares import TaskMiddleware

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from qtasks_core.contract import Execution


def job(x: int = 0) -> Any:
    return x


class Noting(TaskMiddleware):
    """Notes each step of each run."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    def __repr__(self) -> str:
        return f"Noting({self.name!r})"

    def before(self, execution: Execution) -> None:
        self.notes.append(f"{self.name}.before")

    async def around(self, execution: Execution, call: Callable[[], Awaitable[Any]]) -> Any:
        self.notes.append(f"{self.name}.around")
        try:
            return await call()
        finally:
            self.notes.append(f"{self.name}.around ends")

    async def after(self, execution: Execution, result: Any) -> Any:
        await asyncio.sleep(0)
        self.notes.append(f"{self.name}.after {result}")
        return f"{result}{self.name}"

    async def failed(self, execution: Execution, error: BaseException) -> None:
        self.notes.append(f"{self.name}.failed {type(error).__name__}")


class Refusing(TaskMiddleware):
    """Raises in one step."""

    def __init__(self, step: str) -> None:
        async def refuse(*given: Any) -> None:
            await asyncio.sleep(0)
            raise PermissionError(f"no {step}")

        setattr(self, step, refuse)

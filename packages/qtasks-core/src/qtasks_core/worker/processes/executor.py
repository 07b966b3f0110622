"""The TaskExecutor that runs tasks in processes of their own."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import msgspec

from qtasks_core.errors import ConfigError
from qtasks_core.messages import envelope_of
from qtasks_core.worker.executor import TaskExecutor
from qtasks_core.worker.processes.execution import ProcessExecution, travelling
from qtasks_core.worker.processes.launch import Launcher
from qtasks_core.worker.processes.logs import levels
from qtasks_core.worker.processes.messages import Call, Mark, Place, Setup
from qtasks_core.worker.processes.places import main_of, place_of
from qtasks_core.worker.processes.pool import ProcessPool
from qtasks_core.worker.time_limit import within

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from qtasks_core.app import App
    from qtasks_core.contract import Execution
    from qtasks_core.definition import TaskDefinition
    from qtasks_core.triggers import Triggers

__all__ = ["ProcessTaskExecutor"]

T = TypeVar("T")


class ProcessTaskExecutor(TaskExecutor):
    """Runs each task in one of a few processes that are started once; for work that needs a CPU, or may crash.

    A run that is cancelled, or whose time is over, has its process killed; a process that crashes fails its own task
    alone. The time that a task waits for a process does not count as its run's. Plugins and middlewares are called in
    the worker.

    Parameters:
        most: Tasks that the worker runs at the same time; there are never more processes.
        triggers: The app's triggers; None takes those of the app whose tasks it gets.
        processes: Processes at the same time; as many as there are CPUs by default.
        max_tasks_per_child: Runs after which a process makes room for a fresh one; None: never.

    Raises:
        ConfigError: A number is not a whole number, 1 or more.
    """

    stops: ClassVar[Literal["cancel", "cooperative", "kill"]] = "kill"
    keeps_time: ClassVar[bool] = True
    """It looks after the timeout of a run by itself."""
    provides_elsewhere: ClassVar[bool] = True
    """What plugins provide as parameters is made in the processes."""
    execution_class: ClassVar[type[ProcessExecution]] = ProcessExecution

    def __init__(
        self,
        most: int | None = None,
        triggers: Triggers | None = None,
        *,
        processes: int | None = None,
        max_tasks_per_child: int | None = None,
    ) -> None:
        self._processes = _count("processes", processes) or _cpus()
        self._processes = min(self._processes, _count("most", most) or self._processes)
        self._max_tasks = _count("max_tasks_per_child", max_tasks_per_child)
        super().__init__(most or self._processes, triggers)
        self._places: list[Place] = []
        self._numbers: dict[str, int] = {}
        self._launcher: Launcher | None = None
        self._pool: ProcessPool | None = None

    def adopt(self, app: App, definition: TaskDefinition) -> None:
        """Take on a task, before the start.

        Raises:
            ConfigError: Its function cannot be imported by another process.
        """
        super().adopt(app, definition)
        place = place_of(definition)
        if place.name in self._numbers:
            self._places[self._numbers[place.name]] = place
        else:
            self._numbers[place.name] = len(self._places)
            self._places.append(place)

    async def start(self) -> None:
        """Start the first process, and wait until it has imported the tasks.

        Raises:
            ConfigError: It could not.
        """
        await super().start()
        if self._pool is not None or self._app is None:
            return
        self._launcher = Launcher(self._setup(self._app))
        self._pool = ProcessPool(self._launcher, self._processes, self._max_tasks)
        try:
            await self._pool.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End all processes, and wait for their ends."""
        pool, launcher = self._pool, self._launcher
        self._pool = self._launcher = None
        try:
            if pool is not None:
                await pool.stop()
        finally:
            if launcher is not None:
                launcher.close()
        await super().stop()

    async def call(self, execution: Execution) -> Any:
        """Run the task in a process."""
        if execution.kind.endswith("generator"):
            return await self.iterate(execution)
        return await self.in_process(execution, _refuse)

    async def iterate(self, execution: Execution) -> Any:
        """Drive a generator task in a process, its handler too; return the task's result."""
        app = self._required(self._app)
        read = app.codecs.result_decoder(app.codecs.chosen.codec, Any)
        async with execution.yields() as yields:

            async def take(raw: bytes) -> None:
                await yields.put(read(raw))

            return await self.gathered(execution, yields, await self.in_process(execution, take))

    async def in_process(self, execution: Execution, take: Callable[[bytes], Awaitable[None]]) -> Any:
        """Wait for a process, and run the task there.

        Parameters:
            execution: The run.
            take: Gets each value that it yields, encoded.

        Raises:
            TaskTimeoutError: It took longer than its timeout; its process is killed.
            TaskProcessError: Its process died.
        """
        pool, app = self._required(self._pool), self._required(self._app)
        call = self._message_of(execution)

        def mark(sent: Mark) -> None:
            execution.context.progress(sent.done, sent.total, sent.message)

        async with pool.lend() as process:
            running = process.run(call, take, mark)
            limit_s = getattr(execution, "timeout", None)
            raw = await (running if limit_s is None else within(limit_s, running))
        return app.codecs.result_decoder(app.codecs.chosen.codec, Any)(raw)

    def _message_of(self, execution: Execution) -> Call:
        envelope = envelope_of(execution.delivery)
        message = travelling(execution, self._required(self._app).serializer(execution.message.codec))
        return Call(self._numbers[execution.task_name], msgspec.structs.replace(envelope, body=b""), message)

    def _setup(self, app: App) -> Setup:
        return Setup(
            places=self._places,
            app=app.imported_as,
            codec=app.codecs.chosen.codec,
            max_depth=app.config.max_depth,
            max_message_bytes=app.config.max_message_bytes,
            log_levels=levels(),
            argv=sys.argv,
            main=main_of(self._places),
        )

    def _required(self, part: T | None) -> T:
        if part is None:
            raise RuntimeError("the executor was not started")
        return part


async def _refuse(_: bytes) -> None:
    raise TypeError("only a generator yields values")


def _count(name: str, value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ConfigError(f"ProcessTaskExecutor: {name}: expected a whole number, 1 or more, got {value!r}")


def _cpus() -> int:
    """Return how many CPUs this process may use."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1

"""The default TaskExecutor: async tasks on the loop, others in threads, triggers around them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from qtasks_core.errors import ConfigError, TaskPluginTriggerError
from qtasks_core.triggers import Triggers
from qtasks_core.worker.threads import ThreadRunner
from qtasks_core.worker.yielding import run_async_generator, run_generator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from qtasks_core.app import App
    from qtasks_core.contract import Execution
    from qtasks_core.definition import TaskDefinition
    from qtasks_core.triggers import Implementation

__all__ = ["TaskExecutor"]

_TRIGGERS = (
    "task_executor_after_execute",
    "task_executor_after_execute_result_replace",
    "task_executor_args_replace",
    "task_executor_before_execute",
    "task_executor_middlewares_execute",
    "task_executor_run_task",
    "task_executor_run_task_gen",
    "task_executor_task_close",
)
_ASKED = "task_executor_run_task_trigger_error"


class TaskExecutor:
    """Runs one task after another: arguments, function, result. Subclass it and override a step to change it.

    A worker makes one of each class that its tasks name, as `cls(concurrency, triggers)`; an instance is taken as is.

    Parameters:
        threads: Most threads for `def` tasks.
        triggers: The app's triggers; None takes those of the app whose tasks it gets.
    """

    stops: ClassVar[Literal["cancel", "cooperative", "kill"]] = "cancel"

    def __init__(self, threads: int, triggers: Triggers | None = None) -> None:
        self._most_threads = threads
        self._threads: ThreadRunner | None = None
        self._triggers = Triggers() if triggers is None else triggers
        self._app: App | None = None
        self._chains: dict[str, tuple[Implementation, ...]] = {}
        self._has_triggers = False

    def adopt(self, app: App, definition: TaskDefinition) -> None:
        """Take on a task, before the start.

        Parameters:
            app: Whose task it is.
            definition: The task.

        Raises:
            ConfigError: It cannot be run like this.
        """
        if self._app is not None and self._app is not app:
            raise ConfigError(
                f"task {definition.name!r}: this {type(self).__name__} runs tasks of app {self._app.name!r}: "
                "expected another instance, or the class, for another app"
            )
        self._app, self._triggers = app, app.triggers

    async def start(self) -> None:
        """Freeze the triggers and get ready to start threads."""
        if self._threads is not None:
            return
        self._threads = ThreadRunner(asyncio.get_running_loop(), self._most_threads, "qtasks-task")
        self._chains = self._triggers.freeze(self, _TRIGGERS)
        self._has_triggers = any(self._chains.values())

    async def stop(self) -> None:
        """Let idle threads end."""
        if self._threads is not None:
            self._threads.close()
            self._threads = None
            self._triggers.thaw(self)

    def run(self, execution: Execution) -> Awaitable[Any]:
        """Run the task; the answer, what it returns or raises, is awaited (`async def` may override it)."""
        if self._has_triggers:
            closes = self._chains["task_executor_task_close"]
            return self._run_and_close(execution, closes) if closes else self._steps(execution)
        layers = execution.layers
        if layers is not None and not layers.are_done(execution):
            in_layers: Awaitable[Any] = layers.run(execution, partial(self._called, execution))
            return in_layers
        return self._called(execution)

    def call(self, execution: Execution) -> Awaitable[Any]:
        """Call the task's function where its kind belongs; the answer is awaited (`async def` may override it)."""
        kind = execution.kind
        if kind == "async":
            awaitable: Awaitable[Any] = execution.function(*execution.args, **execution.kwargs)
            return awaitable
        if kind == "thread":
            return self.in_thread(execution.function, execution.args, execution.kwargs)
        return self.iterate(execution)

    async def iterate(self, execution: Execution) -> Any:
        """Drive a generator task to its end; return the task's result."""
        handler = execution.generate_handler
        generator = execution.function(*execution.args, **execution.kwargs)
        async with execution.yields() as yields:
            if execution.kind == "async generator":
                await run_async_generator(generator, handler, yields)
                return await self.gathered(execution, yields, None)
            returned = await self.in_thread(run_generator, (generator, handler, yields, execution.is_stopped), {})
            return await self.gathered(execution, yields, returned)

    async def gathered(self, execution: Execution, yields: Any, returned: object) -> Any:
        """Return the result of a generator that ended, after plugins have seen the values that it yielded.

        Parameters:
            execution: The run.
            yields: Where its values went.
            returned: What it returned; None: the values are the result.
        """
        if chain := self._chains.get("task_executor_run_task_gen"):
            yields.kept = await self._triggers.replace(
                chain, "results", task_executor=self, execution=execution, results=yields.kept
            )
        return yields.result(returned)

    def in_thread(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Awaitable[Any]:
        """Call a function in a thread of the worker's own; the answer is awaited (`async def` may override it)."""
        if self._threads is None:
            raise RuntimeError("the executor was not started")
        return self._threads.run(function, args, kwargs)

    @property
    def has_triggers(self) -> bool:
        """Whether a plugin answers a trigger of a run."""
        return self._has_triggers

    @property
    def abandoned(self) -> int:
        """Threads that still hold tasks whose time was over."""
        return 0 if self._threads is None else self._threads.abandoned

    async def _run_and_close(self, execution: Execution, closes: tuple[Implementation, ...]) -> Any:
        error: BaseException | None = None
        try:
            return await self._steps(execution)
        except BaseException as raised:
            error = raised
            raise
        finally:
            await self._triggers.notify(closes, task_executor=self, execution=execution, error=error)

    async def _steps(self, execution: Execution) -> Any:
        """Run the task with the triggers that somebody answers; each of the others costs a truth test."""
        chains, triggers = self._chains, self._triggers
        if chain := chains["task_executor_args_replace"]:
            given = {"task_executor": self, "execution": execution, "args_info": execution.signature}
            await triggers.replace_arguments(chain, execution, given)
        if chain := chains["task_executor_before_execute"]:
            await triggers.notify(chain, task_executor=self, execution=execution)
        layers = execution.layers
        if layers is not None and (owners := layers.owners) and (chain := chains["task_executor_middlewares_execute"]):
            await triggers.notify(chain, task_executor=self, execution=execution, middlewares=owners)
        if layers is None or layers.are_done(execution):
            result = await self._called(execution)
        else:
            result = await layers.run(execution, partial(self._called, execution))
        if chain := chains["task_executor_run_task"]:
            result = await self._replace_result(chain, execution, result)
        if chain := chains["task_executor_after_execute"]:
            await triggers.notify(chain, task_executor=self, execution=execution)
        if chain := chains["task_executor_after_execute_result_replace"]:
            result = await self._replace_result(chain, execution, result)
        return result

    def _called(self, execution: Execution) -> Awaitable[Any]:
        return self._call_and_ask(execution) if self._triggers.of(_ASKED) else self.call(execution)

    async def _call_and_ask(self, execution: Execution) -> Any:
        try:
            return await self.call(execution)
        except TaskPluginTriggerError as error:
            return await self._ask_plugins(execution, error)

    async def _ask_plugins(self, execution: Execution, error: TaskPluginTriggerError) -> Any:
        chain = self._triggers.of(_ASKED)
        answer = await self._triggers.first(chain, error, task_executor=self, execution=execution, error=error)
        if answer is error:
            raise error
        return answer

    async def _replace_result(self, chain: tuple[Implementation, ...], execution: Execution, result: Any) -> Any:
        return await self._triggers.replace(chain, "result", task_executor=self, execution=execution, result=result)

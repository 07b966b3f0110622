"""One task, called as a worker calls it: arguments converted, with its context and its middlewares, and no broker."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from qtasks_core.calls import AsyncTaskFunction, BlockingTaskFunction
from qtasks_core.contract import Delivery, Outcome
from qtasks_core.memory import MemoryBroker
from qtasks_core.task import Task
from qtasks_core.testing.idle import memory_engine
from qtasks_core.testing.memory_app import MEMORY_URL, MemoryApp, is_in_memory
from qtasks_core.worker.results import ResultEncoder
from qtasks_core.worker.time_limit import within
from qtasks_core.worker.worker import DefaultWorker

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from qtasks_core.app import App
    from qtasks_core.contract import Envelope, TaskRecord
    from qtasks_core.options import Draft
    from qtasks_core.worker.execution import TaskExecution

__all__ = ["call_task"]

P = ParamSpec("P")
R = TypeVar("R")

_numbers = itertools.count(1)


@overload
def call_task(task: AsyncTaskFunction[P, R, Any], /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]: ...


@overload
def call_task(task: BlockingTaskFunction[P, R, Any], /, *args: P.args, **kwargs: P.kwargs) -> R: ...


def call_task(task: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Run a task here and now, as a worker runs it, and return what its caller would get; awaited for an async task.

    Its arguments are encoded, decoded and converted to its annotations; context, middlewares, plugins, executor and
    timeout are its own, and the options of `task.with_options(…)` count. It is not tried again. What it adds waits in
    memory: inside of a `memory_app` block the block has it, else it is dropped.

    Parameters:
        task: A task of either face; that of a blocking face is `task.aio` for a test that awaits.
        args: Its positional arguments.
        kwargs: Its keyword arguments.

    Raises:
        TypeError: The function could not be called like this.
        ArgumentError: An argument does not fit its annotation.
        TaskTimeoutError: It took longer than its timeout.
        CodecError: Its result cannot be encoded.
        BaseException: What it raises itself.
    """
    core: App = task.app
    draft = core.draft(task.name, args, kwargs, task.options, task.definition)
    if isinstance(task, BlockingTaskFunction):
        return core.portal.call(_call, core, draft, hint="call_task(task.aio, …)")
    return _call(core, draft)


async def _call(core: App, draft: Draft) -> Any:
    async with contextlib.AsyncExitStack() as stack:
        if not is_in_memory(core):
            await stack.enter_async_context(MemoryApp(core))
        context = core.new_context(f"call-task-{next(_numbers)}")
        engine = memory_engine(core, context, MemoryBroker(MEMORY_URL, context))
        worker = _Caller(core, engine, name=str(context.worker), queues=(), concurrency=1)
        stack.push_async_callback(engine.stop)
        record, envelope = await engine.prepare(draft)
        await engine.start(control=True)
        stack.push_async_callback(worker.stop)
        await worker.start()
        result = await asyncio.create_task(worker.call(envelope))  # the context that it enters is not the test's
        return await _as_returned(core, record, result)


class _Caller(DefaultWorker):
    """A worker that takes nothing: what it runs is handed to it."""

    async def call(self, envelope: Envelope) -> Any:
        opened = self._intake.open(Delivery(envelope, None), self._clock())
        if isinstance(opened, Outcome):
            record = opened.record
            raise RuntimeError(f"it does not run: {record.reason if record else opened.verdict}")  # noqa: TRY004  # no type's fault
        return await self._result(opened)

    async def _result(self, execution: TaskExecution) -> Any:
        limit = execution.timeout
        result = self._runner.result(execution)
        return await (result if limit is None or execution.plan.keeps_time else within(limit, result))


async def _as_returned(core: App, record: TaskRecord, result: Any) -> Any:
    """Send a result through its codec, as between worker and caller."""
    definition = core.registry.get(record.task_name)
    serializer = core.codecs.chosen
    results = ResultEncoder(serializer, core.config.max_depth, core.config.max_message_bytes)
    raw = results.encode(result, record.task_name)
    returns = Any if definition is None else definition.returns
    value = core.codecs.result_decoder(serializer.codec, returns)(raw)
    if core.middlewares.hears_results:
        value = await core.middlewares.result(Task(core, record, returns), value)
    return cast("Any", value)

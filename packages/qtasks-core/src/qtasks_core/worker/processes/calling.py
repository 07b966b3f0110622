"""One run of a task in a pool process, and the context that it sees."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
from typing import TYPE_CHECKING, Any

from qtasks_core.codec_registry import CodecRegistry
from qtasks_core.contract import Delivery
from qtasks_core.provided import provide, put_opened
from qtasks_core.releases import Releases
from qtasks_core.task_context import AsyncTaskContext, BlockingTaskContext, enter
from qtasks_core.worker.arguments import ArgumentReader
from qtasks_core.worker.processes.failures import to_failure
from qtasks_core.worker.processes.life import new_runner
from qtasks_core.worker.processes.messages import WINDOW, Credit, Failure, Mark, Result, Value
from qtasks_core.worker.processes.places import find
from qtasks_core.worker.results import ResultEncoder
from qtasks_core.worker.yielding import run_async_generator, run_generator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Iterator
    from uuid import UUID

    from qtasks_core.app import App, AppFace
    from qtasks_core.contract import Message
    from qtasks_core.task_context import TaskContext
    from qtasks_core.worker.processes.life import ProcessLife
    from qtasks_core.worker.processes.link import Link
    from qtasks_core.worker.processes.messages import Call, Place, Setup

__all__ = ["Caller"]


class Caller:
    """Runs one task's calls.

    Parameters:
        place: Where its function stands.
        setup: Limits and the codec.
        link: To the worker.
        app: The worker's app, where it is known here.
        life: This process's.

    Raises:
        ConfigError: The function is not there.
        UnknownWireError: The codec is not installed here.
    """

    def __init__(self, place: Place, setup: Setup, link: Link, app: App | None, life: ProcessLife) -> None:
        self.definition, found = find(place, app)
        self.app = found or app
        serializer = CodecRegistry(None).of if self.app is None else self.app.serializer
        converter = self.definition.signature.converter()
        self._read = ArgumentReader(converter, serializer, setup.max_depth).read
        self._results = ResultEncoder(serializer(setup.codec), setup.max_depth, setup.max_message_bytes)
        self._link = link
        self._life = life

    def answer(self, call: Call) -> Result | Failure:
        """Run the task; return what it returned or raised."""
        run = _Run(call, self, self._link)
        try:
            return Result(self.encode(contextvars.copy_context().run(self._run, run), "result"))
        except BaseException as error:  # noqa: BLE001  # SystemExit too ends a task, not its process
            return to_failure(error)

    def encode(self, value: object, noun: str) -> bytes:
        """Return a result or a yielded value as bytes, within the limits."""
        return self._results.encode(value, self.definition.name, noun)

    @property
    def is_async(self) -> bool:
        """Whether the function's context is the awaitable one."""
        return self.definition.kind.startswith("async")

    def _run(self, run: _Run) -> Any:
        enter(run)
        args, kwargs = self._read(run.message)
        if places := self.definition.provided:
            args, kwargs = put_opened(places, run, args, kwargs)
        run.args, run.kwargs = args, kwargs
        if not self.definition.is_injected:
            return self._call(run, None)
        with self._provided(run, self._life.runner):
            return self._call(run, self._life.runner)

    def _call(self, run: _Run, runner: asyncio.Runner | None) -> Any:
        kind, made = run.kind, run.function(*run.args, **run.kwargs)
        handler = run.generate_handler
        if kind == "generator":
            return run_generator(made, handler, _Values(self, self._link), _never)
        if kind == "async generator":
            return self._wait(run_async_generator(made, handler, _Values(self, self._link)), runner)
        return self._wait(made, runner) if kind == "async" else made

    def _wait(self, work: Coroutine[Any, Any, Any], runner: asyncio.Runner | None) -> Any:
        async def run() -> Any:
            try:
                return await work
            finally:
                await self._close_engine()  # what it added is safe; the next run has a loop of its own

        if runner is not None:
            return runner.run(run())
        with new_runner() as own:
            return own.run(run())

    @contextlib.contextmanager
    def _provided(self, run: _Run, runner: asyncio.Runner) -> Iterator[None]:
        """Make what plugins provide for a run, and release it; the function itself is called outside of the loop."""
        releases = Releases()
        execution: Any = run
        try:
            runner.run(provide(execution, releases))
            yield
        except BaseException as error:
            raised = runner.run(self._release(releases, error))
            if raised is None or raised is error:
                raise
            raise raised from raised.__cause__
        failure = runner.run(self._release(releases, None))
        if failure is not None:
            raise failure

    async def _release(self, releases: Releases, error: BaseException | None) -> BaseException | None:
        try:
            return await releases.release(error)
        finally:
            await self._close_engine()

    async def _close_engine(self) -> None:
        if self.app is not None:
            await self.app.close_engine()


class _Run:
    """What the context shows of a run (task_context.RunningTask)."""

    def __init__(self, call: Call, caller: Caller, link: Link) -> None:
        self.message: Message = call.message
        self.delivery = Delivery(call.envelope, None)
        self.task_name = call.message.task_name
        self.uuid: UUID = call.envelope.uuid
        self.attempt = call.envelope.attempt
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        self.function = caller.definition.function
        self.kind = caller.definition.kind
        self.signature = caller.definition.signature.parameters
        self.generate_handler = caller.definition.options["generate_handler"]
        self._caller = caller
        self._link = link
        self._context: TaskContext | None = None

    def component(self, name: str) -> Any:
        """Refuse: see `_Services.component`."""
        return _Services(self._caller, self._link).component(name)

    @property
    def context(self) -> TaskContext:
        """Made when it is first asked for."""
        if self._context is None:
            make: Any = AsyncTaskContext if self._caller.is_async else BlockingTaskContext
            self._context = make(self, _Services(self._caller, self._link))
        return self._context


class _Services:
    """What a context can do here (task_context.ContextServices)."""

    def __init__(self, caller: Caller, link: Link) -> None:
        self._caller = caller
        self._link = link

    @property
    def app(self) -> AppFace:
        """The app, as this process has imported it: a client, no worker."""
        app = self._caller.app
        if app is None or app.face is None:
            raise RuntimeError("the app is not known in this process: import it in the module of the task")
        return app.face

    def component(self, name: str) -> Any:
        raise RuntimeError(f"get_component({name!r}): the worker's components are not in the process of this task")

    def mark_progress(self, _execution: Any, done: float, total: float | None, message: str) -> None:
        self._link.send(Mark(done, total, message))


class _Values:
    """Where yielded values go: to the worker, which may be slower (yielding.Sink)."""

    def __init__(self, caller: Caller, link: Link) -> None:
        self._encode = caller.encode
        self._link = link
        self._credit = WINDOW

    async def put(self, value: object) -> None:
        self.put_from_thread(value)

    def put_from_thread(self, value: object) -> None:
        while self._credit < 1:
            received = self._link.receive()
            if not isinstance(received, Credit):
                sys.exit("the worker is gone")
            self._credit += received.count
        self._link.send(Value(self._encode(value, "yielded value")))
        self._credit -= 1

    def wait_for(self, handled: Awaitable[Any]) -> Any:
        async def wait() -> Any:
            return await handled

        return asyncio.run(wait())

    def result(self, returned: object) -> Any:
        return returned


def _never() -> bool:
    """Say that nobody asked for the end of a run: who does kills this process."""
    return False

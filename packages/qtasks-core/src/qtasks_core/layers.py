"""The middlewares of an app: kept in order, compiled into layers around runs, and called at adding."""

from __future__ import annotations

import inspect
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from qtasks_core.errors import PluginError
from qtasks_core.middlewares import TaskMiddleware, overrides
from qtasks_core.options import Draft
from qtasks_core.provided import provide, put_ready
from qtasks_core.releases import Releases
from qtasks_core.triggers import value_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from qtasks_core.contract import Execution
    from qtasks_core.definition import TaskDefinition, TaskRegistry
    from qtasks_core.provided import Pending
    from qtasks_core.task import TaskSnapshot

__all__ = ["Layers", "Middlewares", "wraps_runs"]

logger = logging.getLogger("qtasks.worker")

_OF_RUNS = ("before", "around", "after", "failed")


class Middlewares:
    """The middlewares of one app and of its tasks.

    Parameters:
        registry: The tasks.
    """

    def __init__(self, registry: TaskRegistry) -> None:
        self._registry = registry
        self._of_app: list[TaskMiddleware] = []
        self.hears_adding = False
        """One has a step `add`."""
        self.hears_results = False
        """One has a step `result`."""

    def add(self, middleware: TaskMiddleware) -> None:
        """Keep one that is around all tasks, inside of those that came before."""
        self._of_app.append(middleware)
        self.note((middleware,))

    def note(self, middlewares: Sequence[TaskMiddleware]) -> None:
        """Take it that there are these, of the app or of a task."""
        self.hears_adding = self.hears_adding or any(overrides(one, "add") for one in middlewares)
        self.hears_results = self.hears_results or any(overrides(one, "result") for one in middlewares)

    def layers(self, definition: TaskDefinition, *, provides: bool = True) -> Layers | None:
        """Compile what goes around a task's runs; None: nothing does.

        Parameters:
            definition: The task.
            provides: Whether parameters are provided in this process.
        """
        options = definition.options
        found = [_Layer.of(one) for one in (*self._of_app, *definition.middlewares) if wraps_runs(one)]
        found += [_Layer(one, before=_step(one, "before")) for one in options["middlewares_before"]]
        found += [_Layer(one, after=_step(one, "after")) for one in reversed(options["middlewares_after"])]
        pending = [one.pending for one in definition.provided if one.pending is not None] if provides else []
        return Layers(found, pending) if found or pending else None

    async def before_adding(self, draft: Draft) -> Draft:
        """Return what the middlewares make of a draft.

        Raises:
            PluginError: One changed its uuid, or returned something else.
        """
        uuid = draft.uuid
        for one in self._having("add", draft.task_name):
            answer = await _answer(one.add(draft))
            changed: Any = draft if answer is None else value_of(answer)
            if not isinstance(changed, Draft):
                raise PluginError(f"middleware {one!r}: add: expected a draft or None, got {type(changed).__name__}")
            if changed.uuid != uuid:
                raise PluginError(f"middleware {one!r}: add changed the uuid from {uuid} to {changed.uuid}")
            draft = changed
        return draft

    async def result(self, task: TaskSnapshot[Any], value: Any) -> Any:
        """Return what the middlewares make of a result that somebody waits for; the innermost comes first."""
        for one in reversed([*self._having("result", task.task_name)]):
            answer = await _answer(one.result(task, value))
            value = value if answer is None else value_of(answer)
        return value

    def _having(self, step: str, task_name: str) -> Iterator[TaskMiddleware]:
        definition = self._registry.get(task_name)
        own: Sequence[TaskMiddleware] = () if definition is None else definition.middlewares
        return (one for one in (*self._of_app, *own) if overrides(one, step))


class _Layer(NamedTuple):
    """What one middleware does around a run."""

    owner: Any
    before: Callable[[Execution], Any] | None = None
    around: Callable[[Execution, Callable[[], Awaitable[Any]]], Any] | None = None
    after: Callable[[Execution, Any], Any] | None = None
    failed: Callable[[Execution, BaseException], Any] | None = None

    @classmethod
    def of(cls, middleware: TaskMiddleware) -> _Layer:
        return cls(
            middleware, *[getattr(middleware, step) if overrides(middleware, step) else None for step in _OF_RUNS]
        )


class Layers:
    """What goes around the runs of one task.

    Parameters:
        layers: Outermost first.
        pending: The parameters that plugins provide, inside of all of them.
    """

    def __init__(self, layers: Sequence[_Layer], pending: Sequence[Pending] = ()) -> None:
        self._layers = tuple(layers)
        self._pending = tuple(pending)
        self._may_be_ready = any(one.may_be_ready for one in pending)

    @property
    def owners(self) -> tuple[Any, ...]:
        """The middlewares and functions, outermost first."""
        return tuple(layer.owner for layer in self._layers)

    def are_done(self, execution: Execution) -> bool:
        """Provide what is there already; return whether nothing is left to do around this run.

        Parameters:
            execution: The run.
        """
        return not self._layers and self._may_be_ready and put_ready(execution)

    def run(self, execution: Execution, call: Callable[[], Awaitable[Any]]) -> Awaitable[Any]:
        """Call a task's function inside all layers; the result is awaited.

        Parameters:
            execution: The run.
            call: Calls the function.
        """
        return self._run(0, execution, call) if self._layers else _provide_around(execution, call)

    async def _run(self, index: int, execution: Execution, call: Callable[[], Awaitable[Any]]) -> Any:
        if index == len(self._layers):
            is_done = not self._pending or put_ready(execution)
            return await (call() if is_done else _provide_around(execution, call))
        _, before, around, after, failed = self._layers[index]
        if before is not None:
            await _answer(before(execution))
        inside = partial(self._run, index + 1, execution, call)
        try:
            result = await inside() if around is None else await _answer(around(execution, inside))
        except BaseException as error:
            if failed is not None:
                await _tell(failed, execution, error)
            raise
        answer = None if after is None else await _answer(after(execution, result))
        return result if answer is None else value_of(answer)


async def _provide_around(execution: Execution, call: Callable[[], Awaitable[Any]]) -> Any:
    releases = Releases()
    try:
        await provide(execution, releases)
        result = await call()
    except BaseException as error:
        raised = await releases.release(error)
        if raised is None or raised is error:
            raise
        raise raised from raised.__cause__
    if (failure := await releases.release(None)) is not None:
        raise failure
    return result


def wraps_runs(middleware: TaskMiddleware) -> bool:
    """Whether a middleware does anything around runs."""
    return any(overrides(middleware, step) for step in _OF_RUNS)


async def _tell(failed: Callable[[Execution, BaseException], Any], execution: Execution, error: BaseException) -> None:
    """Let a middleware see an error; what it raises takes its place, but never that of a cancel."""
    try:
        await _answer(failed(execution, error))
    except Exception:
        if isinstance(error, Exception):
            raise
        logger.exception("task %s: a middleware that was told of its cancel failed", execution.task_name)


def _step(one: Any, step: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(one, step) if isinstance(one, TaskMiddleware) else one
    return found


async def _answer(answer: Any) -> Any:
    return await answer if inspect.isawaitable(answer) else answer

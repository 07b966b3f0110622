"""One run of one task, and the plan that it follows."""

from __future__ import annotations

import inspect
import itertools
from functools import cached_property
from typing import TYPE_CHECKING, Any

from qtasks_core.messages import envelope_of
from qtasks_core.provided import NOT_READY, all_pending, put_opened
from qtasks_core.task_context import AsyncTaskContext, BlockingTaskContext, enter
from qtasks_core.worker.arguments import ArgumentReader
from qtasks_core.worker.retrying import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from qtasks_core.app import App
    from qtasks_core.contract import Delivery, Envelope, Execution, Message
    from qtasks_core.contract import TaskExecutor as Executor
    from qtasks_core.definition import Kind, TaskDefinition
    from qtasks_core.layers import Layers
    from qtasks_core.task_context import TaskContext
    from qtasks_core.worker.services import Services
    from qtasks_core.worker.yielding import Yields

__all__ = ["Plan", "TaskExecution"]


class Plan:
    """A task compiled for running: nothing is looked up by name or inspected once a worker runs.

    Parameters:
        definition: The task.
        app: Its app, for codecs.
        executor: Runs it.
        services: What its runs need of the worker.
    """

    def __init__(self, definition: TaskDefinition, app: App, executor: Executor, services: Services) -> None:
        options = definition.options
        self.definition = definition
        self.name = definition.name
        self.function = definition.function
        self.kind: Kind = definition.kind
        self.result_ttl = app.config.result_ttl if definition.result_ttl is None else definition.result_ttl
        self.provided = definition.provided
        self.pending = all_pending(self.provided)
        """What plugins provide of its parameters, where it can be appended to what callers pass."""
        self.timeout = options["timeout"]
        self.retry = RetryPolicy(definition.name, options, app.config)
        self.dead_letter = app.config.dead_letter if options["dead_letter"] is None else options["dead_letter"]
        self.is_at_most_once = options["ack"] == "early"
        self.decode_result = options["decode"]
        self.generate_handler = options["generate_handler"]
        self.executor = executor
        self.services = services
        self._app = app
        self.keeps_time = getattr(executor, "keeps_time", False)
        self.make_execution: type[TaskExecution] = getattr(executor, "execution_class", TaskExecution)
        converter = definition.signature.converter()
        self.decode = ArgumentReader(converter, app.serializer, app.config.max_depth).read

    @cached_property
    def ready(self) -> Callable[[Execution], Any] | None:
        """Returns the one parameter that plugins provide when it is there, where nobody looks at arguments before.

        None: there are several, it never is, or a middleware or a plugin sees the arguments before the function.
        """
        layers, row = self.layers, () if self.pending is None else self.pending.row
        is_seen = getattr(self.executor, "has_triggers", True) or layers is None or bool(layers.owners)
        return row[0].ready if len(row) == 1 and row[0].may_be_ready and not is_seen else None

    @cached_property
    def layers(self) -> Layers | None:
        """The middlewares around its runs, compiled for the first of them; None: there are none."""
        provides = not getattr(self.executor, "provides_elsewhere", False)
        return self._app.middlewares.layers(self.definition, provides=provides)


class TaskExecution:
    """One run of one task: what hot triggers, middlewares and executors are given (contract.Execution).

    Parameters:
        plan: The compiled task.
        delivery: What was received.
        message: Its decoded body.
    """

    progress: bytes | None = None
    """The last mark, encoded."""
    is_truncated = False
    """Its result holds only the first of the yielded values."""
    _seq: itertools.count[int] | None = None
    _state: dict[str, Any] | None = None
    _context: TaskContext | None = None
    _is_provided = False
    """What plugins provide is among its arguments: nothing goes around its function."""

    def __init__(self, plan: Plan, delivery: Delivery, message: Message, started_at: float) -> None:
        self.plan = plan
        self.function = plan.function
        """What runs; a plugin may put something around it."""
        self.kind: Kind = plan.kind
        """Where it runs: on the loop, or in a thread."""
        self.delivery = delivery
        self.message = message
        self.timeout: float | None = plan.timeout if message.timeout_s is None else message.timeout_s
        """Seconds that this run may take: what the call says, else the task."""
        self.started_at = started_at
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}

    def open(self, *, seen: bool = True) -> None:
        """Convert the arguments, put what is provided between them, and be what `current_context()` finds from now on.

        Parameters:
            seen: Whether plugins look at it before it runs.

        Raises:
            UnknownWireError: Their codec is not installed.
            CodecError: They cannot be decoded, or one does not fit.
        """
        args, kwargs = self.plan.decode(self.message)
        plan = self.plan
        if plan.provided:
            if plan.pending is not None and len(args) == plan.pending.position:
                ready = None if seen else plan.ready
                value = NOT_READY if ready is None else ready(self)
                if value is NOT_READY:
                    args += plan.pending.row
                else:
                    args = (*args, value)
                    self._is_provided = True
            else:
                args, kwargs = put_opened(plan.provided, self, args, kwargs)
        self.args, self.kwargs = args, kwargs
        enter(self)

    @property
    def context(self) -> TaskContext:
        """What the task knows of its own run."""
        if self._context is None:
            make = AsyncTaskContext if self.kind.startswith("async") else BlockingTaskContext
            self._context = make(self, self.plan.services)
        return self._context

    @property
    def uuid(self) -> UUID:
        """The task's id."""
        return self._envelope.uuid

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self._envelope.attempt

    @property
    def run_id(self) -> tuple[int, int, float]:
        """Which run it is: a newer one is greater (contract.Event)."""
        return (self._envelope.attempt, self.delivery.crashes, self.started_at)

    @property
    def seq(self) -> itertools.count[int]:
        """Numbers what it yields and marks."""
        if self._seq is None:
            self._seq = itertools.count(1)
        return self._seq

    @property
    def task_name(self) -> str:
        """The task's name."""
        return self.plan.name

    @property
    def generate_handler(self) -> Callable[[Any], Any] | None:
        """Gets what a generator yields; what it returns is stored and sent back."""
        return self.plan.generate_handler

    @property
    def layers(self) -> Layers | None:
        """The middlewares around it; None: there are none."""
        return None if self._is_provided else self.plan.layers

    def yields(self) -> Yields:
        """Return where a generator's values go."""
        return self.plan.services.yields(self)

    def component(self, name: str) -> Any:
        """Return a component of the worker; see `TaskContext.get_component`."""
        try:
            return self.plan.services.components[name]
        except KeyError:
            return self.plan.services.component(name)

    def is_stopped(self) -> bool:
        """Tell whether somebody asked for the end of this run."""
        return self._context is not None and self._context.cancelled

    async def decoded(self, result: Any) -> Any:
        """Return what the task's own `decode` makes of its result."""
        decode = self.plan.decode_result
        if decode is None:
            return result
        made = decode(result)
        return await made if inspect.isawaitable(made) else made

    def ask_to_stop(self) -> None:
        """Set `cancelled` in the task's context: all that can be done to a thread."""
        self.context.ask_to_stop()

    @property
    def signature(self) -> inspect.Signature:
        """The function's parameters."""
        return self.plan.definition.signature.parameters

    @property
    def state(self) -> dict[str, Any]:
        """Scratch for plugins, gone after the run."""
        if self._state is None:
            self._state = {}
        return self._state

    @property
    def _envelope(self) -> Envelope:
        return envelope_of(self.delivery)

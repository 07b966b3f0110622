"""One run of one task, and the plan that it follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtasks_core.serializers import check_depth

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable

    from qtasks_core.app import App
    from qtasks_core.contract import Delivery, Message
    from qtasks_core.definition import Kind, TaskDefinition
    from qtasks_core.signatures import Converter

__all__ = ["Plan", "TaskExecution"]


class Plan:
    """A task compiled for running: nothing is looked up by name or inspected once a worker runs.

    Parameters:
        definition: The task.
        app: Its app, for codecs.
    """

    def __init__(self, definition: TaskDefinition, app: App) -> None:
        self.definition = definition
        self.name = definition.name
        self.function = definition.function
        self.kind: Kind = definition.kind
        self.result_ttl = app.config.result_ttl if definition.result_ttl is None else definition.result_ttl
        self.converter: Converter = definition.signature.converter()
        self._app = app
        self._max_depth = app.config.max_depth
        self._decoders: dict[str, tuple[Callable[[bytes], list[Any]], Callable[[bytes], dict[str, Any]]]] = {}

    def decode(self, message: Message) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of a message, converted to the function's annotations.

        Raises:
            UnknownWireError: Its codec is not installed.
            CodecError: They cannot be decoded, are nested deeper than `max_depth`, or one does not fit.
        """
        decoders = self._decoders.get(message.codec)
        if decoders is None:
            serializer = self._app.serializer(message.codec)
            decoders = serializer.decoder(list[Any]), serializer.decoder(dict[str, Any])
            self._decoders[message.codec] = decoders
        read_args, read_kwargs = decoders
        args, kwargs = read_args(message.args), read_kwargs(message.kwargs)
        check_depth(message.args, args, self._max_depth, around=1)
        check_depth(message.kwargs, kwargs, self._max_depth, around=1)
        return self.converter.convert(args, kwargs)


class TaskExecution:
    """One run of one task: what hot triggers, middlewares and executors are given (contract.Execution).

    Parameters:
        plan: The compiled task.
        delivery: What was received.
        message: Its decoded body.
    """

    __slots__ = ("_state", "args", "delivery", "kwargs", "message", "plan", "started_at")

    def __init__(self, plan: Plan, delivery: Delivery, message: Message, started_at: float) -> None:
        self.plan = plan
        self.delivery = delivery
        self.message = message
        self.started_at = started_at
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}
        self._state: dict[str, Any] | None = None

    @property
    def task_name(self) -> str:
        """The task's name."""
        return self.plan.name

    @property
    def function(self) -> Callable[..., Any]:
        """What runs."""
        return self.plan.function

    @property
    def kind(self) -> Kind:
        """Where it runs: on the loop, or in a thread."""
        return self.plan.kind

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

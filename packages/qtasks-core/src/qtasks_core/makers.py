"""What `app.task` is: a decorator with or without options, typed for each kind of function and each face."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, Unpack, overload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator

    from qtasks_core.calls import AsyncTaskFunction, BlockingTaskFunction
    from qtasks_core.task_context import AsyncTaskContext, BlockingTaskContext
    from qtasks_core.task_options import TaskOptions

__all__ = ["AsyncEchoMaker", "AsyncTaskMaker", "BlockingEchoMaker", "BlockingTaskMaker", "TaskMaker"]

P = ParamSpec("P")
R = TypeVar("R")
Y = TypeVar("Y")


class TaskMaker:
    """`app.task`: takes a function, or options and then a function.

    Parameters:
        declare: Gets the function and its options.
        options: What is known already.
    """

    def __init__(self, declare: Callable[[Any, dict[str, Any]], Any], options: dict[str, Any] | None = None) -> None:
        self._declare = declare
        self._options = options or {}

    def __call__(self, function: Any = None, /, **options: Any) -> Any:
        """Declare a task, or remember options for the function that comes."""
        chosen = {**self._options, **options}
        return TaskMaker(self._declare, chosen) if function is None else self._declare(function, chosen)


class AsyncTaskMaker(Protocol):
    """`app.task` of the async face, and `app.task(…)`, which waits for its function."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTaskFunction[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(
        self, function: Callable[P, AsyncIterator[Y]], /
    ) -> AsyncTaskFunction[P, list[Y], AsyncIterator[Y]]: ...
    @overload
    def __call__(
        self, function: Callable[P, Generator[Y, Any, None]], /
    ) -> AsyncTaskFunction[P, list[Y], Generator[Y, Any, None]]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]  # a generator is an iterator too
        self, function: Callable[P, Generator[Y, Any, R]], /
    ) -> AsyncTaskFunction[P, R, Generator[Y, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[P, Iterator[Y]], /) -> AsyncTaskFunction[P, list[Y], Iterator[Y]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> AsyncTaskFunction[P, R, R]: ...
    @overload
    def __call__(self, /, *, echo: Literal[True], **options: Unpack[TaskOptions]) -> AsyncEchoMaker: ...
    @overload
    def __call__(self, /, *, echo: Literal[False] = False, **options: Unpack[TaskOptions]) -> AsyncTaskMaker: ...


class AsyncEchoMaker(Protocol):
    """`app.task(echo=True, …)` of the async face: the first parameter is the context, which no caller passes."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[AsyncTaskContext, P], Coroutine[Any, Any, R]], /
    ) -> AsyncTaskFunction[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[AsyncTaskContext, P], AsyncIterator[Y]], /
    ) -> AsyncTaskFunction[P, list[Y], AsyncIterator[Y]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[BlockingTaskContext, P], Generator[Y, Any, None]], /
    ) -> AsyncTaskFunction[P, list[Y], Generator[Y, Any, None]]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]  # a generator is an iterator too
        self, function: Callable[Concatenate[BlockingTaskContext, P], Generator[Y, Any, R]], /
    ) -> AsyncTaskFunction[P, R, Generator[Y, Any, R]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[BlockingTaskContext, P], Iterator[Y]], /
    ) -> AsyncTaskFunction[P, list[Y], Iterator[Y]]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[BlockingTaskContext, P], R], /) -> AsyncTaskFunction[P, R, R]: ...


class BlockingTaskMaker(Protocol):
    """`app.task` of the blocking face, and `app.task(…)`, which waits for its function."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> BlockingTaskFunction[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(
        self, function: Callable[P, AsyncIterator[Y]], /
    ) -> BlockingTaskFunction[P, list[Y], AsyncIterator[Y]]: ...
    @overload
    def __call__(
        self, function: Callable[P, Generator[Y, Any, None]], /
    ) -> BlockingTaskFunction[P, list[Y], Generator[Y, Any, None]]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]  # a generator is an iterator too
        self, function: Callable[P, Generator[Y, Any, R]], /
    ) -> BlockingTaskFunction[P, R, Generator[Y, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[P, Iterator[Y]], /) -> BlockingTaskFunction[P, list[Y], Iterator[Y]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> BlockingTaskFunction[P, R, R]: ...
    @overload
    def __call__(self, /, *, echo: Literal[True], **options: Unpack[TaskOptions]) -> BlockingEchoMaker: ...
    @overload
    def __call__(self, /, *, echo: Literal[False] = False, **options: Unpack[TaskOptions]) -> BlockingTaskMaker: ...


class BlockingEchoMaker(Protocol):
    """`app.task(echo=True, …)` of the blocking face: the first parameter is the context, which no caller passes."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[AsyncTaskContext, P], Coroutine[Any, Any, R]], /
    ) -> BlockingTaskFunction[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[AsyncTaskContext, P], AsyncIterator[Y]], /
    ) -> BlockingTaskFunction[P, list[Y], AsyncIterator[Y]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[BlockingTaskContext, P], Generator[Y, Any, None]], /
    ) -> BlockingTaskFunction[P, list[Y], Generator[Y, Any, None]]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]  # a generator is an iterator too
        self, function: Callable[Concatenate[BlockingTaskContext, P], Generator[Y, Any, R]], /
    ) -> BlockingTaskFunction[P, R, Generator[Y, Any, R]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[BlockingTaskContext, P], Iterator[Y]], /
    ) -> BlockingTaskFunction[P, list[Y], Iterator[Y]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[BlockingTaskContext, P], R], /
    ) -> BlockingTaskFunction[P, R, R]: ...

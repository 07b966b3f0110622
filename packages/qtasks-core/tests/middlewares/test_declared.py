"""What may be a middleware: what is refused, when, and in which words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from middlewares.steps import job
from qtasks_core.aio import QueueTasks
from qtasks_core.errors import ConfigError, RegistrationError
from qtasks_core.middlewares import TaskMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from qtasks_core.contract import Execution
    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]


class Noting(TaskMiddleware):
    """Marks results by its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Noting({self.name!r})"

    def after(self, execution: Execution, result: Any) -> Any:
        return f"{result}{self.name}"


# ---------------------------------------------------------------- what may be one


class Silent(TaskMiddleware):
    """Overrides nothing."""


class Picky(TaskMiddleware):
    """Wants arguments."""

    def __init__(self, level: int) -> None:
        self.level = level

    def before(self, execution: Execution) -> None: ...


class Narrow(TaskMiddleware):
    """Its step takes too little."""

    def after(self, execution: Execution) -> None: ...  # type: ignore[override]


class Yielding(TaskMiddleware):
    """Is written like a context manager."""

    async def around(self, execution: Execution, call: Any) -> Any:
        yield


class Louder(TaskMiddleware):
    """Changes results only."""

    def result(self, task: Any, value: Any) -> str:
        return f"{value}!"


def plain(execution: Execution) -> None: ...


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"middlewares": 7}, "middlewares: expected a list of middlewares, got 7"),
        ({"middlewares": Picky(1)}, "middlewares: expected a list of middlewares, got <"),
        ({"middlewares": Silent}, "middlewares: expected a list of middlewares, got <class"),
        ({"middlewares": ["x"]}, "middlewares: expected a TaskMiddleware or its class, got 'x'"),
        ({"middlewares": [plain]}, "functions go into middlewares_before and middlewares_after"),
        (
            {"middlewares": [Silent]},
            "does nothing: expected a middleware with one of add, before, around, after, failed,",
        ),
        ({"middlewares": [Picky]}, "Picky cannot be made without arguments, pass an object: "),
        ({"middlewares": [Narrow()]}, "Narrow.after cannot be called with (execution, result): "),
        (
            {"middlewares": [Yielding()]},
            "Yielding.around: expected a function or a coroutine function, got a generator",
        ),
        ({"middlewares_before": plain}, "middlewares_before: expected a list of functions or middlewares, got <"),
        ({"middlewares_before": [3]}, "middlewares_before: expected a function or a TaskMiddleware, got 3"),
        ({"middlewares_before": [job, dict.fromkeys]}, None),
        ({"middlewares_before": [lambda: None]}, "cannot be called with (execution): too many positional arguments"),
        ({"middlewares_after": [plain]}, "plain cannot be called with (execution, result): too many positional"),
        ({"middlewares_after": [Picky(1)]}, "has no step 'after', and no other is called here: use middlewares="),
        ({"middlewares_before": [Picky(1)], "middlewares": [Picky(2)]}, None),
    ],
)
def test_what_is_no_middleware_is_refused_when_the_task_is_declared(
    app: QueueTasks, options: dict[str, Any], message: str | None
) -> None:
    """The error names task and option, what was expected, and what was given."""
    if message is None:
        app.task(**options)(job)
        return
    with pytest.raises(RegistrationError) as caught:
        app.task(**options)(job)

    assert str(caught.value).startswith("task 'job': middlewares")
    assert message in str(caught.value)


@pytest.mark.parametrize("wrong", [plain, 7, Silent, Silent(), Picky])
def test_the_app_refuses_what_is_no_middleware(app: QueueTasks, wrong: Any) -> None:
    """With the same words."""
    with pytest.raises(ConfigError, match=r"^add_middleware: .*(expected a|does nothing|cannot be made)"):
        app.add_middleware(wrong)


async def test_one_around_runs_cannot_come_while_a_worker_is_at_work(app: QueueTasks, running: Running) -> None:
    """It would not be called; one for adding and results can, and after the stop any can."""
    app.task(job)
    async with running(app):
        with pytest.raises(ConfigError, match=r"Noting\('late'\) goes around runs, .* before the worker starts"):
            app.add_middleware(Noting("late"))
        app.add_middleware(Louder)
        assert "1!" == await app.add_task("job", 1).result(timeout=5)
    app.add_middleware(Noting("later"))
    async with running(app):
        assert "1later!" == await app.add_task("job", 1).result(timeout=5)

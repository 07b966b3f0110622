"""What is wrong with dependencies is told when the task is declared, with the way to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import pytest

from qtasks_core import contract
from qtasks_core.aio import QueueTasks
from qtasks_core.errors import RegistrationError
from qtasks_core.routers import AsyncRouter
from qtasks_core.task_context import AsyncTaskContext, BlockingTaskContext, TaskContext
from qtasks_depends import DependencyError, Depends, ScopeEnum

if TYPE_CHECKING:
    from collections.abc import Callable


async def get_db() -> str:
    return "db"


async def get_mailer(db: str = Depends(get_db)) -> str:
    return db


def get_settings(path: str) -> str:
    return path


async def get_wide(settings: str = Depends(get_settings)) -> str:
    return settings


async def of_context(ctx: TaskContext) -> str:
    return ctx.task_name


async def of_async_context(ctx: AsyncTaskContext) -> str:
    return ctx.task_name


def of_blocking_context(ctx: BlockingTaskContext) -> str:
    return ctx.task_name


async def of_worker(worker: contract.Worker) -> str:
    return str(worker)


async def by_position(db: str = Depends(get_db), /) -> str:
    return db


async def chicken(egg: Annotated[Any, "Depends(egg)"]) -> None: ...


async def egg(hen: Any = Depends(chicken)) -> None: ...


chicken.__annotations__["egg"] = "Annotated[Any, Depends(egg)]"

WRONG: list[tuple[Any, str]] = [
    (
        Depends(chicken),
        "task send → chicken → egg → chicken: it goes round in a circle",
    ),
    (
        Depends(get_mailer, scope="worker"),
        (
            "task send → get_mailer → get_db: get_mailer lives as long as its worker, get_db only as long as its task: "
            "give get_mailer scope='task', or get_db a wider one"
        ),
    ),
    (
        Depends(of_context, scope=ScopeEnum.BROKER),
        (
            "task send → of_context → TaskContext: of_context lives as long as its broker, TaskContext only as long as "
            "its task: give of_context scope='task', or TaskContext a wider one"
        ),
    ),
    (
        Depends(of_worker, scope="storage"),
        (
            "task send → of_worker → worker: of_worker lives as long as its storage, worker only as long as its "
            "worker: give of_worker scope='worker', or worker a wider one"
        ),
    ),
    (
        Depends(get_wide),
        (
            "task send → get_wide → get_settings: parameter 'path': expected a default, Depends(…), or the annotation "
            "TaskContext, QueueTasks, a component or a state; got str"
        ),
    ),
    (
        Depends(lambda unknown: unknown),
        (
            "task send → <lambda>: parameter 'unknown': expected a default, Depends(…), or the annotation TaskContext, "
            "QueueTasks, a component or a state; got no annotation"
        ),
    ),
    (
        Depends(of_blocking_context),
        (
            "task send → of_blocking_context: parameter 'ctx': expected qtasks.asyncio.TaskContext, for the task is an "
            "async def; got BlockingTaskContext"
        ),
    ),
    (
        Depends(by_position),
        "task send → by_position: parameter 'db': it can be passed by position only; leave out the / behind it",
    ),
    (
        Depends(),
        (
            "task send: parameter 'it': Depends() without a function takes the class that the parameter is annotated "
            "with: expected a class, got no annotation"
        ),
    ),
]


@pytest.mark.parametrize(("asked", "expected"), WRONG)
def test_what_cannot_be_provided_is_told_at_once(app: QueueTasks, asked: Any, expected: str) -> None:
    """The task is not there then."""

    async def send(it=asked): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202  # its annotation would say more

    with pytest.raises(DependencyError) as caught:
        app.task(send)
    assert expected == str(caught.value)
    assert {} == app.tasks


def test_a_def_is_given_the_blocking_context(app: QueueTasks) -> None:
    """As without dependencies: the context follows the task."""

    def send(it: str = Depends(of_async_context)) -> None: ...

    with pytest.raises(DependencyError, match=r"expected qtasks\.TaskContext, for the task is a def; got AsyncTask"):
        app.task(send)


def test_an_annotation_that_cannot_be_read_is_told(app: QueueTasks) -> None:
    """Where `Depends` is in it; any other is none of its business."""

    async def send(it: Annotated[str, Depends(get_nothing)]) -> None: ...  # noqa: F821

    with pytest.raises(DependencyError) as caught:
        app.task(send)
    assert (
        "task send: parameter 'it': its annotation 'Annotated[str, Depends(get_nothing)]' cannot be read: Depends: "
        "expected a function or a class, got get_nothing, which is not known here; what it names has to be there when "
        "the program runs, in the module or around the function"
    ) == str(caught.value)

    @app.task
    async def other(it: not_known.At[all]) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("declare", "expected"),
    [
        (lambda: Depends("get_db"), "Depends: expected a function or a class, got 'get_db'"),  # type: ignore[call-overload]
        (
            lambda: Depends(get_db, scope="workers"),  # type: ignore[call-overload]
            (
                "Depends: scope: expected one of task, worker, broker, storage, global_config, got 'workers'; "
                "did you mean 'worker'?"
            ),
        ),
    ],
)
def test_a_wrong_mark_is_told_where_it_is_made(declare: Callable[[], Any], expected: str) -> None:
    """Before any task is declared with it."""
    with pytest.raises(RegistrationError) as caught:
        declare()
    assert expected == str(caught.value)


def test_a_router_is_told_when_an_app_takes_it(app: QueueTasks) -> None:
    """It knows of no plugins itself; nothing of it is taken then."""
    router = AsyncRouter("mail")

    @router.task
    async def fine() -> None: ...

    @router.task
    async def send(it: str = Depends(get_mailer, scope="worker")) -> None: ...

    with pytest.raises(DependencyError, match=r"task mail\.send → get_mailer → get_db: "):
        app.include_router(router)
    assert {} == app.tasks

"""Routers: their tasks before an app has them, what an app makes of them, and tasks that several apps have."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core import blocking
from qtasks_core.aio import QueueTasks
from qtasks_core.errors import RegistrationError, UnboundTaskError
from qtasks_core.middlewares import TaskMiddleware
from qtasks_core.naming import new_uuid
from qtasks_core.routers import AsyncRouter, SyncRouter

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from qtasks_core.contract import Execution
    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]


def send(to: str) -> str:
    return f"to {to}"


async def fetch(number: int) -> int:
    return number + 1


# ---------------------------------------------------------------- without an app


@pytest.mark.parametrize("call", ["add_task", "add_many", "blocking add_task", "blocking add_many", "aio"])
async def test_a_task_without_an_app_can_be_called_but_not_queued(call: str) -> None:
    """The function is what it is; every way to queue a call says what is missing."""
    task, sync = AsyncRouter("mail").task(send), SyncRouter("mail").task(send)
    ways: dict[str, Any] = {
        "add_task": lambda: task.add_task("me"),
        "add_many": lambda: task.add_many([("me",)]),
        "blocking add_task": lambda: sync.add_task("me"),
        "blocking add_many": lambda: sync.add_many([("me",)]),
        "aio": lambda: sync.aio.with_options(priority=1).add_task("me"),
    }

    assert ("to me", "mail.send") == (task("me"), task.name)
    with pytest.raises(UnboundTaskError) as caught:
        await ways[call]()
    assert "task 'mail.send' belongs to no app yet: app.include_router(router) gives it one" == str(caught.value)


def test_a_router_tells_what_it_has() -> None:
    """By name, with its prefix."""
    router = SyncRouter("mail")

    assert "<SyncRouter 'mail': no tasks>" == repr(router)
    router.task(send)
    router.task(name="get")(fetch)
    assert "<SyncRouter 'mail': mail.send, mail.get>" == repr(router)
    assert ["mail.send", "mail.get"] == list(router.tasks)


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("own", "given", "name"),
    [("", "", "send"), ("mail", "", "mail.send"), ("", "v2", "v2.send"), ("mail.", "v2.", "v2.mail.send")],
)
def test_prefixes_are_put_before_the_name(app: QueueTasks, own: str, given: str, name: str) -> None:
    """The app's, the router's, then the task's own name, with dots between; messages have the whole name."""
    router = AsyncRouter(own)
    task = router.task(send)
    app.include_router(router, given)

    assert (name, [name], app.core) == (task.name, list(app.tasks), task.app)
    with pytest.raises(TypeError, match=rf"^{name}\(\) missing a required argument: 'to'$"):
        task.add_task()  # type: ignore[call-arg]


def test_a_name_that_is_taken_is_refused_with_both_places(app: QueueTasks) -> None:
    """By the router, by the app, and by another router; then nothing of the router is taken."""

    def other(to: str) -> None: ...

    places = f"at {__file__}:.* and at {__file__}:.*"
    router = AsyncRouter()
    router.task(fetch)
    router.task(send)
    with pytest.raises(RegistrationError, match=f"task 'send' is declared twice: {places}"):
        router.task(name="send")(other)
    app.task(name="send")(other)
    with pytest.raises(RegistrationError, match=f"task 'send' is declared twice: {places}"):
        app.include_router(router)

    assert ["send"] == list(app.tasks)
    assert app.tasks["send"].function is other
    app.include_router(router, "mine")
    assert ["send", "mine.fetch", "mine.send"] == list(app.tasks)


def test_a_task_that_comes_late_belongs_to_the_app_too(app: QueueTasks) -> None:
    """A module may be imported after the app took its router; a name that the app has is refused, and not kept."""
    router = AsyncRouter("mail")
    app.include_router(router, "v1")
    task = router.task(send)
    app.task(name="v1.mail.fetch")(fetch)

    def other() -> None: ...

    with pytest.raises(RegistrationError, match=r"task 'v1.mail.fetch' is declared twice"):
        router.task(name="fetch")(other)
    assert ("v1.mail.send", app.core) == (task.name, task.app)
    assert ["mail.send"] == list(router.tasks)


def test_an_app_takes_a_router_once(app: QueueTasks) -> None:
    """Under a second prefix it would not be clear which of the two a call means."""
    router = AsyncRouter("mail")
    app.include_router(router)
    with pytest.raises(RegistrationError, match="router 'mail' is included in the app 'test' already"):
        app.include_router(router, "v2")


@pytest.mark.parametrize("wrong", [None, 7, "mail", AsyncRouter])
def test_what_is_no_router_is_refused(app: QueueTasks, wrong: Any) -> None:
    """The error says what was expected."""
    with pytest.raises(RegistrationError, match="include_router: expected a Router, got "):
        app.include_router(wrong)
    with pytest.raises(RegistrationError, match="prefix: expected a text, got 7"):
        app.include_router(AsyncRouter(), 7)  # type: ignore[arg-type]
    with pytest.raises(RegistrationError, match="bind: expected a task, got <function send"):
        app.bind(send)  # type: ignore[type-var]


# ---------------------------------------------------------------- options


def test_a_routers_options_are_for_tasks_that_do_not_say_otherwise() -> None:
    """Those for plugins are taken together."""
    router = AsyncRouter("mail", queue="slow", priority=5, timeout=60, tags=["a"], extra={"team": "x", "page": 1})
    router.task(send)
    task: Any = router.task
    task(fetch, priority=-1, max_time=5, queue=None, tags=("b",), extra={"page": 2}, floor=3)
    plain, own = router.tasks["mail.send"], router.tasks["mail.fetch"]

    assert ("slow", 5, 60.0, ("a",)) == (plain.queue, plain.priority, plain.options["timeout"], plain.options["tags"])
    assert (None, -1, 5.0, ("b",)) == (own.queue, own.priority, own.options["timeout"], own.options["tags"])
    assert {"team": "x", "page": 1} == plain.extra
    assert {"team": "x", "page": 2, "floor": 3} == own.extra


def test_a_limit_may_have_either_name() -> None:
    """A router's max_time gives way to a task's timeout."""
    router = AsyncRouter(max_time=60)
    router.task(send)
    router.task(timeout=5)(fetch)

    assert [60.0, 5.0] == [one.options["timeout"] for one in router.tasks.values()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prefix": 7}, "router 7: prefix: expected a text, got 7"),
        (
            {"prefix": "mail", "priority": 200},
            "router 'mail': priority: expected a whole number from -128 to 127, got 200",
        ),
        ({"name": "x"}, "router: name: expected a prefix; each task has a name of its own"),
        ({"prioriti": 1}, "router: prioriti: did you mean priority?"),
        ({"middlewares": [7]}, "router: middlewares: expected a TaskMiddleware or its class, got 7"),
    ],
)
def test_options_are_checked_when_the_router_is_made(options: dict[str, Any], message: str) -> None:
    """Not only when a task is declared; those of a task as ever."""
    with pytest.raises(RegistrationError) as caught:
        AsyncRouter(**options)
    assert str(caught.value).startswith(message)
    with pytest.raises(RegistrationError, match="task 'send': middlewares: expected a list of middlewares, got 7"):
        AsyncRouter(middlewares=[]).task(send, middlewares=7)  # type: ignore[call-overload]


async def test_middlewares_of_a_router_are_around_those_of_its_tasks(app: QueueTasks, running: Running) -> None:
    """And inside those of the app; of a class, one object serves all tasks."""

    class Mark(TaskMiddleware):
        def __init__(self, letter: str = "r") -> None:
            self.letter = letter

        def after(self, execution: Execution, result: Any) -> Any:
            return f"{result}{self.letter}"

    router = AsyncRouter(middlewares=[Mark], middlewares_after=[lambda execution, result: f"{result}1"])
    app.add_middleware(Mark("a"))
    mine = router.task(middlewares=[Mark("t")], middlewares_after=[lambda execution, result: f"{result}2"])(send)
    plain = router.task(fetch)
    app.include_router(router)

    async with running(app):
        assert "to me12tra" == await mine.add_task("me").result(timeout=5)
    assert plain.definition.middlewares[0] is mine.definition.middlewares[0]


# ---------------------------------------------------------------- with an app


async def test_a_task_of_a_router_is_one_of_the_app(app: QueueTasks, running: Running) -> None:
    """Of both kinds of routers; by each way of queueing; options that were chosen before hold."""
    router, sync = AsyncRouter("mail", echo=True), SyncRouter("web")  # type: ignore[call-arg]

    @router.task
    async def where(ctx: Any) -> list[Any]:
        return [ctx.task_name, ctx.priority]

    early = where.with_options(priority=3)
    get = sync.task(fetch)
    app.include_router(router)
    app.include_router(sync, prefix="v2")
    async with running(app):
        assert ["mail.where", 3] == await early.add_task().result(timeout=5)  # type: ignore[call-arg]
        assert 2 == await get.aio.add_task(1).result(timeout=5)
        assert [2, 3] == [await one.result(timeout=5) for one in await get.aio.add_many([(1,), {"number": 2}])]
        assert 5 == await app.add_task("v2.web.fetch", 4).result(timeout=5)


def test_the_blocking_face_takes_routers_too() -> None:
    """A router is used before its module knows the app."""
    router = SyncRouter("mail")
    task = router.task(send)
    app = blocking.QueueTasks("test", "memory://")
    app.include_router(router)
    worker = threading.Thread(target=app.run_forever)
    worker.start()
    try:
        assert "to me" == task.add_task("me").result(timeout=5)
        assert ["to a", "to b"] == [one.result(timeout=5) for one in task.add_many([("a",), ("b",)])]
    finally:
        app.stop()
        worker.join()


# ---------------------------------------------------------------- with several apps


async def test_a_task_of_two_apps_wants_to_know_which_is_meant(app: QueueTasks, running: Running) -> None:
    """The error names them and the way out: `app.bind(task)`, which has that app's name of the task."""
    router = AsyncRouter("mail")
    task = router.task(fetch)
    other = QueueTasks("other", "memory://")
    app.include_router(router)
    other.include_router(router, "v2")
    with pytest.raises(UnboundTaskError) as caught:
        task.add_task(1)
    message = "task 'mail.fetch' belongs to 2 apps ('test', 'other'): app.bind(task) says which is meant"
    assert message == str(caught.value)

    mine, theirs = app.bind(task.with_options(priority=7)), other.bind(task)
    assert ("mail.fetch", "v2.mail.fetch", "mail.fetch") == (mine.name, theirs.name, task.name)
    async with running(app), running(other):
        added = await mine.add_task(1)
        assert (2, 7) == (await added.result(timeout=5), added.priority)
        assert 3 == await theirs.add_task(2).result(timeout=5)
        assert other.bind(theirs).app is other.core


def test_an_app_binds_only_what_it_has(app: QueueTasks) -> None:
    """Its own tasks and those of its routers."""
    own = app.task(send)
    stray = AsyncRouter("mail").task(send)
    other = QueueTasks("other", "memory://")

    assert app.bind(own).app is app.core
    with pytest.raises(UnboundTaskError, match=r"task 'mail.send' does not belong to the app 'test': use app.include"):
        app.bind(stray)
    with pytest.raises(UnboundTaskError, match="task 'send' does not belong to the app 'other'"):
        other.bind(own)


async def test_inside_a_task_its_own_app_is_meant(app: QueueTasks, running: Running) -> None:
    """A task that adds another one of its router needs not to know the app."""
    router = AsyncRouter("mail")

    @router.task
    async def outer() -> str:
        added = await inner.add_task(1)
        return added.app.name

    inner = router.task(fetch)
    other = QueueTasks("other", "memory://")
    for one in (app, other):
        one.include_router(router)
    async with running(app), running(other):
        assert ["test", "other"] == [await one.bind(outer).add_task().result(timeout=5) for one in (app, other)]


@pytest.mark.parametrize("is_used", [False, True])
def test_an_app_that_nobody_has_any_more_does_not_count(is_used: bool) -> None:
    """Each test may make an app of its own: what is left of it, used or not, is never taken for a second one."""
    router = SyncRouter()
    task = router.task(send)

    def make() -> weakref.ref[Any]:
        app = blocking.QueueTasks("one", "memory://")
        app.include_router(router)
        if is_used:
            task.add_task("me")
            app.stop()
        return weakref.ref(app.core)

    gc.disable()  # as if no collection came meanwhile
    try:
        first, second = make(), make()
        app = blocking.QueueTasks("last", "memory://")
        app.include_router(router)
        found = task.app
    finally:
        gc.enable()

    assert found is app.core
    assert (None, None) == (first(), second())


async def test_apps_share_nothing_but_the_code(app: QueueTasks) -> None:
    """A uuid that one app knows is unknown to the other, and so are tasks of its own."""
    router = AsyncRouter()
    task = router.task(send)
    other = QueueTasks("other", "memory://")
    app.include_router(router)
    other.include_router(router)
    uuid = new_uuid()
    await app.bind(task).with_options(uuid=uuid).add_task("me")

    assert uuid == (await app.get(uuid)).uuid
    with pytest.raises(LookupError):
        await other.get(uuid)
    app.task(fetch)
    assert ["send"] == list(other.tasks)
    await app.stop()
    await other.stop()

"""`shared_task`: what a library declares, each app of the process has."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.errors import RegistrationError, UnboundTaskError
from qtasks_core.routers import Routes
from qtasks_core.shared import SHARED, async_shared_task, shared_task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]

CURE = "there is no app in this process"


@pytest.fixture(autouse=True)
def shared() -> Iterator[Routes]:
    """Begin without shared tasks and without apps, and leave none to other tests."""
    fresh = Routes("shared_task", CURE)
    kept = {name: getattr(SHARED, name) for name in ("_registry", "_homes", "_apps")}
    vars(SHARED).update({name: getattr(fresh, name) for name in kept})
    yield SHARED
    vars(SHARED).update(kept)


def ping(text: str) -> str:
    return text


def test_without_an_app_it_can_be_called_but_not_queued() -> None:
    """The error says what is missing."""
    task = async_shared_task(ping)

    assert "x" == task("x")
    with pytest.raises(UnboundTaskError, match=f"task 'ping' belongs to no app yet: {CURE}"):
        task.add_task("x")


@pytest.mark.parametrize("is_first", [True, False])
async def test_the_one_app_has_it(running: Running, is_first: bool) -> None:
    """Whether the library was imported before the app was made, or after."""
    if is_first:
        task = async_shared_task(name="lib.ping", priority=4)(ping)
        app = QueueTasks("test", "memory://")
    else:
        app = QueueTasks("test", "memory://")
        task = async_shared_task(name="lib.ping", priority=4)(ping)
    async with running(app):
        added = await task.add_task("x")
        assert ("x", 4, "lib.ping") == (await added.result(timeout=5), added.priority, added.task_name)


async def test_each_of_several_apps_has_it(running: Running) -> None:
    """Then `app.bind` says which is meant; inside of a task it is that task's."""
    task = async_shared_task(ping)

    @async_shared_task
    async def outer() -> str:
        return (await task.add_task("x")).app.name

    one, two = QueueTasks("one", "memory://"), QueueTasks("two", "memory://")
    with pytest.raises(UnboundTaskError, match=r"belongs to 2 apps \('one', 'two'\): app.bind\(task\) says which"):
        task.add_task("x")
    async with running(one), running(two):
        assert ["x", "x"] == [await app.bind(task).add_task("x").result(timeout=5) for app in (one, two)]
        assert ["one", "two"] == [await app.bind(outer).add_task().result(timeout=5) for app in (one, two)]


def test_a_name_that_is_taken_is_refused_with_both_places() -> None:
    """Wherever the second one comes from: a library, an app, or a library that is imported late."""

    def other() -> None: ...

    both = f"task 'ping' is declared twice: at {__file__}:.* and at {__file__}:.*"
    shared_task(ping)
    with pytest.raises(RegistrationError, match=both):
        shared_task(name="ping")(other)
    app = QueueTasks("test", "memory://")
    with pytest.raises(RegistrationError, match=both):
        app.task(name="ping")(other)
    app.task(name="late")(other)
    with pytest.raises(RegistrationError, match="task 'late' is declared twice"):
        shared_task(name="late")(ping)


def test_the_same_function_may_be_declared_again() -> None:
    """As when its module is imported under a second name: the apps have it once."""
    app = QueueTasks("test", "memory://")
    shared_task(ping)
    again: Any = shared_task(ping)

    assert ["ping"] == list(app.tasks)
    assert again.app is app.core


def test_a_forked_child_may_declare_and_make_apps() -> None:
    """Also when the parent was amid a declaration in another thread."""
    program = """
        import os, threading
        from qtasks_core.aio import QueueTasks
        from qtasks_core.shared import SHARED, shared_task

        inside, go_on = threading.Event(), threading.Event()

        def hold():
            with SHARED._lock:
                inside.set()
                go_on.wait()

        holder = threading.Thread(target=hold)
        holder.start()
        inside.wait()
        child = os.fork()
        if child == 0:
            app = QueueTasks("child", "memory://")

            @shared_task
            def ping(): ...

            os._exit(0 if list(app.tasks) == ["ping"] else 1)
        go_on.set()
        holder.join()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)

    assert ("0\n", "") == (done.stdout, done.stderr)

"""Commands of operators: pause, resume, cancel, ping, dead, flush-all; on an app in memory, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result

from qtasks_core.aio import QueueTasks as AsyncQueueTasks
from qtasks_core.blocking import QueueTasks
from qtasks_core.cli.group import qtasks
from qtasks_core.config import QueueConfig
from qtasks_core.contract import Envelope
from qtasks_core.memory import MemoryBroker, MemoryStorage
from qtasks_core.naming import new_uuid
from qtasks_testing.polling import eventually_sync

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = ("cancel", "dead", "flush", "pause", "ping")


def found_by_all(core: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in MODULES:
        monkeypatch.setattr(f"qtasks_core.cli.{module}.load_app", lambda ref: core)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> QueueTasks:
    """Return the app that `-A` finds, whatever it names."""
    app = QueueTasks("Shop", "memory://", config=QueueConfig(queues=("default", "slow")))

    @app.task
    async def echo(x: int) -> int:
        return x

    @app.task
    async def fail(x: int) -> None:
        raise ValueError(f"no {x}\nin stock")

    found_by_all(app.core, monkeypatch)
    return app


@contextlib.contextmanager
def worker_of(app: QueueTasks) -> Iterator[None]:
    """Have a worker in another thread, and none afterwards."""
    worker = threading.Thread(target=app.run_forever)
    worker.start()
    try:
        yield
    finally:
        app.stop()
        worker.join(20)
    assert not worker.is_alive()


@pytest.fixture
def working(app: QueueTasks) -> Iterator[QueueTasks]:
    with worker_of(app):
        yield app


@pytest.fixture
def unconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `-A` find an app that has no global config."""
    context = QueueTasks("other", "memory://").core.new_context()
    broker, storage = MemoryBroker("memory://", context), MemoryStorage("memory://", context)
    found_by_all(QueueTasks("Shop", broker=broker, storage=storage).core, monkeypatch)


def invoke(*args: str, text: str | None = None) -> Result:
    return CliRunner().invoke(qtasks, ["-A", "shop:app", *args], input=text)


def send_damaged(app: QueueTasks) -> UUID:
    async def send(face: AsyncQueueTasks) -> UUID:
        engine, uuid = face.core.engine(), new_uuid()
        await engine.ensure_started()
        await engine.broker.send([Envelope(uuid, "default", b"garbage")])
        return uuid

    return app.core.portal.call(send, app.aio)


def letters(app: QueueTasks) -> list[UUID]:
    return [letter.uuid for letter in app.dead_letters.list()]


# ---------------------------------------------------------------- pause and resume


def test_pause_and_resume(app: QueueTasks) -> None:
    """Each prints what is paused then; pause alone only that."""
    said = [
        invoke("pause").output,
        invoke("pause", "slow", "default").output,
        invoke("resume", "default").output,
        invoke("pause").output,
        invoke("resume", "slow").output,
    ]
    assert ["none", "default, slow", "slow", "slow", "none"] == [
        line.removeprefix("paused: ").removesuffix("\n") for line in said
    ]
    assert [] == app.paused()
    app.stop()


def test_resume_needs_a_queue(app: QueueTasks) -> None:
    """A usage error, exit code 2."""
    result = invoke("resume")
    assert 2 == result.exit_code
    assert "Missing argument 'QUEUE…'" in result.output


# ---------------------------------------------------------------- cancel


def test_cancel_tells_of_each_task(working: QueueTasks) -> None:
    """Asked, or too late; exit code 1 where one is unknown, and the others are cancelled all the same."""
    waiting, done, unknown = (
        working.with_options(delay=3600).add_task("echo", 1),
        working.add_task("echo", 2).wait(timeout=10),
        new_uuid(),
    )
    result = invoke("cancel", str(unknown), str(waiting.uuid), str(done.uuid), "--reason", "sold out")

    assert [
        f"{unknown} is unknown: it expired, or never was",
        f"{waiting.uuid} is asked to end",
        f"{done.uuid} had ended",
    ] == result.output.splitlines()
    assert 1 == result.exit_code
    assert ("cancel", "sold out") == (waiting.refresh().status, waiting.reason)


def test_cancel_takes_uuids(app: QueueTasks) -> None:
    """What is none is a usage error."""
    result = invoke("cancel", "everything")
    assert 2 == result.exit_code
    assert "'everything' is not a valid UUID" in result.output


# ---------------------------------------------------------------- ping


def test_ping_shows_who_answers(working: QueueTasks) -> None:
    """A line for each worker; as JSON with all that is known."""
    eventually_sync(lambda: invoke("ping", "--timeout", "5").exit_code == 0)
    lines = invoke("ping", "--timeout", "5").output.splitlines()
    (worker,) = json.loads(invoke("ping", "--timeout", "5", "--json").output)

    assert 1 == len(lines)
    assert lines[0].startswith(f"{worker['name']} on {worker['host']}, process {worker['pid']}, up ")
    assert ": answered in " in lines[0]
    assert {"name", "age", "latency", "host", "pid", "queues"} == set(worker)


def test_ping_fails_where_nobody_answers(app: QueueTasks) -> None:
    """Exit code 1, so that it can be a health check."""
    for args in ((), ("--json",)):
        result = invoke("ping", "--timeout", "0.01", *args)
        assert 1 == result.exit_code
        assert "Error: no worker answers" in result.output


# ---------------------------------------------------------------- dead letters


def test_dead_letters_are_listed(working: QueueTasks) -> None:
    """One line each, in which no argument is; as JSON with arguments, or with the bytes of what cannot be read."""
    assert "no dead letters\n" == invoke("dead", "list").output
    failed = working.add_task("fail", 7).wait(timeout=10)
    damaged = send_damaged(working)
    eventually_sync(lambda: len(letters(working)) == 2)

    first, second = invoke("dead", "list").output.splitlines()
    assert first.startswith(f"{failed.uuid} default fail, attempt 1, added 20")
    assert first.endswith("+00:00: ValueError: no 7 in stock")
    assert second.startswith(f"{damaged} default unreadable (7 bytes), attempt 1, added 1970-")

    one, other = map(json.loads, invoke("dead", "list", "--json").output.splitlines())
    assert ("fail", [7], {}, 1, 0) == (one["task_name"], one["args"], one["kwargs"], one["attempt"], one["replays"])
    assert (str(damaged), None, "Z2FyYmFnZQ==") == (other["uuid"], other["args"], other["raw"])
    assert "expected a body that begins with" in other["problem"]
    assert "raw" not in one


def test_a_list_may_be_of_one_queue_and_short(working: QueueTasks) -> None:
    """--queue and --limit; no letters are no lines in JSON."""
    tasks = [working.with_options(queue=queue).add_task("fail", 1) for queue in ("slow", "default", "slow")]
    for task in tasks:
        task.wait(timeout=10)
    eventually_sync(lambda: len(letters(working)) == 3)

    assert 2 == len(invoke("dead", "list", "--queue", "slow").output.splitlines())
    assert 1 == len(invoke("dead", "list", "--queue", "slow", "--limit", "1").output.splitlines())
    assert "" == invoke("dead", "list", "--queue", "other", "--json").output


@pytest.mark.parametrize(("command", "said"), [("replay", "sent again"), ("purge", "deleted")])
def test_letters_are_chosen(app: QueueTasks, command: str, said: str) -> None:
    """By uuid, by queue, or all; how many is told."""
    with worker_of(app):
        uuids = [app.with_options(queue=queue).add_task("fail", 1).uuid for queue in ("default", "slow", "slow")]
        eventually_sync(lambda: set(letters(app)) == set(uuids))

    assert f"{said}: 1\n" == invoke("dead", command, str(uuids[1])).output
    assert f"{said}: 1\n" == invoke("dead", command, "--queue", "slow").output
    assert f"{said}: 0\n" == invoke("dead", command, "--queue", "slow", str(uuids[0])).output
    assert f"{said}: 1\n" == invoke("dead", command, "--all").output
    assert [] == letters(app)
    assert (1 if command == "replay" else 0) == depth(app)
    app.stop()


@pytest.mark.parametrize("command", ["replay", "purge"])
@pytest.mark.parametrize("args", [(), ("--all", "--queue", "slow"), ("--all", str(UUID(int=1)))])
def test_it_has_to_be_said_which(app: QueueTasks, command: str, args: tuple[str, ...]) -> None:
    """Nothing is done to all letters by accident."""
    result = invoke("dead", command, *args)
    assert 2 == result.exit_code
    assert "say which: UUID…, --queue NAME, or --all" in result.output


# ---------------------------------------------------------------- flush-all


@pytest.mark.parametrize(("args", "text"), [(("--yes",), None), ((), "y\n")])
def test_everything_is_deleted(app: QueueTasks, args: tuple[str, ...], text: str | None) -> None:
    """With --yes, or when somebody says so; what was deleted is told."""
    app.add_task("echo", 1)
    result = invoke("flush-all", *args, text=text)

    assert 0 == result.exit_code
    assert result.output.endswith("everything of the app 'Shop' at memory:// is deleted\n")
    assert 0 == depth(app)
    app.stop()


@pytest.mark.parametrize("text", ["n\n", "\n", ""])
def test_nothing_is_deleted_without_a_yes(app: QueueTasks, text: str) -> None:
    """It asks, with the place; no answer is no yes."""
    app.add_task("echo", 1)
    result = invoke("flush-all", text=text)

    assert 1 == result.exit_code
    assert "Delete everything of the app 'Shop' at memory://?" in result.output
    assert 1 == depth(app)
    app.stop()


def depth(app: QueueTasks) -> int | None:
    async def ask(face: AsyncQueueTasks) -> int | None:
        await face.core.engine().ensure_started()
        return (await face.core.engine().broker.depth("default")).ready

    return app.core.portal.call(ask, app.aio)


# ---------------------------------------------------------------- what is missing


@pytest.mark.usefixtures("unconnected")
@pytest.mark.parametrize("args", [("pause", "slow"), ("resume", "slow"), ("ping",)])
def test_without_a_global_config_it_is_told(args: tuple[str, ...]) -> None:
    """Exit code 2, the setting that helps, no traceback."""
    result = invoke(*args)
    assert 2 == result.exit_code
    assert "name a global config with global_config_url=" in result.output
    assert "Traceback" not in result.output


def test_each_command_closes_what_it_opens(app: QueueTasks) -> None:
    """Several in one process, each on an event loop of its own."""
    for _ in range(3):
        assert 0 == invoke("pause").exit_code
    assert {} == app.core._engines
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()

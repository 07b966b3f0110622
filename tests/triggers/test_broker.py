"""The triggers around the broker, which no broker calls itself."""

import asyncio
import functools

import msgspec
import pytest

from qtasks.asyncio import QueueTasks
from qtasks_core.contract import Evicts
from triggers.noting import PATIENCE_S, noting


@pytest.mark.fires("broker_start", "broker_stop", "broker_listen_start")
async def test_the_life_of_a_broker_is_told(app: QueueTasks) -> None:
    """With the worker that it serves; a client's serves none, and listens to nothing."""
    notes = noting(app, "broker_start", "broker_listen_start", "broker_stop")
    async with app.worker():
        broker = app.core.engine().broker

    assert ["broker_start", "broker_listen_start", "broker_stop"] == notes.order
    worker = notes.one("broker_start")["worker"]
    assert [{"broker": broker, "worker": worker}] * 3 == [given for _, given in notes.calls]
    notes.calls.clear()
    await app.add_task("elsewhere")
    await app.stop()
    assert ["broker_start", "broker_stop"] == notes.order
    assert None is notes.one("broker_start")["worker"] is notes.one("broker_stop")["worker"]


@pytest.mark.fires("broker_add_before")
async def test_a_draft_may_be_changed_before_storage_and_server_see_it(app: QueueTasks) -> None:
    """After the app's own trigger: it is given what that made, and what it makes is sent."""
    notes = noting(
        app,
        "storage_add",
        qtasks_add_task_before_broker=lambda message: msgspec.structs.replace(message, args=(2,)),
        broker_add_before=lambda message: msgspec.structs.replace(message, args=(*message.args, 3)),
    )
    task = await app.add_task("elsewhere", 1)

    assert ["qtasks_add_task_before_broker", "broker_add_before", "storage_add"] == notes.order
    engine, given = app.core.engine(), notes.one("broker_add_before")
    assert (engine.broker, engine.storage, (2,)) == (given["broker"], given["storage"], given["message"].args)
    assert (2, 3) == (await app.get(task.uuid)).args
    await app.stop()


@pytest.mark.fires("broker_add_after")
async def test_what_storage_and_server_have_is_told(app: QueueTasks) -> None:
    """After the app's own trigger, with the draft."""
    notes = noting(app, "qtasks_add_task_after_broker", "broker_add_after")
    task = await app.add_task("elsewhere", 1)

    assert ["qtasks_add_task_after_broker", "broker_add_after"] == notes.order
    engine, given = app.core.engine(), notes.one("broker_add_after")
    assert (engine.broker, engine.storage) == (given["broker"], given["storage"])
    assert task.uuid == given["message"].uuid
    await app.stop()


@pytest.mark.fires("broker_add_worker", "worker_add")
async def test_a_delivery_may_be_changed_on_its_way_to_the_worker(app: QueueTasks) -> None:
    """By a trigger of the broker, then by one of the worker; the run is what they made of it."""
    seen: list[bytes] = []

    def raw(text: bytes) -> functools.partial[object]:
        return functools.partial(_with_raw, text)

    notes = noting(app, broker_add_worker=raw(b"b"), worker_add=raw(b"w"), worker_execute_before=_keep(seen))

    @app.task
    async def job() -> int:
        return 7

    async with app.worker():
        assert 7 == await job.add_task().result(timeout=PATIENCE_S)
        broker = app.core.engine().broker

    assert ["broker_add_worker", "worker_add", "worker_execute_before"] == notes.order
    first, second = notes.one("broker_add_worker"), notes.one("worker_add")
    assert (broker, first["worker"]) == (first["broker"], second["worker"])
    assert [b"", b"b", b"bw"] == [first["delivery"].raw, second["delivery"].raw, *seen]


def _with_raw(text: bytes, delivery: object) -> object:
    return msgspec.structs.replace(delivery, raw=delivery.raw + text)  # type: ignore[attr-defined, type-var]


def _keep(seen: list[bytes]) -> object:
    return lambda execution: seen.append(execution.delivery.raw)


@pytest.mark.fires("broker_get", "storage_get")
async def test_a_record_that_was_read_may_be_shown_in_another_way(app: QueueTasks) -> None:
    """One point with two names: the storage's is given what the broker's made."""
    notes = noting(
        app,
        broker_get=lambda task: msgspec.structs.replace(task, reason="b"),
        storage_get=lambda task: msgspec.structs.replace(task, reason=f"{task.reason}s"),
    )
    task = await app.add_task("elsewhere")

    assert "bs" == (await app.get(task.uuid)).reason
    engine = app.core.engine()
    assert ["broker_get", "storage_get"] == notes.order
    assert (engine.broker, engine.storage) == (notes.one("broker_get")["broker"], notes.one("storage_get")["storage"])
    assert [task.uuid] * 2 == [given["task"].uuid for _, given in notes.calls]
    await app.stop()


@pytest.mark.fires("broker_update", "storage_update")
async def test_the_record_of_a_retry_may_be_changed(app: QueueTasks) -> None:
    """By the storage's trigger, then by the broker's; what they made of it is what is read meanwhile."""
    notes = noting(
        app,
        storage_update=lambda record: msgspec.structs.replace(record, reason="s"),
        broker_update=lambda record: msgspec.structs.replace(record, reason=f"{record.reason}b"),
    )
    attempts: list[int] = []

    @app.task(retry=1, retry_backoff=0.01, retry_jitter=False)
    async def job() -> int:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError("once")
        return 7

    async with app.worker():
        assert 7 == await job.add_task().result(timeout=PATIENCE_S)
        engine = app.core.engine()

    assert ["storage_update", "broker_update"] == notes.order
    update, record = notes.one("storage_update"), notes.one("broker_update")["record"]
    assert (engine.storage, engine.broker) == (update["storage"], notes.one("broker_update")["broker"])
    assert ("retry", 2, "s") == (record.status, record.attempt, record.reason)


@pytest.mark.fires("storage_update")
async def test_the_record_of_a_replay_may_be_changed(app: QueueTasks) -> None:
    """Where records are kept by another server than the dead letters: it is opened again."""
    app = QueueTasks("elsewhere", app.core.broker_url, storage_url="memory://records")
    notes = noting(app, storage_update=lambda record: msgspec.structs.replace(record, reason="again"))

    @app.task(dead_letter=True)
    async def job() -> None:
        raise ValueError("no")

    async with app.worker():
        task = await job.add_task()
        await task.wait(timeout=PATIENCE_S)
    assert [] == notes.order
    assert 1 == await app.dead_letters.replay("default")

    given = notes.one("storage_update")
    assert (app.core.engine().storage, task.uuid, "new") == (
        given["storage"],
        given["record"].uuid,
        given["record"].status,
    )
    assert "again" == (await app.get(task.uuid)).reason
    await app.stop()


@pytest.mark.fires("broker_remove_finished_task", "worker_remove_finished_task")
async def test_a_final_record_may_be_changed_before_it_is_written(app: QueueTasks) -> None:
    """By the worker's trigger, then by the broker's; what they made of it is kept."""
    notes = noting(
        app,
        worker_remove_finished_task=lambda record: msgspec.structs.replace(record, reason="w"),
        broker_remove_finished_task=lambda record: msgspec.structs.replace(record, reason=f"{record.reason}b"),
    )

    @app.task
    async def job() -> int:
        return 7

    async with app.worker():
        task = await job.add_task()
        assert 7 == await task.result(timeout=PATIENCE_S)
        assert "wb" == (await app.get(task.uuid)).reason
        engine = app.core.engine()

    assert ["worker_remove_finished_task", "broker_remove_finished_task"] == notes.order
    first, second = notes.one("worker_remove_finished_task"), notes.one("broker_remove_finished_task")
    assert (engine.worker, task.uuid) == (first["worker"], first["execution"].uuid)
    assert (engine.broker, engine.storage) == (second["broker"], second["storage"])
    assert "success" == second["record"].status


@pytest.mark.fires("broker_running_older_tasks", "storage_running_older_tasks")
async def test_a_task_that_is_taken_over_is_told(app: QueueTasks) -> None:
    """Those that were received together first, then each that is about to run again."""
    notes = noting(app, "broker_running_older_tasks", "storage_running_older_tasks")
    begun: list[int] = []
    entered = asyncio.Event()

    @app.task
    async def job() -> int:
        begun.append(1)
        if len(begun) == 1:
            entered.set()
            await asyncio.Event().wait()
        return 7

    async with app.worker() as worker:
        task = await job.add_task()
        await entered.wait()
        assert [] == notes.order
        engine = app.core.engine()
        assert isinstance(engine.broker, Evicts)
        await engine.broker.evict(str(worker.name))
        assert 7 == await task.result(timeout=PATIENCE_S)

    assert ["broker_running_older_tasks", "storage_running_older_tasks"] == notes.order
    older, again = notes.one("broker_running_older_tasks"), notes.one("storage_running_older_tasks")
    (delivery,) = older["deliveries"]
    assert (engine.broker, engine.worker) == (older["broker"], older["worker"])
    assert (engine.storage, engine.worker, delivery) == (again["storage"], again["worker"], again["delivery"])
    assert (task.uuid, True) == (delivery.envelope.uuid, delivery.suspect or delivery.crashes > 0)

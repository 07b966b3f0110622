"""The triggers around the storage, which no storage calls itself."""

import asyncio

import msgspec
import pytest

from qtasks import QueueTasks as BlockingQueueTasks
from qtasks.asyncio import QueueTasks
from qtasks_core.naming import new_uuid
from qtasks_core.task import BlockingTask, Task
from qtasks_testing.polling import eventually
from triggers.noting import PATIENCE_S, noting


@pytest.mark.fires("storage_start", "storage_stop")
async def test_the_life_of_a_storage_is_told(app: QueueTasks) -> None:
    """It starts before the broker and stops after it."""
    notes = noting(app, "storage_start", "broker_start", "broker_stop", "storage_stop")
    await app.add_task("elsewhere")
    storage = app.core.engine().storage
    await app.stop()

    assert ["storage_start", "broker_start", "broker_stop", "storage_stop"] == notes.order
    assert {"storage": storage} == notes.one("storage_start") == notes.one("storage_stop")


@pytest.mark.fires("storage_get_all")
async def test_several_records_that_were_read_may_be_shown_in_another_way(app: QueueTasks) -> None:
    """Those that are known, in one call; each task is shown in its place."""
    notes = noting(
        app, storage_get_all=lambda tasks: [msgspec.structs.replace(one, reason=f"of {one.task_name}") for one in tasks]
    )
    one, two = await app.add_task("one"), await app.add_task("two")

    found = await app.get_many([two.uuid, new_uuid(), one.uuid])
    assert ["of two", None, "of one"] == [None if task is None else task.reason for task in found]
    given = notes.one("storage_get_all")
    assert (app.core.engine().storage, [two.uuid, one.uuid]) == (
        given["storage"],
        [record.uuid for record in given["tasks"]],
    )
    await app.stop()


def test_the_blocking_face_reads_several_tasks() -> None:
    """As the other one, each as its own kind of task."""
    with BlockingQueueTasks("blocking", "memory://") as blocking:
        task = blocking.add_task("one")
        (found, unknown) = blocking.get_many([task.uuid, new_uuid()])

    assert None is unknown
    assert found is not None
    assert (task.uuid, BlockingTask) == (found.uuid, type(found))


@pytest.mark.fires("storage_add")
async def test_the_record_of_a_new_task_may_be_changed(app: QueueTasks) -> None:
    """Before it enters a batch; of a waiting task the message is the record where one server has both."""
    notes = noting(app, storage_add=lambda record: msgspec.structs.replace(record, reason="noted"))
    task = await app.add_task("elsewhere")

    given = notes.one("storage_add")
    assert (app.core.engine().storage, task.uuid, "new") == (
        given["storage"],
        given["record"].uuid,
        given["record"].status,
    )
    assert "noted" == task.record.reason
    await app.stop()


@pytest.mark.fires("storage_add_process")
@pytest.mark.parametrize("records", ["with the broker", "elsewhere"])
async def test_the_mark_of_a_task_that_runs_may_be_changed(app: QueueTasks, records: str) -> None:
    """It is written for tasks that outlive a moment; a server that has marked the task by itself keeps its own mark."""
    if records == "elsewhere":
        app = QueueTasks("elsewhere", app.core.broker_url, storage_url="memory://records")
    notes = noting(app, storage_add_process=lambda record: msgspec.structs.replace(record, worker="somewhere"))
    go = asyncio.Event()

    @app.task
    async def job() -> None:
        await go.wait()

    async with app.worker():
        task = await job.add_task()
        given = await eventually(lambda: notes.of("storage_add_process"), timeout_s=PATIENCE_S)
        storage = app.core.engine().storage
        if records == "elsewhere":
            await eventually(lambda: _marked_by(task, "somewhere"), timeout_s=PATIENCE_S)
        go.set()
        await task.wait(timeout=PATIENCE_S)

    assert storage is given[0]["storage"]
    assert (task.uuid, "process") == (given[0]["record"].uuid, given[0]["record"].status)


async def _marked_by(task: Task[None], worker: str) -> bool:
    await task.refresh()
    return ("process", worker) == (task.status, task.worker)


@pytest.mark.fires("storage_remove_finished_task")
async def test_a_final_record_that_was_written_is_told(app: QueueTasks) -> None:
    """After `worker_outcome`, when others can read it."""
    notes = noting(app, "worker_outcome", "storage_remove_finished_task")

    @app.task
    async def job() -> int:
        return 7

    async with app.worker():
        task = await job.add_task()
        await task.wait(timeout=PATIENCE_S)
        storage = app.core.engine().storage

    assert ["worker_outcome", "storage_remove_finished_task"] == notes.order
    given = notes.one("storage_remove_finished_task")
    assert (storage, task.uuid, "success") == (given["storage"], given["record"].uuid, given["record"].status)


@pytest.mark.fires("storage_delete_finished_tasks")
async def test_a_sweep_of_expired_records_is_told(app: QueueTasks) -> None:
    """Where this process does it: in memory by whoever looks, in a file by a worker; once for each sweep."""
    notes = noting(app, "storage_delete_finished_tasks")

    @app.task(result_ttl=0.05)
    async def job() -> int:
        return 7

    async with app.worker():
        storage = app.core.engine().storage
        task = await job.add_task()
        await task.wait(timeout=PATIENCE_S)
        await eventually(lambda: _is_gone(app, task), timeout_s=PATIENCE_S)
        given = await eventually(lambda: notes.of("storage_delete_finished_tasks"), timeout_s=PATIENCE_S)

    assert [{"storage": storage}] == given


async def _is_gone(app: QueueTasks, task: Task[int]) -> bool:
    return [None] == await app.get_many([task.uuid])

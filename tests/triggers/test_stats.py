"""The trigger of the statistics, and what they tell."""

import asyncio
import json

import pytest

from qtasks import QueueTasks as BlockingQueueTasks
from qtasks.asyncio import QueueTasks
from qtasks.exceptions import ConfigError
from qtasks.stats import AsyncStats, SyncStats
from triggers.noting import PATIENCE_S, noting


def _job(app: QueueTasks | BlockingQueueTasks) -> None:
    async def job(number: int) -> int:
        """Send a mail."""
        return number

    app.task(queue="mail", retry=2, tags=["slow"])(job)


@pytest.mark.fires("stats_inspect")
async def test_an_inspection_is_told_before_it_begins(app: QueueTasks) -> None:
    """Each look once, with the object that the look was asked of."""
    notes, stats = noting(app, "stats_inspect"), AsyncStats(app)
    _job(app)
    inspection = stats.inspect()
    assert [] == notes.order
    for look in (inspection.app(), inspection.tasks(), inspection.task("job"), inspection.queues()):
        await look
    await inspection.workers(timeout=0.01)

    assert [{"stats": stats}] * 5 == notes.of("stats_inspect")
    await app.stop()


async def test_the_app_its_tasks_and_its_queues_are_told(app: QueueTasks) -> None:
    """As JSON for programs; the queues are those of workers and of tasks."""
    _job(app)
    await app.add_task("job", 1)
    inspection = AsyncStats(app).inspect()

    told = json.loads(await inspection.app(json=True))
    assert ("triggers", 1, ["default", "mail"]) == (told["name"], told["tasks"], told["queues"])
    (task,) = json.loads(await inspection.tasks(json=True))
    assert ("job", "mail", 2, ["slow"]) == (task["name"], task["queue"], task["retry"], task["tags"])
    assert task == json.loads(await inspection.task("job", json=True))
    queues = {one["name"]: one["ready"] for one in json.loads(await inspection.queues(json=True))}
    assert {"default": 0, "mail": 1} == queues
    await app.stop()


async def test_workers_are_told(app: QueueTasks) -> None:
    """Those that answer."""
    async with app.worker() as worker, asyncio.timeout(PATIENCE_S):
        (found,) = json.loads(await AsyncStats(app).inspect().workers(json=True))

        assert worker.name == found["name"]


async def test_an_unknown_task_is_an_error_that_names_the_known_ones(app: QueueTasks) -> None:
    """No empty answer that looks like one."""
    _job(app)
    with pytest.raises(ConfigError, match="no task 'jib' here; known: job"):
        await AsyncStats(app).inspect().task("jib")


def test_the_blocking_face_tells_the_same_as_text() -> None:
    """A line for each value, for people."""
    with BlockingQueueTasks("blocking", "memory://") as app:
        _job(app)
        inspection = SyncStats(app).inspect()
        told = [inspection.task("job"), inspection.tasks("job"), inspection.app(), inspection.queues()]
        told.append(inspection.workers(timeout=0.01))

    text = (
        "name: job\nqueue: mail\npriority: 0\nkind: async\nretry: 2\ntimeout: -\ntags: slow\ndescription: Send a mail."
    )
    assert [text, text] == told[:2]
    assert told[2].startswith("name: blocking\n")
    assert "name: mail\nready: 0" in told[3]
    assert told[4] == ""

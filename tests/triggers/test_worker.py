"""The triggers of the worker, in the order in which a task meets them."""

import os
from pathlib import Path

import msgspec
import pytest

from qtasks.asyncio import QueueTasks
from qtasks.exceptions import Postpone, TaskFailedError
from qtasks_core.contract import Ack
from triggers import process_app
from triggers.noting import PATIENCE_S, noting


@pytest.mark.fires("worker_start", "worker_stop")
async def test_the_life_of_a_worker_is_told(app: QueueTasks) -> None:
    """It is about to take tasks; and later all that it had is written or given back."""
    notes = noting(app, "worker_start", "worker_stop")
    async with app.worker():
        worker = app.core.engine().worker
        assert [{"worker": worker}] == notes.of("worker_start")

    assert [{"worker": worker}] == notes.of("worker_stop")


@pytest.mark.fires("worker_execute_before", "worker_execute_after", "worker_outcome")
async def test_a_run_is_told_from_before_to_after(app: QueueTasks) -> None:
    """It is about to run, it has run, and what became of it is written."""
    notes = noting(app, "worker_execute_before", "worker_execute_after", "worker_outcome")

    @app.task
    async def job(number: int) -> int:
        return number

    async with app.worker():
        task = await job.add_task(7)
        assert 7 == await task.result(timeout=PATIENCE_S)
        worker = app.core.engine().worker

    assert ["worker_execute_before", "worker_execute_after", "worker_outcome"] == notes.order
    assert [worker] * 3 == [given["worker"] for _, given in notes.calls]
    before, after = notes.one("worker_execute_before"), notes.one("worker_execute_after")
    assert ((7,), task.uuid) == (before["execution"].args, before["execution"].uuid)
    assert (before["execution"], "success") == (after["execution"], after["record"].status)
    assert (after["record"], Ack()) == (
        notes.one("worker_outcome")["outcome"].record,
        notes.one("worker_outcome")["outcome"].verdict,
    )


@pytest.mark.fires("worker_run_task_before")
async def test_a_task_may_be_changed_or_put_off_at_the_last_moment(app: QueueTasks) -> None:
    """`Postpone` gives it back uncharged: it comes again as the same attempt."""
    attempts: list[int] = []

    def once(execution: object) -> None:
        attempts.append(execution.attempt)  # type: ignore[attr-defined]
        if len(attempts) == 1:
            raise Postpone(delay=0.01)
        execution.args = (8,)  # type: ignore[attr-defined]

    notes = noting(app, worker_run_task_before=once)

    @app.task
    async def job(number: int) -> int:
        return number

    async with app.worker():
        assert 8 == await job.add_task(7).result(timeout=PATIENCE_S)
        worker = app.core.engine().worker

    assert [1, 1] == attempts
    assert [worker] * 2 == [given["worker"] for given in notes.of("worker_run_task_before")]


@pytest.mark.fires("worker_task_error_retry")
async def test_whether_a_failed_task_is_tried_again_may_be_decided(app: QueueTasks) -> None:
    """The plugin is given the error and what would be done, and has the last word."""
    notes = noting(
        app, worker_task_error_retry=lambda execution, outcome: msgspec.structs.replace(outcome, verdict=Ack())
    )

    @app.task(dead_letter=True)
    async def job() -> int:
        raise ValueError("no use")

    async with app.worker():
        task = await job.add_task()
        with pytest.raises(TaskFailedError, match="no use"):
            await task.result(timeout=PATIENCE_S)
        assert [] == [letter async for letter in app.dead_letters.list("default")]
        worker = app.core.engine().worker

    given = notes.one("worker_task_error_retry")
    assert (worker, task.uuid) == (given["worker"], given["execution"].uuid)
    assert ("no use", "error") == (str(given["error"]), given["outcome"].record.status)


@pytest.mark.fires("worker_process_start", "worker_process_stop")
async def test_the_life_of_a_process_for_tasks_is_told_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When its tasks are imported and when it ends by itself, on one loop; its worker hears nothing."""
    notes = tmp_path / "notes"
    monkeypatch.setenv(process_app.NOTES, str(notes))
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    async with process_app.app.worker():
        process = await (await process_app.pid.add_task()).result(timeout=PATIENCE_S)

    told = [line.split() for line in notes.read_text().splitlines()]
    ours = [(what, its_app, loop) for what, one, its_app, loop in told if int(one) == process]
    assert [("start", "True", ours[0][2]), ("stop", "True", ours[0][2])] == ours
    assert os.getpid() not in {int(one) for _, one, _, _ in told}

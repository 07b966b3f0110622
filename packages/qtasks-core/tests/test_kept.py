"""What plugins that replace may not change: each attempt is told with plugin, trigger and field, and harms one task."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pluggy
import pytest

from qtasks_core.contract import Ack, Delivery, Envelope, Outcome, TaskRecord
from qtasks_core.errors import AddManyError, PluginError, TaskFailedError
from qtasks_core.naming import new_uuid
from qtasks_core.options import Draft
from qtasks_core.triggers import Replace, Triggers

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from qtasks_core.aio import QueueTasks
    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]

hookimpl = pluggy.HookimplMarker("qtasks")

UUID, OTHER = new_uuid(), new_uuid()


def _plugin(trigger: str, function: Callable[..., Any]) -> SimpleNamespace:
    return SimpleNamespace(**{trigger: hookimpl(function)})


def _record(status: Any = "success") -> TaskRecord:
    return TaskRecord(uuid=UUID, task_name="job", queue="q", status=status)


def _draft() -> Draft:
    return Draft(task_name="job", args=(), kwargs={}, uuid=UUID, queue="q")


def _delivery() -> Delivery:
    return Delivery(Envelope(UUID, "q", b"body"), token=1)


def _with(value: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(value, **fields)


def _enveloped(delivery: Delivery, **fields: Any) -> Delivery:
    return msgspec.structs.replace(delivery, envelope=_with(delivery.envelope, **fields))


WRITES = ["storage_add", "storage_add_process", "broker_update", "broker_remove_finished_task"]
WRITES.append("worker_remove_finished_task")
READS = ["broker_get", "storage_get", "storage_update"]
MESSAGES = ["qtasks_add_task_before_broker", "broker_add_before"]
DELIVERIES = ["broker_add_worker", "worker_add"]
RECORD_KEYS = dict.fromkeys(("broker_get", "storage_get"), "task")

FORBIDDEN: list[tuple[list[str], Any, Any, str, tuple[object, object]]] = [
    (MESSAGES, _draft(), _with(_draft(), uuid=OTHER), "uuid of a message", (UUID, OTHER)),
    (DELIVERIES, _delivery(), _enveloped(_delivery(), uuid=OTHER), "uuid of a delivery", (UUID, OTHER)),
    (DELIVERIES, _delivery(), _enveloped(_delivery(), attempt=2), "attempt of a delivery", (1, 2)),
    (DELIVERIES, _delivery(), _enveloped(_delivery(), queue="r"), "queue of a delivery", ("q", "r")),
    (DELIVERIES, _delivery(), _with(_delivery(), token=2), "token of a delivery", (1, 2)),
    (WRITES, _record(), _with(_record(), uuid=OTHER), "uuid of a record", (UUID, OTHER)),
    (WRITES, _record(), _with(_record(), attempt=2), "attempt of a record", (1, 2)),
    (WRITES, _record(), _with(_record(), status="error"), "status of a record", ("success", "error")),
    (READS, _record(), _with(_record(), uuid=OTHER), "uuid of a record", (UUID, OTHER)),
    (READS, _record(), _with(_record(), attempt=2), "attempt of a record", (1, 2)),
    (READS, _record(), _with(_record(), status="new"), "final status of a record", ("success", None)),
    (READS, _record("new"), _with(_record(), status="success"), "final status of a record", (None, "success")),
    (["storage_get_all"], [_record()], [_with(_record(), uuid=OTHER)], "uuids of records", ([UUID], [OTHER])),
    (["storage_get_all"], [_record(), _record()], [_record()], "uuids of records", ([UUID, UUID], [UUID])),
]

CASES = [(trigger, *case[1:]) for case in FORBIDDEN for trigger in case[0]]


def _key(trigger: str, value: object) -> str:
    kinds: dict[type, str] = {Draft: "message", Delivery: "delivery", list: "tasks", TaskRecord: "record"}
    return RECORD_KEYS.get(trigger, kinds[type(value)])


@pytest.mark.parametrize(("trigger", "value", "changed", "field", "values"), CASES)
async def test_what_has_to_stay_is_refused_by_name(
    trigger: str, value: Any, changed: Any, field: str, values: tuple[object, object]
) -> None:
    """The error names the plugin, not another one of the chain, its trigger, and the field with both values."""
    triggers = Triggers()
    triggers.register(_plugin(trigger, lambda: None), "innocent")
    triggers.register(_plugin(trigger, lambda: changed), "guilty")
    triggers.register(_plugin(trigger, lambda: None), "innocent too")
    with pytest.raises(PluginError) as caught:
        await triggers.replace(triggers.of(trigger), _key(trigger, value), **{_key(trigger, value): value})

    words = f"plugin guilty: trigger {trigger} changed the {field} from {values[0]!r} to {values[1]!r}; it has to stay"
    assert words == str(caught.value)


@pytest.mark.parametrize(
    ("trigger", "value", "changed"),
    [
        *[(name, _draft(), _with(_draft(), args=(1,), queue="r", task_name="other")) for name in MESSAGES],
        *[(name, _delivery(), _enveloped(_delivery(), body=b"other", priority=3)) for name in DELIVERIES],
        *[(name, _record(), _with(_record(), result=b"other", reason="so")) for name in WRITES],
        *[(name, _record("new"), _with(_record("process"), worker="w")) for name in READS],
        ("storage_get_all", [_record()], [_with(_record(), reason="so")]),
    ],
)
async def test_all_else_may_change(trigger: str, value: Any, changed: Any) -> None:
    """What nobody knows a task by is the plugin's to change."""
    triggers = Triggers()
    triggers.register(_plugin(trigger, lambda: changed))
    key = _key(trigger, value)

    assert changed == await triggers.replace(triggers.of(trigger), key, **{key: value})


async def test_a_change_in_place_is_noticed() -> None:
    """A record that a plugin changes and does not even return is refused like a new one."""
    triggers = Triggers()

    def change(record: TaskRecord) -> None:
        record.status = "error"

    triggers.register(_plugin("storage_add", change), "guilty")
    with pytest.raises(PluginError, match="plugin guilty: trigger storage_add changed the status of a record from"):
        await triggers.replace(triggers.of("storage_add"), "record", storage=None, record=_record("new"))


@pytest.mark.parametrize(
    ("trigger", "key", "value", "words"),
    [
        ("storage_add", "record", _record(), "a record"),
        ("worker_add", "delivery", _delivery(), "a delivery"),
        ("broker_add_before", "message", _draft(), "a message"),
        ("storage_get_all", "tasks", [_record()], "records"),
        ("worker_task_error_retry", "outcome", Outcome(_delivery(), Ack()), "an outcome"),
    ],
)
@pytest.mark.parametrize("answer", [Replace(None), 3, SimpleNamespace(uuid=UUID)])
async def test_an_answer_of_another_kind_is_refused(
    trigger: str, key: str, value: Any, words: str, answer: object
) -> None:
    """A plugin that returns anything else is told what was expected; the values themselves are not quoted."""
    triggers = Triggers()
    triggers.register(_plugin(trigger, lambda: answer), "P")
    got = type(answer.value if isinstance(answer, Replace) else answer).__name__
    with pytest.raises(PluginError) as caught:
        await triggers.replace(triggers.of(trigger), key, **{key: value})

    assert f"plugin P: trigger {trigger}: expected {words}, got {got}" == str(caught.value)


async def test_an_execution_keeps_its_delivery() -> None:
    """Another object may stand for the run, but not one of another delivery, or of none."""
    triggers, given = Triggers(), SimpleNamespace(delivery=_delivery())
    answers: list[Any] = [SimpleNamespace(delivery=given.delivery, args=(1,)), SimpleNamespace(delivery=None), 3]
    triggers.register(_plugin("worker_run_task_before", lambda: answers.pop(0)), "P")
    chain = triggers.of("worker_run_task_before")

    assert answers[0] is await triggers.replace(chain, "execution", worker=None, execution=given)
    with pytest.raises(PluginError, match="plugin P: trigger worker_run_task_before changed the delivery of an exec"):
        await triggers.replace(chain, "execution", worker=None, execution=given)
    with pytest.raises(PluginError, match="trigger worker_run_task_before: expected an execution, got int"):
        await triggers.replace(chain, "execution", worker=None, execution=given)


# ---------------------------------------------------------------- in the life of a task


@pytest.mark.parametrize("trigger", ["qtasks_add_task_before_broker", "broker_add_before", "storage_add"])
async def test_who_adds_a_task_has_the_error(app: QueueTasks, trigger: str) -> None:
    """Nothing is sent of that task; those that are added with it are queued."""

    def change(message: Any = None, record: Any = None) -> Any:
        value = message or record
        return _with(value, uuid=OTHER) if value.task_name == "bad" else None

    app.core.triggers.register(_plugin(trigger, change), "P")
    drafts = [app.core.draft(name, (), {}) for name in ("good", "bad", "good")]
    answers = await app.core.add_many(drafts)
    with pytest.raises(PluginError, match=f"plugin P: trigger {trigger} changed the uuid of a "):
        await app.add_task("bad")

    assert [False, True, False] == [isinstance(one, PluginError) for one in answers]
    assert 2 == (await app.core.engine().broker.depth("default")).ready
    await app.stop()


async def test_add_many_tells_which_task_a_plugin_spoilt(app: QueueTasks) -> None:
    """As with any other error of one item."""

    @app.task
    async def job(number: int) -> None: ...

    def change(record: TaskRecord) -> Any:
        return _with(record, status="success") if record.priority else None

    app.core.triggers.register(_plugin("storage_add", change), "P")
    await job.add_many([(1,), (2,)])
    with pytest.raises(AddManyError) as caught:
        await job.with_options(priority=1).add_many([(3,)])
    await app.stop()

    assert "plugin P: trigger storage_add changed the status of a record from 'new' to 'success'" in str(
        caught.value.exceptions[0]
    )


def _changes(what: str) -> Callable[..., Any]:
    def delivered(delivery: Delivery) -> Any:
        return _enveloped(delivery, queue="other")

    def recorded(record: TaskRecord) -> Any:
        return _with(record, status="cancel")

    def executed(execution: Any) -> None:
        execution.delivery = _delivery()

    changes: dict[str, Callable[..., Any]] = {"delivery": delivered, "record": recorded, "execution": executed}
    return changes[what]


@pytest.mark.parametrize(
    ("trigger", "what", "field"),
    [
        ("broker_add_worker", "delivery", "queue of a delivery from 'default' to 'other'"),
        ("worker_add", "delivery", "queue of a delivery from 'default' to 'other'"),
        ("worker_run_task_before", "execution", "delivery of an execution"),
        ("worker_remove_finished_task", "record", "status of a record from 'success' to 'cancel'"),
        ("broker_remove_finished_task", "record", "status of a record from 'success' to 'cancel'"),
    ],
)
async def test_the_task_ends_with_the_error(
    app: QueueTasks, running: Running, trigger: str, what: str, field: str
) -> None:
    """Its record tells who did it; it is not run again, and its delivery is settled as the one that came."""
    app.core.triggers.register(_plugin(trigger, _changes(what)), "P")
    runs: list[int] = []

    @app.task
    async def job() -> None:
        runs.append(1)

    async with running(app) as worker:
        with pytest.raises(TaskFailedError, match=f"plugin P: trigger {trigger} changed the {field}"):
            await job.add_task().result(timeout=5)
        depth = await app.core.engine().broker.depth("default")

    assert (0, 0, 1, 0) == (depth.ready, depth.running, depth.dead, worker.unwritten)
    assert len(runs) == (what == "record")

"""The triggers around the global config, the cluster's small shared memory."""

from typing import Any
from uuid import uuid4

import pytest

from qtasks.asyncio import QueueTasks, current_context
from qtasks.exceptions import ResultExpiredError
from qtasks.plugins import Replace
from qtasks_core.contract import Versioned
from triggers.noting import PATIENCE_S, noting


@pytest.mark.fires("global_config_start", "global_config_stop")
async def test_the_life_of_a_global_config_is_told(app: QueueTasks) -> None:
    """A worker starts it first and stops it last."""
    notes = noting(app, "global_config_start", "storage_start", "storage_stop", "global_config_stop")
    async with app.worker():
        global_config = app.core.engine().global_config

    assert ["global_config_start", "storage_start", "storage_stop", "global_config_stop"] == notes.order
    assert {"global_config": global_config} == notes.one("global_config_start") == notes.one("global_config_stop")


@pytest.mark.fires("global_config_set", "global_config_get_match")
async def test_what_is_written_and_what_is_read_may_be_changed(app: QueueTasks) -> None:
    """The pair of key and value before it is written, the values after they were read."""
    notes = noting(
        app,
        global_config_set=lambda key, value: (f"{key}-2", value),
        global_config_get_match=lambda values: {**values, "pause/slow": Versioned(b"1", 1)},
    )
    await app.pause("mail")

    assert ["mail-2", "slow"] == await app.paused()
    global_config = app.core.engine().global_config
    assert {"global_config": global_config, "key": "pause/mail", "value": b"1"} == notes.one("global_config_set")
    given = notes.one("global_config_get_match")
    assert (global_config, ["pause/mail-2"]) == (given["global_config"], list(given["values"]))
    await app.stop()


@pytest.mark.fires("global_config_get", "global_config_get_all")
async def test_what_a_task_reads_may_be_changed(app: QueueTasks) -> None:
    """Also what it reads by itself, through the component that its context gives."""
    notes = noting(
        app,
        global_config_get=lambda value: Replace(None) if value == b"secret" else None,
        global_config_get_all=lambda values: {key: one for key, one in values.items() if one.value != b"secret"},
    )

    @app.task
    async def job() -> Any:
        config = current_context().get_component("global_config")
        await config.put("a", b"open")
        await config.put("b", b"secret")
        return [(await config.get("a")).value, (await config.get("b")).value, "b" in await config.list("")]

    async with app.worker():
        assert [b"open", None, False] == await job.add_task().result(timeout=PATIENCE_S)
        component = app.core.engine().global_config

    assert [("a", b"open"), ("b", b"secret")] == [
        (one["key"], one["value"]) for one in notes.of("global_config_get") if one["key"] in {"a", "b"}
    ]
    assert component is notes.one("global_config_get_all")["global_config"]


@pytest.mark.fires("global_config_set_status")
async def test_a_worker_that_announces_itself_is_told(app: QueueTasks) -> None:
    """With what it says of itself, before it is written."""
    notes = noting(app, "global_config_set_status")

    @app.task
    async def job() -> str:
        return "ran"

    async with app.worker() as worker:
        assert "ran" == await job.add_task().result(timeout=PATIENCE_S)
        name, component = worker.name, app.core.engine().global_config

    given = notes.of("global_config_set_status")[0]
    assert (component, name, ("job",)) == (given["global_config"], given["status"].name, given["status"].tasks)


async def test_a_plugin_that_raises_fails_the_call(app: QueueTasks) -> None:
    """Who writes has the error, with plugin and trigger in its notes; nothing is written."""

    def refuse() -> None:
        raise PermissionError("not now")

    noting(app, global_config_set=refuse)
    with pytest.raises(PermissionError, match="not now") as caught:
        await app.pause("mail")

    assert ["raised by plugin notes: trigger global_config_set"] == caught.value.__notes__
    assert [] == await app.paused()
    with pytest.raises(ResultExpiredError):
        await app.get(uuid4())
    await app.stop()

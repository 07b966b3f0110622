"""The triggers of the app: what its users call, and what happens when it is built."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from qtasks.asyncio import QueueTasks
from triggers.noting import PATIENCE_S, noting


@pytest.mark.fires("qtasks_add_task_before_broker")
async def test_a_task_about_to_be_sent_may_be_changed(app: QueueTasks) -> None:
    """The draft has values, not bytes; what the plugin makes of it is what runs."""
    notes = noting(
        app,
        qtasks_add_task_before_broker=lambda message: msgspec.structs.replace(
            message, args=(message.args[0] + 1,), headers={"tenant": "a"}
        ),
    )

    @app.task
    async def double(number: int) -> int:
        return 2 * number

    async with app.worker():
        assert 6 == await double.add_task(2).result(timeout=PATIENCE_S)
        given = notes.one("qtasks_add_task_before_broker")
        assert (app, app.core.engine().broker) == (given["qtasks"], given["broker"])
        assert ("double", (2,)) == (given["message"].task_name, given["message"].args)


@pytest.mark.fires("qtasks_add_task_after_broker")
async def test_a_task_that_is_safe_is_told(app: QueueTasks) -> None:
    """Before the caller goes on, with the draft as it was sent; one that was refused is not told."""
    notes = noting(app, "qtasks_add_task_before_broker", "qtasks_add_task_after_broker")
    task = await app.add_task("elsewhere", 1)

    assert ["qtasks_add_task_before_broker", "qtasks_add_task_after_broker"] == notes.order
    given = notes.one("qtasks_add_task_after_broker")
    assert (app, app.core.engine().broker) == (given["qtasks"], given["broker"])
    assert task.uuid == given["message"].uuid
    with pytest.raises(Exception, match="object"):
        await app.add_task("elsewhere", object())
    assert 1 == len(notes.of("qtasks_add_task_after_broker"))
    await app.stop()


@pytest.mark.fires("qtasks_get")
async def test_a_task_that_was_asked_for_may_be_shown_in_another_way(app: QueueTasks) -> None:
    """After broker and storage have had their say; the caller has the plugin's."""
    notes = noting(app, "broker_get", "storage_get", qtasks_get=lambda task: task)
    task = await app.add_task("elsewhere")

    found = await app.get(task.uuid)
    assert ["broker_get", "storage_get", "qtasks_get"] == notes.order
    given = notes.one("qtasks_get")
    assert (app, app.core.engine().broker, found) == (given["qtasks"], given["broker"], given["task"])
    await app.stop()


@pytest.mark.fires("qtasks_stop")
async def test_the_stop_of_an_app_is_told_while_its_tasks_may_still_finish(app: QueueTasks) -> None:
    """Once, before the worker stops."""
    notes = noting(app, "qtasks_stop", "worker_stop")
    async with app.worker():
        assert [] == notes.order

    assert ["qtasks_stop", "worker_stop"] == notes.order
    assert {"qtasks": app, "starter": app.starter} == notes.one("qtasks_stop")


@pytest.mark.fires("qtasks_ping")
async def test_a_ping_is_told_before_it_is_sent(app: QueueTasks) -> None:
    """With the global config that carries it."""
    notes = noting(app, "qtasks_ping")
    await app.ping(timeout=0.01)

    assert {"qtasks": app, "global_config": app.core.engine().global_config} == notes.one("qtasks_ping")
    await app.stop()


@pytest.mark.fires("qtasks_flush_all", "broker_flush_all", "storage_flush_all")
async def test_all_data_is_deleted_after_everybody_was_told(app: QueueTasks) -> None:
    """The app, its broker, its storage, each before it is emptied."""
    notes = noting(app, "qtasks_flush_all", "broker_flush_all", "storage_flush_all")
    await app.add_task("elsewhere")
    engine = app.core.engine()
    await app.flush_all()

    assert ["qtasks_flush_all", "broker_flush_all", "storage_flush_all"] == notes.order
    assert {"qtasks": app, "broker": engine.broker} == notes.one("qtasks_flush_all")
    assert {"broker": engine.broker} == notes.one("broker_flush_all")
    assert {"storage": engine.storage} == notes.one("storage_flush_all")
    await app.stop()


@pytest.mark.fires("qtasks_register_task", "qtasks_register_injector")
async def test_a_task_is_told_when_it_is_declared_and_its_parameters_are_asked_for(app: QueueTasks) -> None:
    """The task first, then each parameter; the first answer provides it, and callers do not pass it."""
    notes = noting(
        app,
        "qtasks_register_task",
        qtasks_register_injector=lambda parameter: (
            SimpleNamespace(provide=lambda execution, stack: "from the plugin") if parameter.name == "tenant" else None
        ),
    )

    @app.task
    async def who(number: int, tenant: str) -> str:
        return f"{number} {tenant}"

    assert ["qtasks_register_task", "qtasks_register_injector", "qtasks_register_injector"] == notes.order
    given = notes.one("qtasks_register_task")
    assert (app, "who") == (given["qtasks"], given["task"].name)
    assert ["number", "tenant"] == [one["parameter"].name for one in notes.of("qtasks_register_injector")]
    async with app.worker():
        task = await app.add_task("who", 7)
        assert "7 from the plugin" == await task.result(timeout=PATIENCE_S)


@pytest.mark.fires("qtasks_configure")
def test_an_installed_plugin_is_told_of_each_app_that_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given the app, whose name and settings are there, and which takes plugins and middlewares."""
    info = tmp_path / "acme_audit-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-audit\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[qtasks]\naudit = acme_audit\n", encoding="utf-8")
    (tmp_path / "acme_audit.py").write_text(
        "from qtasks.plugins import hookimpl\nbuilt = []\n@hookimpl\ndef qtasks_configure(qtasks):\n"
        "    built.append(qtasks)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    app = QueueTasks("audited", "memory://")

    assert [app] == importlib.import_module("acme_audit").built

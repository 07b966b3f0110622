"""Log records of tasks: which task and run they are from, in the command line's format and in a user's own."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.cli.logs import set_up_logs
from qtasks_core.config import QueueConfig
from qtasks_core.task_context import current_context
from qtasks_core.task_logs import TaskLogFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]

MINE = logging.getLogger("of.a.user")
FIELDS = ("task_name", "task_uuid", "attempt", "task_label")


class Lines(logging.Handler):
    """Keeps records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def fields(self) -> list[tuple[Any, ...]]:
        return [tuple(getattr(one, name, None) for name in FIELDS) for one in self.records]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Return a user's handler with the filter on it."""
    handler = Lines()
    handler.addFilter(TaskLogFilter())
    for logger in (MINE, logging.getLogger("qtasks.task")):
        logger.addHandler(handler)
    yield handler
    for logger in (MINE, logging.getLogger("qtasks.task")):
        logger.removeHandler(handler)


async def test_a_users_own_logger_knows_the_task(running: Running, lines: Lines) -> None:
    """On the loop, in a thread, in a generator, and in what they call; each attempt has its number."""
    app = QueueTasks("test", "memory://", config=QueueConfig(retry_backoff=0.0))

    def log(text: str) -> None:
        MINE.warning(text)

    @app.task
    async def loop() -> None:
        log("one")

    @app.task(retry=1)
    def thread() -> None:
        log("two")
        if current_context().attempt == 1:
            raise LookupError

    @app.task
    def generator() -> Any:
        yield 1
        log("three")

    async with running(app):
        tasks = [await one.add_task() for one in (loop, thread, generator)]
        for task in tasks:
            await task.wait(timeout=5)

    seen = sorted(lines.fields(), key=lambda fields: [task.task_name for task in tasks].index(fields[0]))
    expected = [("loop", 1), ("thread", 1), ("thread", 2), ("generator", 1)]
    uuids = {task.task_name: str(task.uuid) for task in tasks}
    assert [(name, uuids[name], n, f"[{name} {uuids[name]} #{n}] ") for name, n in expected] == seen


def test_outside_of_a_task_the_fields_are_empty(lines: Lines) -> None:
    """So that a format with them works for all records."""
    MINE.warning("x")

    assert [("", "", 0, "")] == lines.fields()
    formatter = logging.Formatter("%(task_name)s|%(task_uuid)s|%(attempt)d|%(task_label)s|%(message)s")
    assert "||0||x" == formatter.format(lines.records[0])


def test_what_a_record_has_stays(lines: Lines) -> None:
    """As those of a process of a pool, which were made there, or with fields of a user's own."""
    MINE.warning("x", extra={"task_name": "far", "task_uuid": "1-2", "attempt": 3})
    MINE.warning("x", extra={"task_name": "far", "task_label": ">"})

    assert [("far", "1-2", 3, "[far 1-2 #3] "), ("far", None, None, ">")] == lines.fields()


async def test_the_contexts_logger_has_the_fields_beside_those_of_the_call(
    app: QueueTasks, running: Running, lines: Lines
) -> None:
    """Without any filter; the task's own count."""

    @app.task(echo=True)
    async def job(self: Any) -> None:
        self.get_logger().warning("one", extra={"colour": "red", "attempt": "mine"})
        self.get_logger("of.a.user").warning("two")

    lines.filters.clear()
    async with running(app):
        task = await job.add_task()
        await task.result(timeout=5)

    assert [("job", str(task.uuid), 1, None)] * 2 == lines.fields()
    assert ["qtasks.task.job", "of.a.user"] == [one.name for one in lines.records]
    assert "red" == lines.records[0].__dict__["colour"]


# ---------------------------------------------------------------- the command line's format


@contextlib.contextmanager
def _as_the_command_line(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    out, root = io.StringIO(), logging.getLogger()
    monkeypatch.setattr("sys.stderr", out)
    kept, root.handlers = root.handlers, []
    try:
        set_up_logs("info", no_color=True)
        yield out
    finally:
        root.handlers = kept


async def test_the_command_lines_format_names_the_task(
    app: QueueTasks, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In lines from inside of a task; the worker's lines name it in their own words, and others are from no task."""

    @app.task(echo=True)
    def job(self: Any) -> None:
        self.get_logger().info("half done")
        logging.getLogger("qtasks.of.a.plugin").info("beside it")
        raise LookupError("nothing")

    with _as_the_command_line(monkeypatch) as out:
        async with running(app):
            task = await job.add_task()
            await task.wait(timeout=5)
    text = re.sub(r"^\S+ \S+ ", "", out.getvalue(), flags=re.MULTILINE)

    assert f"INFO     qtasks.task.job: [job {task.uuid} #1] half done\n" in text
    assert f"INFO     qtasks.of.a.plugin: [job {task.uuid} #1] beside it\n" in text
    assert f"ERROR    qtasks.worker: task job {task.uuid} failed\n" in text
    assert "INFO     qtasks.worker: worker ready: " in text


def test_a_process_of_a_pool_names_the_task_too(tmp_path: Path) -> None:
    """Its records are shown by the worker, with the fields that they had there."""
    (tmp_path / "app.py").write_text(
        textwrap.dedent(
            """
            import json, logging, sys
            from qtasks_core.blocking import QueueTasks
            from qtasks_core.task_logs import TaskLogFilter
            from qtasks_core.worker.processes import ProcessTaskExecutor

            app = QueueTasks("pooled", "memory://")

            @app.task(executor=ProcessTaskExecutor)
            def job():
                logging.getLogger("of.a.user").warning("from afar")

            if __name__ == "__main__":
                handler = logging.StreamHandler(sys.stdout)
                handler.addFilter(TaskLogFilter())
                handler.setFormatter(logging.Formatter('{"label": "%(task_label)s", "text": "%(message)s"}'))
                logging.getLogger("of.a.user").addHandler(handler)
                with app.worker():
                    task = job.add_task()
                    task.result(timeout=20)
                app.stop()
                print(json.dumps({"uuid": str(task.uuid)}))
            """
        ),
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "app.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert ("", 0) == (done.stderr, done.returncode)
    record, end = map(json.loads, done.stdout.splitlines())
    assert {"label": f"[job {end['uuid']} #1] ", "text": "from afar"} == record

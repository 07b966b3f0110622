"""Where a test of a feature runs: apps on the subject, and their workers on the test's own loop."""

from __future__ import annotations

import contextlib
import itertools
import secrets
from typing import TYPE_CHECKING, Any

import msgspec

from qtasks_core.aio import QueueTasks
from qtasks_core.app import App
from qtasks_core.blocking import QueueTasks as BlockingQueueTasks
from qtasks_core.components import Components, Sources
from qtasks_core.engine import Engine
from qtasks_core.serializers import DEFAULT_SERIALIZER
from qtasks_core.worker.worker import DefaultWorker
from qtasks_testing.kit.context import KIT_CONFIG
from qtasks_testing.plugin import MEASURED
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from qtasks_core.config import QueueConfig
    from qtasks_core.contract import ComponentContext, Status
    from qtasks_core.task import Task
    from qtasks_testing.kit.subject import Subject

__all__ = ["Stage"]


class _SubjectApp(App):
    """An app whose components are made by a subject's factories, so that none of them has to be installed."""

    def __init__(self, subject: Subject, config: QueueConfig, name: str) -> None:
        self._subject = subject
        super().__init__(name, Sources(broker_url=subject.url), config)

    def build_components(self, context: ComponentContext) -> Components:
        return Components(*(self._build(name, context) for name in ("broker", "storage", "global_config")))

    def _build(self, name: str, context: ComponentContext) -> Any:
        factory = self._subject.factory(name)
        return None if factory is None else factory(self._subject.url, context)


class Stage:
    """Makes apps and workers of one test; all are stopped when it is over.

    Parameters:
        subject: The backend under test.
        measured: Gets what `report()` is told, for the end of the test run.
    """

    def __init__(self, subject: Subject, measured: list[tuple[str, object]] | None = None) -> None:
        self.subject = subject
        self._measured = [] if measured is None else measured
        self.patience_s = subject.patience_s
        """Seconds until what must happen has to have happened."""
        self.silence_s = subject.silence_s
        """Seconds without it after which something is taken not to happen."""
        self._apps: list[QueueTasks] = []
        self._numbers = itertools.count(1)

    def app(self, **settings: Any) -> QueueTasks:
        """Make an app of its own namespace, seen by its awaitable face.

        Parameters:
            settings: What differs from the kit's settings; see `QueueConfig`.
        """
        return self._make(msgspec.structs.replace(KIT_CONFIG, **settings), f"kit-{secrets.token_hex(6)}")

    def twin(self, app: QueueTasks) -> QueueTasks:
        """Make the same app as another process has it: it shares nothing but the server, and knows no task."""
        return self._make(app.config, app.name)

    def _make(self, config: QueueConfig, name: str) -> QueueTasks:
        core = _SubjectApp(self.subject, config, name)
        core.face = face = QueueTasks.of(core)
        self._apps.append(face)
        return face

    def blocking(self, app: QueueTasks) -> BlockingQueueTasks:
        """Return the blocking face of an app; call it in a thread."""
        return BlockingQueueTasks.of(app.core)

    @contextlib.asynccontextmanager
    async def worker(
        self,
        app: QueueTasks,
        *,
        concurrency: int = 4,
        queues: Sequence[str] | None = None,
        name: str | None = None,
        shutdown_timeout: float = 5.0,
        prepare: Callable[[Engine], None] | None = None,
    ) -> AsyncIterator[DefaultWorker]:
        """Run a worker of the app with components of its own, as one of another process has; drain it at the end.

        Parameters:
            app: What `app()` made.
            concurrency: Its slots.
            queues: What it takes from; the app's by default.
            name: Unique among the workers of the app.
            shutdown_timeout: Seconds that running tasks may go on at the end.
            prepare: Gets its engine before anything is started.
        """
        name = name or f"worker-{next(self._numbers)}"
        core = app.core
        context = core.new_context(name)
        engine = Engine(
            core.face,
            core.build_components(context),
            context,
            DEFAULT_SERIALIZER,
            core.triggers,
            middlewares=core.middlewares,
        )
        if prepare is not None:
            prepare(engine)
        worker = DefaultWorker(
            core, engine, name=name, queues=app.config.queues if queues is None else queues, concurrency=concurrency
        )
        await engine.start(self.patience_s, control=True)
        try:
            await worker.start()
            yield worker
        finally:
            await worker.drain(shutdown_timeout)
            await worker.stop()
            await engine.stop()

    def report(self, what: str, seconds: float) -> None:
        """Have a measured time told at the end of the test run.

        Parameters:
            what: What took so long.
            seconds: How long.
        """
        self._measured.append((f"{MEASURED}{what}", round(seconds, 4)))

    async def until_status(self, task: Task[Any], status: Status) -> None:
        """Read a task again and again until it has that status."""

        async def has_it() -> bool:
            return (await task.refresh()).status == status

        await eventually(has_it, self.patience_s, f"{task.task_name} has status {status}")

    async def close(self) -> None:
        """Stop the clients of all apps."""
        for app in self._apps:
            await app.stop()
            app.core.portal.close()

"""What a worker does for its runs beyond running them: components, progress marks, streams of what they yield."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from qtasks_core.contract import Event
from qtasks_core.engine import buffer_limits
from qtasks_core.group_commit import GroupCommit
from qtasks_core.task import Progress
from qtasks_core.worker.yielding import Yields

if TYPE_CHECKING:
    from qtasks_core.app import App, AppFace
    from qtasks_core.engine import Engine
    from qtasks_core.worker.execution import TaskExecution

__all__ = ["Services"]

_OVERHEAD = 64


class Services:
    """See `ContextServices`.

    Parameters:
        app: The app whose tasks run.
        engine: The running loop's.
        worker: What contexts show as the component of that name.
        task_executor: The same.
    """

    def __init__(self, app: App, engine: Engine, worker: Any, task_executor: Any) -> None:
        self._app = app
        self._engine = engine
        self._loop = asyncio.get_running_loop()
        self._events: GroupCommit[Event] = GroupCommit(
            engine.storage.append, buffer_limits(engine.config), "yielded values"
        )
        self._sending: dict[tuple[Any, Any], bytes] = {}
        self.components = {
            "broker": engine.broker,
            "storage": engine.storage,
            "global_config": engine.shared_memory,
            "worker": worker,
            "task_executor": task_executor,
        }

    @property
    def app(self) -> AppFace:
        """The face that the user made."""
        if self._app.face is None:
            raise RuntimeError("this app has no face")
        return self._app.face

    def component(self, name: str) -> Any:
        """Return a component by name; KeyError names those that there are."""
        if name == "starter":
            return self._app.starter
        try:
            return self.components[name]
        except KeyError:
            expected = ", ".join([*self.components, "starter"])
            raise KeyError(f"get_component: expected one of {expected}, got {name!r}") from None

    def yields(self, execution: TaskExecution) -> Yields:
        """Return where a generator's values go."""
        return Yields(execution, self._events, self._engine.serializer, self._engine.config.generator_items)

    def mark_progress(self, execution: TaskExecution, done: float, total: float | None, message: str) -> None:
        """Keep the last mark, and send it to who reads the stream; may be called from any thread."""
        execution.progress = mark = msgspec.msgpack.encode(Progress(done, total, message))
        self._loop.call_soon_threadsafe(self._send, execution, mark)

    async def close(self) -> None:
        """Give up what is not written; after a drain nothing is."""
        await self._events.close()

    def _send(self, execution: TaskExecution, mark: bytes) -> None:
        """Send a mark; while one is on its way the next waits, and only the last of them is sent then."""
        key = (execution.uuid, execution.run_id)
        if key in self._sending or mark is not execution.progress:
            return
        self._sending[key] = mark
        event = Event(execution.uuid, execution.run_id, next(execution.seq), "progress", mark)

        def answered(_: Exception | None) -> None:
            sent = self._sending.pop(key)
            if execution.progress is not None and execution.progress is not sent:
                self._send(execution, execution.progress)

        self._events.put(event, _OVERHEAD + len(mark), answered)

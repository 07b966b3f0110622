"""The load of an endurance run: tasks that succeed, fail, are given back, and lose their workers; all ends are checked.

One worker lives through the whole run, on the driver's loop; what it holds is taken away once in each wave. A visitor,
on a loop and a thread of its own, gives back what it runs. Where processes share a server, there is a process too that
is killed in each wave. The tasks of a wave have ended before those of the next are added.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from endurance_visitor import Visitor

from qtasks_core.aio import QueueTasks
from qtasks_core.calls import send_many
from qtasks_core.config import QueueConfig
from qtasks_core.contract import Evicts, Storage
from qtasks_core.errors import Postpone
from qtasks_core.options import CallOptions
from qtasks_core.worker.worker import DefaultWorker
from qtasks_testing.polling import eventually
from qtasks_testing.processes import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qtasks_core.task import Task

__all__ = ["Load", "new_app"]

CONCURRENCY = 32
PATIENCE_S = 60.0
EXPIRING, EXPIRY_S = "give_back", 3.0  # the kind whose results are left to their time; those of the others are deleted
DEAD_LETTERS = 200
HANGING = 2  # tasks of a wave that lose a worker, for each worker that is lost
KINDS = ["succeed"] * 9 + ["in_thread"] * 3 + ["fail"] * 3 + ["give_back"] * 3 + ["linger"] * 2
MORTAL_EACH = 7  # one task in so many goes to the process that is killed
# Queues: of the worker that stays and is evicted, of its tasks that hang, of the visitor, of the mortal process.
QUEUES = STEADY, DOOMED, VISITED, MORTAL = "steady", "doomed", "visited", "mortal"


async def succeed(number: int) -> int:
    return number


def in_thread(number: int) -> int:
    return number


async def fail(number: int) -> int:
    raise ValueError(f"no {number}")


async def give_back(number: int) -> int:
    if random.random() < 0.5:
        raise Postpone
    return number


async def linger(number: int) -> int:
    await asyncio.sleep(0.01)
    return number


async def hang(number: int, marker: str) -> int:
    """Run until the worker is taken away; the next run ends."""
    if mark(Path(marker)) == 1:
        await asyncio.Event().wait()
    return number


def mark(path: Path) -> int:
    """Note a run; return which it is."""
    with path.open("ab") as file:
        return file.tell() + file.write(b".")


def meet(number: int) -> int:
    """Wait until all threads of a worker wait here: then each of them has been started."""
    barrier.wait(PATIENCE_S)
    return number


barrier = threading.Barrier(CONCURRENCY)


def new_app(url: str) -> QueueTasks:
    """Return the app with its tasks; what it keeps for long is bounded."""
    app = QueueTasks("endurance", url, config=QueueConfig(dead_letter_max=DEAD_LETTERS, concurrency=CONCURRENCY))
    for function in (succeed, in_thread, fail, give_back, linger, hang, meet):
        app.task(result_ttl=EXPIRY_S if function.__name__ == EXPIRING else None)(function)
    return app


class Added(NamedTuple):
    """A task, how it should end, and who waits for that."""

    kind: str
    number: int
    task: Task[Any]
    end: asyncio.Future[Any]

    def fault(self) -> str | None:
        """Return how it ended otherwise; None: as it should."""
        task, error = self.task, self.task.error
        if self.kind == "fail":
            expected: tuple[Any, ...] = ("error", "ValueError", f"no {self.number}")
            found: tuple[Any, ...] = (task.status, error and error.type_name, error and error.message)
        else:
            expected, found = ("success", self.number), (task.status, task.returning)
        return None if expected == found else f"{self.kind} {self.number}: expected {expected}, got {found}"


class Load:
    """Runs waves of tasks.

    Parameters:
        url: The server's.
        folder: For markers and logs.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.app = new_app(url)
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self._folder = folder
        self._steady: DefaultWorker | None = None
        self._mortal = None if url.startswith("memory:") else _mortal_worker(url, folder)
        self._expiring: list[Task[Any]] = []

    async def start(self) -> None:
        """Start the worker that lives through the run, with all of its threads, and the one that does not."""
        engine = self.app.core.new_engine("steady")
        await engine.start(control=True)
        self._steady = DefaultWorker(
            self.app.core, engine, name="steady", queues=(STEADY, DOOMED), concurrency=CONCURRENCY
        )
        await self._steady.start()
        meetings = await self._add_some("meet", STEADY, [(number,) for number in range(CONCURRENCY)])
        await asyncio.gather(*(one.end for one in meetings))
        if self._mortal is not None:
            self._mortal.start()

    async def stop(self) -> None:
        """Stop the workers; by now the queues must be empty."""
        for queue in QUEUES:
            depth = await self.app.core.engine().broker.depth(queue)
            if depth.ready or depth.delayed or depth.running:
                self.faults.append(f"queue {queue} is not empty: {depth}")
        if self._mortal is not None and self._mortal.stop() != 0:
            self.faults.append(f"exit code {self._mortal.exit_code} of the worker process")
        if self._steady is not None:
            if not await self._steady.drain(PATIENCE_S):
                self.faults.append("the worker had to give something back")
            await self._steady.stop()
        await self.app.stop()

    def close(self) -> None:
        """Leave no process behind, however the run ended."""
        if self._mortal is not None:
            self._mortal.close()

    async def run_wave(self, first: int, count: int) -> None:
        """Add tasks numbered from *first*, take their workers away, and check how each ended."""
        visitor = Visitor(self.app, f"visitor-{first}", VISITED)
        await visitor.arrive()
        markers = {queue: self._markers(queue, first) for queue in self._lost_queues}
        added = [one for queue, paths in markers.items() for one in await self._add_hanging(queue, first, paths)]
        added += await self._add(range(first, first + count))
        await self._lose_workers(markers)
        await asyncio.gather(*(one.end for one in added))
        self.counts["visitors that gave tasks back"] += await visitor.leave()
        self._check(added, [path for paths in markers.values() for path in paths])
        await self._storage().delete([one.task.uuid for one in added if one.kind != EXPIRING])

    async def forget(self) -> None:
        """Wait until the results that were not deleted have expired."""
        storage = self._storage()
        uuids = [task.uuid for task in self._expiring]

        async def nothing_is_known() -> bool:
            return not any(await storage.get(uuids))

        await eventually(nothing_is_known, PATIENCE_S, "results that expire", interval_s=0.1)
        self._expiring = []

    def _storage(self) -> Storage:
        storage = self.app.core.engine().storage
        if not isinstance(storage, Storage):
            raise TypeError(f"a storage that keeps records is needed, not {storage!r}")
        return storage

    @property
    def _lost_queues(self) -> Sequence[str]:
        return (DOOMED,) if self._mortal is None else (DOOMED, MORTAL)

    def _markers(self, queue: str, first: int) -> list[Path]:
        return [self._folder / f"{queue}-{number}" for number in range(first, first + HANGING)]

    async def _add_hanging(self, queue: str, first: int, markers: Sequence[Path]) -> list[Added]:
        return await self._add_some("hang", queue, [(first + n, str(path)) for n, path in enumerate(markers)])

    async def _add(self, numbers: range) -> list[Added]:
        groups: dict[tuple[str, str], list[tuple[Any, ...]]] = {}
        for number in numbers:
            kind = KINDS[number % len(KINDS)]
            queue = VISITED if kind == "linger" else STEADY
            if self._mortal is not None and number % MORTAL_EACH == 0:
                queue = MORTAL
            groups.setdefault((kind, queue), []).append((number,))
        return [one for (kind, queue), calls in groups.items() for one in await self._add_some(kind, queue, calls)]

    async def _add_some(self, kind: str, queue: str, calls: Sequence[tuple[Any, ...]]) -> list[Added]:
        """Add tasks of one kind, and wait for them from the first moment on: their results do not live long."""
        core, options = self.app.core, CallOptions(queue=queue)
        tasks = await send_many(core, [core.draft(kind, call, {}, options) for call in calls], Any)
        ends = [asyncio.ensure_future(task.wait(PATIENCE_S)) for task in tasks]
        return [Added(kind, call[0], task, end) for call, task, end in zip(calls, tasks, ends, strict=True)]

    async def _lose_workers(self, markers: Mapping[str, Sequence[Path]]) -> None:
        """Evict the steady worker and kill the other process, each when its tasks hang."""
        broker = self.app.core.engine().broker
        if not isinstance(broker, Evicts):
            raise TypeError(f"a broker that evicts workers is needed, not {broker!r}")
        for queue, paths in markers.items():
            await eventually(partial(_exist, paths), PATIENCE_S, "tasks that hang")
            if queue == DOOMED:
                self.counts["deliveries taken away by an eviction"] += await broker.evict("steady")
            elif self._mortal is not None:
                self._mortal.kill()
                self._mortal.start(timeout_s=None)
                self.counts["workers killed with -9"] += 1

    def _check(self, added: Sequence[Added], markers: Sequence[Path]) -> None:
        self.faults += [fault for one in added if (fault := one.fault()) is not None]
        for path in markers:
            if (runs := path.stat().st_size) != 2:
                self.faults.append(f"{path.name} ran {runs} times, not twice")
            path.unlink()
        self.counts.update(f"ended: {one.kind}" for one in added)
        self._expiring += [one.task for one in added if one.kind == EXPIRING]


def _exist(paths: Sequence[Path]) -> bool:
    return all(path.exists() for path in paths)


def _mortal_worker(url: str, folder: Path) -> WorkerProcess:
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    return WorkerProcess(
        "endurance_app",
        Path.cwd(),  # from where a relative URL counts
        log_path=folder / "mortal.log",
        env={"ENDURANCE_URL": url, "PYTHONPATH": path},
        queues=[MORTAL],
        concurrency=8,
        name="mortal",
    )

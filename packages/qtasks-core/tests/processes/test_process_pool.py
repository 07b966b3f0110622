"""The processes themselves: how many, how long they live, and what happens when one cannot start."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from processes import functions
from processes.bench import declare, is_alive, pids_in, pool_of
from qtasks_core.errors import ConfigError
from qtasks_core.task_context import running_task
from qtasks_core.worker.processes import ProcessTaskExecutor, process
from qtasks_core.worker.processes.launch import Launcher
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from processes.bench import Running
    from qtasks_core.aio import QueueTasks


# ---------------------------------------------------------------- how many


async def test_never_more_than_allowed(app: QueueTasks, running: Running, tmp_path: Path) -> None:
    """Three processes for ten tasks: three run, seven wait, all end."""
    executor = ProcessTaskExecutor(processes=3)
    wait = declare(app, functions.wait_for, executor)
    async with running(app, concurrency=10):
        tasks = [await wait.add_task(str(tmp_path / "go"), str(tmp_path / f"began-{n}")) for n in range(10)]
        await eventually(lambda: 3 == len(list(tmp_path.glob("began-?"))), 20.0)
        await eventually(lambda: 7 == len(pool_of(executor)._waiting), 20.0)

        assert 3 == len(pool_of(executor)._members)
        (tmp_path / "go").touch()
        assert ["went on"] * 10 == await asyncio.gather(*(task.result(timeout=20) for task in tasks))
    assert 3 == len({path.read_text() for path in tmp_path.glob("began-?")})


async def test_they_start_when_they_are_needed(app: QueueTasks, running: Running, tmp_path: Path) -> None:
    """One is warm when the worker is ready; the second one starts when two tasks are there at the same time."""
    executor = ProcessTaskExecutor(processes=4)
    wait, square = declare(app, functions.wait_for, executor), declare(app, functions.square, executor)
    async with running(app):
        pool = pool_of(executor)
        assert (1, 1) == (len(pool._members), len(pool._idle))
        for number in range(5):
            await square.add_task(number).result(timeout=20)
        assert 1 == len(pool._members)
        tasks = [await wait.add_task(str(tmp_path / "go"), str(tmp_path / f"began-{n}")) for n in range(2)]
        for number in range(2):
            await pids_in(tmp_path / f"began-{number}")

        assert 2 == len(pool._members)
        (tmp_path / "go").touch()
        await asyncio.gather(*(task.result(timeout=20) for task in tasks))


async def test_a_process_does_not_belong_to_the_run_that_needed_it(
    app: QueueTasks, running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it says later is not taken for that run's, which is not kept alive either."""
    executor = ProcessTaskExecutor(processes=2)
    wait, log = declare(app, functions.wait_for, executor), declare(app, functions.log, executor)
    seen: list[Any] = []
    monkeypatch.setattr(process, "handle", lambda line: seen.append((line.fields["msg"], running_task())))
    async with running(app):
        blocker = await wait.add_task(str(tmp_path / "go"), str(tmp_path / "began"))
        await pids_in(tmp_path / "began")
        await log.add_task("hello").result(timeout=20)
        (tmp_path / "go").touch()
        await blocker.result(timeout=20)

    assert [("hello from afar", None)] == seen


@pytest.mark.parametrize(
    ("arguments", "options", "expected"),
    [
        ((3,), {"processes": 8}, 3),
        ((8,), {"processes": 3}, 3),
        ((), {"processes": 5}, 5),
        ((1,), {}, 1),
        ((10_000,), {}, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
    ],
)
def test_the_number_is_bounded(arguments: Any, options: Any, expected: int) -> None:
    """By what is asked for, by the worker's concurrency, and by default by the CPUs."""
    assert expected == ProcessTaskExecutor(*arguments, **options)._processes


@pytest.mark.parametrize("option", ["processes", "max_tasks_per_child"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "2", True])
def test_wrong_numbers_are_refused(option: str, value: Any) -> None:
    """With what was expected."""
    with pytest.raises(ConfigError, match=rf"{option}: expected a whole number, 1 or more, got {value!r}"):
        ProcessTaskExecutor(**{option: value})


async def test_one_pool_serves_all_tasks_of_a_class(app: QueueTasks, running: Running) -> None:
    """A worker makes one executor of the class; two instances are two pools."""
    tasks = [declare(app, functions.process_id, name=f"{number}") for number in range(2)]
    own = declare(app, functions.process_id, ProcessTaskExecutor(), name="own")
    async with running(app):
        one, two = [await task.add_task().result(timeout=20) for task in tasks]

        assert one == two != await own.add_task().result(timeout=20)


# ---------------------------------------------------------------- how long


async def test_a_process_makes_room_for_a_fresh_one(app: QueueTasks, running: Running) -> None:
    """After max_tasks_per_child runs; what it had piled up in memory is gone with it."""
    executor = ProcessTaskExecutor(processes=1, max_tasks_per_child=3)
    pile = declare(app, functions.pile_up, executor)
    async with running(app):
        found = [await pile.add_task().result(timeout=20) for _ in range(7)]

        assert [1, 2, 3, 1, 2, 3, 1] == [size for size, _ in found]
        assert 3 == len({pid for _, pid in found})
        await eventually(lambda: not is_alive(found[0][1]), 20.0)


async def test_a_process_that_will_not_leave_is_killed(app: QueueTasks, running: Running) -> None:
    """A thread that the task has left running does not keep its process."""
    stay = declare(app, functions.leave_a_thread, ProcessTaskExecutor(processes=1, max_tasks_per_child=1))
    async with running(app):
        pids = [await stay.add_task().result(timeout=20) for _ in range(2)]
        await eventually(lambda: not any(map(is_alive, pids)), 20.0)

    assert 2 == len(set(pids))


async def test_idle_processes_use_no_time(app: QueueTasks, running: Running) -> None:
    """They wait for the next task, and look at nothing meanwhile."""
    pid = declare(app, functions.process_id)
    async with running(app):
        stat = Path(f"/proc/{await pid.add_task().result(timeout=20)}/status")
        if not stat.exists():
            pytest.skip("the system does not tell how often a process was woken")
        before = _switches(stat)
        await asyncio.sleep(1.0)  # what polls would show in this time

        assert _switches(stat) - before <= 1


def _switches(status: Path) -> int:
    """Return how often a process's main thread has gone to sleep."""
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("voluntary"))


# ---------------------------------------------------------------- starts that fail


async def test_a_module_that_a_process_cannot_import_stops_the_start(
    app: QueueTasks, running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker says why, with the traceback of the import."""
    (tmp_path / "only_here.py").write_text(
        "from qtasks_core.role import is_pool_process\nif is_pool_process(): raise ImportError('not twice')\n"
        "def job(): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import only_here  # type: ignore[import-not-found]

    declare(app, only_here.job)
    with pytest.raises(ConfigError, match=r"(?s)a process for tasks cannot work: Traceback.*only_here.py.*not twice"):
        async with running(app):
            pass
    await app.stop()


async def test_a_first_process_that_dies_stops_the_start(
    app: QueueTasks, running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker says how it ended."""
    (tmp_path / "deadly.py").write_text(
        "import os\nfrom qtasks_core.role import is_pool_process\nif is_pool_process(): os._exit(21)\ndef job(): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import deadly  # type: ignore[import-not-found]

    declare(app, deadly.job)
    with pytest.raises(ConfigError, match=r"the first process for tasks could not start: .* ended with exit code 21"):
        async with running(app):
            pass
    await app.stop()


async def test_a_process_that_cannot_start_later_is_tried_again(
    app: QueueTasks, running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A machine without room for it, for a while: tasks wait, none is lost."""
    executor = ProcessTaskExecutor(processes=1, max_tasks_per_child=1)
    pid = declare(app, functions.process_id, executor)
    starts = 0
    start = Launcher.start

    def refuse_twice(launcher: Launcher) -> Any:
        nonlocal starts
        starts += 1
        if starts in {2, 3}:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return start(launcher)

    monkeypatch.setattr(Launcher, "start", refuse_twice)
    async with running(app):
        found = [await pid.add_task().result(timeout=20) for _ in range(2)]

    assert 2 == len(set(found))
    assert 2 == caplog.text.count("a process for tasks could not start: [Errno 11]")


async def test_a_start_that_is_given_up_leaves_nothing(app: QueueTasks, tmp_path: Path) -> None:
    """Whoever waits for the first process is cancelled: it is killed."""
    executor = ProcessTaskExecutor()
    executor.adopt(app.core, declare(app, functions.square, executor).definition)
    starting = asyncio.create_task(executor.start())
    await eventually(lambda: executor._pool is not None, 20.0)
    (process,) = pool_of(executor)._members
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    assert -signal.SIGKILL == process.ended.result()
    assert executor._pool is None
    nothing: Any = None
    with pytest.raises(RuntimeError, match="was not started"):
        await executor.in_process(nothing, _take)


async def _take(_: bytes) -> None: ...


async def test_an_executor_can_start_again(app: QueueTasks, running: Running) -> None:
    """An instance serves one worker after the other."""
    executor = ProcessTaskExecutor(processes=1)
    pid = declare(app, functions.process_id, executor)
    found = set()
    for _ in range(2):
        async with running(app):
            found.add(await pid.add_task().result(timeout=20))

    assert 2 == len(found)


def test_a_forked_child_does_not_keep_processes_alive() -> None:
    """It lets go of the lifeline, which is the worker's alone."""
    program = """
import os
from qtasks_core.worker.processes.launch import Launcher

launcher = Launcher(None)
reading = launcher._lifeline
ready, go = os.pipe(), os.pipe()
if not (child := os.fork()):
    os.write(ready[1], b"x")
    os.read(go[0], 1)
    os._exit(0)
os.read(ready[0], 1)
os.close(launcher._held)
print(os.read(reading, 1))
os.write(go[1], b"x")
os.waitpid(child, 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)

    assert ("b''\n", "") == (done.stdout, done.stderr)

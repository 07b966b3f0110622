"""Tasks in processes, end to end: real workers on sqlite, killed, stopped, interrupted; no process outlives its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from qtasks import QueueTasks
from qtasks.exceptions import TaskFailedError
from qtasks_testing.polling import eventually_sync
from qtasks_testing.processes import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

JOBS = """
import os, subprocess, time
from pathlib import Path
from qtasks import Router
from qtasks.executors import ProcessTaskExecutor

router = Router(executor=ProcessTaskExecutor)

def write(path, text):
    Path(path + ".new").write_text(text)
    Path(path + ".new").rename(path)

@router.task
def pid() -> int:
    return os.getpid()

@router.task
def hang(path: str) -> None:
    write(path, str(os.getpid()))
    time.sleep(60)

@router.task
def hold_the_gil(path: str) -> None:
    write(path, str(os.getpid()))
    sum(range(1 << 60))

@router.task
def wait_for(path: str, began: str) -> str:
    write(began, str(os.getpid()))
    while not Path(path).exists():
        time.sleep(0.01)
    return "went on"

@router.task
def double(x: int) -> int:
    return 2 * x

@router.task
def ask_another(x: int) -> int:
    return double.add_task(x).result(timeout=20) + 1

@router.task
async def ask_another_async(x: int) -> int:
    return await double.aio.add_task(x).result(timeout=20) + 1
"""
APP = """
from jobs import router
from qtasks import QueueTasks

app = QueueTasks("proc", broker_url="sqlite:///proc.db")
app.include_router(router)
"""
PROGRAM = """
import os, sys
from qtasks import QueueTasks
from qtasks.executors import ProcessTaskExecutor

app = QueueTasks("proc", broker_url="sqlite:///proc.db")

class NotFoundError(LookupError): ...

@app.task(executor=ProcessTaskExecutor, retry=1, retry_backoff=0, retry_on_exc=[NotFoundError])
def look_up(x: int) -> list[int]:
    from qtasks_core.task_context import current_context
    if current_context().attempt == 1:
        raise NotFoundError(x)
    return [x, os.getpid()]
"""

FAILING = """
from qtasks_core.role import is_pool_process

if is_pool_process():
    raise ImportError("not twice")

@app.task(executor=ProcessTaskExecutor)
def job() -> None: ...
"""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[QueueTasks]:
    """Return a client without the tasks' code; the workers have it in `proc.py` and `jobs.py`."""
    (tmp_path / "jobs.py").write_text(JOBS)
    (tmp_path / "proc.py").write_text(APP)
    with QueueTasks("proc", broker_url=f"sqlite:///{tmp_path}/proc.db") as app:
        yield app


def _worker(folder: Path, name: str = "worker", **options: Any) -> WorkerProcess:
    return WorkerProcess("proc", folder, log_path=folder / f"{name}.log", concurrency=4, **options)


def _pid_in(path: Path) -> int:
    eventually_sync(path.exists, 20.0, f"{path.name} is written")
    return int(path.read_text())


def _is_alive(pid: int) -> bool:
    """Tell whether a process runs; a dead one that its new parent has not reaped yet does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return not Path("/proc/self/stat").exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _children_of(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in found.splitlines()]
    return [child for child, parent in pairs if parent == pid]


# ---------------------------------------------------------------- work


def test_tasks_run_and_call_others(client: QueueTasks, tmp_path: Path) -> None:
    """In processes of the worker; from there they add tasks and wait for results, blocking and awaiting."""
    with _worker(tmp_path) as worker:
        pid = client.add_task("pid").result(timeout=20)
        assert pid != worker.pid
        assert pid in _children_of(worker.pid)
        assert 7 == client.add_task("ask_another", 3).result(timeout=30)
        assert 9 == client.add_task("ask_another_async", 4).result(timeout=30)

        assert 0 == worker.stop()
    assert not _is_alive(pid)


def test_a_killed_process_fails_its_own_task(client: QueueTasks, tmp_path: Path) -> None:
    """`kill -9`: the error names the signal; the worker, and what else it runs, go on."""
    with _worker(tmp_path) as worker:
        neighbour = client.add_task("wait_for", str(tmp_path / "go"), str(tmp_path / "began"))
        _pid_in(tmp_path / "began")
        task = client.add_task("hang", str(tmp_path / "pid"))
        os.kill(_pid_in(tmp_path / "pid"), signal.SIGKILL)
        with pytest.raises(TaskFailedError, match="the process that ran the task was killed by SIGKILL"):
            task.result(timeout=20)
        (tmp_path / "go").touch()

        assert "went on" == neighbour.result(timeout=20)
        assert worker.alive


# ---------------------------------------------------------------- the end of the worker


@pytest.mark.parametrize(
    "task",
    [
        "hang",
        pytest.param(
            "hold_the_gil", marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills it then")
        ),
    ],
)
def test_no_process_outlives_a_killed_worker(client: QueueTasks, tmp_path: Path, task: str) -> None:
    """SIGKILL tells nobody anything: idle and busy processes die all the same, and the task runs elsewhere."""
    with _worker(tmp_path) as worker:
        client.add_task(task, str(tmp_path / "pid"))
        busy = _pid_in(tmp_path / "pid")
        idle = client.add_task("pid").result(timeout=20)
        worker.kill()
        eventually_sync(lambda: not _is_alive(busy) and not _is_alive(idle), 5.0)
    (tmp_path / "pid").unlink()
    with _worker(tmp_path, "second"):
        assert busy != _pid_in(tmp_path / "pid")


def test_a_stop_gives_back_what_does_not_end(client: QueueTasks, tmp_path: Path) -> None:
    """SIGTERM: the process is killed after shutdown_timeout, the task waits uncharged for another worker."""
    with _worker(tmp_path, env={"QTASKS_SHUTDOWN_TIMEOUT": "0.3"}) as worker:
        task = client.add_task("wait_for", str(tmp_path / "go"), str(tmp_path / "began"))
        pid = _pid_in(tmp_path / "began")

        assert 0 == worker.stop()
        assert not _is_alive(pid)
    assert "new" == client.get(task.uuid).status
    (tmp_path / "go").touch()
    with _worker(tmp_path, "second"):
        assert "went on" == task.result(timeout=20)
    assert 1 == client.get(task.uuid).attempt


def test_a_signal_to_all_processes_lets_tasks_end(client: QueueTasks, tmp_path: Path) -> None:
    """A service that is stopped gets SIGTERM in each of its processes: those of the pool leave it to the worker."""
    with _worker(tmp_path) as worker:
        task = client.add_task("wait_for", str(tmp_path / "go"), str(tmp_path / "began"))
        pid = _pid_in(tmp_path / "began")
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(pid, number)
        worker.send_signal(signal.SIGTERM)
        worker.wait_log("stopping")
        (tmp_path / "go").touch()

        assert 0 == worker.wait()
    assert "went on" == task.result(timeout=5)


def test_a_second_signal_leaves_no_process(client: QueueTasks, tmp_path: Path) -> None:
    """Who ends at once takes the pool along."""
    with _worker(tmp_path) as worker:
        client.add_task("hang", str(tmp_path / "pid"))
        pid = _pid_in(tmp_path / "pid")
        worker.interrupt()
        worker.wait_log("stopping")

        def has_ended() -> bool:
            worker.interrupt()  # one that comes too soon after the first is its echo
            return worker.exit_code is not None

        eventually_sync(has_ended, 20.0, interval_s=0.2)

        assert 128 + signal.SIGINT == worker.exit_code
        eventually_sync(lambda: not _is_alive(pid), 5.0)


def test_a_supervisor_stops_pools_too(client: QueueTasks, tmp_path: Path) -> None:
    """`--processes 2`: each worker has a pool of its own, and none is left."""
    with _worker(tmp_path, processes=2) as supervisor:
        workers = _children_of(supervisor.pid)
        pools = [child for worker in workers for child in _children_of(worker)]
        client.add_task("pid").result(timeout=20)

        assert 2 == len(workers)
        assert 2 <= len(pools)
        assert 0 == supervisor.stop()
    assert [] == [pid for pid in pools if _is_alive(pid)]


# ---------------------------------------------------------------- starts


def test_a_program_may_hold_the_tasks(client: QueueTasks, tmp_path: Path) -> None:
    """`python program.py`: processes import it without running its main part, and know its classes."""
    program = f"{PROGRAM}\nif __name__ == '__main__':\n    sys.exit(app.run_forever(concurrency=2))\n"
    (tmp_path / "program.py").write_text(program)
    with subprocess.Popen([sys.executable, "program.py"], cwd=tmp_path) as process:
        try:
            task = client.add_task("look_up", 3)
            number, pid = task.result(timeout=30)
            assert (3, 2) == (number, client.get(task.uuid).attempt)
            assert pid != process.pid
            process.send_signal(signal.SIGTERM)

            assert 0 == process.wait(20)
        finally:
            process.kill()


def test_a_program_without_a_guard_is_told(client: QueueTasks, tmp_path: Path) -> None:
    """A process that imports it would start a worker of its own: the error says what to write."""
    (tmp_path / "program.py").write_text(f"{PROGRAM}\nsys.exit(app.run_forever(concurrency=2))\n")
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )

    assert 1 == done.returncode
    assert 'put what starts it, as run_forever(), under `if __name__ == "__main__":`' in done.stderr


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("app.task(name='job', executor=ProcessTaskExecutor)(lambda: 1)", "task 'job': a process can only run"),
        (
            FAILING,
            "ImportError: not twice",
        ),
    ],
    ids=["lambda", "import"],
)
def test_what_no_process_can_run_stops_the_command(
    client: QueueTasks, tmp_path: Path, code: str, expected: str
) -> None:
    """`qtasks run` ends with 2, as for any setting that is wrong, and says why."""
    (tmp_path / "proc.py").write_text(f"from qtasks.executors import ProcessTaskExecutor\n{APP}\n{code}\n")
    command = [sys.executable, "-m", "qtasks", "-A", "proc", "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)

    assert 2 == done.returncode, done.stderr
    assert expected in done.stderr

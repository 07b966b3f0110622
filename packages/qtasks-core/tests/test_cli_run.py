"""`qtasks run`: from options to a worker or a supervisor, and both as real processes."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from qtasks_core.app import App
from qtasks_core.cli.group import qtasks
from qtasks_core.config import QueueConfig, RunOptions
from qtasks_core.errors import ConfigError
from qtasks_core.worker.worker import DRAIN_OVERHEAD_S
from qtasks_testing import WorkerProcess, eventually_sync

APP = "from qtasks_core.blocking import QueueTasks\napp = QueueTasks('Shop', 'memory://')\n"
QUIET = ["--no-color", "--log-level", "error"]
StartWorker = Callable[..., WorkerProcess]


class Ran:
    """What `App.run` was called with; answers *code*."""

    def __init__(self) -> None:
        self.options: RunOptions | None = None
        self.code = 0

    def note(self, options: RunOptions) -> int:
        self.options = options
        return self.code


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> App:
    """Return the app that `-A` finds, whatever it names."""
    from qtasks_core.blocking import QueueTasks

    core = QueueTasks("Shop", "memory://", config=QueueConfig(shutdown_timeout=12.0)).core
    monkeypatch.setattr("qtasks_core.cli.run.load_app", lambda ref: core)
    return core


@pytest.fixture
def ran(core: App, monkeypatch: pytest.MonkeyPatch) -> Ran:
    ran = Ran()
    monkeypatch.setattr(App, "run", lambda core, options: ran.note(options))  # a function, so that it binds
    return ran


@pytest.fixture
def supervised(core: App, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replace the supervisor; return what each was made with."""
    made: list[dict[str, Any]] = []

    class FakeSupervisor:
        def __init__(self, command: Callable[[str], list[str]], **options: Any) -> None:
            made.append({"command": command, **options})

        def run(self) -> int:
            return 1

    monkeypatch.setattr("qtasks_core.supervisor.Supervisor", FakeSupervisor)
    return made


def invoke(*args: str) -> Result:
    return CliRunner().invoke(qtasks, ["-A", "shop:app", "run", *QUIET, *args])


# ---------------------------------------------------------------- one worker


def test_without_options_the_settings_count(ran: Ran) -> None:
    """Nothing said: nothing is passed on, and the app's settings count."""
    assert invoke().exit_code == 0
    assert ran.options == RunOptions()


def test_options_reach_the_worker(ran: Ran) -> None:
    """Each option arrives in RunOptions; queues may be listed and repeated."""
    args = ["--concurrency", "3", "-Q", "a,b", "-Q", "c,a", "--worker-name", "w", "--shutdown-timeout", "1.5"]
    assert invoke(*args, "--max-tasks", "7", "--max-rss", "300").exit_code == 0
    assert ran.options == RunOptions(
        concurrency=3,
        queues=("a", "b", "c"),
        worker_name="w",
        shutdown_timeout=1.5,
        max_tasks=7,
        max_rss=300,
    )


def test_the_workers_exit_code_is_the_commands(ran: Ran) -> None:
    """A worker that asks to be restarted (75) says so to whoever started it."""
    ran.code = 75
    assert invoke().exit_code == 75


def test_the_banner_is_shown_by_a_worker_started_by_hand(ran: Ran) -> None:
    """To stderr, before the worker starts."""
    assert "broker         memory://\n" in invoke().stderr


def test_a_wrong_setting_is_told_without_a_traceback(core: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ConfigError ends with exit code 2 and its message."""

    def run(core: App, options: RunOptions) -> int:
        raise ConfigError("storage: folder /nowhere is missing")

    monkeypatch.setattr(App, "run", run)
    result = invoke()
    assert result.exit_code == 2
    assert "Error: storage: folder /nowhere is missing" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "args",
    [
        ("--concurrency", "0"),
        ("--processes", "0"),
        ("-Q", "a,,b"),
        ("-Q", ""),
        ("--log-level", "loud"),
        ("--shutdown-timeout", "-1"),
        ("--max-tasks", "0"),
        ("--max-rss", "0"),
    ],
    ids=" ".join,
)
def test_a_wrong_option_is_a_usage_error(ran: Ran, args: tuple[str, ...]) -> None:
    """Exit code 2, the option is named, nothing runs."""
    result = invoke(*args)
    assert result.exit_code == 2
    assert args[0].lstrip("-") in result.output
    assert ran.options is None


# ---------------------------------------------------------------- parents


def test_stop_with_parent_takes_the_parent_of_this_moment(ran: Ran) -> None:
    """The worker is told whose death ends it; that makes nobody its supervisor, so its Ctrl-C counts."""
    assert invoke("--stop-with-parent").exit_code == 0
    assert ran.options == RunOptions(parent=os.getppid())


def test_a_supervised_worker_watches_its_supervisor_and_shows_no_banner(ran: Ran) -> None:
    """`--parent` is what supervisors pass."""
    result = invoke("--parent", "4711")
    assert ran.options == RunOptions(parent=4711, supervised=True)
    assert result.output == ""


# ---------------------------------------------------------------- processes


def test_processes_start_a_supervisor(core: App, supervised: list[dict[str, Any]]) -> None:
    """--processes N, also 1: workers have the tasks' time, a drain's and 5 s more; a supervisor's exit code counts."""
    result = invoke("--processes", "1", "--worker-name", "w")
    assert result.exit_code == 1
    assert [(made["processes"], made["name"]) for made in supervised] == [(1, "w")]
    assert supervised[0]["stop_timeout_s"] == 12.0 + DRAIN_OVERHEAD_S + 5.0
    assert supervised[0]["parent"] is None


def test_a_supervisor_can_watch_its_parent_too(core: App, supervised: list[dict[str, Any]]) -> None:
    """--stop-with-parent and --processes; a --shutdown-timeout goes before the setting."""
    invoke("--processes", "2", "--stop-with-parent", "--shutdown-timeout", "1")
    assert supervised[0]["parent"].expected == os.getppid()
    assert supervised[0]["stop_timeout_s"] == 1.0 + DRAIN_OVERHEAD_S + 5.0


async def test_an_eviction_closes_its_connections(
    core: App, supervised: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each eviction has a loop of its own; the engine made for it is closed, also after an error."""
    calls: list[str] = []

    async def evict(core: App, name: str) -> int:
        calls.append(f"evict {name}")
        raise OSError("away")

    async def close_engine(core: App) -> None:
        calls.append("close")

    monkeypatch.setattr(App, "evict", evict)
    monkeypatch.setattr(App, "close_engine", close_engine)
    invoke("--processes", "1")
    with pytest.raises(OSError, match="away"):
        await supervised[0]["evict"]("w-1-1")
    assert calls == ["evict w-1-1", "close"]


def test_a_supervised_worker_gets_the_same_options(ran: Ran, supervised: list[dict[str, Any]]) -> None:
    """The command line that the supervisor runs means the same to the worker, with its own name and its parent."""
    options = ["--concurrency", "3", "-Q", "a,b", "-Q", "c", "--shutdown-timeout", "1.5"]
    invoke("--processes", "2", *options, "--max-tasks", "7", "--max-rss", "300")
    command = supervised[0]["command"]("w-2-1")
    assert command[:5] == [sys.executable, "-m", "qtasks_core", "-A", "shop:app"]
    assert "--no-color" in command
    assert command[command.index("--log-level") + 1] == "error"
    assert CliRunner().invoke(qtasks, command[3:]).exit_code == 0
    assert ran.options == RunOptions(
        concurrency=3,
        queues=("a", "b", "c"),
        worker_name="w-2-1",
        parent=os.getpid(),
        supervised=True,
        shutdown_timeout=1.5,
        max_tasks=7,
        max_rss=300,
    )


@pytest.mark.parametrize("option", ["--processes=2", "--stop-with-parent", "--reload", "--max-rss=9"])
def test_what_windows_cannot_do_is_refused(ran: Ran, option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows the option is a usage error that names it; the app is not run."""
    monkeypatch.setattr("qtasks_core.cli.run.os", SimpleNamespace(name="nt"))
    result = invoke(option)
    assert result.exit_code == 2
    assert f"{option.partition('=')[0]} is not available on Windows" in result.output
    assert ran.options is None


# ---------------------------------------------------------------- real processes


def write_app(folder: Path) -> None:
    """Write an app whose processes leave a file when they end by themselves."""
    mark = "atexit.register(lambda: pathlib.Path(f'ended-{os.getpid()}').touch())"
    (folder / "shop.py").write_text(f"import atexit, os, pathlib\n{APP}{mark}\n")


def ended(folder: Path, pid: int) -> bool:
    return (folder / f"ended-{pid}").exists()


def pids(worker: WorkerProcess) -> list[int]:
    """Return the process ids that the supervisor has logged, in order of their start."""
    return [int(pid) for pid in re.findall(r"worker \S+ is process (\d+)", worker.log)]


def test_a_worker_stops_cleanly_on_sigterm(worker_process: StartWorker, tmp_path: Path) -> None:
    """From the command line to exit code 0."""
    write_app(tmp_path)
    worker = worker_process("shop")
    assert worker.stop() == 0


def test_a_killed_worker_is_replaced_and_all_stop_on_sigterm(worker_process: StartWorker, tmp_path: Path) -> None:
    """--processes 2: one worker is killed with -9, a new one is ready, SIGTERM ends all with exit code 0."""
    write_app(tmp_path)
    worker = worker_process("shop", processes=2)
    os.kill(pids(worker)[0], signal.SIGKILL)
    worker.wait_ready(3)
    assert "was killed by SIGKILL" in worker.log
    assert "could not be evicted" not in worker.log
    assert worker.stop() == 0
    assert len(pids(worker)) == 3


def test_ctrl_c_in_a_terminal_stops_all_workers_cleanly(worker_process: StartWorker, tmp_path: Path) -> None:
    """SIGINT reaches supervisor and workers at once; the workers end by the supervisor's SIGTERM, exit code 0."""
    write_app(tmp_path)
    worker = worker_process("shop", processes=2)
    os.killpg(worker.pid, signal.SIGINT)
    assert worker.wait() == 0
    assert "KeyboardInterrupt" not in worker.log


def test_workers_stop_when_their_supervisor_is_killed(worker_process: StartWorker, tmp_path: Path) -> None:
    """After kill -9 of the supervisor its workers end by themselves."""
    write_app(tmp_path)
    worker = worker_process("shop", processes=2)
    left = pids(worker)
    worker.kill()
    eventually_sync(lambda: all(ended(tmp_path, pid) for pid in left), 20, "workers end")


@pytest.mark.parametrize("processes", [None, 1], ids=["worker", "supervisor"])
def test_stop_with_parent(worker_process: StartWorker, tmp_path: Path, processes: int | None) -> None:
    """A worker, or a supervisor and its worker, end when the process that started them is killed."""
    write_app(tmp_path)
    worker = worker_process("shop", start=False, stop_with_parent=True, processes=processes)
    launcher = f"import subprocess\nprocess = subprocess.Popen({worker.command!r})\nprint(process.pid)\nprocess.wait()"
    with worker.log_path.open("wb") as log:
        command = [sys.executable, "-u", "-c", launcher]
        parent = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=log, text=True)
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        worker.wait_log("worker ready")
        parent.kill()
    eventually_sync(lambda: ended(tmp_path, pid), 20, "the child of the killed process ends")


def test_a_worker_with_a_wrong_setting_is_not_started_again(worker_process: StartWorker, tmp_path: Path) -> None:
    """A worker that refuses its configuration ends the supervisor, with its message and exit code 2."""
    (tmp_path / "shop.py").write_text(f"import sys\n{APP}if '--parent' in sys.argv: QueueTasks('x', 'nowhere://')\n")
    worker = worker_process("shop", start=False, processes=1)
    worker.start(timeout_s=None)
    assert worker.wait() == 2
    assert "UnknownSchemeError" in worker.log
    assert len(pids(worker)) == 1


def test_sigterm_to_the_whole_group_is_one_stop(worker_process: StartWorker, tmp_path: Path) -> None:
    """`timeout` and systemd signal the workers too; that is no second signal."""
    write_app(tmp_path)
    worker = worker_process("shop", processes=2)
    os.killpg(worker.pid, signal.SIGTERM)
    assert worker.wait() == 0

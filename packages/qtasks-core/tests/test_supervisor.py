"""The supervisor with real processes: children are small scripts that note what happens to them in one file."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qtasks_core.supervisor import Backoff, Supervisor

DEADLINE_S = 20.0

PRELUDE = """
import json, os, signal, sys, time

def note(event, name):
    line = json.dumps({"event": event, "name": name, "pid": os.getpid(), "at": time.monotonic()}) + "\\n"
    file = os.open(EVENTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)
"""

SUPERVISOR = """
import asyncio, logging
from qtasks_core import supervisor
from qtasks_core.parent import ParentWatch

logging.basicConfig(level="INFO", format="%(message)s")

async def evict(name):
    note("evict", name)
    EVICTION
    return 3

supervisor.__dict__.update(CONSTANTS)
note("supervisor", "top")
top = supervisor.Supervisor(
    lambda name: [*CHILD, name],
    processes=PROCESSES,
    name="w",
    evict=evict,
    stop_timeout_s=STOP_TIMEOUT,
    parent=ParentWatch() if WATCH else None,
    waits=WAITS,
)
signal.signal(signal.SIGUSR1, lambda *_: top.recycle())
code = top.run()
note("over", str(code))
sys.exit(code)
"""

SERVES = """
def stop(signum, frame):
    note("stop", name)
    sys.exit(0)

signal.signal(signal.SIGTERM, stop)
note("up", name)
while True:
    signal.pause()
"""


class Stage:
    """Write the scripts, start the supervisor, read what happened."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._events = folder / "events.jsonl"
        self._events.touch()
        self._log = folder / "supervisor.log"
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, child: str, **settings: Any) -> list[str]:
        """Write both scripts; return the supervisor's command line."""
        prelude = f"EVENTS = {str(self._events)!r}\n{PRELUDE}"
        (self._folder / "child.py").write_text(f"{prelude}\nname = sys.argv[1]\n{child}")
        constants = {
            "CHILD": [sys.executable, str(self._folder / "child.py")],
            "PROCESSES": 1,
            "STOP_TIMEOUT": 60.0,
            "WATCH": False,
            "WAITS": False,
            "CONSTANTS": {},
        } | {key: value for key, value in settings.items() if key != "EVICTION"}
        body = SUPERVISOR.replace("EVICTION", settings.get("EVICTION", "pass"))
        assignments = "".join(f"{key} = {value!r}\n" for key, value in constants.items())
        (self._folder / "top.py").write_text(f"{prelude}\n{assignments}\n{body}")
        return [sys.executable, str(self._folder / "top.py")]

    def start(self, child: str, **settings: Any) -> "subprocess.Popen[bytes]":
        command = self.write(child, **settings)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, stderr=log, start_new_session=True)
        return self.process

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self._events.read_text().splitlines()]
        return [event for event in found if kind is None or event["event"] == kind]

    def names(self, kind: str) -> list[str]:
        return [event["name"] for event in self.events(kind)]

    def log(self) -> str:
        return self._log.read_text()

    def until(self, condition: Callable[[], object]) -> None:
        """Poll until *condition* holds; fail with what is known after the deadline."""
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end, f"not within {DEADLINE_S} s\n{self._events.read_text()}\n{self.log()}"
            time.sleep(0.01)

    def exit_code(self) -> int:
        assert self.process is not None
        return self.process.wait(DEADLINE_S)

    def clean(self) -> None:
        for event in self.events():
            if event["event"] in ("up", "supervisor") and _alive(event["pid"]):
                os.kill(event["pid"], signal.SIGKILL)
        if self.process is not None:
            self.process.wait(DEADLINE_S)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.clean()


def test_sigterm_reaches_every_worker_once_and_the_exit_code_is_0(stage: Stage) -> None:
    """SIGTERM: each worker gets SIGTERM, all end by themselves, exit code 0."""
    process = stage.start(SERVES, PROCESSES=3)
    stage.until(lambda: len(stage.names("up")) == 3)
    process.terminate()
    assert stage.exit_code() == 0
    assert sorted(stage.names("stop")) == ["w-1-1", "w-2-1", "w-3-1"]
    assert stage.names("evict") == []


def test_a_dead_worker_alone_is_replaced_after_its_deliveries_were_evicted(stage: Stage) -> None:
    """One of two workers is killed with -9: it is evicted, then replaced under a new name; the other goes on."""
    process = stage.start(SERVES, PROCESSES=2)
    stage.until(lambda: len(stage.names("up")) == 2)
    victim = next(event for event in stage.events("up") if event["name"] == "w-1-1")
    os.kill(victim["pid"], signal.SIGKILL)
    stage.until(lambda: len(stage.names("up")) == 3)
    tail = [(event["event"], event["name"]) for event in stage.events()[-2:]]
    assert tail == [("evict", "w-1-1"), ("up", "w-1-2")]
    assert f"worker w-1-1 (process {victim['pid']}) was killed by SIGKILL" in stage.log()
    assert "evicted 3 deliveries of w-1-1" in stage.log()
    assert "in time" not in stage.log()
    process.terminate()
    assert stage.exit_code() == 0
    assert sorted(stage.names("stop")) == ["w-1-2", "w-2-1"]


def test_a_worker_may_ask_to_be_restarted(stage: Stage) -> None:
    """Exit code 75 is logged as what it is, and the worker is replaced at once."""
    process = stage.start(f"if name.endswith('-1-1'): sys.exit(75)\n{SERVES}")
    stage.until(lambda: stage.names("up"))
    assert stage.names("up") == ["w-1-2"]
    assert "asked to be restarted (exit code 75)" in stage.log()
    process.terminate()
    assert stage.exit_code() == 0


def test_who_asks_to_be_restarted_is_no_failure(stage: Stage) -> None:
    """However often and however soon it asks: a worker of --max-tasks is replaced without a pause each time."""
    process = stage.start(f"if name[-1] in '12345': sys.exit(75)\n{SERVES}")
    stage.until(lambda: stage.names("up"))
    assert stage.names("up") == ["w-1-6"]
    assert stage.log().count("is replaced at once") == 5
    process.terminate()
    assert stage.exit_code() == 0


def test_all_workers_can_be_replaced_at_a_wish(stage: Stage) -> None:
    """recycle(): each is asked to stop and ends by itself, then a new one begins; nothing has to be evicted."""
    process = stage.start(SERVES, PROCESSES=2)
    stage.until(lambda: len(stage.names("up")) == 2)
    process.send_signal(signal.SIGUSR1)
    stage.until(lambda: len(stage.names("up")) == 4)
    assert sorted(stage.names("stop")) == ["w-1-1", "w-2-1"]
    assert sorted(stage.names("up")) == ["w-1-1", "w-1-2", "w-2-1", "w-2-2"]
    assert stage.names("evict") == []
    process.terminate()
    assert stage.exit_code() == 0


def test_a_worker_that_does_not_make_room_for_its_successor_is_killed(stage: Stage) -> None:
    """After the stop timeout; it is evicted, and replaced then."""
    child = f"""if name == 'w-1-1':
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note("up", name)
    while True: signal.pause()
{SERVES}"""
    process = stage.start(child, STOP_TIMEOUT=0.3)
    stage.until(lambda: stage.names("up"))
    process.send_signal(signal.SIGUSR1)
    stage.until(lambda: len(stage.names("up")) == 2)
    assert "worker w-1-1 did not stop within 0.3 s: killing it" in stage.log()
    assert stage.names("evict") == ["w-1-1"]
    process.terminate()
    assert stage.exit_code() == 0


def test_a_worker_whose_code_is_broken_waits_for_a_change(stage: Stage) -> None:
    """With waits=True a failed worker, also a misconfigured one, is started anew by the next recycle() only."""
    child = f"note('begin', name)\nif name == 'w-1-1': sys.exit(1)\nif name == 'w-1-2': sys.exit(2)\n{SERVES}"
    process = stage.start(child, WAITS=True)
    for count in (1, 2):
        stage.until(lambda: stage.log().count("is replaced when a file has changed") == count)  # noqa: B023  # now
        assert len(stage.names("begin")) == count
        process.send_signal(signal.SIGUSR1)
    stage.until(lambda: stage.names("up"))
    assert stage.names("up") == ["w-1-3"]
    process.terminate()
    assert stage.exit_code() == 0


def test_a_crash_loop_is_slowed_down(stage: Stage) -> None:
    """The first restart comes at once, the second after one second or more."""
    process = stage.start(f"note('begin', name)\nif name != 'w-1-3': sys.exit(1)\n{SERVES}")
    stage.until(lambda: stage.names("up"))
    first, second, third = stage.events("begin")
    assert third["at"] - second["at"] >= 1.0
    assert "w-1-1 is replaced at once" in stage.log()
    assert "w-1-2 is replaced in 1 s" in stage.log()
    assert first["name"] == "w-1-1"
    process.terminate()
    assert stage.exit_code() == 0


def test_a_failed_eviction_does_not_hold_up_the_restart(stage: Stage) -> None:
    """The server is away while a dead worker is evicted: logged, and the worker is replaced."""
    process = stage.start(f"if name == 'w-1-1': sys.exit(1)\n{SERVES}", EVICTION="raise OSError('server away')")
    stage.until(lambda: stage.names("up"))
    assert "the deliveries of w-1-1 could not be evicted: server away" in stage.log()
    process.terminate()
    assert stage.exit_code() == 0


@pytest.mark.parametrize(
    ("eviction", "message"),
    [
        ("await asyncio.sleep(3600)", "the deliveries of w-1-1 could not be evicted: TimeoutError"),
        ("import time; time.sleep(3600)", "the deliveries of w-1-1 could not be evicted in time; going on without"),
    ],
    ids=["waits", "blocks its thread"],
)
def test_an_eviction_that_hangs_is_given_up(stage: Stage, eviction: str, message: str) -> None:
    """An eviction that never ends holds up neither the restart nor the stop."""
    process = stage.start(f"if name == 'w-1-1': sys.exit(1)\n{SERVES}", EVICTION=eviction, CONSTANTS={"_EVICT_S": 0.1})
    stage.until(lambda: stage.names("up"))
    assert message in stage.log()
    process.terminate()
    assert stage.exit_code() == 0


def test_a_stop_is_heard_while_an_eviction_hangs(stage: Stage) -> None:
    """SIGTERM during an eviction: the other worker is stopped before the eviction is over."""
    process = stage.start(
        f"if name == 'w-1-1': sys.exit(1)\n{SERVES}",
        PROCESSES=2,
        EVICTION="""
    while '"stop"' not in open(EVENTS).read(): await asyncio.sleep(0.01)
    note("late", name)
""",
        CONSTANTS={"_EVICT_S": 60.0},
    )
    stage.until(lambda: stage.names("up") and stage.names("evict"))
    process.terminate()
    assert stage.exit_code() == 0
    assert [event["event"] for event in stage.events()[-3:]] == ["stop", "late", "over"]


def test_a_worker_that_ignores_sigterm_is_killed(stage: Stage) -> None:
    """After the stop's time is over the worker is killed and evicted; exit code 1."""
    child = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nnote('up', name)\nwhile True: signal.pause()"
    process = stage.start(child, STOP_TIMEOUT=0.3)
    stage.until(lambda: stage.names("up"))
    process.terminate()
    assert stage.exit_code() == 1
    assert "did not stop within 0.3 s" in stage.log()
    assert stage.names("evict") == ["w-1-1"]


def test_a_second_signal_kills_at_once(stage: Stage) -> None:
    """A second signal does not wait for the stop's time (60 s here); exit code 1."""
    child = (
        "signal.signal(signal.SIGTERM, lambda *_: note('asked', name))\nnote('up', name)\nwhile True: signal.pause()"
    )
    process = stage.start(child)
    stage.until(lambda: stage.names("up"))
    process.terminate()
    stage.until(lambda: stage.names("asked"))
    process.send_signal(signal.SIGINT)
    assert stage.exit_code() == 1
    assert "got SIGINT again: killing the workers" in stage.log()


def test_a_worker_with_a_wrong_configuration_stops_everything(stage: Stage) -> None:
    """Exit code 2 at once is no crash: the others are stopped, the supervisor ends with 2 and restarts nothing."""
    child = (
        f"if name == 'w-1-1':\n  while not os.path.exists(EVENTS + '.go'): time.sleep(0.01)\n  sys.exit(2)\n{SERVES}"
    )
    stage.start(child, PROCESSES=2)
    stage.until(lambda: stage.names("up"))
    Path(f"{stage._events}.go").touch()
    assert stage.exit_code() == 2
    assert stage.names("up") == ["w-2-1"]
    assert stage.names("stop") == ["w-2-1"]
    assert "a worker refused its configuration; its message is above" in stage.log()


def test_a_proven_configuration_is_not_doubted(stage: Stage) -> None:
    """Once a worker has lived its ten seconds (none here), exit code 2 is a death like any other."""
    process = stage.start(f"if name == 'w-1-1': sys.exit(2)\n{SERVES}", CONSTANTS={"_PROVEN_S": 0.0})
    stage.until(lambda: stage.names("up"))
    assert "ended with exit code 2" in stage.log()
    process.terminate()
    assert stage.exit_code() == 0


def test_workers_end_when_their_supervisor_is_killed(stage: Stage) -> None:
    """After kill -9 of the supervisor its workers notice and stop gracefully."""
    child = """
import asyncio
from qtasks_core.parent import ParentWatch
note("up", name)
asyncio.run(ParentWatch().wait())
note("orphaned", name)
"""
    process = stage.start(child, PROCESSES=2)
    stage.until(lambda: len(stage.names("up")) == 2)
    process.kill()
    stage.until(lambda: len(stage.names("orphaned")) == 2)
    assert sorted(stage.names("orphaned")) == ["w-1-1", "w-2-1"]


def test_a_supervisor_that_watches_its_parent_stops_when_that_dies(stage: Stage) -> None:
    """With a parent to watch, the death of that process is a stop."""
    command = stage.write(SERVES, WATCH=True)
    launcher = f"import subprocess, time\nsubprocess.Popen({command!r})\ntime.sleep(3600)"
    with stage._log.open("wb") as log:
        parent = subprocess.Popen([sys.executable, "-c", launcher], stderr=log)
    stage.until(lambda: stage.names("up"))
    parent.kill()
    parent.wait(DEADLINE_S)
    stage.until(lambda: stage.names("over"))
    assert stage.names("stop") == ["w-1-1"]
    assert stage.names("over") == ["0"]


def test_a_supervisor_outlives_its_parent_otherwise(stage: Stage) -> None:
    """Without one, as for `nohup qtasks run &`, it goes on: a worker killed later is still replaced."""
    command = stage.write(SERVES)
    launcher = f"import subprocess\nsubprocess.Popen({command!r}, start_new_session=True)"
    with stage._log.open("wb") as log:
        subprocess.run([sys.executable, "-c", launcher], stderr=log, check=True)
    stage.until(lambda: stage.names("up"))
    os.kill(stage.events("up")[0]["pid"], signal.SIGKILL)
    stage.until(lambda: stage.names("up") == ["w-1-1", "w-1-2"])
    os.kill(stage.events("supervisor")[0]["pid"], signal.SIGTERM)
    stage.until(lambda: stage.names("over"))
    assert stage.names("over") == ["0"]


def test_ctrl_c_reaches_the_workers_as_sigterm_only(stage: Stage) -> None:
    """SIGINT to the whole terminal group: the workers' own Ctrl-C handler never runs."""
    child = f"signal.signal(signal.SIGINT, lambda *_: note('interrupted', name))\n{SERVES}"
    process = stage.start(child, PROCESSES=2)
    stage.until(lambda: len(stage.names("up")) == 2)
    os.killpg(process.pid, signal.SIGINT)
    assert stage.exit_code() == 0
    assert sorted(stage.names("stop")) == ["w-1-1", "w-2-1"]
    assert stage.names("interrupted") == []


def test_a_worker_stopped_while_it_starts_ended_cleanly(stage: Stage) -> None:
    """SIGTERM before a worker has its handlers ends it by that signal; it held nothing, so the exit code is 0."""
    process = stage.start("note('up', name)\nwhile True: signal.pause()")
    stage.until(lambda: stage.names("up"))
    process.terminate()
    assert stage.exit_code() == 0


def test_a_command_that_cannot_be_started_is_tried_again(stage: Stage) -> None:
    """A missing interpreter is logged and tried again with the same pauses; a stop still ends it."""
    process = stage.start("", CHILD=["/nowhere/python"])
    stage.until(lambda: "trying again in 1 s" in stage.log())
    assert "worker w-1-1 cannot be started" in stage.log()
    process.terminate()
    assert stage.exit_code() == 0


def test_an_idle_supervisor_waits_for_signals_only() -> None:
    """With nothing due and no parent to watch, the wait has no time limit: nothing is polled."""

    async def evict(name: str) -> int:
        return 0

    supervisor = Supervisor(lambda name: [name], processes=2, name="w", evict=evict, stop_timeout_s=1.0)
    assert supervisor._pause() is None


def test_pauses_double_up_to_half_a_minute() -> None:
    """None at first, then 1, 2, 4 … 30 s."""
    backoff = Backoff()
    assert [backoff.after(0.1) for _ in range(8)] == [0, 1, 2, 4, 8, 16, 30, 30]


def test_a_long_life_resets_the_pause() -> None:
    """A worker that lived ten seconds is replaced at once again."""
    backoff = Backoff()
    pauses = [backoff.after(lived_s) for lived_s in (0.1, 9.9, 10.0, 0.1)]
    assert pauses == [0, 1, 0, 1]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

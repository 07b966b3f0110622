"""What the tests run in processes: a process imports this module by its name."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass
from inspect import Parameter
from pathlib import Path
from typing import Any

from qtasks_core.aio import QueueTasks
from qtasks_core.contract import Execution
from qtasks_core.errors import Postpone, Retry
from qtasks_core.releases import Releases
from qtasks_core.task_context import AsyncTaskContext, BlockingTaskContext, current_context
from qtasks_core.worker.processes import ProcessTaskExecutor

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@dataclass
class Point:
    x: int
    y: int


class OddError(Exception):
    """Cannot be made again from its message."""

    def __init__(self, number: int, *, reason: str) -> None:
        super().__init__(number)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.args[0]} is odd: {self.reason}"


# ---------------------------------------------------------------- values


def square(x: int) -> int:
    return x * x


def process_id() -> int:
    return os.getpid()


async def async_process_id() -> int:
    await asyncio.sleep(0)
    return os.getpid()


def mirror(point: Point, label: str = "", *rest: int, flag: bool = False) -> tuple[str, list[Any]]:
    return type(point).__name__, [point.x, point.y, label, list(rest), flag]


def unencodable() -> Any:
    return object()


def deep(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


def large(size: int) -> str:
    return "x" * size


def from_stdin() -> str:
    return sys.stdin.read()


def arguments() -> list[str]:
    return sys.argv


def on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


# ---------------------------------------------------------------- errors


def fail(message: str) -> None:
    raise ValueError(message)


def fail_oddly() -> None:
    raise OddError(3, reason="it just is")


def leave(code: int) -> None:
    sys.exit(code)


def again(delay: float) -> int:
    if current_context().attempt == 1:
        raise Retry(delay)
    return current_context().attempt


def put_back(path: str) -> str:
    if not Path(path).exists():
        Path(path).touch()
        raise Postpone(0.0)
    return f"attempt {current_context().attempt}"


def give_up(reason: str) -> None:
    current_context().cancel(reason)


def ask_plugins(question: str) -> Any:
    current_context().plugin_error(question=question)


# ---------------------------------------------------------------- ends


def die(code: int) -> None:
    os._exit(code)


def kill_itself(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(30)


def die_once(path: str) -> int:
    if not Path(path).exists():
        Path(path).touch()
        os._exit(7)
    return current_context().attempt


def hang(path: str) -> None:
    _write_pid(path)
    time.sleep(60)


async def hang_async(path: str) -> None:
    _write_pid(path)
    await asyncio.sleep(60)


def hang_with_helper(path: str) -> None:
    helper = subprocess.Popen(["sleep", "60"])
    _write(path, f"{os.getpid()} {helper.pid}")
    helper.wait()


def hold_the_gil(path: str) -> None:
    """Run C code that lets no other thread run."""
    _write_pid(path)
    sum(range(1 << 60))


def wait_for(path: str, began: str) -> str:
    """Go on as soon as there is a file."""
    _write_pid(began)
    while not Path(path).exists():
        time.sleep(0.01)
    return "went on"


def close_everything() -> None:
    os.closerange(3, 256)
    time.sleep(60)


def _write_pid(path: str) -> None:
    _write(path, str(os.getpid()))


def _write(path: str, text: str) -> None:
    temporary = f"{path}.{os.getpid()}"
    Path(temporary).write_text(text)
    Path(temporary).rename(path)


# ---------------------------------------------------------------- signals


def send_itself(number: int) -> str:
    """Get a signal as a process group may, and go on."""
    os.kill(os.getpid(), number)
    time.sleep(0.05)
    return "went on"


def signal_of_a_helper() -> int:
    """End a program by SIGTERM, which must not have been told to ignore it."""
    with subprocess.Popen(["sleep", "60"]) as helper:
        helper.terminate()
    return helper.returncode


def fork_and_terminate(times: int) -> set[int]:
    """Tell forked children to end before they have done anything."""
    found = set()
    for _ in range(times):
        if not (child := os.fork()):
            time.sleep(60)
            os._exit(0)
        os.kill(child, signal.SIGTERM)
        found.add(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    return found


# ---------------------------------------------------------------- context


def about(context: BlockingTaskContext, x: int) -> list[Any]:
    assert context is current_context()
    context.progress(1, 2, "half")
    return [context.task_name, str(context.task_uuid), context.attempt, context.queue, dict(context.headers), x]


async def about_async(context: AsyncTaskContext) -> list[Any]:
    assert context is current_context()
    await context.sleep(0)
    return [context.task_name, context.cancelled, context.get_metadata()["priority"]]


def component(name: str) -> Any:
    return current_context().get_component(name)


def name_of_app() -> str:
    return current_context().app.name


def set_variable(value: str) -> str:
    before = variable.get()
    variable.set(value)
    return before


def log(text: str) -> None:
    current_context().get_logger("mine").warning("%s from %s", text, "afar", extra={"colour": "red", "what": object()})
    logging.getLogger("mine.quiet").info("not wanted")
    logging.getLogger("mine.loud").debug("wanted")


def log_error() -> None:
    try:
        fail("inner")
    except ValueError:
        logging.getLogger("mine").exception("it went wrong: \udcff %d", 1 << 70, extra={"huge": 1 << 70})


def print_it(text: str) -> None:
    print(text, end="")


# ---------------------------------------------------------------- generators


def count(to: int) -> Iterator[int]:
    yield from range(to)


def echo_of(to: int) -> Generator[int, int, list[int]]:
    got: list[int] = []
    for number in range(to):
        got += [(yield number)]
    return got


async def count_async(to: int) -> AsyncIterator[int]:
    for number in range(to):
        yield number


def count_then_fail(to: int) -> Iterator[int]:
    yield from range(to)
    raise ValueError("enough")


def count_then_wait(to: int, path: str) -> Iterator[int]:
    yield from range(to)
    while not Path(path).exists():
        time.sleep(0.01)
    yield -1


def yield_unencodable() -> Iterator[Any]:
    yield object()


def tenfold(value: int) -> int:
    return 10 * value


async def tenfold_async(value: int) -> int:
    await asyncio.sleep(0)
    return 10 * value


# ---------------------------------------------------------------- an app with its tasks, as a user has it

app = QueueTasks("functions", "memory://")
released: list[int] = []
"""Process ids of what was released in this process."""


class OfProcess:
    """Provides the id of the process where it is provided, on a loop."""

    def qtasks_register_injector(self, parameter: Parameter) -> OfProcess | None:
        return self if parameter.name == "provided" else None

    async def provide(self, execution: Execution, releases: Releases) -> int:
        await asyncio.sleep(0)
        releases.callback(released.append, os.getpid())
        return os.getpid()


app.add_plugin(OfProcess())


@app.task(executor=ProcessTaskExecutor)
def provided_ids(provided: int, x: int) -> list[int]:
    return [provided, os.getpid(), x, len(released)]


@app.task(executor=ProcessTaskExecutor)
async def provided_ids_async(x: int, provided: int) -> list[int]:
    await asyncio.sleep(0)
    return [provided, os.getpid(), x, len(released)]


@app.task(executor=ProcessTaskExecutor)
def name_of_own_app() -> str:
    return current_context().app.name


@app.task(executor=ProcessTaskExecutor, generate_handler=tenfold)
def handled(to: int) -> Generator[int, int, list[int]]:
    got: list[int] = []
    for number in range(to):
        got += [(yield number)]
    return got


@app.task(executor=ProcessTaskExecutor, generate_handler=tenfold_async)
def handled_by_async(to: int) -> Iterator[int]:
    yield from range(to)


@app.task(executor=ProcessTaskExecutor, generate_handler=tenfold)
async def async_handled(to: int) -> AsyncIterator[int]:
    for number in range(to):
        yield number


@app.task(executor=ProcessTaskExecutor)
async def add_another() -> None:
    await name_of_own_app.add_task()


@app.task(executor=ProcessTaskExecutor, name="another name")
def with_another_name() -> str:
    return current_context().task_name


class Holder:
    """Has a task as a static method."""

    @staticmethod
    def inside(x: int) -> int:
        return -x


# ---------------------------------------------------------------- what has processes of its own


def squares_of_a_pool(kind: str, numbers: list[int]) -> list[int]:
    with multiprocessing.get_context(kind).Pool(2) as pool:
        return pool.map(square, numbers)


def fork_and_log() -> int:
    """Fork a child that logs and yields nothing to the worker."""
    if not (child := os.fork()):
        logging.getLogger("mine").warning("of a grandchild")
        current_context().progress(1)
        os._exit(5)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# ---------------------------------------------------------------- what stays behind

_pile: list[bytes] = []


def pile_up() -> tuple[int, int]:
    _pile.append(bytes(1_000_000))
    return len(_pile), os.getpid()


def leave_a_thread() -> int:
    threading.Thread(target=time.sleep, args=(60,)).start()
    return os.getpid()

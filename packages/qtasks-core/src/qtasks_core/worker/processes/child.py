"""A process of a pool: it starts, says that it is ready, runs task after task, and never outlives its worker."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback

from qtasks_core.errors import QTasksError
from qtasks_core.parent import ParentWatch
from qtasks_core.role import become_pool_process
from qtasks_core.worker.processes.calling import Caller
from qtasks_core.worker.processes.life import ProcessLife
from qtasks_core.worker.processes.link import Link
from qtasks_core.worker.processes.logs import LinkHandler, set_levels
from qtasks_core.worker.processes.messages import Call, Ready, Refused, Setup
from qtasks_core.worker.processes.places import find_app
from qtasks_core.worker.processes.signals import ignore_signals

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


def main(lifeline: int, worker: int) -> None:
    """Live, until the worker closes the connection or dies.

    Parameters:
        lifeline: Read end of a pipe that nobody writes to; it ends with the worker.
        worker: Process id of the worker.
    """
    become_pool_process()
    ignore_signals()
    _die_with(worker, lifeline)
    link = Link.from_stdin()
    setup = link.receive()
    if not isinstance(setup, Setup):
        return
    life = ProcessLife()
    callers = _prepare(setup, link, life)
    if callers is not None:
        link.send(Ready())
        _serve(callers, link)
        life.end()


def _serve(callers: list[Caller], link: Link) -> None:
    while (message := link.receive()) is not None:
        if isinstance(message, Call):
            _answer(callers[message.number], message, link)
        del message  # an idle process must not keep a task's values alive


def _answer(caller: Caller, call: Call, link: Link) -> None:
    answer = caller.answer(call)
    _flush()
    link.send(answer)


def _prepare(setup: Setup, link: Link, life: ProcessLife) -> list[Caller] | None:
    """Import what the tasks need; None when it is not there, which the worker is told."""
    handler = LinkHandler(link)
    set_levels(setup.log_levels)
    handler.take_over()
    sys.argv[:] = setup.argv
    try:
        if setup.main:
            from multiprocessing import spawn  # noqa: PLC0415  # seldom needed

            spawn.prepare(dict(setup.main))
        app = None if setup.app is None else find_app(*setup.app)
        callers = [Caller(place, setup, link, app, life) for place in setup.places]
        life.begin(dict.fromkeys(caller.app for caller in callers if caller.app is not None))
    except QTasksError as error:
        link.send(Refused(str(error)))
    except BaseException:  # noqa: BLE001  # it is any code, and says what it wants
        link.send(Refused(traceback.format_exc()))
    else:
        set_levels(setup.log_levels)
        handler.take_over()
        return callers
    return None


# ---------------------------------------------------------------- the worker's death


def _die_with(worker: int, lifeline: int) -> None:
    """Die when the worker does, with all that this process has started; code that holds the GIL dies on Linux only."""
    threading.Thread(target=_wait_for_the_end, args=(lifeline,), name="qtasks-lifeline", daemon=True).start()
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415  # not everywhere

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if ParentWatch(worker).gone():
        os._exit(1)


def _wait_for_the_end(lifeline: int) -> None:
    with contextlib.suppress(OSError):  # a task has closed it: what remains is the signal
        os.read(lifeline, 1)
        os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(1)


def _flush() -> None:
    """Let what the task printed be seen: its process may be killed before it prints more."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed or replaced: the task's own business
            stream.flush()

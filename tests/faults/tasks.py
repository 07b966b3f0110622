"""The app of the workers in these tests, which are told where it is; the ledger is in the folder they start in."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

from qtasks import QueueTasks
from qtasks_testing.ledger import Ledger

app = QueueTasks(os.environ["FAULTS_NAME"], os.environ["FAULTS_URL"])
ledger = Ledger("ledger")


@app.task
async def work(key: str, seconds: float = 0.0) -> int:
    ledger.record(key, "start")
    await asyncio.sleep(seconds)
    ledger.record(key, "end")
    return os.getpid()


@app.task
async def wait_for_file(key: str, path: str) -> int:
    """Go on when somebody has made the file."""
    ledger.record(key, "start")
    while not Path(path).exists():
        await asyncio.sleep(0.01)
    ledger.record(key, "end")
    return os.getpid()


@app.task
def wait_in_thread(key: str, path: str) -> int:
    """Do the same where nobody can stop it."""
    ledger.record(key, "start")
    while not Path(path).exists():
        time.sleep(0.01)
    ledger.record(key, "end")
    return os.getpid()


@app.task
async def wait_deafly(key: str, path: str) -> int:
    """Do the same, and do not listen when told to stop."""
    ledger.record(key, "start")
    while not Path(path).exists():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0.01)
    ledger.record(key, "end")
    return os.getpid()


@app.task
async def kill_worker(key: str) -> None:
    """Kill it when those that came together have begun."""
    ledger.record(key, "start")
    await asyncio.sleep(0.02)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
async def block_loop(key: str, seconds: int) -> int:
    """Block the worker's loop; other threads run."""
    ledger.record(key, "start")
    time.sleep(seconds)  # the fault
    ledger.record(key, "end")
    return os.getpid()


@app.task
async def hold_interpreter(key: str, seconds: int) -> int:
    """Hold the interpreter's lock, as badly written extensions do: nothing else runs in this process."""
    ledger.record(key, "start")
    ctypes.PyDLL(None).sleep(seconds)
    ledger.record(key, "end")
    return os.getpid()


@app.task
def hold_interpreter_in_thread(key: str, seconds: int) -> int:
    ledger.record(key, "start")
    ctypes.PyDLL(None).sleep(seconds)
    ledger.record(key, "end")
    return os.getpid()


@app.task
async def wait_beside_loop(key: str, path: str) -> int:
    """Do the same in a thread that is not the worker's, and that the interpreter waits for at its end."""
    return await asyncio.to_thread(wait_in_thread, key, path)


@app.task
async def carry(key: str, payload: str) -> str:
    """Bring something, and take it back."""
    ledger.record(key, "start")
    ledger.record(key, "end")
    return payload


@app.task
async def swallow(key: str, payload: str) -> None:
    """Bring something, and give nothing back."""
    ledger.record(key, "start")
    ledger.record(key, "end")


@app.task
async def hold_interpreter_once(key: str, seconds: int) -> int:
    """Hold it where the task has not run before."""
    ledger.record(key, "start")
    if 1 == ledger.counts("start")[key]:
        ctypes.PyDLL(None).sleep(seconds)
    ledger.record(key, "end")
    return os.getpid()


@app.task
async def echo(key: str) -> str:
    ledger.record(key, "end")
    return key

"""The two tasks of all subjects on Redis, as coroutine functions and as functions for threads.

`echo` returns its argument. `nap` takes 20 ms and notes its begin and its end in a file that no kill -9 can take back.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TRACE", "echo", "echo_in_thread", "nap", "nap_in_thread", "on_echo"]

TRACE = "BENCH_TRACE"  # the variable that names the file
NAP_S = 0.02

on_echo: list[Callable[[], None]] = []
"""What is called by each run of `echo`."""


async def echo(number: int) -> int:
    for hear in on_echo:
        hear()
    return number


def echo_in_thread(number: int) -> int:
    for hear in on_echo:
        hear()
    return number


async def nap(number: int) -> int:
    note("begin", number)
    await asyncio.sleep(NAP_S)
    note("end", number)
    return number


def nap_in_thread(number: int) -> int:
    note("begin", number)
    time.sleep(NAP_S)
    note("end", number)
    return number


def note(what: str, number: int) -> None:
    """Append one line; appends of so few bytes are never torn."""
    line = f"{what} {number} {time.clock_gettime(time.CLOCK_MONOTONIC)}\n"
    file = os.open(os.environ[TRACE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)

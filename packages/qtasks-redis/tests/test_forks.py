"""Forks: a child forgets the connections of its parent, and makes its own; each test forks in a program of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtasks_testing import RedisServer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

PREFIX = """
import logging, os, sys
from qtasks_core.blocking import QueueTasks

logging.getLogger("qtasks").addHandler(logging.NullHandler())  # only what Python itself says is looked at
app = QueueTasks("test", sys.argv[1])

@app.task
def job(x: object) -> None: ...

def fork(work):
    pid = os.fork()
    if pid:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        return
    work()
    os._exit(0)

def sockets():
    links = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            links.add(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            pass
    return {link for link in links if link.startswith("socket:")}
"""


def _run(url: str, text: str) -> str:
    """Run a program that says nothing but what it prints; return that."""
    command = [sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning", "-c"]
    done = subprocess.run(
        [*command, PREFIX + textwrap.dedent(text), url], capture_output=True, text=True, timeout=50, check=False
    )
    assert "" == done.stderr
    assert 0 == done.returncode
    return done.stdout


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
def test_parent_and_child_go_on_with_connections_of_their_own(
    redis_server: Callable[..., RedisServer], *, tls: bool
) -> None:
    """The child adds, ends orderly or not at all; nothing that it does is heard on the parent's connections."""
    server = redis_server(tls=tls)
    url = f"{server.url}?ca={server.certificate}" if tls else server.url
    printed = _run(
        url,
        """
        job.add_task(1)

        def child():
            job.add_task(2)
            app.stop()

        def rude():
            job.add_task(3)

        for work in (child, rude, lambda: app.stop(), lambda: None):
            fork(work)
            job.add_task(4)
        app.stop()
        print("done")
        """,
    )
    assert "done\n" == printed
    (key,) = server.command("KEYS", "qt1:*:q:*")
    assert 1 + 2 + 4 == server.command("LLEN", key)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_the_connections_of_the_parent_are_not_made_anew(redis_server: Callable[..., RedisServer]) -> None:
    """It does not even notice: after a child that worked and stopped, its sockets are the same."""
    server = redis_server()
    printed = _run(
        server.url,
        """
        job.add_task(1)
        before = sockets()
        fork(lambda: (job.add_task(2), app.stop()))
        job.add_task(3)
        print(len(before) > 0, before == sockets())
        app.stop()
        """,
    )
    assert "True True\n" == printed

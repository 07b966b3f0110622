"""The façade: names of the core under the package that applications import, and nothing heavy loaded."""

import subprocess
import sys

import qtasks
import qtasks.asyncio
import qtasks.exceptions
import qtasks.executors
from qtasks_core import aio, blocking, errors
from qtasks_core.worker.executor import TaskExecutor


def test_names_are_those_of_the_core() -> None:
    """The façade re-exports; it has nothing of its own."""
    assert blocking.QueueTasks is qtasks.QueueTasks
    assert aio.QueueTasks is qtasks.asyncio.QueueTasks
    assert TaskExecutor is qtasks.executors.TaskExecutor
    assert all(getattr(errors, name) is getattr(qtasks.exceptions, name) for name in errors.__all__)


def test_importing_loads_neither_click_nor_rich_nor_a_client() -> None:
    """`import qtasks` stays light: no command line, no plugin system, no server's client, not even sqlite3."""
    code = "import sys, qtasks, qtasks.asyncio; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert set() == {"click", "rich", "pluggy", "redis", "aio_pika", "aiokafka", "grpc", "sqlite3"} & set(loaded)

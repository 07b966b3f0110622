"""The pytest plugin: workers and servers that end with their test, a ledger, and the report of what was skipped."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from qtasks_testing.ledger import Ledger
from qtasks_testing.processes import WorkerProcess
from qtasks_testing.proxy import TcpProxy
from qtasks_testing.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from qtasks_core.app import AppFace
    from qtasks_core.testing import AsyncMemory, BlockingMemory

pytest.register_assert_rewrite("qtasks_testing.kit")

KIT = "qtasks_kit"
REQUIRES = "qtasks_requires"
MEASURED = "qtasks kit: "
REDIS_URL = "QTASKS_TEST_REDIS_URL"
_WORKERS: pytest.StashKey[list[WorkerProcess]] = pytest.StashKey()


@pytest.fixture
def worker_process(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Return a function that starts a worker and waits until it is ready; all are killed when the test is over.

    It takes the arguments of `WorkerProcess`; *cwd* is `tmp_path` where it is not given, `start=False` only makes it.
    A failed test shows the logs.
    """
    workers: list[WorkerProcess] = request.node.stash.setdefault(_WORKERS, [])

    def start_worker(app: str, *, cwd: Path | None = None, start: bool = True, **options: Any) -> WorkerProcess:
        worker = WorkerProcess(app, cwd or tmp_path, **options)
        workers.append(worker)
        return worker.start() if start else worker

    yield start_worker
    for worker in workers:
        worker.close()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a Redis that the tests share, each under a namespace of its own.

    It is `QTASKS_TEST_REDIS_URL`, or a server that is started for this test run. Without the program the tests that
    ask for it are skipped, and fail in CI.
    """
    url = os.environ.get(REDIS_URL)
    if url:
        yield url
        return
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Return a function that starts a Redis of the test's own, to be killed, paused, filled; all end with the test.

    It takes the options of `RedisServer`: `redis_server(appendonly="yes", appendfsync="always")`.
    """
    with contextlib.ExitStack() as stack:
        folders = (tmp_path / f"redis-{number}" for number in itertools.count(1))
        yield lambda **options: stack.enter_context(RedisServer(next(folders), **options))


@pytest.fixture
def tcp_proxy() -> Iterator[Callable[..., TcpProxy]]:
    """Return a function that starts a `TcpProxy` before a server, `tcp_proxy(server.port)`; all end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda port, host="127.0.0.1": stack.enter_context(TcpProxy(port, host))


@pytest.fixture
def memory_app() -> Iterator[Callable[[AppFace], BlockingMemory]]:
    """Return a function that connects an app to memory until the test is over (`qtasks.testing.memory_app`)."""
    from qtasks_core.testing import memory_app as connected  # noqa: PLC0415  # who has no app to test needs none of it

    with contextlib.ExitStack() as stack:
        yield lambda app: stack.enter_context(connected(app))


@pytest_asyncio.fixture
async def async_memory_app() -> AsyncIterator[Callable[[AppFace], Awaitable[AsyncMemory]]]:
    """Return the same for a test that awaits: what it returns is awaited, `memory = await …(app)`."""
    from qtasks_core.testing import memory_app as connected  # noqa: PLC0415  # as above

    async with contextlib.AsyncExitStack() as stack:
        yield lambda app: stack.enter_async_context(connected(app))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Return a new ledger; tasks in other processes reach it by its path, `tmp_path / "ledger"`."""
    return Ledger(tmp_path / "ledger")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Show the logs of a failed test's workers; let no test of the kit be expected to fail."""
    report: pytest.TestReport = yield
    if KIT in item.keywords and hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", "a test of the kit cannot be expected to fail"
        del report.wasxfail
    if report.failed:
        for worker in item.stash.get(_WORKERS, []):
            report.sections.append((f"log of {worker!r}", worker.log_tail))
    return report


# ---------------------------------------------------------------- the kit


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the kit."""
    group = parser.getgroup("qtasks")
    group.addoption("--qtasks-shrink", action="store_true", help="look for the smallest failure of the state machine")
    group.addoption(
        "--qtasks-features",
        metavar="FILE",
        type=Path,
        help="run tests of features only, and write which of them each backend has; with --setup-only nothing runs",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marks of the kit."""
    config.addinivalue_line("markers", f"{KIT}: a test of a suite of qtasks_testing.kit")
    config.addinivalue_line("markers", f"{REQUIRES}(*needs): what a test of the kit needs of the backend")
    path = config.getoption("--qtasks-features")
    if path is not None:
        if config.getoption("numprocesses", None):
            raise pytest.UsageError("--qtasks-features: one process writes the file; leave out --numprocesses")
        from qtasks_testing.kit.features.declarations import Declarations  # noqa: PLC0415  # the kit is for its users

        config.pluginmanager.register(Declarations(path), "qtasks-features")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tell what the kit measured, and what it skipped and why: a suite cannot be weakened quietly."""
    for report in terminalreporter.stats.get("passed", []):
        if KIT in report.keywords:
            for name, value in report.user_properties:
                if name.startswith(MEASURED):
                    terminalreporter.write_line(f"{name}: {value} s ({report.nodeid.split('::')[1]})")
    skipped = Counter(
        (report.nodeid.split("::")[1], _reason(report))
        for report in terminalreporter.stats.get("skipped", [])
        if KIT in report.keywords
    )
    for (suite, reason), count in sorted(skipped.items()):
        terminalreporter.write_line(f"qtasks kit: skipped {count} of {suite}: {reason}", yellow=True)


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ").removeprefix("qtasks kit: ")

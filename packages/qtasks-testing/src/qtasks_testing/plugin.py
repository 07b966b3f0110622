"""The pytest plugin: workers that never outlive their test, a ledger, and the report of what the kit skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from qtasks_testing.ledger import Ledger
from qtasks_testing.processes import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Return a new ledger; tasks in other processes reach it by its path, `tmp_path / "ledger"`."""
    return Ledger(tmp_path / "ledger")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Show the logs of a failed test's workers."""
    report: pytest.TestReport = yield
    if report.failed:
        for worker in item.stash.get(_WORKERS, []):
            report.sections.append((f"log of {worker!r}", worker.log_tail))
    return report

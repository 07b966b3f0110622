"""Cases of unittest, and that nothing of qtasks.testing needs pytest."""

from __future__ import annotations

import subprocess
import sys
import unittest

from qtasks_core import aio, blocking
from qtasks_core.testing import AsyncTestCase, SyncTestCase, call_task

blocking_app = blocking.QueueTasks("tested", "memory://own")
async_app = aio.QueueTasks("tested", "memory://own")


@blocking_app.task
def double(x: int) -> int:
    return 2 * x


@async_app.task
async def triple(x: int) -> int:
    return 3 * x


def outcome(case: type[unittest.TestCase]) -> unittest.TestResult:
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    return result


def problems(result: unittest.TestResult) -> list[str]:
    return [text for _, text in [*result.failures, *result.errors]]


class _Blocking:
    class Case(SyncTestCase):
        app = blocking_app

        def test_one(self) -> None:
            """What a test adds runs when it says so."""
            task = double.with_options(delay=60).add_task(1)
            self.assertEqual([], self.run_until_idle())  # noqa: PT009  # unittest's way
            self.advance(60)
            self.assertEqual([2], [one.returning for one in self.run_until_idle(concurrency=1)])  # noqa: PT009
            self.assertEqual(2, task.result(timeout=1))  # noqa: PT009
            self.assertEqual(6, call_task(double, 3))  # noqa: PT009
            double.add_task(9)

        def test_two(self) -> None:
            """What another test has left is not here."""
            self.assertEqual([], self.memory.waiting())  # noqa: PT009


class _Awaiting:
    class Case(AsyncTestCase):
        app = async_app

        async def test_one(self) -> None:
            """What a test adds runs when it says so."""
            task = await triple.with_options(delay=60).add_task(1)
            self.assertEqual([], await self.run_until_idle())  # noqa: PT009
            self.advance(60)
            self.assertEqual([3], [one.returning for one in await self.run_until_idle(timeout=5)])  # noqa: PT009
            self.assertEqual(3, await task.result(timeout=1))  # noqa: PT009
            self.assertEqual(6, await call_task(triple, 2))  # noqa: PT009
            await triple.add_task(9)

        async def test_two(self) -> None:
            """What another test has left is not here."""
            self.assertEqual([], self.memory.waiting())  # noqa: PT009


def test_a_case_that_blocks() -> None:
    """Each test has the app in memory; after it the app is connected as before."""
    wiring = blocking_app.core.wiring
    result = outcome(_Blocking.Case)

    assert ([], 2) == (problems(result), result.testsRun)
    assert wiring == blocking_app.core.wiring
    blocking_app.stop()


def test_a_case_that_awaits() -> None:
    """The same on unittest's own loop."""
    wiring = async_app.core.wiring
    result = outcome(_Awaiting.Case)

    assert ([], 2) == (problems(result), result.testsRun)
    assert wiring == async_app.core.wiring


def test_a_case_without_an_app_says_what_to_write() -> None:
    """The error of each test names the class."""

    class NoApp(SyncTestCase):
        def test_one(self) -> None:
            """Never get here."""

    class WrongApp(AsyncTestCase):
        app = double  # type: ignore[assignment]

        async def test_one(self) -> None:
            """Never get here."""

    (first,), (second,) = problems(outcome(NoApp)), problems(outcome(WrongApp))
    assert "TypeError: NoApp.app: expected `app = …` with a QueueTasks in the class, got None" in first
    assert "TypeError: WrongApp.app: expected `app = …` with a QueueTasks in the class, got <Blocking" in second


def test_pytest_is_not_needed() -> None:
    """Where it is not installed, and nor is qtasks-testing."""
    program = "import sys; sys.modules.update(pytest=None, qtasks_testing=None); import qtasks_core.testing; print(1)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert ("1\n", "") == (done.stdout, done.stderr)

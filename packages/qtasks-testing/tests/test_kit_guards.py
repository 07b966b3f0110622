"""The kit guards itself: what is skipped is told, and a suite that was weakened fails."""

from __future__ import annotations

import textwrap

import pytest

import qtasks_testing.kit as loaded_once

pytest_plugins = ["pytester"]

HEAD = """
import pytest
from qtasks_core.contract import Capability, Evicts
from qtasks_core.memory import MemoryBroker, MemoryGlobalConfig, MemoryStorage
from qtasks_testing.kit import Bench, BrokerSuite, GlobalConfigSuite, Subject, Suite, Trait, requires

@pytest.fixture
def subject():
    return Subject("memory://", broker=MemoryBroker, silence_s=0.01)
"""


@pytest.fixture
def kit(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]\nasyncio_mode = strict\nasyncio_default_fixture_loop_scope = function\n")
    return pytester


def run(kit: pytest.Pytester, body: str, *options: str) -> pytest.RunResult:
    """Run a test module with the kit."""
    assert loaded_once.__all__  # here, so that each run does not load it anew
    kit.makepyfile(test_backend=HEAD + textwrap.dedent(body))
    return kit.runpytest_inprocess("-q", "-p", "no:cacheprovider", *options)


def test_a_suite_is_taken_over_in_one_line(kit: pytest.Pytester) -> None:
    """It needs a subject, a subclass, and no setting of pytest."""
    result = run(kit, "class TestBroker(BrokerSuite): ...", "-k", "weakened or limit")

    result.assert_outcomes(passed=3, deselected=result.parseoutcomes().get("deselected", 0))


def test_own_tests_may_be_added(kit: pytest.Pytester) -> None:
    """That weakens nothing."""
    body = """
    class TestBroker(BrokerSuite):
        def test_of_my_own(self): ...
    """

    result = run(kit, body, "-k", "weakened or own")

    assert result.ret == 0


@pytest.mark.parametrize(
    "body",
    [
        "async def test_an_empty_batch_is_settled_by_nothing(self, bench): ...",
        "test_an_empty_batch_is_settled_by_nothing = None",
        "component = 'sender'",
    ],
)
def test_a_replaced_part_of_a_suite_is_found(kit: pytest.Pytester, body: str) -> None:
    """A test with another body, one that was taken away, a setting: all belong to the suite."""
    result = run(kit, f"class TestBroker(BrokerSuite):\n    {body}", "-k", "weakened")

    result.assert_outcomes(failed=1, deselected=result.parseoutcomes().get("deselected", 0))
    result.stdout.re_match_lines([r".*(test_an_empty_batch_is_settled_by_nothing|component) of \w+ is replaced.*"])


@pytest.mark.parametrize("mark", ["xfail", "skip(reason='later')", "skipif(True, reason='later')"])
@pytest.mark.parametrize(
    "place",
    [
        "@pytest.mark.{mark}\nclass TestBroker(BrokerSuite): ...",
        "pytestmark = pytest.mark.{mark}\nclass TestBroker(BrokerSuite): ...",
    ],
)
def test_a_marked_suite_never_passes(kit: pytest.Pytester, place: str, mark: str) -> None:
    """What is marked as expected to fail fails; what is marked as skipped is told."""
    result = run(kit, place.format(mark=mark), "-k", "weakened or empty")

    if mark == "xfail":
        assert result.ret == 1
        assert result.parseoutcomes()["failed"] == 2
    else:
        result.stdout.fnmatch_lines(["qtasks kit: skipped 2 of TestBroker: later"])


def test_the_guard_itself_cannot_be_replaced(kit: pytest.Pytester) -> None:
    """The class is refused."""
    body = "class TestBroker(BrokerSuite):\n    async def test_nothing_of_the_suite_is_weakened(self): ..."

    result = run(kit, body)

    assert result.ret == 2
    result.stdout.fnmatch_lines(["*TypeError: TestBroker replaces test_nothing_of_the_suite_is_weakened()*"])


@pytest.mark.parametrize("options", [(), ("--numprocesses=2",)], ids=["one process", "two processes"])
def test_what_a_backend_lacks_is_skipped_and_told(kit: pytest.Pytester, options: tuple[str, ...]) -> None:
    """A component, a capability, a protocol, a trait: each with its reason at the end, from one process or more."""
    if options:
        pytest.importorskip("xdist")
    body = """
    class TestMine(Suite):
        @requires(Capability.BANDS)
        async def test_1(self, bench): ...

        @requires(Evicts, Trait.DURABLE)
        async def test_2(self, bench): ...

        @requires(Evicts)
        async def test_3(self, bench): ...

    class TestGlobalConfig(GlobalConfigSuite): ...
    """

    result = run(kit, body, "-k", "test_1 or test_2 or test_3 or values_outlive_a_stop", *options)

    result.assert_outcomes(passed=1, skipped=3, deselected=result.parseoutcomes().get("deselected", 0))
    result.stdout.fnmatch_lines_random(
        [
            "qtasks kit: skipped 1 of TestGlobalConfig: the subject has no global_config",
            "qtasks kit: skipped 1 of TestMine: MemoryBroker does not declare Capability.BANDS",
            "qtasks kit: skipped 1 of TestMine: the subject does not offer data that outlives every object *",
        ]
    )


def test_what_backends_have_is_noted_by_one_process(kit: pytest.Pytester) -> None:
    """Several would write the file one over the other: that is refused before anything runs."""
    pytest.importorskip("xdist")

    result = run(kit, "class TestBroker(BrokerSuite): ...", "--qtasks-features=found.json", "--numprocesses=2")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --qtasks-features: *--numprocesses*"])
    assert not (kit.path / "found.json").exists()

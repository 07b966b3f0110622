"""Group commit: batches without a timer, one answer for each item, bounded buffers, and callers that give up.

The tests run on a loop whose clock jumps to the next timer: seconds cost nothing, and a test that waits for what will
never come fails at once.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qtasks_core.contract import PerItem
from qtasks_core.errors import (
    AlreadyFinal,
    FencedError,
    RefusedError,
    SendRefusedError,
    SendUnknownError,
    UnavailableError,
)
from qtasks_core.group_commit import Backoff, BufferLimits, GroupCommit
from qtasks_core.naming import new_uuid

T = TypeVar("T")
Answers = Mapping[int, Exception | None]

ROOMY = BufferLimits(512, 1 << 20, 10_000, 32 << 20, 30.0)


class _Clock(selectors.SelectSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("everything waits for something that will never come")
        if not ready and timeout:
            self.now += timeout
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.clock = _Clock()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function on a loop that never really waits."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(main())


class Server:
    """What is written to: keeps the batches, answers as told, can be held up.

    Parameters:
        script: What each write does: answers by item, an exception to raise, or None: all is well.
        takes_s: Seconds of each write.
    """

    def __init__(self, *script: Answers | BaseException | None, takes_s: float = 0.001) -> None:
        self.script = list(script)
        self.takes_s = takes_s
        self.batches: list[list[int]] = []
        self.at: list[float] = []
        self.in_flight = 0

    async def write(self, batch: Sequence[int]) -> PerItem:
        self.batches.append(list(batch))
        self.at.append(asyncio.get_running_loop().time())
        self.in_flight += 1
        assert 1 == self.in_flight
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.in_flight -= 1
        step = self.script.pop(0) if self.script else None
        if isinstance(step, BaseException):
            raise step
        return [(step or {}).get(item) for item in batch]


def commit(server: Server | Callable[[Sequence[int]], Awaitable[Any]], **limits: Any) -> GroupCommit[int]:
    """Return a group commit of small numbers."""
    write = server.write if isinstance(server, Server) else server
    return GroupCommit(write, ROOMY._replace(**limits), "numbers")


async def submit(group: GroupCommit[int], *items: int, timeout_s: float = 30.0) -> list[Exception | None]:
    """Let one caller for each item submit it, in this order; return what each got."""

    async def one(item: int) -> Exception | None:
        try:
            await group.submit(item, 1, timeout_s)
        except Exception as error:  # noqa: BLE001  # it is the answer
            return error
        return None

    return await asyncio.gather(*(one(item) for item in items))


def kinds(answers: Sequence[Exception | None]) -> list[type[Exception] | None]:
    return [None if one is None else type(one) for one in answers]


def sized(items: Sequence[int], size: int = 1) -> list[tuple[int, int]]:
    return [(item, size) for item in items]


# ---------------------------------------------------------------- batches


def test_what_arrives_during_a_write_goes_into_the_next_one() -> None:
    """The first item goes alone and at once; what comes while it is written is one batch."""
    server = Server(takes_s=1)

    async def main() -> None:
        group = commit(server)
        first = asyncio.create_task(submit(group, 0))
        await asyncio.sleep(0.5)
        await asyncio.gather(first, submit(group, 1, 2, 3))

    run(main)

    assert [[0], [1, 2, 3]] == server.batches
    assert [0.0, 1.0] == server.at


def test_items_of_one_moment_are_one_batch() -> None:
    """Nothing waits on a timer, but what one turn of the loop submits is written together."""
    server = Server()

    async def main() -> None:
        await submit(commit(server), *range(100))

    run(main)

    assert [list(range(100))] == server.batches
    assert [0.0] == server.at


def test_a_batch_has_at_most_flush_items() -> None:
    """Order is kept from batch to batch."""
    server = Server()

    async def main() -> None:
        await commit(server, flush_items=4).submit_many(sized(range(10)), 30)

    run(main)

    assert [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] == server.batches


def test_a_batch_has_at_most_flush_bytes() -> None:
    """One that is larger than flush_bytes goes alone: it is never stuck."""
    server = Server()

    async def main() -> None:
        await commit(server, flush_bytes=10).submit_many([(0, 6), (1, 4), (2, 1), (3, 50), (4, 9), (5, 2)], 30)

    run(main)

    assert [[0, 1], [2], [3], [4], [5]] == server.batches


def test_drain_waits_for_everything() -> None:
    """After it nothing is left, and later items are written as before."""
    server, answered = Server(takes_s=1), list[Exception | None]()

    async def main() -> None:
        group = commit(server, flush_items=2)
        for item in range(5):
            group.put(item, 1, answered.append)
        assert 5 == len(group)
        await group.drain()
        assert 0 == len(group)
        assert [None] * 5 == answered
        await group.drain()
        assert [None] == await submit(group, 5)

    run(main)

    assert [[0, 1], [2, 3], [4], [5]] == server.batches


# ---------------------------------------------------------------- answers


def test_each_item_gets_its_own_answer() -> None:
    """A refused item is SendRefusedError with the component's words; other answers are raised as they are."""
    answers = {1: RefusedError("no room"), 3: FencedError("gone"), 4: AlreadyFinal("kept")}
    server = Server(answers)

    async def main() -> list[Exception | None]:
        return await submit(commit(server), *range(6))

    got = run(main)

    assert [None, SendRefusedError, None, FencedError, AlreadyFinal, None] == kinds(got)
    assert "no room" == str(got[1])
    assert answers[3] is got[3]


def test_submit_many_answers_in_the_order_of_its_items() -> None:
    """One error or None for each."""
    server = Server({0: RefusedError("a")}, {2: FencedError("b")})

    async def main() -> list[Exception | None]:
        return await commit(server, flush_items=2).submit_many(sized(range(4)), 30)

    assert [SendRefusedError, None, FencedError, None] == kinds(run(main))


def test_submit_many_of_nothing_writes_nothing() -> None:
    """An empty list is an empty answer, at once."""
    server = Server()

    async def main() -> list[Exception | None]:
        return await commit(server).submit_many([], 30)

    assert [] == run(main)
    assert [] == server.batches


def test_what_a_server_that_is_away_did_not_take_is_repeated_in_order() -> None:
    """Per item: what was written is not written again, the rest goes first, before what came meanwhile."""
    server = Server({1: UnavailableError("down"), 2: UnavailableError("down")}, takes_s=1)

    async def main() -> None:
        group = commit(server)
        first = asyncio.create_task(submit(group, 0, 1, 2, 3))
        await asyncio.sleep(0.5)
        assert [None] * 2 == await submit(group, 4, 5)
        assert [None] * 4 == await first

    run(main)

    assert [[0, 1, 2, 3], [1, 2, 4, 5]] == server.batches


@pytest.mark.parametrize("error", [UnavailableError("down"), SendUnknownError("cut")])
def test_a_write_that_raises_repeats_all_of_it_in_order(error: Exception) -> None:
    """Whatever the server says of the whole write is said of each item."""
    server = Server(error, error)

    async def main() -> list[Exception | None]:
        return await commit(server, flush_items=3).submit_many(sized(range(5)), 30)

    assert [None] * 5 == run(main)
    assert [[0, 1, 2], [0, 1, 2], [0, 1, 2], [3, 4]] == server.batches


def test_a_server_that_is_away_is_asked_more_and_more_rarely() -> None:
    """50 ms at first, doubling up to 5 s, each with jitter: at most ten asks in the first half minute."""
    server = Server(*[UnavailableError("down")] * 100)

    async def main() -> None:
        await submit(commit(server), 0)

    run(main)
    waits = [after - before for before, after in zip(server.at, server.at[1:], strict=False)]

    for wait, expected in zip(waits, [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5], strict=False):
        assert expected / 2 <= wait - server.takes_s <= expected
    assert len(server.at) <= 20


def test_after_a_success_the_waits_are_short_again() -> None:
    """Two short outages cost two short waits."""
    down = UnavailableError("down")
    server = Server(down, down, down, None, down)

    async def main() -> None:
        group = commit(server)
        await submit(group, 0)
        await submit(group, 1)

    run(main)

    assert server.at[5] - server.at[4] <= 0.05 + server.takes_s


def test_reset_makes_a_backoff_short_again() -> None:
    """Whoever loops by itself uses the same growing waits."""

    async def main() -> tuple[float, float]:
        backoff, loop = Backoff(longest_s=2), asyncio.get_running_loop()
        for _ in range(20):
            await backoff.wait()
        before = loop.time()
        await backoff.wait()
        longest = loop.time() - before
        backoff.reset()
        before = loop.time()
        await backoff.wait()
        return longest, loop.time() - before

    longest, shortest = run(main)

    assert 1 <= longest <= 2
    assert 0.025 <= shortest <= 0.05


# ---------------------------------------------------------------- time is over


def test_a_server_that_stays_away_is_a_refusal() -> None:
    """The item is certainly not queued, and the caller is told why, soon after its time."""
    server = Server(*[UnavailableError("down")] * 100)

    async def main() -> tuple[list[Exception | None], float]:
        answers = await submit(commit(server), 0, timeout_s=3)
        return answers, asyncio.get_running_loop().time()

    answers, after_s = run(main)

    assert [SendRefusedError] == kinds(answers)
    assert "not queued: down" == str(answers[0])
    assert 3 <= after_s <= 3 + 3.2 + 0.1


def test_a_reply_that_never_came_is_an_unknown() -> None:
    """Once the item may have arrived, later refusals to connect do not make it certain that it has not."""
    server = Server(SendUnknownError("cut"), *[UnavailableError("down")] * 100)

    async def main() -> list[Exception | None]:
        return await submit(commit(server), 0, timeout_s=3)

    answers = run(main)

    assert [SendUnknownError] == kinds(answers)
    assert "it may be queued; last answer: down" == str(answers[0])


def test_without_a_deadline_an_item_is_repeated_until_it_is_answered() -> None:
    """What a worker puts is never given up for a server that is away, however long."""
    server = Server(*[UnavailableError("down"), SendUnknownError("cut")] * 200)
    answered: list[Exception | None] = []

    async def main() -> None:
        group = commit(server)
        group.put(0, 1, answered.append)
        await group.drain()

    run(main)

    assert [None] == answered
    assert 401 == len(server.batches)


def test_a_refusal_after_a_lost_reply_is_no_certainty() -> None:
    """The first write may have arrived, so the caller is not told that the item is certainly not queued."""
    server = Server(SendUnknownError("cut"), {0: RefusedError("full")})

    async def main() -> list[Exception | None]:
        return await submit(commit(server), 0)

    answers = run(main)

    assert [SendUnknownError] == kinds(answers)
    assert "it may be queued; last answer: full" == str(answers[0])


def test_what_a_worker_puts_is_told_of_a_refusal_at_any_time() -> None:
    """Without a deadline the refusal is what counts: the worker then writes something else in its place."""
    server, answered = Server(SendUnknownError("cut"), {0: RefusedError("full")}), list[Exception | None]()

    async def main() -> None:
        group = commit(server)
        group.put(0, 1, answered.append)
        await group.drain()

    run(main)

    assert [SendRefusedError] == kinds(answered)


def test_a_write_that_hangs_is_given_up() -> None:
    """After write_timeout_s its items are repeated; with no time left they are told that they may be queued."""
    server = Server(takes_s=1e9)

    async def main() -> list[Exception | None]:
        return await submit(commit(server, write_timeout_s=2), 0, 1, timeout_s=5)

    answers = run(main)

    assert [SendUnknownError] * 2 == kinds(answers)
    assert "it may be queued; last answer: no answer within 2 s" == str(answers[0])
    assert 1 < len(server.batches)


def test_a_server_that_hangs_holds_nobody_longer_than_its_time_and_one_write() -> None:
    """What waits behind a write that hangs is given up with it when its time is over: not one batch after the other."""
    server = Server(takes_s=1e9)

    async def main() -> tuple[list[Exception | None], float]:
        answers = await commit(server, flush_items=10, write_timeout_s=30).submit_many(sized(range(100)), 30)
        return answers, asyncio.get_running_loop().time()

    answers, after_s = run(main)

    assert [SendUnknownError] * 10 + [SendRefusedError] * 90 == kinds(answers)
    assert "not queued: no answer within 30 s" == str(answers[99])
    assert 30 <= after_s < 31


def test_a_slow_server_refuses_nobody_who_is_served() -> None:
    """Time that passes while the server works is no reason to give up an item that it then takes."""
    server = Server(takes_s=2)

    async def main() -> list[Exception | None]:
        return await commit(server, flush_items=1).submit_many(sized(range(5)), 3)

    assert [None] * 5 == run(main)


# ---------------------------------------------------------------- cancelled callers


def test_a_caller_that_is_cancelled_before_the_write_takes_its_item_back() -> None:
    """It is not written; its batch mates are."""
    server = Server(takes_s=1)

    async def main() -> None:
        group = commit(server)
        first = asyncio.create_task(submit(group, 0))
        await asyncio.sleep(0.001)
        impatient = asyncio.create_task(group.submit(1, 1, 30))
        patient = asyncio.create_task(group.submit(2, 1, 30))
        await asyncio.sleep(0.5)
        impatient.cancel()
        await asyncio.gather(first, patient)
        assert impatient.cancelled()

    run(main)

    assert [[0], [2]] == server.batches


def test_a_caller_that_is_cancelled_during_the_write_cancels_it_for_nobody() -> None:
    """The write goes on, its batch mates are answered."""
    server = Server(takes_s=1)

    async def main() -> None:
        group = commit(server)
        tasks = [asyncio.create_task(group.submit(item, 1, 30)) for item in range(3)]
        await asyncio.sleep(0.5)
        tasks[1].cancel()
        await asyncio.gather(tasks[0], tasks[2])

    run(main)

    assert [[0, 1, 2]] == server.batches


def test_what_a_cancelled_caller_left_in_a_failed_write_is_not_repeated() -> None:
    """Cancelled during a write that then fails: nobody wants that item any more."""
    server = Server(UnavailableError("down"), takes_s=1)

    async def main() -> None:
        group = commit(server)
        tasks = [asyncio.create_task(group.submit(item, 1, 30)) for item in range(3)]
        await asyncio.sleep(0.5)
        tasks[1].cancel()
        await asyncio.gather(tasks[0], tasks[2])

    run(main)

    assert [[0, 1, 2], [0, 2]] == server.batches


def test_a_batch_whose_callers_are_all_gone_is_not_written() -> None:
    """Cancelled items make room, and what follows them is written."""
    server = Server(takes_s=1)

    async def main() -> None:
        group = commit(server, flush_items=2)
        first = asyncio.create_task(submit(group, 0))
        await asyncio.sleep(0.001)
        gone = [asyncio.create_task(group.submit(item, 1, 30)) for item in range(1, 6)]
        last = asyncio.create_task(submit(group, 6))
        await asyncio.sleep(0.5)
        for task in gone:
            task.cancel()
        await asyncio.gather(first, last)

    run(main)

    assert [[0], [6]] == server.batches


def test_a_cancelled_submit_many_takes_back_what_no_write_holds() -> None:
    """As with submit: what is in flight is written, the rest is not."""
    server = Server(takes_s=1)

    async def main() -> None:
        group = commit(server, flush_items=2, buffer_items=4)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await group.submit_many(sized(range(20)), 30)
        await group.drain()
        assert [None] == await submit(group, 20)

    run(main)

    assert [[0, 1], [20]] == server.batches


# ---------------------------------------------------------------- bounded buffers


def test_a_full_buffer_lets_callers_wait_and_wakes_them() -> None:
    """buffer_items wait for the write in flight; the others wait for room, in order, and all are written."""
    server = Server(takes_s=1)

    async def main() -> None:
        group = commit(server, flush_items=2, buffer_items=3)
        callers = asyncio.create_task(submit(group, *range(10)))
        for _ in range(5):
            await asyncio.sleep(0.9)
            assert len(group) <= 3
        assert [None] * 10 == await callers

    run(main)

    assert list(range(10)) == [item for batch in server.batches for item in batch]


def test_a_buffer_is_full_by_bytes_too() -> None:
    """Large items wait for room long before buffer_items of them are there."""
    server, most = Server(takes_s=1), 0

    async def main() -> None:
        nonlocal most
        group = commit(server, flush_bytes=100, buffer_bytes=250)
        callers = [asyncio.create_task(group.submit(item, 100, 30)) for item in range(10)]
        while not all(task.done() for task in callers):
            await asyncio.sleep(0.1)
            most = max(most, len(group))

    run(main)

    assert 3 == most
    assert [[item] for item in range(10)] == server.batches


def test_a_list_far_larger_than_the_buffer_is_written() -> None:
    """submit_many feeds the buffer as it empties; every item is written once, in order."""
    server, most = Server(), 0

    async def main() -> list[Exception | None]:
        nonlocal most
        group = commit(server, flush_items=10, buffer_items=25)
        writing = asyncio.create_task(group.submit_many(sized(range(1000)), 30))
        while not writing.done():
            await asyncio.sleep(0.0005)
            most = max(most, len(group))
        return await writing

    assert [None] * 1000 == run(main)
    assert list(range(1000)) == [item for batch in server.batches for item in batch]
    assert most <= 25


def test_a_list_larger_than_the_buffer_is_refused_item_by_item_when_the_server_is_away() -> None:
    """Each item that found no room in time says so; those that waited for the server say what it said."""
    server = Server(*[UnavailableError("down")] * 1000)

    async def main() -> list[Exception | None]:
        return await commit(server, flush_items=2, buffer_items=5).submit_many(sized(range(8)), 1)

    answers = run(main)

    assert [SendRefusedError] * 8 == kinds(answers)
    assert "not queued: down" == str(answers[0])
    assert (
        "the buffer of numbers was full (buffer_items 5, buffer_bytes 33554432) for the whole send_timeout: "
        "the server is away or too slow"
    ) == str(answers[7])


def test_a_caller_that_finds_no_room_in_time_is_refused() -> None:
    """The message names both bounds; nothing of it is ever written."""
    server = Server(takes_s=10)

    async def main() -> None:
        group = commit(server, flush_items=1, buffer_items=1)
        first = asyncio.create_task(submit(group, 0))
        await asyncio.sleep(0.001)
        second = asyncio.create_task(submit(group, 1))
        await asyncio.sleep(0.001)
        with pytest.raises(SendRefusedError, match=r"the buffer of numbers was full \(buffer_items 1, buffer_bytes"):
            await group.submit(2, 1, 5)
        await asyncio.gather(first, second)

    run(main)

    assert [[0], [1]] == server.batches


def test_a_waiter_for_room_that_is_cancelled_holds_up_nobody() -> None:
    """Let in and cancelled in the same moment: the next in line has the place, though nothing else happens."""
    server = Server(takes_s=1)

    async def main() -> None:
        group = commit(server, flush_items=1, buffer_items=1)
        tasks = [asyncio.create_task(group.submit(item, 1, 1e6)) for item in range(4)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        server_has_first = [[0]] == server.batches
        assert server_has_first
        tasks[1].cancel()  # it has just been let in, and does not know yet
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(answers[1], asyncio.CancelledError)
        assert [None] * 3 == [answers[0], *answers[2:]]

    run(main)


def test_callers_that_come_again_and_again_starve_nobody() -> None:
    """Twice as many busy callers as there is room: each gets its turn, as often as the others."""
    server = Server()
    done = [0] * 40

    async def main() -> None:
        group = commit(server, flush_items=10, buffer_items=20)

        async def busy(index: int) -> None:
            while True:
                await group.submit(index, 1, 1e6)
                done[index] += 1

        callers = [asyncio.create_task(busy(index)) for index in range(40)]
        await asyncio.sleep(1)
        for caller in callers:
            caller.cancel()

    run(main)

    assert 100 <= min(done)
    assert max(done) <= min(done) + 2


# ---------------------------------------------------------------- faults of components


def test_one_bad_item_fails_no_other() -> None:
    """A component raises for a whole batch because of one item: each is written alone, one caller gets the error."""

    async def write(batch: Sequence[int]) -> PerItem:
        if 2 in batch:
            raise ValueError("cannot encode 2")
        written.extend(batch)
        return [None] * len(batch)

    written: list[int] = []

    async def main() -> list[Exception | None]:
        return await submit(commit(write), *range(5))

    answers = run(main)

    assert [None, None, ValueError, None, None] == kinds(answers)
    assert [0, 1, 3, 4] == written


def test_a_server_that_goes_away_while_items_are_written_alone_is_waited_for() -> None:
    """The way out for bad items answers each by itself, so what was written before is not written again."""
    server = Server(ValueError("odd"), None, UnavailableError("down"))

    async def main() -> list[Exception | None]:
        return await submit(commit(server), 0, 1, 2)

    assert [None] * 3 == run(main)
    assert [[0, 1, 2], [0], [1], [2], [1]] == server.batches


def test_an_outage_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Not at each repetition; a later outage is another one."""
    away = UnavailableError("no space")
    server = Server(away, away, away, None, {1: away}, None)

    async def main() -> None:
        group = commit(server)
        await submit(group, 0)
        await submit(group, 1, 2)

    run(main)
    assert ["numbers cannot be written: no space; trying again"] * 2 == caplog.messages


@pytest.mark.parametrize("answer", [[], [None], [None] * 3, None, 5, iter([None, None])])
def test_a_wrong_count_of_answers_is_no_answer(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody knows which answer is whose: the items are repeated, the fault is logged; nobody waits for ever."""
    answers = [answer]

    async def write(batch: Sequence[int]) -> Any:
        return answers.pop() if answers else [None] * len(batch)

    async def main() -> list[Exception | None]:
        return await submit(commit(write), 0, 1)

    assert [None, None] == run(main)
    assert "answers for 2 items: a fault of the component" in caplog.text


def test_a_component_that_never_counts_right_is_an_unknown_in_the_end() -> None:
    """The caller is told that the item may be queued, and why."""

    async def write(batch: Sequence[int]) -> PerItem:
        return []

    async def main() -> list[Exception | None]:
        return await submit(commit(write), 0, timeout_s=2)

    answers = run(main)

    assert [SendUnknownError] == kinds(answers)
    assert "it may be queued; last answer: the component lost count of its answers" == str(answers[0])


def test_a_component_that_cancels_itself_is_no_stop() -> None:
    """A connection that cancels its own futures when it breaks: the write is repeated."""
    server = Server(asyncio.CancelledError())

    async def main() -> list[Exception | None]:
        return await submit(commit(server), 0, 1)

    assert [None, None] == run(main)
    assert [[0, 1], [0, 1]] == server.batches


# ---------------------------------------------------------------- close


def test_close_tells_what_may_be_queued_from_what_is_not() -> None:
    """In flight: perhaps. In the buffer, waiting for room, and whoever comes later: certainly not."""
    server = Server(takes_s=100)

    async def main() -> list[Exception | None]:
        group = commit(server, flush_items=2, buffer_items=2)
        callers = asyncio.create_task(submit(group, *range(6)))
        await asyncio.sleep(1)
        await group.close()
        answers = [*await callers, *await submit(group, 6), *await group.submit_many(sized([7]), 30)]
        group.put(8, 1, answers.append)
        await group.drain()
        await group.close()
        return answers

    answers = run(main)

    assert [SendUnknownError] * 2 + [SendRefusedError] * 7 == kinds(answers)
    assert "it may be queued; last answer: the app was stopped" == str(answers[0])
    assert "not queued: the app was stopped" == str(answers[2])
    assert "the app was stopped" in str(answers[4])
    assert "the app was stopped" in str(answers[6])
    assert [[0, 1]] == server.batches


def test_close_while_items_are_written_alone_answers_all_of_them() -> None:
    """In the way out for bad items too, each caller gets an answer when the app stops."""
    server = Server(ValueError("odd"), takes_s=1)

    async def main() -> list[Exception | None]:
        group = commit(server)
        callers = asyncio.create_task(submit(group, *range(4)))
        await asyncio.sleep(2.5)
        await group.close()
        return await callers

    assert [SendUnknownError] * 4 == kinds(run(main))
    assert [[0, 1, 2, 3], [0], [1]] == server.batches


def test_close_while_a_server_is_away_answers_what_waits() -> None:
    """Nothing was taken, so everything is certainly not queued."""
    server = Server(*[UnavailableError("down")] * 100)

    async def main() -> list[Exception | None]:
        group = commit(server)
        callers = asyncio.create_task(submit(group, 0, 1, timeout_s=1e6))
        await asyncio.sleep(60)
        await group.close()
        return await callers

    assert [SendRefusedError] * 2 == kinds(run(main))


def test_close_before_the_first_write_began_answers_it() -> None:
    """Put and closed in one turn of the loop: the answer comes, and a drain after it ends."""
    server, answered = Server(), list[Exception | None]()

    async def main() -> None:
        group = commit(server)
        group.put(0, 1, answered.append)
        await group.close()
        await group.drain()

    run(main)

    assert [SendRefusedError] == kinds(answered)
    assert [] == server.batches


def test_close_of_an_idle_one_does_nothing() -> None:
    """Nothing was written, nothing is waited for."""

    async def main() -> float:
        await commit(Server()).close()
        return asyncio.get_running_loop().time()

    assert 0.0 == run(main)


# ---------------------------------------------------------------- any order of events

STEPS = st.sampled_from(["ok", "away", "cut", "lost reply", "hangs"])
LIMITS: st.SearchStrategy[dict[str, int]] = st.builds(
    dict,
    flush_items=st.integers(1, 5),
    flush_bytes=st.integers(1, 12),
    buffer_items=st.integers(1, 8),
    buffer_bytes=st.integers(1, 20),
)


@settings(max_examples=150, deadline=None)
@given(script=st.lists(STEPS, max_size=12), limits=LIMITS, sizes=st.lists(st.integers(0, 6), max_size=30))
def test_order_is_kept_and_each_is_answered_once(script: list[str], limits: dict[str, Any], sizes: list[int]) -> None:
    """Whatever happens to whole writes, a single caller's items arrive first in the order they were submitted in."""
    left, arrived, again = list(script), list[int](), set[int]()

    async def write(batch: Sequence[int]) -> PerItem:
        assert batch
        assert len(batch) <= limits["flush_items"]
        step = left.pop(0) if left else "ok"
        await asyncio.sleep(0.01)
        if step == "away":
            raise UnavailableError("down")
        if step == "cut":
            return [SendUnknownError("cut")] * len(batch)
        arrived.extend(item for item in batch if item not in again)
        again.update(batch)
        if step == "lost reply":
            raise SendUnknownError("no reply")
        if step == "hangs":
            await asyncio.sleep(1e6)
        return [None] * len(batch)

    async def main() -> list[Exception | None]:
        group = commit(write, **limits)
        return await group.submit_many(list(enumerate(sizes)), 1e9)

    assert [None] * len(sizes) == run(main)
    assert list(range(len(sizes))) == arrived


class _Chaos:
    """A server that does with each write and each item what its lists say, and remembers which items it has."""

    def __init__(self, wholes: list[str], items: list[str], poison: set[int]) -> None:
        self.wholes = list(wholes)
        self.items = list(items)
        self.poison = poison
        self.has: set[int] = set()
        """What is there, as a server knows it; a client may never learn it."""
        self.is_writing = False

    async def write(self, batch: Sequence[int]) -> PerItem:
        assert not self.is_writing
        assert len(set(batch)) == len(batch)
        self.is_writing = True
        try:
            return await self._write(batch)
        finally:
            self.is_writing = False

    async def _write(self, batch: Sequence[int]) -> PerItem:
        whole = self.wholes.pop() if self.wholes else "ok"
        await asyncio.sleep(0.05)
        if whole == "away":
            raise UnavailableError("down")
        if self.poison & set(batch):
            raise ValueError("poison")
        if whole == "hangs":
            await asyncio.sleep(1e9)
        return [self._take(item) for item in batch]

    def _take(self, item: int) -> Exception | None:
        kind = self.items.pop() if self.items else "ok"
        if kind == "away":
            return UnavailableError("down")
        if kind == "refused":
            return RefusedError("never")
        if kind != "unknown, not there":
            self.has.add(item)
        return SendUnknownError("cut") if kind.startswith("unknown") else None


CALLERS = st.lists(
    st.tuples(
        st.floats(0, 2),  # when it submits
        st.integers(0, 6),  # bytes
        st.sampled_from([0.0, 0.3, 5.0, 100.0]),  # its timeout
        st.none() | st.floats(0, 2),  # when it is cancelled
    ),
    max_size=20,
)


@settings(max_examples=200, deadline=None)
@given(
    chaos=st.builds(
        _Chaos,
        wholes=st.lists(st.sampled_from(["ok", "ok", "ok", "away", "hangs"]), max_size=15),
        items=st.lists(st.sampled_from(["ok", "away", "refused", "unknown, there", "unknown, not there"]), max_size=30),
        poison=st.sets(st.integers(0, 19), max_size=2),
    ),
    callers=CALLERS,
    limits=LIMITS,
    closes=st.none() | st.floats(0, 3),
)
def test_every_answer_is_true_in_any_order_of_events(
    chaos: _Chaos,
    callers: list[tuple[float, int, float, float | None]],
    limits: dict[str, Any],
    closes: float | None,
) -> None:
    """Success: it is there. Refused: it is not. Each is answered, whoever else fails, gives up, or stops the app."""

    async def main() -> list[Any]:
        group = commit(chaos.write, write_timeout_s=1.0, **limits)

        async def call(index: int, at: float, size: int, timeout_s: float) -> None:
            await asyncio.sleep(at)
            await group.submit(index, size, timeout_s)

        loop = asyncio.get_running_loop()
        tasks = []
        for index, (at, size, timeout_s, cancelled) in enumerate(callers):
            tasks.append(asyncio.create_task(call(index, at, size, timeout_s)))
            if cancelled is not None:
                loop.call_later(cancelled, tasks[-1].cancel)
        if closes is not None:
            await asyncio.sleep(closes)
            await group.close()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        await group.drain()
        assert 0 == len(group)
        return answers

    for index, answer in enumerate(run(main)):
        if answer is None:
            assert index in chaos.has
        elif isinstance(answer, SendRefusedError):
            assert index not in chaos.has
        elif isinstance(answer, ValueError):
            assert index in chaos.poison
        else:
            assert isinstance(answer, (SendUnknownError, asyncio.CancelledError))


def test_a_uuid_answer_is_handed_on_as_it_is() -> None:
    """AlreadyExists carries the uuid that is there; group commit does not look into it."""
    from qtasks_core.errors import AlreadyExists

    there = AlreadyExists(new_uuid())
    server = Server({0: there})

    async def main() -> list[Exception | None]:
        return await submit(commit(server), 0)

    assert [there] == run(main)

"""The broker of memory://: what its suites in the kit do not ask of every broker."""

from __future__ import annotations

import logging

import pytest

from qtasks_core.config import QueueConfig
from qtasks_core.contract import (
    Broker,
    Cancels,
    Capability,
    Dead,
    Delivery,
    Depth,
    Envelope,
    Evicts,
    FusedBroker,
    Inspectable,
    Release,
    Retry,
)
from qtasks_core.errors import AlreadyExists, AlreadyFinal, ConfigError, FencedError, RefusedError
from qtasks_core.memory import MemoryBroker, MemoryServer, MemoryStorage
from qtasks_testing import eventually
from qtasks_testing.kit import KitContext
from qtasks_testing.kit.samples import envelope, envelope_of, envelopes, final, next_attempt, outcome, record, uuids_of

URL = "memory://"


@pytest.fixture
def context() -> KitContext:
    return KitContext(config=QueueConfig(max_message_bytes=1000, dead_letter_max=3))


@pytest.fixture
def broker(context: KitContext) -> MemoryBroker:
    return MemoryBroker(URL, context)


@pytest.fixture
def storage(context: KitContext) -> MemoryStorage:
    return MemoryStorage(URL, context)


async def subscribed(
    context: KitContext, worker: str = "w1", queues: tuple[str, ...] = ("default",)
) -> tuple[MemoryBroker, list[Delivery]]:
    """Return a worker's broker, and what it is told to have lost."""
    lost: list[Delivery] = []
    broker = MemoryBroker(URL, context.seen_by(worker))
    await broker.subscribe(queues, worker, 100, lost.extend)
    return broker, lost


# ---------------------------------------------------------------- what it is


def test_it_has_every_ability(broker: MemoryBroker) -> None:
    """The reference implementation emulates nothing and leaves nothing out."""
    protocols = [Broker, FusedBroker, Evicts, Inspectable, Cancels]

    assert [True] * 5 == [isinstance(broker, protocol) for protocol in protocols]
    assert broker.capabilities == ~Capability.BANDS & Capability(63)


@pytest.mark.parametrize(
    "url", ["redis://", "memory", "memory:///path", "memory://a/b", "memory://?x=1", "memory://#x"]
)
def test_a_wrong_url_is_refused(context: KitContext, url: str) -> None:
    """The error says what was expected, and what came."""
    with pytest.raises(ConfigError, match=r"^url: expected memory:// or memory://NAME, got "):
        MemoryBroker(url, context)


async def test_two_names_are_two_servers(context: KitContext) -> None:
    """What is sent to one is not in the other; a name again is the same server."""
    one, other, same = (MemoryBroker(url, context) for url in ("memory://one", "memory://other", "memory://one"))
    await one.send([envelope()])

    assert 1 == (await same.depth("default")).ready
    assert 0 == (await other.depth("default")).ready


def test_it_fuses_with_its_own_server_only(context: KitContext, broker: MemoryBroker) -> None:
    """Another name is another server, and so is another app's."""
    assert broker.fuses(MemoryStorage(URL, context))
    assert not broker.fuses(MemoryStorage("memory://other", context))
    assert not broker.fuses(MemoryStorage(URL, KitContext()))


async def test_receive_wants_a_subscription_and_room(broker: MemoryBroker) -> None:
    """A call that could never return is an error, not a hang."""
    with pytest.raises(RuntimeError, match="subscribe"):
        await broker.receive(1)
    with pytest.raises(ValueError, match="limit: expected 1 or more, got 0"):
        await broker.receive(0)


# ---------------------------------------------------------------- order


async def test_a_release_takes_its_old_place(context: KitContext) -> None:
    """What was given back is older than what waits, also when it rests a while."""
    broker, _ = await subscribed(context)
    first, second, third = envelopes(3)
    await broker.send([first, second, third])
    one, two = await broker.receive(2)

    await broker.settle([outcome(two, Release()), outcome(one, Release(delay_s=5))])
    context.advance(5)

    assert [first.uuid, second.uuid, third.uuid] == uuids_of(await broker.receive(10))


async def test_what_is_due_is_as_old_as_its_due_time(context: KitContext) -> None:
    """A delayed message stands behind what was ready before it was due, and before what came later."""
    broker, _ = await subscribed(context)
    delayed = envelope(delay_s=10)
    before, after = envelopes(2)
    await broker.send([delayed])
    context.advance(5)
    await broker.send([before])
    context.advance(6)
    await broker.send([after])

    assert [before.uuid, delayed.uuid, after.uuid] == uuids_of(await broker.receive(10))


async def test_a_time_in_the_past_does_not_jump_the_queue(context: KitContext) -> None:
    """It is ready now, not since then."""
    broker, _ = await subscribed(context)
    plain, past = envelope(), envelope(due_at=1.0)
    await broker.send([plain, past])

    assert [plain.uuid, past.uuid] == uuids_of(await broker.receive(10))


async def test_a_delay_becomes_a_due_time(context: KitContext) -> None:
    """A worker that sends the envelope again does not delay it again."""
    broker, _ = await subscribed(context)
    await broker.send([envelope(delay_s=10)])
    sent_at = context.clock()
    context.advance(11)

    (delivery,) = await broker.receive(1)

    assert 0.0 == envelope_of(delivery).delay_s
    assert sent_at + 10 == pytest.approx(envelope_of(delivery).due_at, abs=1)


async def test_what_was_taken_over_goes_to_the_front_of_its_priority(context: KitContext) -> None:
    """Also before what is older, but it is not more urgent than it was."""
    broker, _ = await subscribed(context)
    other, _ = await subscribed(context, "w2")
    old, held, urgent = envelope(), envelope(), envelope(priority=-1)
    await broker.send([old, held])
    (given_back,) = await other.receive(1)
    await broker.receive(1)
    await other.settle([outcome(given_back, Release())])
    await broker.send([urgent])

    assert 1 == await other.evict("w1")

    assert [urgent.uuid, held.uuid, old.uuid] == uuids_of(await other.receive(10))


# ---------------------------------------------------------------- sending


@pytest.mark.parametrize("state", ["ready", "delayed", "running", "final", "dead"])
async def test_a_uuid_that_is_there_is_not_sent_again(context: KitContext, state: str) -> None:
    """Whatever became of it, the answer carries the uuid that is there."""
    broker, _ = await subscribed(context)
    sent = envelope(delay_s=9.0 if state == "delayed" else 0.0)
    await broker.add_and_send([(record(sent), sent)])
    if state in {"running", "final", "dead"}:
        (delivery,) = await broker.receive(1)
        if state == "final":
            await broker.finish_and_settle([outcome(delivery, record=final(sent))])
        if state == "dead":
            await broker.settle([outcome(delivery, Dead("boom"))])

    (answer,) = await broker.send([sent])

    assert isinstance(answer, AlreadyExists)
    assert sent.uuid == answer.uuid


async def test_what_was_acknowledged_without_a_record_is_forgotten(context: KitContext) -> None:
    """Nothing is left that could tell a repetition."""
    broker, _ = await subscribed(context)
    sent = envelope()
    await broker.send([sent])
    await broker.settle([outcome((await broker.receive(1))[0])])

    assert {} == broker.server.ledger.tasks
    assert [None] == await broker.send([sent])


async def test_a_higher_replays_takes_the_place_of_a_dead_letter(context: KitContext, storage: MemoryStorage) -> None:
    """A message sent again by other means than replay() leaves no second copy among the dead."""
    broker, _ = await subscribed(context)
    sent = envelope()
    await broker.add_and_send([(record(sent), sent)])
    (delivery,) = await broker.receive(1)
    await broker.finish_and_settle([outcome(delivery, Dead("x"), final(sent, "dead", dead_lettered=True))])

    again = envelope(uuid=sent.uuid, replays=1)

    assert [None] == await broker.send([again])
    assert Depth(1, 0, 0, 0) == await broker.depth("default")
    (found,) = await storage.get([sent.uuid])
    assert found is not None
    assert ("new", 1, None, False) == (found.status, found.replays, found.result, found.dead_lettered)


# ---------------------------------------------------------------- settling


async def test_a_delivery_without_a_life_is_fenced(context: KitContext) -> None:
    """Settled before, given back by stop(), or cleared: nothing of the item is applied."""
    broker, lost = await subscribed(context)
    await broker.send(envelopes(3))
    settled, cleared, stopped = await broker.receive(3)
    follow_up = envelope()
    await broker.settle([outcome(settled)])
    await broker.settle([outcome(stopped, Release())])
    await broker.clear()

    answers = await broker.settle(
        [outcome(delivery, sends=[(None, follow_up)]) for delivery in (settled, stopped, cleared)]
    )

    assert [FencedError] * 3 == [type(answer) for answer in answers]
    assert Depth(0, 0, 0, 0) == await broker.depth("default")
    await eventually(lambda: lost == [cleared])


async def test_a_stop_gives_back_uncharged(context: KitContext) -> None:
    """What was held goes to its old place, is no crash and no suspect; the old handle settles nothing."""
    broker, lost = await subscribed(context)
    other, _ = await subscribed(context, "w2")
    first, second = envelopes(2)
    await broker.send([first])
    (held,) = await broker.receive(1)
    await broker.send([second])

    await broker.stop()

    again, _ = await other.receive(2)
    assert (first.uuid, 0, False) == (envelope_of(again).uuid, again.crashes, again.suspect)
    assert [FencedError] == [type(answer) for answer in await other.settle([outcome(held)])]
    assert [] == lost


async def test_the_same_name_elsewhere_ends_the_life_of_the_first(context: KitContext) -> None:
    """A worker that died without a word and came back finds what it held, charged."""
    broker, lost = await subscribed(context)
    await broker.send([envelope()])
    (held,) = await broker.receive(1)

    again, _ = await subscribed(context)

    (delivery,) = await again.receive(1)
    assert (1, True) == (delivery.crashes, delivery.suspect)
    await eventually(lambda: lost == [held])


async def test_crashes_go_on_in_the_envelope(context: KitContext) -> None:
    """A retry counts from what its envelope says; a release forgets nothing."""
    broker, _ = await subscribed(context)
    await broker.send([envelope(crashes=2)])
    for _ in range(2):
        await broker.receive(1)
        await broker.evict("w1")
    (delivery,) = await broker.receive(1)
    await broker.settle([outcome(delivery, Release())])
    (released,) = await broker.receive(1)

    await broker.settle([outcome(released, Retry(next_attempt(released, crashes=released.crashes)))])

    (retried,) = await broker.receive(1)
    assert [(4, True), (4, True), (4, False)] == [(one.crashes, one.suspect) for one in (delivery, released, retried)]


async def test_what_is_final_does_not_run_again(context: KitContext, storage: MemoryStorage) -> None:
    """The retry and the release of a run whose task has ended otherwise are its end; its follow-ups do not count."""
    broker, _ = await subscribed(context)
    sent = envelopes(2)
    await broker.add_and_send([(record(one), one) for one in sent])
    one, two = await broker.receive(2)
    await storage.finish([final(each) for each in sent])

    answers = await broker.finish_and_settle(
        [
            outcome(one, Retry(next_attempt(one)), record(sent[0], "retry"), [(None, envelope())]),
            outcome(two, Release()),
        ]
    )

    assert [AlreadyFinal, type(None)] == [type(answer) for answer in answers]
    assert Depth(0, 0, 0, 0) == await broker.depth("default")


async def test_the_message_of_a_final_task_is_a_suspect(context: KitContext, storage: MemoryStorage) -> None:
    """A finish whose settle never came: the next worker asks mark() before it runs it."""
    broker, _ = await subscribed(context)
    sent = envelope()
    await broker.send([sent])
    await storage.finish([final(sent)])

    (delivery,) = await broker.receive(1)

    assert (0, True) == (delivery.crashes, delivery.suspect)
    (found,) = await storage.mark([record(sent, "process")])
    assert found is not None
    assert "success" == found.status


async def test_an_outcome_that_is_too_large_applies_nothing(context: KitContext, storage: MemoryStorage) -> None:
    """Neither follow-ups nor record nor verdict: the worker may settle it otherwise."""
    broker, _ = await subscribed(context)
    sent = envelope()
    await broker.add_and_send([(record(sent), sent)])
    (delivery,) = await broker.receive(1)
    small, large = envelope(), envelope(body=bytes(1001))

    answers = await broker.finish_and_settle(
        [
            outcome(delivery, record=final(sent), sends=[(None, small), (None, large)]),
            outcome(delivery, record=final(sent, result=bytes(1001)), sends=[(None, small)]),
        ]
    )

    assert [RefusedError, RefusedError] == [type(answer) for answer in answers]
    assert Depth(0, 0, 1, 0) == await broker.depth("default")
    (found,) = await storage.get([sent.uuid])
    assert found is not None
    assert "process" == found.status


async def test_a_successor_may_take_over_the_unique_key(context: KitContext) -> None:
    """The final record frees the key before the follow-ups are sent."""
    broker, _ = await subscribed(context)
    sent, successor = envelopes(2, unique_key="tick")
    await broker.add_and_send([(record(sent), sent)])
    (delivery,) = await broker.receive(1)

    await broker.finish_and_settle([outcome(delivery, record=final(sent), sends=[(record(successor), successor)])])

    assert [successor.uuid] == uuids_of(await broker.receive(10))


# ---------------------------------------------------------------- dead letters


async def bury(broker: MemoryBroker, sent: list[Envelope]) -> None:
    await broker.send(sent)
    await broker.settle([outcome(delivery, Dead("boom")) for delivery in await broker.receive(100)])


async def test_dead_letters_are_bounded(context: KitContext, caplog: pytest.LogCaptureFixture) -> None:
    """The oldest is dropped, and that is said once a second at most."""
    broker, _ = await subscribed(context)
    sent = envelopes(6)
    with caplog.at_level(logging.WARNING):
        await bury(broker, sent[:4])
        await bury(broker, sent[4:])
        await eventually(lambda: caplog.messages)

    assert [one.uuid for one in sent[3:]] == [one.uuid async for _, one, _ in broker.peek("default", dead=True)]
    assert ["queue 'default' is full of dead letters (3): the oldest is dropped"] == caplog.messages
    assert 3 == len(broker.server.ledger.tasks)


async def test_dead_letters_are_replayed_in_their_order(context: KitContext) -> None:
    """The oldest runs first again; unknown cursors and those of other queues are passed over."""
    broker, _ = await subscribed(context)
    sent = envelopes(3)
    await bury(broker, sent)
    cursors = [cursor async for cursor, _, _ in broker.peek("default", dead=True)]

    assert 0 == await broker.replay("other", lambda one: one, cursors)
    assert 2 == await broker.replay("default", lambda one: one, [cursors[1], "999", cursors[0], cursors[1]])

    assert [sent[1].uuid, sent[0].uuid] == uuids_of(await broker.receive(10))
    assert Depth(0, 0, 2, 1) == await broker.depth("default")


async def test_rewriting_may_use_the_broker(context: KitContext) -> None:
    """Foreign code is never called in the midst of a step."""
    broker, _ = await subscribed(context)
    await bury(broker, envelopes(1))

    def rewrite(one: Envelope) -> Envelope:
        broker.server.touch()
        return one

    assert 1 == await broker.replay("default", rewrite)


# ---------------------------------------------------------------- looking and removing


async def test_peek_shows_the_order_of_taking(context: KitContext) -> None:
    """First what is ready, then what is delayed; a cursor is a place, also when what stood there has gone."""
    broker, _ = await subscribed(context)
    late, plain, urgent, later = envelope(delay_s=5), envelope(), envelope(priority=-1), envelope(delay_s=9)
    await broker.send([later, late, plain, urgent])
    seen = [(cursor, one.uuid) async for cursor, one, _ in broker.peek("default")]

    await broker.cancel([plain.uuid], "not needed")
    rest = [one.uuid async for _, one, _ in broker.peek("default", after=seen[1][0])]

    assert [urgent.uuid, plain.uuid, late.uuid, later.uuid] == [uuid for _, uuid in seen]
    assert [late.uuid, later.uuid] == rest


async def test_purge_forgets_what_waits(context: KitContext, storage: MemoryStorage) -> None:
    """The message was the record, so nothing is known of the task any more; what runs is not touched."""
    broker, _ = await subscribed(context)
    running, ready, delayed, kept = envelope(), envelope(), envelope(delay_s=5), envelope(delay_s=6)
    await broker.add_and_send([(record(running), running)])
    await broker.receive(1)
    await broker.add_and_send([(record(one), one) for one in (ready, delayed, kept)])
    cursors = [cursor async for cursor, _, _ in broker.peek("default")]

    assert 2 == await broker.purge("default", cursors=[*cursors[:2], cursors[0], "1:2:3"])

    assert Depth(0, 1, 1, 0) == await broker.depth("default")
    found = await storage.get([ready.uuid, delayed.uuid])
    assert [None, None] == list(found)


async def test_a_cancelled_task_leaves_the_line(context: KitContext, storage: MemoryStorage) -> None:
    """Ready or delayed: it is counted no more, its record says why, its body is kept with that."""
    broker, _ = await subscribed(context)
    ready, delayed, running = envelope(), envelope(delay_s=5), envelope(priority=-1)
    await broker.add_and_send([(record(one), one) for one in (ready, delayed, running)])
    await broker.receive(1)

    assert [True, True, None] == await broker.cancel([ready.uuid, delayed.uuid, running.uuid], "not needed")
    assert [False, None] == await broker.cancel([ready.uuid, envelope().uuid], "again")

    assert Depth(0, 0, 1, 0) == await broker.depth("default")
    (found,) = await storage.get([delayed.uuid])
    assert found is not None
    assert ("cancel", "not needed", delayed.body) == (found.status, found.reason, found.body)
    assert found.finished_at == pytest.approx(context.clock(), abs=5)


async def test_clear_forgets_what_only_a_message_knew(context: KitContext, storage: MemoryStorage) -> None:
    """Final records are the storage's, and stay."""
    broker, _ = await subscribed(context)
    sent, ended = envelopes(2)
    await broker.add_and_send([(record(sent), sent)])
    await storage.finish([final(ended)])

    await broker.clear()

    assert [ended.uuid] == [one.uuid async for one in storage.scan()]


def test_a_server_is_made_once(context: KitContext, broker: MemoryBroker) -> None:
    """All components of an app find the same one, whatever they are."""
    assert broker.server is MemoryServer.shared(URL, context)
    assert broker.server is MemoryStorage(URL, context.seen_by("w9")).server

"""The storage of memory://: what its suites in the kit do not ask of every storage."""

from __future__ import annotations

import asyncio

import pytest

from qtasks_core.config import QueueConfig
from qtasks_core.contract import Dead, Event, Release, Retry, Storage, TaskRecord
from qtasks_core.errors import AlreadyExists, AlreadyFinal, RefusedError, ResultExpiredError
from qtasks_core.memory import MemoryBroker, MemoryStorage
from qtasks_core.naming import new_uuid
from qtasks_testing.kit import KitContext
from qtasks_testing.kit.samples import envelope, envelopes, final, next_attempt, outcome, record

URL = "memory://"


@pytest.fixture
def context() -> KitContext:
    return KitContext(config=QueueConfig(max_message_bytes=1000, result_ttl=100.0))


@pytest.fixture
async def broker(context: KitContext) -> MemoryBroker:
    broker = MemoryBroker(URL, context.seen_by("w1"))
    await broker.subscribe(["default"], "w1", 10, lambda _: None)
    return broker


@pytest.fixture
def storage(context: KitContext) -> MemoryStorage:
    return MemoryStorage(URL, context)


async def one(storage: MemoryStorage, of: TaskRecord) -> TaskRecord:
    (found,) = await storage.get([of.uuid])
    assert found is not None
    return found


def test_it_is_a_full_storage(storage: MemoryStorage) -> None:
    """Waiters wait at the server, so there is no mailbox to answer to."""
    assert isinstance(storage, Storage)
    assert storage.address is None


# ---------------------------------------------------------------- the message is the record


async def test_a_message_without_a_record_is_one(broker: MemoryBroker, storage: MemoryStorage) -> None:
    """All that the envelope knows is there; the name of the task is in the body."""
    sent = envelope(priority=3, created_at=7.0, unique_key="k", reply_to="somewhere", replays=2)
    await broker.send([sent])

    expected = record(sent, task_name="", created_at=7.0)

    assert [expected] == list(await storage.get([sent.uuid]))


async def test_the_status_follows_the_message(
    context: KitContext, broker: MemoryBroker, storage: MemoryStorage
) -> None:
    """New, running by whom and since when, given back, waiting for a further attempt, parked: nobody wrote it."""
    task = record(envelope())
    await broker.add_and_send([(task, envelope(uuid=task.uuid))])
    seen = [await one(storage, task)]
    (delivery,) = await broker.receive(1)
    seen.append(await one(storage, task))
    await broker.settle([outcome(delivery, Release())])
    seen.append(await one(storage, task))
    (delivery,) = await broker.receive(1)
    await broker.finish_and_settle([outcome(delivery, Retry(next_attempt(delivery, delay_s=5)), record=None)])
    seen.append(await one(storage, task))
    context.advance(6)
    (delivery,) = await broker.receive(1)
    seen.append(await one(storage, task))

    assert ["new", "process", "new", "retry", "process"] == [found.status for found in seen]
    assert [None, "w1", None, None, "w1"] == [found.worker for found in seen]
    assert [1, 1, 1, 2, 2] == [found.attempt for found in seen]
    assert [False, True, False, False, True] == [found.started_at is not None for found in seen]


async def test_a_mark_belongs_to_its_run(context: KitContext, broker: MemoryBroker, storage: MemoryStorage) -> None:
    """Its start and progress are told while that run goes on; a later run began later."""
    sent = envelope()
    await broker.add_and_send([(record(sent), sent)])
    await broker.receive(1)
    began = context.clock() + 1
    await storage.mark([record(sent, "process", started_at=began, progress=b"half")])
    marked = await one(storage, record(sent))
    await broker.evict("w1")
    context.advance(10)
    await broker.receive(1)
    again = await one(storage, record(sent))

    assert (began, b"half") == (marked.started_at, marked.progress)
    assert again.started_at is not None
    assert again.started_at > began


async def test_records_are_copies(broker: MemoryBroker, storage: MemoryStorage) -> None:
    """What a caller does to its own object changes nothing on the server."""
    sent = envelope()
    given, ended = record(sent), final(sent)

    await broker.add_and_send([(given, sent)])
    given.task_name = "changed"
    seen = await one(storage, given)
    seen.task_name = "changed"
    waiter = asyncio.create_task(storage.wait(sent.uuid, 10))
    await asyncio.sleep(0)
    waiting = await one(storage, given)
    await storage.finish([ended])
    for mine in (ended, await waiter, await storage.wait(sent.uuid, 10), await one(storage, given)):
        mine.result = b"changed"

    assert record(sent) == waiting
    assert final(sent) == await one(storage, given)


async def test_an_end_keeps_the_body(broker: MemoryBroker, storage: MemoryStorage) -> None:
    """A record that leaves it out points at the envelope's."""
    sent = envelope()
    await broker.add_and_send([(record(sent), sent)])
    (delivery,) = await broker.receive(1)
    await broker.finish_and_settle([outcome(delivery, record=final(sent, body=b""))])

    assert sent.body == (await one(storage, record(sent))).body


async def test_a_record_added_after_its_message_joins_it(broker: MemoryBroker, storage: MemoryStorage) -> None:
    """Send, then insert: the record tells what the envelope cannot, the message how far it is."""
    sent = envelope()
    await broker.send([sent])
    await broker.receive(1)

    assert [None] == await storage.add([record(sent)])

    found = await one(storage, record(sent))
    assert (record(sent).task_name, "process") == (found.task_name, "process")
    (answer,) = await storage.add([record(sent)])
    assert isinstance(answer, AlreadyExists)


async def test_an_end_leaves_the_message(broker: MemoryBroker, storage: MemoryStorage) -> None:
    """A storage knows nothing of queues: the delivery is settled for itself."""
    sent = envelope()
    await broker.send([sent])
    (delivery,) = await broker.receive(1)

    await storage.finish([final(sent)])

    assert 1 == (await broker.depth("default")).running
    assert [None] == await broker.settle([outcome(delivery)])
    assert "success" == (await one(storage, record(sent))).status


# ---------------------------------------------------------------- the end


async def test_a_result_that_is_too_large_is_refused_alone(storage: MemoryStorage) -> None:
    """Nothing is known of it then; the other is kept."""
    large, small = final(result=bytes(1001)), final(result=bytes(1000))

    answers = await storage.finish([large, small])

    assert [RefusedError, type(None)] == [type(answer) for answer in answers]
    assert [small.uuid] == list(storage.server.ledger.tasks)


async def test_a_final_record_ends_all_that_comes_later(storage: MemoryStorage) -> None:
    """Another end, a retry, an event, an older life: each is told so."""
    ended = final(record(replays=1))
    await storage.finish([ended])
    late = Event(ended.uuid, (1, 0, 0.0), 1, "yield", b"")
    older = final(record(envelope(uuid=ended.uuid)), "error")
    retry = record(envelope(uuid=ended.uuid, replays=1), "retry")

    answers = [*await storage.finish([final(ended, "error"), older, retry]), *await storage.append([late])]

    assert [AlreadyFinal] * 4 == [type(answer) for answer in answers]
    assert "success" == (await one(storage, ended)).status


@pytest.mark.parametrize(("ttl_s", "lives_s"), [(None, 100), (5.0, 5)])
async def test_a_record_lives_as_long_as_it_says(
    context: KitContext, storage: MemoryStorage, ttl_s: float | None, lives_s: float
) -> None:
    """Or as long as the app says; a deleted one that comes again has its own time."""
    ended = final(ttl_s=ttl_s)
    await storage.finish([ended])
    context.advance(lives_s - 1)
    assert 1 == await storage.delete([ended.uuid, ended.uuid])
    await storage.finish([ended])
    context.advance(2)
    assert "success" == (await one(storage, ended)).status

    context.advance(lives_s - 1)

    assert [None] == list(await storage.get([ended.uuid]))
    assert {} == storage.server.ledger.tasks


async def test_a_record_that_nobody_keeps_still_wakes(broker: MemoryBroker, storage: MemoryStorage) -> None:
    """With a lifetime of 0 only who waits already gets it."""
    sent = envelope()
    await broker.add_and_send([(record(sent, ttl_s=0), sent)])
    (delivery,) = await broker.receive(1)
    waiter = asyncio.create_task(storage.wait(sent.uuid, 10))
    await asyncio.sleep(0)

    await broker.finish_and_settle([outcome(delivery, record=final(sent, ttl_s=0))])

    assert "success" == (await waiter).status
    with pytest.raises(ResultExpiredError):
        await storage.wait(sent.uuid, 10)
    assert {} == storage.server.ledger.tasks


@pytest.mark.parametrize("how", ["acknowledged", "dead", "purged", "cleared", "deleted"])
async def test_who_waits_for_what_is_forgotten_is_told(broker: MemoryBroker, storage: MemoryStorage, how: str) -> None:
    """A task that goes without a final record leaves nobody waiting for ever."""
    sent = envelope()
    await storage.add([record(sent)])
    if how != "deleted":
        await broker.send([sent])
    waiter = asyncio.create_task(storage.wait(sent.uuid, 10))
    await asyncio.sleep(0)

    match how:
        case "acknowledged":
            await broker.settle([outcome((await broker.receive(1))[0])])
        case "dead":
            await broker.settle([outcome((await broker.receive(1))[0], Dead("boom"))])
        case "purged":
            await broker.purge("default")
        case "cleared":
            await broker.clear()
        case _:
            await storage.delete([sent.uuid])

    with pytest.raises(ResultExpiredError):
        await waiter
    assert [None] == list(await storage.get([sent.uuid]))


async def test_what_is_there_is_had_without_any_time(storage: MemoryStorage) -> None:
    """A limit of 0 asks whether it is final now."""
    ended, waiting = final(), record()
    await storage.finish([ended])
    await storage.add([waiting])

    assert ended == await storage.wait(ended.uuid, 0)
    with pytest.raises(TimeoutError):
        await storage.wait(waiting.uuid, 0)


async def test_no_waiter_is_left_behind(storage: MemoryStorage) -> None:
    """A limit that is over, or a cancelled call, costs no memory."""
    waiting = record()
    await storage.add([waiting])
    with pytest.raises(TimeoutError):
        await storage.wait(waiting.uuid, 0.01)
    call = asyncio.create_task(storage.wait(waiting.uuid, None))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)

    assert [] == storage.server.ledger.tasks[waiting.uuid].waiters


async def test_a_record_may_be_final_from_the_start(context: KitContext, storage: MemoryStorage) -> None:
    """It wakes and expires like any other."""
    ended = final()

    assert [None] == await storage.add([ended])

    assert ended == await storage.wait(ended.uuid, 0)
    context.advance(101)
    assert [None] == list(await storage.get([ended.uuid]))


async def test_marking_what_was_never_added_is_a_record(storage: MemoryStorage) -> None:
    """The worker may be faster than the client that inserts the record."""
    running = record(status="process", attempt=2)
    await storage.mark([running, record(envelope(uuid=running.uuid), "process", worker="old")])

    assert running == await one(storage, running)


# ---------------------------------------------------------------- deleting and looking through


async def test_what_waits_or_runs_is_not_deleted(broker: MemoryBroker, storage: MemoryStorage) -> None:
    """Its record is its message: cancel() or purge() removes that."""
    sent = envelopes(2)
    await broker.add_and_send([(record(each), each) for each in sent])
    await broker.receive(1)

    assert 0 == await storage.delete([*(each.uuid for each in sent), new_uuid()])
    await storage.clear()

    assert ["process", "new"] == [found.status async for found in storage.scan()]


async def test_a_dead_letter_outlives_its_record(broker: MemoryBroker, storage: MemoryStorage) -> None:
    """They are two things: deleting the record leaves the message to an operator."""
    sent = envelope()
    await broker.add_and_send([(record(sent), sent)])
    (delivery,) = await broker.receive(1)
    await broker.finish_and_settle([outcome(delivery, Dead("boom"), final(sent, "dead", dead_lettered=True))])

    assert 1 == await storage.delete([sent.uuid])

    assert [None] == list(await storage.get([sent.uuid]))
    assert 1 == await broker.replay("default", lambda letter: letter)
    assert "new" == (await one(storage, record(sent))).status


async def test_a_scan_goes_by_what_is_so_now(broker: MemoryBroker, storage: MemoryStorage) -> None:
    """Filters see the status that get() tells, also over more records than one look takes."""
    sent = envelopes(600)
    await broker.add_and_send([(record(each, task_name=f"t{i % 2}"), each) for i, each in enumerate(sent)])
    await broker.receive(4)
    await broker.cancel([sent[-1].uuid], "x")

    assert [each.uuid for each in sent[:4]] == [found.uuid async for found in storage.scan("process")]
    assert [sent[-1].uuid] == [found.uuid async for found in storage.scan("cancel", "t1")]
    assert 300 == len([found async for found in storage.scan(task_name="t0")])


# ---------------------------------------------------------------- unique keys


async def test_a_key_is_freed_by_time(context: KitContext, broker: MemoryBroker, storage: MemoryStorage) -> None:
    """The first goes on without it, and its end does not free what another holds by then."""
    first, second, third = envelopes(3, unique_key="k")
    await broker.add_and_send([(record(first, unique_ttl_s=10), first)])
    (held,) = await storage.add([record(second)])
    context.advance(11)

    answers = [
        *await broker.add_and_send([(record(second), second)]),
        *await storage.finish([final(first)]),
        *await storage.add([record(third)]),
    ]

    assert isinstance(held, AlreadyExists)
    assert first.uuid == held.uuid
    assert [None, None] == answers[:2]
    assert isinstance(answers[2], AlreadyExists)
    assert second.uuid == answers[2].uuid


@pytest.mark.parametrize("how", ["acknowledged", "purged", "cancelled", "deleted"])
async def test_a_key_is_freed_however_a_task_goes(broker: MemoryBroker, storage: MemoryStorage, how: str) -> None:
    """Nobody holds a key for a task that is not there."""
    sent, other = envelopes(2, unique_key="k")
    if how == "deleted":
        await storage.add([record(sent)])
        await storage.delete([sent.uuid])
    else:
        await broker.add_and_send([(record(sent), sent)])
    match how:
        case "acknowledged":
            await broker.settle([outcome((await broker.receive(1))[0])])
        case "purged":
            await broker.purge("default")
        case "cancelled":
            await broker.cancel([sent.uuid], "x")

    assert [None] == await storage.add([record(other)])


async def test_a_key_is_held_through_retries(broker: MemoryBroker, storage: MemoryStorage) -> None:
    """A further attempt is the same task."""
    sent, other = envelopes(2, unique_key="k")
    await broker.add_and_send([(record(sent), sent)])
    (delivery,) = await broker.receive(1)
    retry = next_attempt(delivery)
    await broker.finish_and_settle([outcome(delivery, Retry(retry), record(retry, "retry"))])

    (answer,) = await storage.add([record(other)])

    assert isinstance(answer, AlreadyExists)


@pytest.mark.parametrize("is_taken", [False, True])
async def test_a_replay_takes_its_key_again_if_it_is_free(
    broker: MemoryBroker, storage: MemoryStorage, is_taken: bool
) -> None:
    """An operator's replay runs in any case."""
    sent, other, third = envelopes(3, unique_key="k")
    await broker.add_and_send([(record(sent), sent)])
    (delivery,) = await broker.receive(1)
    await broker.finish_and_settle([outcome(delivery, Dead("x"), final(sent, "dead", dead_lettered=True))])
    if is_taken:
        await storage.add([record(other)])

    assert 1 == await broker.replay("default", lambda letter: letter)

    (answer,) = await storage.add([record(third)])
    assert isinstance(answer, AlreadyExists)
    assert (other if is_taken else sent).uuid == answer.uuid


# ---------------------------------------------------------------- streams


def event(of: TaskRecord, seq: int, run: tuple[int, int, float] = (1, 0, 1.0)) -> Event:
    return Event(of.uuid, run, seq, "yield", str(seq).encode())


async def test_a_reader_sees_the_rest_after_the_end(storage: MemoryStorage) -> None:
    """Also when nothing is kept: what it had begun to read it may read to the end."""
    task = record()
    await storage.add([task])
    await storage.append([event(task, 1)])
    reader = storage.events(task.uuid)
    seen = [(await anext(reader)).seq]
    await storage.append([event(task, 2), event(task, 3)])
    await storage.finish([final(task, ttl_s=0)])

    seen += [found.seq async for found in reader]

    assert [1, 2, 3] == seen
    with pytest.raises(ResultExpiredError):
        await anext(storage.events(task.uuid))


async def test_a_replay_begins_a_stream_of_its_own(storage: MemoryStorage) -> None:
    """Its first attempt is not taken for an older run than the last of the life before."""
    task = record()
    await storage.append([event(task, 1, run=(3, 0, 1.0))])
    await storage.finish([final(task)])
    await storage.add([record(envelope(uuid=task.uuid, replays=1))])
    await storage.append([event(task, 5, run=(1, 0, 2.0))])
    await storage.finish([final(record(envelope(uuid=task.uuid, replays=1)))])

    assert [5] == [found.seq async for found in storage.events(task.uuid)]


async def test_a_place_in_a_newer_run_waits_for_that(storage: MemoryStorage) -> None:
    """Events of an older run are not shown again to who was further already."""
    task = record()
    await storage.append([event(task, 1), event(task, 2), event(task, 2), event(task, 1)])
    await storage.finish([final(task)])

    assert [] == [found async for found in storage.events(task.uuid, after=((2, 0, 0.0), 0))]
    assert [2] == [found.seq async for found in storage.events(task.uuid, after=((1, 0, 1.0), 1))]
    assert [1, 2] == [found.seq async for found in storage.events(task.uuid, after=((1, 0, 0.5), 9))]


async def test_a_task_that_yields_nothing_has_an_empty_stream(storage: MemoryStorage) -> None:
    """It ends with the final record, before or after that came."""
    task = record()
    await storage.add([task])
    reader = asyncio.ensure_future(anext(storage.events(task.uuid), None))
    await asyncio.sleep(0)
    await storage.finish([final(task)])

    assert await reader is None
    assert [] == [found async for found in storage.events(task.uuid)]


async def test_a_stream_goes_with_its_record(context: KitContext, storage: MemoryStorage) -> None:
    """Kept as long as that, and no reader that left is remembered."""
    task = record()
    await storage.append([event(task, 1)])
    reader = asyncio.ensure_future(anext(storage.events(task.uuid, after=((1, 0, 1.0), 1))))
    await asyncio.sleep(0)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    stream = storage.server.ledger.tasks[task.uuid].stream
    assert stream is not None
    assert [] == stream.readers
    await storage.finish([final(task)])
    assert [1] == [found.seq async for found in storage.events(task.uuid)]

    context.advance(101)

    with pytest.raises(ResultExpiredError):
        await anext(storage.events(task.uuid))

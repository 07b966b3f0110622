"""What a process that dies between two steps leaves behind, and what becomes of it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.contract import Ack, Delivery, Depth, Envelope, Event, Outcome, TaskRecord
from qtasks_core.errors import AlreadyExists, FencedError
from qtasks_core.naming import new_uuid
from qtasks_dir import DirBroker, DirGlobalConfig, DirStorage
from qtasks_dir import _drafts as drafts
from qtasks_dir import _queues as queues
from qtasks_dir import _values as values
from qtasks_dir._files import quoted
from qtasks_dir._messages import Label, pack
from qtasks_testing import eventually
from qtasks_testing.kit import KitContext

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PATIENCE_S = 30.0


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "_PATIENCE_S", -1.0)
    monkeypatch.setattr(queues, "_PATIENCE_S", -1.0)


@pytest.fixture
def context() -> KitContext:
    return KitContext("gaps")


@pytest.fixture
async def broker(tmp_path: Path, context: KitContext) -> AsyncIterator[DirBroker]:
    made = DirBroker(f"dir:///{tmp_path}/data", context)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data" / "gaps" / "queues"


def _envelope(**fields: Any) -> Envelope:
    return Envelope(**{"uuid": new_uuid(), "queue": "default", "body": b"body", **fields})


def _draft(root: Path, name: str, data: bytes) -> Path:
    path = root / "drafts" / f"{name}~0"
    path.write_bytes(data)
    return path


async def _worker(broker: DirBroker, lost: list[Delivery] | None = None) -> DirBroker:
    await broker.subscribe(("default",), "w1", 10, (lost if lost is not None else []).extend)
    return broker


# ---------------------------------------------------------------- messages


async def test_a_message_with_its_id_and_no_place_is_sent(broker: DirBroker, root: Path) -> None:
    """The sender died after it had made sure that nobody else sends that task: a worker puts it where it belongs."""
    envelope = _envelope()
    name = Label(0, 1, envelope.uuid.hex).ready
    draft = _draft(root, f"send~ready~default~{name}", pack(envelope))
    (root / "ids").mkdir(exist_ok=True)
    (root / "ids" / envelope.uuid.hex).hardlink_to(draft)

    assert [type(answer) for answer in await broker.send([envelope])] == [AlreadyExists]
    (delivery,) = await (await _worker(broker)).receive(10)

    assert delivery.envelope == envelope
    assert await broker.depth("default") == Depth(0, 0, 1, 0)


async def test_a_message_without_its_id_is_forgotten(broker: DirBroker, root: Path) -> None:
    """The sender died before anything was promised; whoever sends the task again is the first."""
    envelope = _envelope()
    draft = _draft(root, f"send~ready~default~{Label(0, 1, envelope.uuid.hex).ready}", pack(envelope))
    await _worker(broker)
    await eventually(lambda: not draft.exists(), PATIENCE_S)

    assert list(await broker.send([envelope])) == [None]
    assert len(await broker.receive(10)) == 1


async def test_an_acknowledged_message_gives_its_id_back(broker: DirBroker, root: Path) -> None:
    """The worker died between forgetting the message and forgetting its id."""
    envelope = _envelope()
    await broker.send([envelope])
    (delivery,) = await (await _worker(broker)).receive(1)
    (root / "held" / str(delivery.token)).rename(root / "drafts" / f"ack~{envelope.uuid.hex}~0")
    await eventually(lambda: not (root / "ids" / envelope.uuid.hex).exists(), PATIENCE_S)

    assert [type(answer) for answer in await broker.settle([Outcome(delivery, Ack())])] == [FencedError]
    assert list(await broker.send([envelope])) == [None]


async def test_a_replay_that_was_not_finished_is_a_dead_letter_again(broker: DirBroker, root: Path) -> None:
    """The operator's process died with the letter in its hands."""
    envelope = _envelope()
    _draft(root, f"replay~default~{5:017d}-{envelope.uuid.hex}", pack(envelope))
    await _worker(broker)
    await eventually(lambda: list((root / "dead").glob("*/*")), PATIENCE_S)

    assert [shown async for _, shown, _ in broker.peek("default", dead=True)] == [envelope]


async def test_a_half_finished_eviction_is_finished(broker: DirBroker, root: Path) -> None:
    """Each message of the dead worker is charged once, whoever moves it."""
    sent = [_envelope() for _ in range(3)]
    await broker.send(sent)
    folder = root / "lost" / "w0~1~1" / "default"
    folder.mkdir(parents=True)
    for path in sorted((root / "ready" / "default").iterdir())[:2]:
        path.rename(folder / f"{path.name}.7")
    await _worker(broker)
    await eventually(lambda: not folder.parent.exists(), PATIENCE_S)

    got = await broker.receive(10)
    assert [(delivery.crashes, delivery.suspect) for delivery in got] == [(1, True), (1, True), (0, False)]


async def test_a_lease_without_a_heartbeat_is_taken_over(broker: DirBroker, root: Path) -> None:
    """Its owner died before it was complete, or before anybody looked; after a lease it is over."""
    await broker.send([_envelope()])
    lease = root / "held" / "w0~1"
    (lease / "default").mkdir(parents=True)
    (path,) = (root / "ready" / "default").iterdir()
    path.rename(lease / "default" / f"{path.name}.1")

    (delivery,) = await (await _worker(broker)).receive(10)

    assert (delivery.crashes, delivery.suspect) == (1, True)


async def test_what_is_no_message_is_shown_and_can_be_buried(broker: DirBroker, root: Path) -> None:
    """A damaged file is a delivery that cannot be read: nothing hangs, and its bytes are kept."""
    uuid = new_uuid()
    (root / "ready" / "default").mkdir(parents=True)
    (root / "ready" / "default" / Label(0, 1, uuid.hex).ready).write_bytes(b"\xc1")

    ((_, shown, _),) = [item async for item in broker.peek("default")]
    (delivery,) = await (await _worker(broker)).receive(10)

    assert (shown.uuid, shown.body) == (uuid, b"\xc1")
    assert (delivery.envelope, delivery.raw) == (None, b"\xc1")


async def test_a_worker_that_lost_its_lease_leaves_another_of_its_name_alone(
    broker: DirBroker, tmp_path: Path, context: KitContext
) -> None:
    """Two processes were given one name: the newer life goes on, whatever the older one does."""
    await broker.send([_envelope(), _envelope()])
    lost: list[Delivery] = []
    await _worker(broker, lost)
    (old,) = await broker.receive(1)
    told: list[Delivery] = []
    newer = await _worker(DirBroker(f"dir:///{tmp_path}/data", context.restarted()), told)
    held = await newer.receive(1)
    await eventually(lambda: lost == [old], PATIENCE_S)

    await broker.receive(1)

    assert list(await newer.settle([Outcome(held[0], Ack())])) == [None]
    assert told == []
    await newer.stop()


# ---------------------------------------------------------------- records and values


async def test_half_a_line_of_a_stream_spoils_no_other(tmp_path: Path, context: KitContext) -> None:
    """A writer died in the middle of a value."""
    storage, uuid = DirStorage(f"dir:///{tmp_path}/data", context), new_uuid()
    await storage.start()
    record = TaskRecord(uuid=uuid, task_name="t", queue="default", status="new")
    await storage.add([record])
    events = [Event(uuid, (1, 0, 1.0), number, "yield", b"v") for number in range(2)]
    await storage.append(events[:1])
    (path,) = tmp_path.rglob("stream.0")
    with path.open("ab") as file:
        file.write(b'["half')
    await storage.append(events[1:])
    record.status = "success"
    await storage.finish([record])

    assert [event async for event in storage.events(uuid)] == events


async def test_a_record_that_cannot_be_read_is_as_if_it_were_not_there(tmp_path: Path, context: KitContext) -> None:
    """Nobody waits for ever for what a power cut has spoilt."""
    storage, uuid = DirStorage(f"dir:///{tmp_path}/data?sync=none", context), new_uuid()
    await storage.start()
    await storage.finish([TaskRecord(uuid=uuid, task_name="t", queue="default", status="success")])
    (path,) = tmp_path.rglob("final.0")
    path.write_bytes(b"")

    assert list(await storage.get([uuid])) == [None]


async def test_expired_records_are_swept(tmp_path: Path, context: KitContext) -> None:
    """Also those that nobody asks for: nothing is left of them on the disk."""
    storage = DirStorage(f"dir:///{tmp_path}/data", context)
    await storage.start()
    done = [TaskRecord(uuid=new_uuid(), task_name="t", queue="q", status="success", ttl_s=60.0) for _ in range(3)]
    told: list[bool] = []
    storage.on_sweep(lambda: told.append(True))
    await storage.finish(done[:2])
    context.advance(3 * 3600.0)
    await storage.finish(done[2:])

    assert told == [True]
    assert [path.parent.name for path in tmp_path.rglob("final.0")] == [done[2].uuid.hex]


async def test_long_keys_are_told_apart(tmp_path: Path, context: KitContext) -> None:
    """Longer than a file's name may be: listed by their whole text, also by a prefix that is as long."""
    config = DirGlobalConfig(f"dir:///{tmp_path}/data", context)
    await config.start()
    keys = [f"lock/{'ü' * 150}{end}" for end in ("a", "b")]
    for key in keys:
        await config.put(key, key.encode())

    assert sorted(await config.list("lock/")) == keys
    assert sorted(await config.list(keys[0])) == keys[:1]
    assert len({quoted(key) for key in keys}) == 2


def test_three_slashes_are_relative_and_four_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with sqlite: what follows the third slash is the path."""
    monkeypatch.chdir(tmp_path)
    made = [DirBroker(url, KitContext("app")) for url in ("dir:///data", f"dir:///{tmp_path}/data")]

    assert {broker._queues.section.root for broker in made} == {tmp_path / "data" / "app" / "queues"}


async def test_an_old_draft_is_told_by_the_time_of_its_last_rename(broker: DirBroker, root: Path) -> None:
    """An old message that is acknowledged just now is no left-over: renaming it sets the time that is asked for."""
    await broker.send([_envelope()])
    (path,) = (root / "ready" / "default").iterdir()
    os.utime(path, (1.0, 1.0))
    before = time.time() - 1.0

    path.rename(root / "drafts" / "ack~0~0")

    assert (root / "drafts" / "ack~0~0").stat().st_ctime > before


@pytest.mark.parametrize("is_written", [False, True])
async def test_a_write_that_was_not_finished_is_finished_or_taken_back(
    is_written: bool, tmp_path: Path, context: KitContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer of a value died: whether the value was there already tells what its revision is."""
    monkeypatch.setattr(values, "_PATIENCE_S", -1.0)
    config = DirGlobalConfig(f"dir:///{tmp_path}/data", context)
    await config.start()
    await config.put("k", b"1")
    before = await config.get("k")
    (path,) = tmp_path.rglob("value")
    text = path.read_bytes()
    if is_written:
        await config.put("k", b"2")
        (path,) = tmp_path.rglob("value")
        text = path.read_bytes()
    taken = path.parent.rename(path.parent.with_name(f"{before.revision:020d}~0"))
    assert (taken / "value").read_bytes() == text

    found = await config.get("k")
    assert found == ((b"2", before.revision + 1) if is_written else before)
    assert await config.cas("k", b"3", found.revision) == found.revision + 1
    assert await config.get("k") == (b"3", found.revision + 1)


async def test_what_was_deleted_long_ago_leaves_nothing(
    tmp_path: Path, context: KitContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys of tasks and workers come and go: their folders go as well, and a key that comes back is newer."""
    monkeypatch.setattr(values, "_SWEEP_EACH_S", -1.0)
    config = DirGlobalConfig(f"dir:///{tmp_path}/data", context)
    await config.start()
    await config.put("gone", b"1", ttl_s=60.0)
    before = await config.get("gone")
    context.advance(3 * 3600.0)
    await config.put("kept", b"1")

    assert len(list(tmp_path.rglob("value"))) == 1
    await config.put("gone", b"1")
    assert (await config.get("gone")).revision > before.revision

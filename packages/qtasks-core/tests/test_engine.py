"""Adding tasks and waiting for results on memory://: what callers get, and what an error leaves untouched."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.components import Sources
from qtasks_core.config import QueueConfig
from qtasks_core.errors import (
    AddManyError,
    CodecError,
    ConfigError,
    PayloadTooLargeError,
    RefusedError,
    ResultExpiredError,
    SendRefusedError,
    SendUnknownError,
    UnavailableError,
)
from qtasks_core.memory import MemoryBroker
from qtasks_core.naming import new_uuid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from qtasks_core.contract import Envelope, PerItem, TaskRecord
    from qtasks_core.worker.worker import DefaultWorker

    Running = Callable[..., AbstractAsyncContextManager[DefaultWorker]]


async def _waiting(app: QueueTasks) -> int:
    """Return how many tasks are queued, as the broker counts them."""
    engine = app.core.engine()
    await engine.ensure_started()
    return (await engine.broker.depth("default")).ready or 0


def _declare(app: QueueTasks) -> Any:
    @app.task
    async def add(x: int, y: int = 0) -> int:
        return x + y

    return add


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, r"add\(\) missing a required argument: 'x'"),
        ((1, 2, 3), {}, r"add\(\) too many positional arguments"),
        ((1,), {"z": 2}, r"add\(\) got an unexpected keyword argument 'z'"),
        ((1,), {"x": 2}, r"add\(\) multiple values for argument 'x'"),
    ],
)
async def test_wrong_arguments_are_a_type_error_at_the_call(
    app: QueueTasks, args: tuple[Any, ...], kwargs: dict[str, Any], message: str
) -> None:
    """The call itself raises, as the function would; nothing is queued."""
    add = _declare(app)
    with pytest.raises(TypeError, match=message):
        add.add_task(*args, **kwargs)
    with pytest.raises(TypeError, match=message):
        app.add_task("add", *args, **kwargs)

    assert 0 == await _waiting(app)


async def test_a_payload_too_large_is_refused_before_it_is_sent() -> None:
    """The error names the task, the size, the setting and a way out; its batch mates are queued."""
    app = QueueTasks("test", "memory://", config=QueueConfig(max_message_bytes=1000))

    @app.task
    async def keep(data: bytes) -> None: ...

    with pytest.raises(
        PayloadTooLargeError, match=r"task 'keep': the message has 2,\d\d\d bytes, max_message_bytes is"
    ):
        await keep.add_task(b"x" * 2000)
    with pytest.raises(AddManyError, match="1 of 3 tasks were not accepted") as caught:
        await keep.add_many([(b"a",), (b"x" * 2000,), (b"b",)])

    assert [True, False, True] == [task is not None for task in caught.value.tasks]
    assert isinstance(caught.value.exceptions[0], PayloadTooLargeError)
    assert 2 == await _waiting(app)


async def test_an_argument_that_cannot_travel_is_refused(app: QueueTasks) -> None:
    """The error names the task and the type of the value; nothing is queued."""

    @app.task
    async def take(thing: object) -> None: ...

    with pytest.raises(CodecError, match=r"task 'take': its arguments cannot be encoded as msgpack: .*Lock"):
        await take.add_task(asyncio.Lock())
    deep: Any = "bottom"
    for _ in range(100):
        deep = [deep]
    with pytest.raises(CodecError, match=r"task 'take': its arguments nested deeper than max_depth \(64\)"):
        await take.add_task(deep)

    assert 0 == await _waiting(app)


async def test_adding_a_uuid_that_is_there_returns_the_first_task(app: QueueTasks) -> None:
    """The second add queues nothing and shows the first task."""
    add = _declare(app)
    uuid = new_uuid()
    first = await add.with_options(uuid=uuid).add_task(1, 2)
    second = await add.with_options(uuid=uuid).add_task(3, 4)

    assert (uuid, uuid) == (first.uuid, second.uuid)
    assert (1, 2) == second.args
    assert 1 == await _waiting(app)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"priority": 200}, "option priority: expected `int` <= 127; got 200"),
        ({"priority": "high"}, "option priority: expected `int [|] null`, got `str`; got 'high'"),
        ({"delay": -1}, "option delay: expected `float` >= 0.0; got -1"),
        ({"queue": ""}, "option queue: expected `str` of length >= 1; got ''"),
    ],
)
async def test_a_wrong_option_is_refused_when_it_is_given(
    app: QueueTasks, options: dict[str, Any], message: str
) -> None:
    """with_options checks what it is given: what was expected, what was got."""
    with pytest.raises(ConfigError, match=message):
        _declare(app).with_options(**options)


async def test_an_add_that_is_never_awaited_sends_nothing_and_warns(app: QueueTasks) -> None:
    """The warning names the task."""
    add = _declare(app)
    with pytest.warns(RuntimeWarning, match="add_task of 'add' was never awaited: nothing was sent"):
        add.add_task(1)  # the call is dropped here

    assert 0 == await _waiting(app)


async def test_the_timeout_of_a_chained_result_covers_both(app: QueueTasks) -> None:
    """`add_task(…).result(timeout)` gives up with TimeoutError; the task stays queued."""
    with pytest.raises(TimeoutError):
        await _declare(app).add_task(1).result(timeout=0.05)

    assert 1 == await _waiting(app)


async def test_nothing_is_known_of_a_strange_uuid(app: QueueTasks) -> None:
    """get() raises ResultExpiredError, which names the uuid."""
    uuid = new_uuid()
    with pytest.raises(ResultExpiredError, match=str(uuid)):
        await app.get(uuid)


async def test_two_loops_may_use_one_app(app: QueueTasks) -> None:
    """Each event loop has its own connections; what one adds the other sees."""
    add = _declare(app)
    task = await add.add_task(1)

    def elsewhere() -> str:
        async def main() -> str:
            async with app:
                return (await app.get(task.uuid)).status

        return asyncio.run(main())

    assert "new" == await asyncio.to_thread(elsewhere)
    assert 1 == await _waiting(app)


class _Flaky(MemoryBroker):
    """A broker whose writes fail as told: a list of exceptions, one for each call; then it works."""

    left: tuple[Exception, ...] | list[Exception] = ()
    apply = False
    away: Exception | None = None
    starts = 0

    async def start(self) -> None:
        self.starts += 1
        if self.away is not None:
            raise self.away
        await super().start()

    def fail(self, *errors: Exception, apply: bool = False) -> None:
        self.left = list(errors)
        self.apply = apply

    async def add_and_send(self, batch: Sequence[tuple[TaskRecord, Envelope]]) -> PerItem:
        if isinstance(self.left, list) and self.left:
            if self.apply:
                await super().add_and_send(batch)
            raise self.left.pop(0)
        return await super().add_and_send(batch)


def _flaky(**config: Any) -> tuple[QueueTasks, _Flaky]:
    app = QueueTasks("test", "memory://", config=QueueConfig(**config))
    broker = _Flaky("memory://", app.core.new_context())
    app.core.sources = Sources(broker_url="memory://", broker=broker)
    app.core._spare = None
    return app, broker


async def test_an_add_waits_for_a_server_that_is_away() -> None:
    """UnavailableError is no error of the caller: the write is repeated until the server is back."""
    app, broker = _flaky()
    broker.fail(UnavailableError("down"), UnavailableError("down"))
    await _declare(app).add_task(1)

    assert 1 == await _waiting(app)


async def test_an_add_waits_for_a_server_that_is_away_from_the_start() -> None:
    """Its first connection too is tried again; when the time is over the task is certainly not queued."""
    app, broker = _flaky(send_timeout=0.2)
    add = _declare(app)
    broker.away = UnavailableError("down")
    with pytest.raises(SendRefusedError, match="not queued: the broker could not be reached: down"):
        await add.add_task(1)
    waiting = asyncio.ensure_future(_awaited(add.add_task(1)))
    await asyncio.sleep(0.05)
    broker.away = None
    await waiting

    assert 1 == await _waiting(app)


async def test_a_part_that_can_never_start_is_told_to_each_caller(caplog: pytest.LogCaptureFixture) -> None:
    """It is tried once for all that wait, and no fault of a component in the log."""
    app, broker = _flaky()
    broker.away = ConfigError("no such place")
    with pytest.raises(AddManyError) as caught:
        await _declare(app).add_many([(1,), (2,), (3,)])

    assert [broker.away] * 3 == list(caught.value.exceptions)
    assert (1, "") == (broker.starts, caplog.text)


async def test_a_reply_that_was_lost_queues_once() -> None:
    """After SendUnknownError the same uuid is sent again, which the server recognises."""
    app, broker = _flaky()
    broker.fail(SendUnknownError("cut"), apply=True)
    task = await _declare(app).add_task(1)

    assert "new" == task.status
    assert 1 == await _waiting(app)


async def test_a_server_that_stays_away_is_told_apart_from_a_reply_that_never_came() -> None:
    """Not queued for certain: SendRefusedError. Perhaps queued: SendUnknownError with the uuid."""
    app, broker = _flaky(send_timeout=0.2)
    add = _declare(app)
    broker.fail(*[UnavailableError("down")] * 100)
    with pytest.raises(SendRefusedError, match="not queued: down"):
        await add.add_task(1)
    broker.fail(*[SendUnknownError("cut")] * 100)
    uuid = new_uuid()
    with pytest.raises(SendUnknownError, match="it may be queued") as caught:
        await add.with_options(uuid=uuid).add_task(1)

    assert uuid == caught.value.uuid


async def test_a_cancelled_add_cancels_no_one_else() -> None:
    """A caller that gives up leaves the write of its batch mates alone."""
    app, broker = _flaky()
    add = _declare(app)
    broker.fail(UnavailableError("down"))
    impatient = asyncio.ensure_future(_awaited(add.add_task(1)))
    patient = asyncio.ensure_future(_awaited(add.add_task(2)))
    await asyncio.sleep(0)
    impatient.cancel()
    task = await patient

    assert (2,) == task.args
    assert impatient.cancelled()


async def _awaited(call: Any) -> Any:
    return await call


async def test_what_a_component_refuses_is_the_callers_error() -> None:
    """RefusedError becomes SendRefusedError with the component's words."""
    app, broker = _flaky()

    async def refuse(batch: Sequence[Any]) -> PerItem:
        return [RefusedError("no room for that") for _ in batch]

    broker.add_and_send = refuse  # type: ignore[method-assign]
    with pytest.raises(SendRefusedError, match="no room for that"):
        await _declare(app).add_task(1)

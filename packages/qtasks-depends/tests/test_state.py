"""What a state does in one process: fields, types, defaults, buckets, locks, and what is refused."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from qtasks_core.aio import QueueTasks
from qtasks_core.contract import Capability
from qtasks_core.errors import BlockingCallError, ConfigError, TaskFailedError
from qtasks_core.memory import MemoryBroker, MemoryGlobalConfig, MemoryStorage
from qtasks_core.testing import memory_app
from qtasks_depends import AsyncState, Depends, SyncState
from qtasks_depends.state import StateDeclarationError, StateKeyError, StateLockLostError, StateTypeError
from qtasks_testing.polling import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import AtWork


@dataclasses.dataclass
class Address:
    street: str
    number: int


class Wizard(AsyncState, name="wizard"):
    user: str
    step: int = 0
    address: Address | None = None
    tags: list[str] = []  # noqa: RUF012  # a default, which each reader gets a copy of
    seen: dt.datetime


class Free(AsyncState):
    """Takes any key."""


class Blocking(SyncState):
    count: int = 0
    word: str


# ---------------------------------------------------------------- fields


async def test_what_was_written_is_read(app: QueueTasks) -> None:
    """Of the annotated types; what is absent is the class's attribute, else what the caller says."""
    state = Wizard.of(app)
    assert {"step": 0, "address": None, "tags": []} == await state.get_all() == await state.get()
    assert (None, "nobody", 0) == (
        await state.get("user"),
        await state.get("user", "nobody"),
        await state.get("step", 9),
    )
    when, where = dt.datetime(2026, 1, 2, tzinfo=dt.UTC), Address("Main", 5)
    await state.set("seen", when)
    expected = {"step": 2, "address": where, "tags": ["a"], "seen": when, "user": "ann"}
    assert expected == await state.update(user="ann", step=2, address=where, tags=["a"])
    assert expected == await Wizard.of(app).get_all()
    assert await state.delete("user")
    assert not await state.delete("user")
    assert None is await state.get("user")
    await state.clear()
    assert {"step": 0, "address": None, "tags": []} == await state.get_all()
    await app.stop()


async def test_a_default_is_each_readers_own(app: QueueTasks) -> None:
    """What one does to it is not seen by the next."""
    state = Wizard.of(app)
    (await state.get("tags")).append("spoilt")
    assert [] == await state.get("tags")
    await app.stop()


async def test_a_class_without_annotations_takes_any_key(app: QueueTasks) -> None:
    """And any value that can travel."""
    state = Free.of(app)
    await state.update(anything=1, self="too", key=[{"a": None}])
    assert {"anything": 1, "self": "too", "key": [{"a": None}]} == await state.get()
    with pytest.raises(StateTypeError, match=r"Free\.x: expected a value that can travel, got <object"):
        await state.set("x", object())
    await app.stop()


@pytest.mark.parametrize(
    ("write", "error", "expected"),
    [
        (
            lambda state: state.set("step", "two"),
            StateTypeError,
            "Wizard.step: expected int, got 'two': Expected `int`, got `str`",
        ),
        (
            lambda state: state.update(user="ann", address={"street": "Main"}),
            StateTypeError,
            ("test_state.Address | None, got {'street': 'Main'}: Object missing required field `number`"),
        ),
        (
            lambda state: state.set("usr", "ann"),
            StateKeyError,
            "expected one of the annotated fields user, step, address, tags, seen, got 'usr'; did you mean 'user'?",
        ),
        (lambda state: state.get("stp"), StateKeyError, "did you mean 'step'?"),
        (lambda state: state.delete("stp"), StateKeyError, "did you mean 'step'?"),
        (lambda state: state.set(5, "ann"), StateKeyError, "Wizard: expected a text as key, got 5"),
        (lambda state: state.increment("tags"), StateTypeError, "Wizard.tags: expected a number to add to, got []"),
        (lambda state: state.increment("step", 0.5), StateTypeError, "Wizard.step: expected int, got 0.5: "),
        (lambda state: state.compare_and_set("step", 0, "one"), StateTypeError, "Wizard.step: expected int, got 'one'"),
    ],
)
async def test_what_does_not_fit_is_refused(
    app: QueueTasks, write: Callable[[Wizard], Awaitable[Any]], error: type[Exception], expected: str
) -> None:
    """The error names class, field, what was expected and the value; nothing is written."""
    state = Wizard.of(app)
    with pytest.raises(error) as caught:
        await write(state)
    assert expected in str(caught.value)
    assert {"step": 0, "address": None, "tags": []} == await state.get()
    await app.stop()


async def test_numbers_are_added_to_and_values_exchanged(app: QueueTasks) -> None:
    """From the default on; an absent value is None to compare_and_set."""
    state = Wizard.of(app)
    assert [1, 6, 4] == [
        await state.increment("step"),
        await state.increment("step", 5),
        await state.increment("step", -2),
    ]
    assert await state.compare_and_set("step", 4, 7)
    assert not await state.compare_and_set("step", 4, 8)
    assert await state.compare_and_set("user", None, "ann")
    assert ("ann", 7) == (await state.get("user"), await state.get("step"))
    assert 0.5 == await Free.of(app).increment("half", 0.5)
    await app.stop()


async def test_many_at_once_lose_nothing(app: QueueTasks) -> None:
    """500 increments and read-modify-writes of one process, side by side."""
    state = Free.of(app)

    async def exchange() -> None:
        while True:
            value = await state.get("exchanged", 0)
            if await state.compare_and_set("exchanged", value or None, value + 1):
                return

    async with asyncio.timeout(50), asyncio.TaskGroup() as group:
        for _ in range(250):
            group.create_task(state.increment("incremented"))
        for _ in range(20):
            group.create_task(exchange())
    assert {"incremented": 250, "exchanged": 20} == await state.get()
    await app.stop()


# ---------------------------------------------------------------- buckets


async def test_each_class_and_key_has_a_bucket(app: QueueTasks) -> None:
    """`with_options` of a class and of a state name another one; a subclass is another class."""

    class Special(Wizard): ...

    ann, bob = Wizard.with_options(state_key="user:ann"), Wizard.of(app).with_options(state_key="user:bob")
    await ann.of(app).set("step", 1)
    await bob.set("step", 2)
    await Wizard.of(app).set("step", 3)
    await Special.of(app).set("step", 4)
    await Special.of(app, "user:ann").set("step", 5)
    found = [Wizard.of(app, "user:ann"), ann.of(app), bob, Wizard.of(app), Special.of(app), Special.of(app, "user:ann")]
    assert [1, 1, 2, 3, 4, 5] == [await state.get("step") for state in found]
    assert "<Wizard state/wizard/user%3Abob>" == repr(bob)
    with pytest.raises(StateDeclarationError, match="state_key: expected a text, got 5"):
        Wizard.with_options(state_key=5)  # type: ignore[arg-type]
    await app.stop()


async def test_an_empty_one_is_not_kept_for_long(app: QueueTasks) -> None:
    """Neither after a clear nor after the last field was removed: until nobody can miss a reply of a write any more."""
    async with memory_app(app) as memory:
        state, kept = Free.of(app), app.core.engine().global_config
        assert kept is not None
        for empty in (state.clear, lambda: state.delete("x")):
            await state.set("x", 1)
            memory.advance(10 * app.config.send_timeout)
            assert 1 == len(await kept.list("state/"))
            await empty()
            memory.advance(app.config.send_timeout)
            assert 1 == len(await kept.list("state/"))
            memory.advance(1.1 * app.config.send_timeout)
            assert {} == await kept.list("state/")


async def test_a_bucket_goes_when_its_time_is_over(app: QueueTasks) -> None:
    """Counted from its last write; a lock keeps it for as long as it is held."""

    class Short(AsyncState, ttl=10.0):
        x: int = 0

    async with memory_app(app) as memory:
        state = Short.of(app)
        await state.set("x", 1)
        memory.advance(9)
        await state.increment("x")
        memory.advance(9)
        assert 2 == await state.get("x")
        memory.advance(2)
        assert 0 == await state.get("x")
        async with state.lock(ttl=100.0):
            await state.set("x", 5)
            memory.advance(50)
            assert 5 == await state.get("x")


@pytest.mark.parametrize(
    ("options", "expected"), [({"ttl": 0}, "ttl: expected seconds"), ({"name": ""}, "name: expected a")]
)
def test_a_wrong_declaration_is_told_at_once(options: dict[str, Any], expected: str) -> None:
    """Where the class is."""
    with pytest.raises(StateDeclarationError, match=expected):
        type("Wrong", (AsyncState,), {}, **options)


# ---------------------------------------------------------------- as a parameter


OF_ANN = Blocking.with_options(state_key="ann")


async def test_tasks_and_dependencies_are_given_states(app: QueueTasks, at_work: AtWork) -> None:
    """An `async def` an AsyncState, a `def` a SyncState; a dependency as it is itself."""

    def counted(state: Blocking) -> int:
        return int(state.increment("count", 10))

    @app.task
    async def walk(step: int, state: Wizard = Depends(), count: int = Depends(counted)) -> list[int]:
        return [await state.increment("step", step), count]

    @app.task
    def count(x: int, state: Blocking = Depends(), ann: Blocking = Depends(OF_ANN)) -> list[Any]:
        ann.set("word", "hers")
        assert state.compare_and_set("word", None, "word")
        assert not state.compare_and_set("word", None, "word")
        with state.lock("l") as lock:
            lock.extend(5)
            state.update(count=x)
        return [state.get("count"), state.get_all(), ann.get("word"), state.delete("word"), state.get("word")]

    async with at_work(app):
        assert [3, 10] == await (await walk.add_task(3)).result()
        assert [5, 20] == await (await walk.add_task(2)).result()
        expected = [7, {"count": 7, "word": "word"}, "hers", True, None]
        assert expected == await (await count.add_task(7)).result()
    assert ["step"] == list(walk.definition.signature.parameters.parameters)


async def test_the_wrong_face_is_refused(app: QueueTasks) -> None:
    """When the task is declared, as a base class without fields of its own is."""

    async def on_loop(state: Blocking) -> None: ...
    def in_thread(state: Wizard) -> None: ...
    async def base(state: AsyncState) -> None: ...

    for function, expected in (
        (on_loop, "parameter 'state': expected a subclass of AsyncState, for it is of an async def; got Blocking"),
        (in_thread, "parameter 'state': expected a subclass of SyncState, for it is of a def; got Wizard"),
        (base, "expected a subclass of AsyncState, for it is of an async def; got AsyncState"),
    ):
        with pytest.raises(StateDeclarationError) as caught:
            app.task(function)
        assert expected in str(caught.value)
    with pytest.raises(BlockingCallError):
        Blocking.of(app).get()


def test_a_global_config_without_compare_and_set_is_refused() -> None:
    """When the task is declared; the error says how to name another one."""

    class Plain(MemoryGlobalConfig):
        capabilities = Capability(0)

    context = QueueTasks("depends", "memory://").core.new_context()
    parts = [part("memory://", context) for part in (MemoryBroker, MemoryStorage, Plain)]
    app = QueueTasks("depends", broker=parts[0], storage=parts[1], global_config=parts[2])  # type: ignore[arg-type]

    async def walk(state: Wizard) -> None: ...

    with pytest.raises(StateDeclarationError) as caught:
        app.task(walk)
    assert (
        "task walk: parameter 'state': Wizard is kept in the global config, and Plain has none with compare-and-set: "
        "name one that has with global_config_url=, as global_config_url='redis://…' or 'sqlite:///…'"
    ) == str(caught.value)


def test_two_classes_of_one_name_are_refused(app: QueueTasks) -> None:
    """They would share their buckets without knowing of each other; the same one may be asked for again and again."""

    class Other(AsyncState, name="wizard"): ...

    async def first(state: Wizard) -> None: ...
    async def again(state: Wizard) -> None: ...
    async def other(state: Other) -> None:
        _ = Other

    app.task(first)
    app.task(again)
    with pytest.raises(
        StateDeclarationError, match=r"two classes are called 'wizard', .*: Wizard in .*; give one another"
    ):
        app.task(other)


async def test_both_faces_may_share_their_buckets(app: QueueTasks, at_work: AtWork) -> None:
    """When one of them says so by its name."""

    class Walker(SyncState, name="wizard"):
        step: int = 0

    @app.task
    def in_thread(state: Walker = Depends(Walker)) -> Any:
        return state.increment("step")

    @app.task
    async def on_loop(state: Wizard = Depends()) -> Any:
        return await state.increment("step")

    async with at_work(app):
        assert [1, 2, 3] == [await (await task.add_task()).result() for task in (in_thread, on_loop, in_thread)]


# ---------------------------------------------------------------- locks


async def test_one_at_a_time_holds_a_lock(app: QueueTasks) -> None:
    """The next one has it at once, and waits no longer than it says; other names are other locks."""
    state, inside, most = Free.of(app), 0, 0

    async def use() -> None:
        nonlocal inside, most
        own = Free.of(app)
        async with own.lock("door", ttl=20.0):
            inside += 1
            most = max(most, inside)
            value = await own.get("n", 0)
            await asyncio.sleep(0)
            await own.set("n", value + 1)
            inside -= 1

    async with asyncio.timeout(50):
        await asyncio.gather(*(use() for _ in range(20)))
        assert (1, 20) == (most, await state.get("n"))
        async with state.lock("door", ttl=20.0), Free.of(app).lock("window"):
            with pytest.raises(TimeoutError, match=r"the lock 'door' of state/Free was not free within 0\.05 s"):
                async with Free.of(app).lock("door", timeout=0.05):
                    raise AssertionError
            with pytest.raises(RuntimeError, match="it would wait for itself"):
                async with state.lock("door"):
                    raise AssertionError
    await app.stop()


async def test_a_write_under_a_lost_lock_is_refused(app: QueueTasks) -> None:
    """Whether or not somebody else has taken it; leaving it is no error, and hides none."""
    async with memory_app(app) as memory:
        state, other = Free.of(app), Free.of(app)

        async def leave_late() -> None:
            async with state.lock("door", ttl=1.0):
                memory.advance(5)
                raise ValueError("its own")

        async with state.lock("door", ttl=10.0) as lock:
            await state.set("x", 1)
            memory.advance(9)
            await lock.extend()
            memory.advance(9)
            await state.set("x", 2)
            memory.advance(1.5)
            for write in (
                lambda: state.set("x", 3),
                lambda: state.update(x=3),
                lambda: state.increment("x"),
                lambda: state.compare_and_set("x", 2, 3),
                lambda: state.delete("x"),
                state.clear,
                lock.extend,
            ):
                with pytest.raises(StateLockLostError, match="is not held any more"):
                    await write()
            assert 2 == await state.get("x")
            async with other.lock("door", ttl=10.0):
                with pytest.raises(StateLockLostError):
                    await state.set("x", 3)
                await other.set("x", 4)
        assert 4 == await state.get("x")
        await state.set("x", 5)
        with pytest.raises(ValueError, match="its own"):
            await leave_late()


async def test_a_lock_is_free_when_its_time_is_over(app: QueueTasks) -> None:
    """Who waits has it then, although nobody let it go."""
    holder = Free.of(app).lock("door", ttl=0.2)
    await holder.__aenter__()
    async with asyncio.timeout(20), Free.of(app).lock("door", ttl=20.0) as lock:
        assert "door" == lock.name
        with pytest.raises(StateLockLostError):
            await holder.extend()
        await holder.__aexit__(None, None, None)
        await lock.extend()  # the other's leaving took nothing away
    await app.stop()


@pytest.mark.parametrize("options", [{"ttl": 0}, {"ttl": "5"}, {"timeout": -1}, {"ttl": True}])
def test_times_of_locks_are_seconds(app: QueueTasks, options: dict[str, Any]) -> None:
    """Told where the lock is made."""
    with pytest.raises(ConfigError, match="expected seconds, more than 0"):
        Free.of(app).lock("door", **options)


async def test_a_task_that_fails_lets_its_lock_go(app: QueueTasks, at_work: AtWork) -> None:
    """As it leaves the block."""

    @app.task
    async def fail(state: Free = Depends()) -> None:
        async with state.lock("door", ttl=60.0):
            raise ValueError("inside")

    async with at_work(app):
        with pytest.raises(TaskFailedError, match="inside"):
            await (await fail.add_task()).result()
        async with Free.of(app).lock("door", timeout=20.0):
            await eventually(lambda: True, 1, "it is free")

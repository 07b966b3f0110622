"""What the class of a state declares, and how its values are read and compared."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import pytest
from msgspec import Meta

from qtasks_core.aio import QueueTasks
from qtasks_depends import AsyncState, SyncState
from qtasks_depends.state import StateDeclarationError, StateTypeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Person(AsyncState):
    age: Annotated[int, Meta(ge=0)] = 0
    born: dt.date | None = None


class Free(AsyncState): ...


class Old(AsyncState, name="versioned"):
    step: str


class New(AsyncState, name="versioned"):
    step: int = 0
    other: int = 0


# ---------------------------------------------------------------- the class


@pytest.mark.parametrize("base", [AsyncState, SyncState])
@pytest.mark.parametrize("name", ["lock", "get", "update", "with_options", "state_key", "of"])
def test_a_field_is_not_called_like_what_a_state_has(base: type[Any], name: str) -> None:
    """It would be taken for the field's default, or hide the method."""
    with pytest.raises(StateDeclarationError, match=rf"Wrong\.{name}: a field cannot be called '{name}', which every"):
        type("Wrong", (base,), {"__annotations__": {name: "bool"}, "__qualname__": "Wrong"})


def test_private_annotations_and_class_variables_are_no_fields() -> None:
    """They are the class's own."""

    class Own(AsyncState):
        _cached: int = 5
        step: int = 0

    assert ["step"] == list(Own.spec.types or ())


def test_a_subclass_has_fields_and_time_of_its_base_and_a_name_of_its_own() -> None:
    """Its own fields are added."""

    class Base(AsyncState, name="base", ttl=5.0):
        a: int = 1

    class Derived(Base):
        b: int = 2

    assert {"a": 1, "b": 2} == Derived.spec.defaults
    assert (5.0, None) == (Derived.spec.ttl, Base.with_options(state_key="x").with_options(state_key=None).state_key)
    assert Derived.__qualname__ == Derived.spec.name
    assert Base.with_options(state_key="x").spec is Base.spec


async def test_a_class_with_a_key_may_be_extended(app: QueueTasks) -> None:
    """What it adds is declared; the bucket stays."""
    ann: Any = Person.with_options(state_key="ann")

    class Extended(ann, name="Person"):  # type: ignore[misc,call-arg]  # it is made at run time
        name: str = "Ann"

    assert {"age": 0, "born": None, "name": "Ann"} == await Extended.of(app).get_all()
    assert "<Person state/Person/ann>" == repr(Person.of(app, "ann"))
    assert repr(Extended.of(app)).endswith("state/Person/ann>")
    await app.stop()


# ---------------------------------------------------------------- keys of buckets


def test_none_is_the_bucket_without_a_key(app: QueueTasks) -> None:
    """Also of what has a key by its class."""
    ann = Person.with_options(state_key="ann")
    expected = ["state/Person/ann", "state/Person", "state/Person", "state/Person", "state/Person/"]
    found = [
        ann.of(app),
        ann.of(app, None),
        ann.of(app).with_options(state_key=None),
        ann.with_options(state_key=None).of(app),
        ann.of(app, ""),
    ]
    assert expected == [repr(state).removeprefix("<Person ").removesuffix(">") for state in found]


@pytest.mark.parametrize(
    "make",
    [
        lambda app: Person.of(app, 5),  # type: ignore[arg-type]
        lambda app: Person.of(app).with_options(state_key=5),  # type: ignore[arg-type]
        lambda app: Person.with_options(state_key=5),  # type: ignore[arg-type]
    ],
)
def test_a_key_is_a_text(app: QueueTasks, make: Callable[[QueueTasks], Any]) -> None:
    """Told at once."""
    with pytest.raises(StateDeclarationError, match="Person: state_key: expected a text, got 5"):
        make(app)


# ---------------------------------------------------------------- values


async def test_limits_of_an_annotation_are_kept(app: QueueTasks) -> None:
    """As for the arguments of a task."""
    with pytest.raises(StateTypeError, match=r"Person\.age: expected .*ge=0.*, got -1: Expected `int` >= 0"):
        await Person.of(app).set("age", -1)
    with pytest.raises(StateTypeError, match=r"Person\.age"):
        await Person.of(app).increment("age", -1)
    assert 0 == await Person.of(app).get("age")
    await app.stop()


@pytest.mark.parametrize("by", ["x", None, True])
async def test_what_is_added_is_a_number(app: QueueTasks, by: Any) -> None:
    """As what it is added to."""
    with pytest.raises(StateTypeError, match=r"Free\.n: expected a number to add, got"):
        await Free.of(app).increment("n", by)
    await app.stop()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ((1, 2), [1, 2]),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (UUID(int=5), str(UUID(int=5))),
        ({"a": (1,)}, {"a": [1]}),
    ],
)
async def test_values_are_compared_as_written_and_as_read(app: QueueTasks, written: Any, read: Any) -> None:
    """A class without annotations reads some types as others; that is no reason never to be equal."""
    state = Free.of(app)
    for old in (written, read):
        await state.set("x", written)
        assert read == await state.get("x")
        assert await state.compare_and_set("x", old, None)
        assert not await state.compare_and_set("x", old, 1)
    await app.stop()


async def test_what_an_old_value_cannot_be_is_not_equal(app: QueueTasks) -> None:
    """It is compared, not written: it needs no type."""
    state = Person.of(app)
    for old in ("five", object(), -1):
        assert not await state.compare_and_set("age", old, 5)
    assert await state.compare_and_set("born", None, dt.date(2026, 1, 2))
    assert await state.compare_and_set("born", dt.date(2026, 1, 2), None)
    await app.stop()


@pytest.mark.parametrize(
    "mend", [lambda state: state.set("step", 3), lambda state: state.delete("step"), lambda state: state.update(step=3)]
)
async def test_a_field_of_another_type_is_told_and_can_be_replaced(
    app: QueueTasks, mend: Callable[[AsyncState], Awaitable[Any]]
) -> None:
    """Another version of the class has written it; other fields are written meanwhile."""
    state = New.of(app)
    await Old.of(app).set("step", "two")
    await state.set("other", 1)
    assert 2 == await state.increment("other")
    for read in (lambda: state.get("step"), state.get_all, lambda: state.update(other=5)):
        with pytest.raises(StateTypeError, match=r"New\.step: what is kept is not int, another version of the class"):
            await read()
    await mend(state)
    assert 2 == (await state.get_all())["other"]
    await app.stop()

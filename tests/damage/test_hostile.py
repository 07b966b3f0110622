"""Any bytes in the queue: the worker lives, each delivery is settled, and an innocent task that follows succeeds."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from damage.bench import NO_ARGUMENTS, QUEUE, set_row
from damage.hostile import ARGUMENTS, BODIES, TASKS, mutated, siege
from qtasks_core.contract import Envelope, Message
from qtasks_core.wire import pack_message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from uuid import UUID

many = settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Each example is told in the log; hundreds of them are of no use to anybody."""
    logger = logging.getLogger("qtasks")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


def test_any_bytes_as_a_body(url: str) -> None:
    """Random bytes, random frames, and good bodies that were damaged."""
    with siege(url) as under_siege:

        @many
        @given(st.lists(BODIES, min_size=1, max_size=8))
        def each_is_settled(bodies: list[bytes]) -> None:
            ends = under_siege.ends_of(bodies)
            assert {"dead", "error", "success", "forgotten"} >= set(ends)

        each_is_settled()


def test_any_values_as_arguments(url: str) -> None:
    """For tasks with all kinds of annotations and for one with none: success or error, never dead, nothing hangs."""
    with siege(url) as under_siege:

        @many
        @given(st.lists(st.tuples(st.sampled_from(TASKS), ARGUMENTS), min_size=1, max_size=8))
        def each_ends(calls: list[tuple[Any, tuple[bytes, bytes]]]) -> None:
            ends = under_siege.ends_of([pack_message(Message(task.__name__, *raw)) for task, raw in calls])
            assert {"error", "success"} >= set(ends)

        each_ends()


def test_any_settings_in_a_message(url: str) -> None:
    """Times that no client of ours would write."""
    numbers = st.none() | st.floats()
    messages = st.builds(
        lambda timeout_s, ttl_s: Message("untyped", *NO_ARGUMENTS, "msgpack", timeout_s, ttl_s), numbers, numbers
    )

    with siege(url) as under_siege:

        @many
        @given(st.lists(messages, min_size=1, max_size=8))
        def each_is_settled(messages: list[Message]) -> None:
            ends = under_siege.ends_of([pack_message(message) for message in messages])
            assert {"dead", "error", "success", "forgotten"} >= set(ends)

        each_is_settled()


def test_any_damage_of_a_stored_message(database: Path) -> None:
    """Not the body alone: all that SQLite keeps of a message, with the id and the times in it."""
    encode = msgspec.msgpack.Encoder(uuid_format="bytes").encode
    body = pack_message(Message("untyped", *NO_ARGUMENTS))

    with siege(f"sqlite:///{database}") as under_siege:

        @many
        @given(st.data())
        def each_is_settled(data: st.DataObject) -> None:
            def damage(uuid: UUID) -> None:
                good = encode(Envelope(uuid, QUEUE, body, created_at=1e9))
                set_row(database, uuid, data.draw(mutated(st.just(good), most=1)))

            ends = under_siege.ends_of([body] * 4, damage)
            assert {"dead", "error", "success", "cancel", "forgotten"} >= set(ends)

        each_is_settled()

"""How much of each queue a worker may take."""

from __future__ import annotations

import pytest

from qtasks_core.contract import Delivery, Envelope
from qtasks_core.naming import new_uuid
from qtasks_core.worker.quotas import Quotas
from qtasks_core.worker.run import Run


def _runs(*queues: str) -> list[Run]:
    return [Run(Delivery(Envelope(new_uuid(), queue, b""), token=None), 0.0) for queue in queues]


def test_without_limits_nothing_is_counted() -> None:
    """The broker is asked without a word on queues."""
    quotas = Quotas({}, _runs("a"))

    assert quotas.left() is None
    assert not quotas.is_short


@pytest.mark.parametrize(
    ("running", "left", "is_short"),
    [
        ((), {"a": 2, "b": 1}, False),
        (("a", "other"), {"a": 1, "b": 1}, False),
        (("a", "a"), {"a": 0, "b": 1}, True),
        (("a", "b", "a"), {"a": 0, "b": 0}, True),
        (("a", "a", "a"), {"a": 0, "b": 1}, True),
    ],
)
def test_what_runs_is_taken_off(running: tuple[str, ...], left: dict[str, int], *, is_short: bool) -> None:
    """Never below nothing; a queue that is full has who waits ask again when a slot is free."""
    quotas = Quotas({"a": 2, "b": 1}, _runs(*running))

    assert left == quotas.left()
    assert is_short is quotas.is_short


def test_what_cannot_be_read_counts_for_no_queue() -> None:
    """It has no envelope, and is settled at once."""
    quotas = Quotas({"a": 1}, [Run(Delivery(None, token=None), 0.0)])

    assert {"a": 1} == quotas.left()


def test_it_is_short_no_longer_than_it_is() -> None:
    """A free slot is seen at the next look."""
    runs = _runs("a")
    quotas = Quotas({"a": 1}, runs)
    quotas.left()
    runs.clear()

    assert {"a": 1} == quotas.left()
    assert not quotas.is_short

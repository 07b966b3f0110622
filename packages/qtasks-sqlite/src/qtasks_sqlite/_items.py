"""Batches whose items may be bad one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from qtasks_core.item_errors import item_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Encoded", "encode_each"]

S = TypeVar("S")
T = TypeVar("T")


class Encoded(list[T]):
    """What could be encoded of a batch, in its order.

    Parameters:
        rows: The encoded items.
        refused: An error for each item of the batch that could not be, else None; None when all could.
    """

    def __init__(self, rows: Sequence[T], refused: Sequence[Exception | None] | None = None) -> None:
        super().__init__(rows)
        self._refused = refused

    def merge(self, answers: Sequence[Exception | None]) -> Sequence[Exception | None]:
        """Return an answer for each item of the batch, given those for what could be encoded."""
        if self._refused is None:
            return answers
        rest = iter(answers)
        return [next(rest) if error is None else error for error in self._refused]


def encode_each(items: Sequence[S], encode: Callable[[S], T]) -> Encoded[T]:
    """Encode each item; one that cannot be does not fail its mates."""
    try:
        return Encoded([encode(item) for item in items])
    except Exception:  # noqa: BLE001  # found out below, item by item
        rows: list[T] = []
        refused = [_try(item, encode, rows) for item in items]
        return Encoded(rows, refused)


def _try(item: S, encode: Callable[[S], T], rows: list[T]) -> Exception | None:
    try:
        rows.append(encode(item))
    except Exception as error:  # noqa: BLE001  # it fails this item alone
        return item_error(error)
    return None

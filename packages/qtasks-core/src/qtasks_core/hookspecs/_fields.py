"""Whether the fields of what a plugin returned are of their types: else a whole batch would fail with it, far away."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from qtasks_core.contract import Ack, Dead, Delivery, Release, Retry, TaskRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

    from msgspec import Struct

__all__ = ["misfit", "misfit_of_all", "misfit_of_delivery", "misfit_of_outcome"]

_AS_THEY_ARE = (bytes, UUID)


def misfit(value: Struct) -> str | None:
    """Return which field is of another type than it declares, and what was expected; None: all fit."""
    kind: Any = type(value)
    as_array = kind.__struct_config__.array_like
    fields = msgspec.structs.astuple(value) if as_array else msgspec.structs.asdict(value)
    try:
        msgspec.convert(fields, kind, builtin_types=_AS_THEY_ARE)
    except (msgspec.ValidationError, TypeError) as error:
        return _in_words(str(error), kind.__struct_fields__)
    return None


def misfit_of_delivery(delivery: Delivery) -> str | None:
    """Return the same of a delivery and of its envelope."""
    inner = None if delivery.envelope is None else misfit(delivery.envelope)
    return misfit(delivery) if inner is None else f"envelope.{inner}"


def misfit_of_outcome(outcome: Any) -> str | None:
    """Return the same of an outcome and of its record."""
    if not isinstance(outcome.verdict, (Ack, Retry, Release, Dead)):
        return f"verdict: expected Ack, Retry, Release or Dead, got {type(outcome.verdict).__name__}"
    if outcome.record is None:
        return None
    if not isinstance(outcome.record, TaskRecord):
        return f"record: expected a record, got {type(outcome.record).__name__}"
    inner = misfit(outcome.record)
    return None if inner is None else f"record.{inner}"


def misfit_of_all(records: Iterable[Any]) -> str | None:
    """Return the same of several records."""
    for record in records:
        if not isinstance(record, TaskRecord):
            return f"one of them: expected a record, got {type(record).__name__}"
        if (found := misfit(record)) is not None:
            return found
    return None


def _in_words(problem: str, names: tuple[str, ...]) -> str:
    """Put the field's name first: a path into it is nobody's concern."""
    what, _, path = problem.partition(" - at ")
    found = re.search(r"\$(?:\[(\d+)\]|\.(\w+))", path)
    if found is None:
        return problem
    name = found[2] or names[int(found[1])]
    return f"{name}: {what[0].lower()}{what[1:]}"

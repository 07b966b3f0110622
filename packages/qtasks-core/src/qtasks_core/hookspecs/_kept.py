"""What plugins that replace may not change, since brokers, storages and whoever waits know the thing by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from qtasks_core.contract import FINAL, Delivery, Outcome, TaskRecord, Versioned
from qtasks_core.definition import TaskDefinition
from qtasks_core.errors import PluginError
from qtasks_core.hookspecs._fields import misfit, misfit_of_all, misfit_of_delivery, misfit_of_outcome
from qtasks_core.options import Draft
from qtasks_core.task import TaskSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ARGUMENTS",
    "DECLARED",
    "DELIVERY",
    "DRAFT",
    "EXECUTION",
    "OUTCOME",
    "READ_RECORD",
    "READ_RECORDS",
    "READ_TASK",
    "RECORD",
    "RESULTS",
    "SETTING",
    "SETTINGS",
    "VALUE",
    "Kept",
]


class Kept(NamedTuple):
    """Fields that a value has before and after a chain of plugins.

    They are read before the chain, not from the old value afterwards: records and drafts can be changed in place.
    """

    kind: type | tuple[type, ...]
    what: str
    names: tuple[str, ...]
    read: Callable[[Any], tuple[object, ...]]
    misfit: Callable[[Any], str | None] | None = None
    """Tells which field is not of its type."""

    def check(self, before: tuple[object, ...], value: object, who: str) -> None:
        """Compare what a plugin made of a value with what it was.

        Parameters:
            before: What `read` returned before the first plugin.
            value: What the plugin returned, or left.
            who: Plugin and trigger, for the message.

        Raises:
            PluginError: It is of another kind, or a field was changed; names plugin, trigger and field.
        """
        if not isinstance(value, self.kind):
            raise PluginError(f"{who}: expected {self.what}, got {type(value).__name__}")
        try:
            after = self.read(value)
        except (AttributeError, TypeError) as error:
            raise PluginError(f"{who}: expected {self.what}, got {type(value).__name__}: {error}") from None
        if self.misfit is not None and (problem := self.misfit(value)) is not None:
            raise PluginError(f"{who}: {self.what}: {problem}")
        if after == before:
            return
        name, old, new = next(
            (name, old, new) for name, old, new in zip(self.names, before, after, strict=True) if old != new
        )
        raise PluginError(f"{who} changed the {name} of {self.what} from {old!r} to {new!r}; it has to stay")


def _read_final(record: TaskRecord | TaskSnapshot[Any]) -> tuple[object, ...]:
    """Read a final status only: what is not the end may be shown as the plugin likes."""
    return record.uuid, record.attempt, record.status if record.status in FINAL else None


def _read_all(records: Sequence[TaskRecord]) -> tuple[object, ...]:
    read = [_read_final(record) for record in records]
    return tuple([fields[index] for fields in read] for index in range(3))


def _read_arguments(pair: Sequence[Any]) -> tuple[object, ...]:
    """Read nothing: a call has no identity. Refuse what is no arguments."""
    if len(pair) != 2:  # noqa: PLR2004  # a pair
        raise TypeError(f"{len(pair)} items")
    args, kwargs = pair
    if not isinstance(args, (tuple, list)):
        raise TypeError(f"args: expected a tuple or a list, got {type(args).__name__}")
    if not isinstance(kwargs, Mapping) or not all(isinstance(name, str) for name in kwargs):
        raise TypeError(f"kwargs: expected a mapping with texts as keys, got {type(kwargs).__name__}")
    return ()


def _read_setting(pair: Sequence[Any]) -> tuple[object, ...]:
    if len(pair) != 2:  # noqa: PLR2004  # a pair
        raise TypeError(f"{len(pair)} items")
    key, value = pair
    if not isinstance(key, str):
        raise TypeError(f"key: expected a text, got {type(key).__name__}")
    if not (value is None or isinstance(value, bytes)):
        raise TypeError(f"value: expected bytes or None, got {type(value).__name__}")
    return ()


def _read_settings(values: Mapping[str, Any]) -> tuple[object, ...]:
    for key, versioned in dict[Any, Any](values).items():
        if not (isinstance(key, str) and isinstance(versioned, Versioned)):
            raise TypeError(f"values: expected Versioned by text, got {key!r}: {type(versioned).__name__}")
    return ()


def _read_nothing(_: object) -> tuple[object, ...]:
    return ()


ARGUMENTS = Kept((tuple, list), "a pair of args and kwargs", (), _read_arguments)
SETTING = Kept((tuple, list), "a pair of key and value", (), _read_setting)
SETTINGS = Kept(Mapping, "values by key", (), _read_settings)
VALUE = Kept((bytes, type(None)), "bytes or None", (), _read_nothing)
RESULTS = Kept(list, "a list of results", (), _read_nothing)
DRAFT = Kept(Draft, "a message", ("uuid",), lambda draft: (draft.uuid,), misfit)
DELIVERY = Kept(
    Delivery,
    "a delivery",
    ("uuid", "attempt", "queue", "token"),
    attrgetter("envelope.uuid", "envelope.attempt", "envelope.queue", "token"),
    misfit_of_delivery,
)
EXECUTION = Kept(object, "an execution", ("delivery",), lambda execution: (execution.delivery,))
OUTCOME = Kept(Outcome, "an outcome", ("delivery",), lambda outcome: (outcome.delivery,), misfit_of_outcome)
RECORD = Kept(TaskRecord, "a record", ("uuid", "attempt", "status"), attrgetter("uuid", "attempt", "status"), misfit)
DECLARED = Kept(TaskDefinition, "a task", ("name", "function"), attrgetter("name", "function"))
READ_TASK = Kept(TaskSnapshot, "a task", ("uuid", "attempt", "final status"), _read_final)
READ_RECORD = Kept(TaskRecord, "a record", ("uuid", "attempt", "final status"), _read_final, misfit)
READ_RECORDS = Kept(Sequence, "records", ("uuids", "attempts", "final statuses"), _read_all, misfit_of_all)

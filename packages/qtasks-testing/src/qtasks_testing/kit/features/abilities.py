"""What apps on a backend can do, beyond what each of them can; and what users get where it is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtasks_core.contract import Cancels, Capability, Evicts, FusedSender, Inspectable, Storage
from qtasks_testing.kit.context import KitContext
from qtasks_testing.kit.requirements import Ability

if TYPE_CHECKING:
    from qtasks_testing.kit.subject import Subject

__all__ = [
    "ABILITIES",
    "CANCELS_WAITING",
    "COMMANDS",
    "DEAD_LETTERS",
    "EVICTIONS",
    "PROCESSES",
    "RECORDS",
    "RESULTS",
    "STRICT_PRIORITY",
    "UNIQUE_KEYS",
]


def _parts(subject: Subject) -> dict[str, Any]:
    """Build the parts of one app; a part that the subject has not is None."""
    context = KitContext()
    factories = {name: subject.factory(name) for name in ("broker", "storage", "global_config")}
    return {name: None if make is None else make(subject.url, context) for name, make in factories.items()}


def _is_fused(broker: Any, storage: Any) -> bool:
    return isinstance(broker, FusedSender) and broker.fuses(storage)


def _declares(part: Any, capability: Capability) -> bool:
    return capability in getattr(part, "capabilities", Capability(0))


def _no_results(subject: Subject) -> str | None:
    return None if subject.factory("storage") else "the subject has no storage"


def _no_records(subject: Subject) -> str | None:
    storage = _parts(subject)["storage"]
    return None if isinstance(storage, Storage) else f"{type(storage).__name__} is no Storage"


def _no_commands(subject: Subject) -> str | None:
    return None if subject.factory("global_config") else "the subject has no global_config"


def _no_cancels(subject: Subject) -> str | None:
    parts = _parts(subject)
    broker = parts["broker"]
    if not isinstance(broker, Cancels):
        return f"{type(broker).__name__} is no Cancels"
    return None if _is_fused(broker, parts["storage"]) else "broker and storage share no server"


def _no_unique_keys(subject: Subject) -> str | None:
    parts = _parts(subject)
    storage = parts["storage"]
    if _is_fused(parts["broker"], storage) and _declares(storage, Capability.UNIQUE):
        return None
    if _declares(parts["global_config"], Capability.CAS):
        return None
    return "the subject has neither a storage with Capability.UNIQUE on its broker's server, nor Capability.CAS"


def _no_strict_priority(subject: Subject) -> str | None:
    broker = _parts(subject)["broker"]
    if _declares(broker, Capability.PRIORITY):
        return None
    return f"{type(broker).__name__} does not declare Capability.PRIORITY"


def _one_process(subject: Subject) -> str | None:
    return None if subject.durable else "its data lives in one process"


def _no_evictions(subject: Subject) -> str | None:
    broker = _parts(subject)["broker"]
    return None if isinstance(broker, Evicts) else f"{type(broker).__name__} is no Evicts"


def _no_dead_letters(subject: Subject) -> str | None:
    broker = _parts(subject)["broker"]
    return None if isinstance(broker, Inspectable) else f"{type(broker).__name__} is no Inspectable"


RESULTS = Ability("results", _no_results, "ConfigError: no storage: the broker brings none")
RECORDS = Ability(
    "records of tasks that any process can read",
    _no_records,
    "ConfigError: this broker keeps no records for others to read: name a storage with storage_url=",
)
COMMANDS = Ability(
    "a way to reach workers: cancels of running tasks, pauses of queues",
    _no_commands,
    "ConfigError: to cancel a running task the workers must be reached: name a global config with global_config_url=",
)
CANCELS_WAITING = Ability(
    "cancels that remove a waiting task at once",
    _no_cancels,
    "the message stays in the queue until a worker meets it; the task is not run",
)
UNIQUE_KEYS = Ability(
    "unique keys",
    _no_unique_keys,
    "ConfigError: option unique_key: nothing here can keep a key unique: name a global config that has"
    " compare-and-set with global_config_url=",
)
STRICT_PRIORITY = Ability(
    "strict priority",
    _no_strict_priority,
    "of the bands that are declared (`priority_bands`), the lowest goes first",
)
EVICTIONS = Ability(
    "evictions: what a worker holds is taken away at once",
    _no_evictions,
    "what a dead worker held comes back when its lease is over",
)
DEAD_LETTERS = Ability(
    "dead letters that can be listed, replayed and purged",
    _no_dead_letters,
    "ConfigError: this broker does not show its dead letters: use the tools of its server",
)
PROCESSES = Ability(
    "clients and workers in several processes",
    _one_process,
    "what is added in one process is never seen by the workers of another",
)
ABILITIES = (
    PROCESSES,
    RESULTS,
    RECORDS,
    COMMANDS,
    CANCELS_WAITING,
    UNIQUE_KEYS,
    STRICT_PRIORITY,
    EVICTIONS,
    DEAD_LETTERS,
)

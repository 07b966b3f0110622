"""Settings of an app, and how one worker process differs from them: frozen, checked when they are made."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import msgspec
from msgspec import Meta, Struct

from qtasks_core.errors import ConfigError
from qtasks_core.fields import field_types, set_checked, wrong_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["CURRENT_WIRE_VERSION", "QueueConfig", "RunOptions", "WorkerOptions"]

CURRENT_WIRE_VERSION = "1.0"

Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]
Name = Annotated[str, Meta(min_length=1)]
WireVersion = Annotated[str, Meta(pattern=r"^1\.0$")]
Priority = Annotated[int, Meta(ge=-128, le=127)]
ENV_PREFIX = "QTASKS_"
_LISTS = ("queues", "priority_bands")
_EXPECTED = {
    "client_id": "a text that is not empty",
    "dead_letter": "true or false",
    "max_abandoned": "a whole number, 1 or more, or nothing: then it is concurrency",
    "priority_bands": "a list of whole numbers from -128 to 127",
    "queue_concurrency": "numbers of tasks by queue, each 1 or more, as in slow=2,mail=4",
    "queues": "a list of names, none of them empty",
    "retry_backoff": "seconds, 0 or more, or 'exponential'",
    "wire_version": f"{CURRENT_WIRE_VERSION!r}, the only version there is",
}
"""In plain words, where msgspec's would not tell what to write."""


class QueueConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one app; each is also read from `QTASKS_<FIELD>`. Times are in seconds, sizes in bytes.

    Raises:
        ConfigError: A value is of the wrong type or out of range.
    """

    concurrency: Count = 32
    """Tasks that one worker runs at the same time."""
    queues: tuple[Name, ...] = ("default",)
    """Queues that a worker takes from when it is not told otherwise; the first is the default of new tasks."""
    queue_concurrency: dict[Name, Count] = {}
    """Most tasks of a queue that one worker runs at the same time; as a variable: `slow=2,mail=4`."""
    priority_bands: tuple[Priority, ...] = (0,)
    """Bands declared on brokers without strict priority; must hold 0."""
    send_timeout: Seconds = 30.0
    """How long an add may wait for the server before it fails."""
    shutdown_timeout: Annotated[float, Meta(ge=0)] = 30.0
    """How long running tasks may go on after a stop was asked for."""
    lease_ttl: Seconds = 5.0
    """How long a worker may be silent before others take over what it holds (brokers that lease by time)."""
    max_deliveries: Count = 5
    """Worker deaths that one task may cause before it is dead-lettered."""
    retry_backoff: Annotated[float, Meta(ge=0)] | Annotated[str, Meta(pattern="^exponential$")] = "exponential"
    """Wait before a further attempt: seconds, or "exponential" from 1 s."""
    retry_max_delay: Seconds = 300.0
    """Longest wait before a further attempt."""
    max_message_bytes: Count = 8 * 1024 * 1024
    """Largest message or result."""
    max_depth: Count = 64
    """Deepest nesting of lists and mappings in arguments and results."""
    flush_items: Count = 512
    """Most items that one write carries."""
    flush_bytes: Count = 1024 * 1024
    """Bytes after which a write takes no further item."""
    buffer_items: Count = 10_000
    """Items that may wait for the write in flight; then adding waits."""
    buffer_bytes: Count = 32 * 1024 * 1024
    """Bytes that may wait for the write in flight; then adding waits."""
    result_ttl: Annotated[float, Meta(ge=0)] = 86_400.0
    """How long a final record is kept."""
    dead_letter: bool = True
    """Keep the message of a task whose attempts are exhausted."""
    dead_letter_max: Count = 100_000
    """Dead letters kept per queue; the oldest is dropped."""
    unknown_ttl: Seconds = 3_600.0
    """How long a task that no worker knows is put back before it is dead-lettered."""
    park_delay: Annotated[float, Meta(ge=0)] = 5.0
    """How long such a task rests each time."""
    generator_items: Count = 10_000
    """Values that a generator task's result holds."""
    max_abandoned: Count | None = None
    """Threads that timed-out tasks may hold before the worker restarts; None: as many as `concurrency`."""
    client_id: Name | None = None
    """Fixed name of this process's reply mailbox; None: a new one for each process."""
    wire_version: WireVersion = CURRENT_WIRE_VERSION
    """Version of the message frame that this process writes."""

    def __post_init__(self) -> None:
        set_checked(self, _EXPECTED)
        _expect_a_name("queues", self.queues)
        if 0 not in self.priority_bands:
            raise ConfigError(f"priority_bands: expected bands that hold 0, got {self.priority_bands!r}")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> QueueConfig:
        """Read settings from `QTASKS_<FIELD>`; keyword arguments go first.

        Parameters:
            environ: Where to look; the process's environment by default. Lists are separated by commas.
            overrides: Fields that are not looked up.

        Raises:
            ConfigError: A variable does not hold what its field expects.
        """
        found = os.environ if environ is None else environ
        values = {
            name: _from_text(name, found[variable], type_)
            for name, type_ in field_types(cls).items()
            if name not in overrides and (variable := ENV_PREFIX + name.upper()) in found
        }
        return cls(**{**values, **overrides})


class RunOptions(Struct, frozen=True, kw_only=True):
    """How one worker process differs from the app's settings; None takes the setting.

    Raises:
        ConfigError: An option is of the wrong type or out of range.
    """

    concurrency: Count | None = None
    """Tasks that it runs at the same time."""
    queues: tuple[Name, ...] | None = None
    """Queues that it takes from."""
    queue_concurrency: dict[Name, Count] | None = None
    """Most tasks of a queue that it runs at the same time; a queue that is not named has the setting's."""
    worker_name: Name | None = None
    """Unique among the workers of the app; None makes one."""
    parent: int | None = None
    """A process whose death stops this one."""
    supervised: bool = False
    """The parent is a supervisor: it decides what Ctrl-C means."""
    shutdown_timeout: Annotated[float, Meta(ge=0)] | None = None
    """Seconds that running tasks may go on after a stop was asked for."""
    max_tasks: Count | None = None
    """Tasks after which it drains and ends with exit code 75, which asks for a new process."""
    max_rss: Count | None = None
    """Resident memory in MiB above which it does the same."""

    def __post_init__(self) -> None:
        set_checked(self, _EXPECTED, prefix="option ")
        if self.queues is not None:
            _expect_a_name("option queues", self.queues)


class WorkerOptions(TypedDict, total=False):
    """How a worker inside another program differs from the app's settings; what is left out is as they say."""

    concurrency: int | None
    """Tasks at the same time."""
    queues: Sequence[str] | None
    """Queues to take from."""
    queue_concurrency: Mapping[str, int] | None
    """Most tasks of a queue at the same time; one that is not named has the setting's."""
    name: str | None
    """Unique among the workers of the app; one is made by default."""
    shutdown_timeout: float | None
    """Seconds that running tasks may go on at the end."""


def _expect_a_name(label: str, queues: tuple[str, ...]) -> None:
    if not queues:
        raise ConfigError(f"{label}: expected at least one name, got ()")


def _from_text(name: str, text: str, type_: Any) -> Any:
    raw: Any = text
    if name == "queue_concurrency":
        raw = dict(part.strip().rpartition("=")[::2] for part in text.split(",") if part.strip())
    elif name in _LISTS:
        raw = [part.strip() for part in text.split(",") if part.strip()]
    elif name == "retry_backoff" and text != "exponential":
        type_ = float
    try:
        return msgspec.convert(raw, type_, strict=False)
    except msgspec.ValidationError as error:
        raise wrong_value(f"{ENV_PREFIX}{name.upper()}", text, _EXPECTED.get(name), error) from None

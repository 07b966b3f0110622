"""The contract between the core and its components: names and shapes. Provisional until three kinds of backend pass.

Where code finds better, change it and say why. Epoch times are UTC floats. Names ending in ``_s`` are durations in
seconds. Components do plain I/O on the engine's loop and never call triggers: the engine calls triggers around them.
Optional abilities are further protocols (FusedSender, Inspectable, ...), never new methods on these.

A per-item answer is as long as its input; an entry is None (done) or one of

    UnavailableError   the server is away: the engine keeps the item and repeats it (a method that raises: all of them)
    SendUnknownError   no reply came: it may be there; repeated under the same (uuid, attempt)
    RefusedError       will never work (too large, unroutable): the caller's error, or the task's
    FencedError        not ours any more; nothing of that item was applied
    AlreadyFinal       an earlier final record stays
    AlreadyExists      carries the uuid that is there; the item's own uuid means success
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from enum import IntFlag
from inspect import Signature
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, TypeVar, runtime_checkable
from uuid import UUID

from qtasks_core.config import QueueConfig, RunOptions
from qtasks_core.messages import (
    FINAL,
    Ack,
    Dead,
    Delivery,
    Envelope,
    Event,
    Message,
    Outcome,
    PerItem,
    Release,
    Retry,
    Status,
    TaskRecord,
)

if TYPE_CHECKING:
    from qtasks_core.app import App

__all__ = [
    "FINAL",
    "Ack",
    "Backend",
    "Broker",
    "Cancels",
    "Capability",
    "Component",
    "ComponentContext",
    "Dead",
    "Delivery",
    "Depth",
    "Envelope",
    "Event",
    "Evicts",
    "Execution",
    "FusedBroker",
    "FusedSender",
    "GlobalConfig",
    "Inspectable",
    "Limits",
    "Message",
    "Outcome",
    "PerItem",
    "Release",
    "Results",
    "Retry",
    "Sender",
    "Serializer",
    "Starter",
    "Status",
    "Storage",
    "Sweeps",
    "TaskExecutor",
    "TaskRecord",
    "Versioned",
    "Worker",
]

T = TypeVar("T")


# ---------------------------------------------------------------- what components are


class Capability(IntFlag):
    """Native abilities, known from the class before start(); only Limits come from the server.

    The core emulates the rest, or refuses when the app is built or the task declared. Delay is no capability: every
    Broker holds back due messages, moved on by any process that subscribes.
    """

    RECEIVE = 1
    PRIORITY = 2  # strict
    BANDS = 4  # declared bands
    UNIQUE = 8
    FENCED = 16
    CAS = 32


class Limits(NamedTuple):
    """Known after start(), from the server where it tells."""

    message_bytes: int
    batch: int
    hold_s: float | None = None  # longest a delivery may stay unsettled (RabbitMQ consumer_timeout)


class Depth(NamedTuple):
    """Of one queue; None where the server cannot tell."""

    ready: int | None
    delayed: int | None
    running: int | None
    dead: int | None


class ComponentContext(Protocol):
    """What a component is built with: cls(url, context)."""

    @property
    def namespace(self) -> str:
        """The slug of the app's name: part of every key, queue and file the component makes."""
        ...

    @property
    def config(self) -> QueueConfig: ...

    @property
    def worker(self) -> str | None:
        """The worker's name in a worker process; None in a client."""
        ...

    def clock(self) -> float:
        """Return the time now (UTC epoch seconds); tests move it."""
        ...

    def shared(self, key: object, make: Callable[[], T]) -> T:
        """Return the one object of this app under *key*, made on the first call.

        It lives as long as the app (a forked child starts with none); the start() and stop() of its users count for it.
        """
        ...


class Component(Protocol):
    """Anything with a life on the engine's loop. start() and stop() are idempotent."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class Backend(Component, Protocol):
    """A component that talks to a server; broker, storage and global config of one server are three objects."""

    qtasks_api: ClassVar[int]  # 1; another is refused before construction
    capabilities: ClassVar[Capability]

    async def clear(self) -> None:
        """Delete everything of this namespace (flush_all)."""
        ...


class Sender(Backend, Protocol):
    """The half of a broker that a client needs; all that grpc:// is."""

    limits: Limits

    async def send(self, batch: Sequence[Envelope]) -> PerItem:
        """Return when each is safe or refused. AlreadyExists: it waits, is held or is dead; what was acknowledged is forgotten."""
        ...


@runtime_checkable
class Broker(Sender, Protocol):
    """Moves envelopes and holds leases; knows neither task functions nor results."""

    async def subscribe(
        self, queues: Sequence[str], worker: str, slots: int, lost: Callable[[Sequence[Delivery]], None]
    ) -> None:
        """Set what receive() reads; () pauses; held deliveries stay held.

        lost() (on the engine's loop) tells which deliveries, of those received, are no longer ours. Under FENCED their runs are
        cancelled. Else the run goes on, its result is recorded, its settle is skipped, and a redelivery of the same (uuid,
        attempt) to this worker is adopted: a blip does not restart an hour-long task.
        """
        ...

    async def receive(self, limit: int, per_queue: Mapping[str, int] | None = None) -> Sequence[Delivery]:
        """Wait for 1..limit deliveries, no more of a queue than per_queue says. A cancelled call strands none.

        The worker starts all that it receives, so what it holds is what a crash may charge. Taken over on its way: not returned.
        """
        ...

    async def settle(self, batch: Sequence[Outcome]) -> PerItem:
        """Apply sends, then verdicts."""
        ...

    async def depth(self, queue: str) -> Depth: ...


@runtime_checkable
class Inspectable(Protocol):
    """Optional: what operators do to a queue."""

    def peek(self, queue: str, dead: bool = False, after: str = "") -> AsyncIterator[tuple[str, Envelope, str]]:
        """Yield (cursor, envelope, reason); remove nothing.

        An unreadable message is shown as an envelope whose body is its raw bytes.
        """
        ...

    async def replay(
        self, queue: str, rewrite: Callable[[Envelope], Envelope], cursors: Sequence[str] | None = None
    ) -> int:
        """Send dead letters again as rewrite() makes them (replays + 1, crashes 0, signed anew). None: all."""
        ...

    async def purge(self, queue: str, dead: bool = False, cursors: Sequence[str] | None = None) -> int: ...


@runtime_checkable
class Evicts(Protocol):
    """Optional: take a worker's deliveries away at once. A supervisor does it for a dead child, an operator for a hung one."""

    async def evict(self, worker: str) -> int: ...


class Results(Backend, Protocol):
    """The least that a storage is: outcomes reach whoever waits. Mailboxes stop here.

    A worker with a full storage also answers reply_to, so a client without one is served.
    """

    address: str | None  # becomes Envelope.reply_to

    async def finish(self, batch: Sequence[TaskRecord]) -> PerItem:
        """Write final or retry records and wake the waiters."""
        ...

    async def append(self, batch: Sequence[Event]) -> PerItem: ...

    async def wait(self, uuid: UUID, timeout_s: float | None) -> TaskRecord:
        """Return the final record; pushed by servers, never polled.

        Raises TimeoutError after *timeout_s* (None: never) and, where it can tell, ResultExpiredError at once for an unknown uuid.
        """
        ...

    def events(self, uuid: UUID, after: tuple[tuple[int, int, float], int] | None = None) -> AsyncIterator[Event]: ...


@runtime_checkable
class Storage(Results, Protocol):
    """Keeps records for everyone."""

    async def add(self, batch: Sequence[TaskRecord]) -> PerItem:
        """Insert where absent, or over a final record that counts fewer replays; enforce unique_key."""
        ...

    async def mark(self, batch: Sequence[TaskRecord]) -> Sequence[TaskRecord | None]:
        """Write status process; a mark of an older attempt is ignored. A returned record is already final.

        The worker calls it for suspects before they run (final: do not run, settle as that record implies: Ack, or Dead if
        dead_lettered) and for others when they outlive a flush. A claim that marks by itself makes it a no-op.
        """
        ...

    async def get(self, uuids: Sequence[UUID]) -> Sequence[TaskRecord | None]: ...

    def scan(self, status: Status | None = None, task_name: str | None = None) -> AsyncIterator[TaskRecord]:
        """For operators; may pass over everything."""
        ...

    async def delete(self, uuids: Sequence[UUID]) -> int: ...


@runtime_checkable
class Sweeps(Protocol):
    """Optional: a storage whose expired records are removed by this process, and not by a server."""

    def on_sweep(self, tell: Callable[[], None] | None) -> None:
        """Set what is called, on any thread, when expired final records are about to be removed; None: nobody is told.

        Of several that share what is swept, one is told.
        """
        ...


@runtime_checkable
class FusedSender(Protocol):
    """A sender that shares a server with the storage: record and message of an item are one atomic step."""

    def fuses(self, storage: Results) -> bool: ...
    async def add_and_send(self, batch: Sequence[tuple[TaskRecord, Envelope]]) -> PerItem: ...


@runtime_checkable
class FusedBroker(FusedSender, Protocol):
    """The same for the other end of a task's life."""

    async def finish_and_settle(self, batch: Sequence[Outcome]) -> PerItem: ...


@runtime_checkable
class Cancels(Protocol):
    """Optional: cancel waiting tasks in one step with their record."""

    async def cancel(self, uuids: Sequence[UUID], reason: str) -> Sequence[bool | None]:
        """True: removed and recorded. False: already final. None: running or unknown, the engine puts a tombstone."""
        ...


class Versioned(NamedTuple):
    """A value and its revision; revision 0: absent."""

    value: bytes | None
    revision: int


class GlobalConfig(Backend, Protocol):
    """The cluster's small shared memory. Without Capability.CAS it carries control and registry only."""

    async def get(self, key: str) -> Versioned: ...
    async def list(self, prefix: str) -> Mapping[str, Versioned]: ...
    async def put(self, key: str, value: bytes | None, ttl_s: float | None = None) -> None: ...

    async def cas(self, key: str, value: bytes | None, revision: int, ttl_s: float | None = None) -> int | None:
        """Write if the revision still holds; return the new one, None on conflict."""
        ...

    def watch(self, prefix: str) -> AsyncIterator[tuple[str, Versioned]]:
        """First what is there, then changes; from the start again after a reconnect."""
        ...


class Serializer(Protocol):
    """Of arguments and results only.

    A codec whose mappings know texts only as keys also has `text_keys = True`: annotations say what they stand for.
    """

    @property
    def codec(self) -> str:
        """Its name, in every message that is written with it."""
        ...

    def encode(self, value: object) -> bytes: ...

    def decoder(self, type_: Any) -> Callable[[bytes], Any]:
        """Compile once per task. ValueError names path, expected type and value."""
        ...


class Execution(Protocol):
    """One run of one task: the argument of every hot trigger and of middlewares."""

    delivery: Delivery
    message: Message
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    function: Callable[..., Any]
    """What runs; a plugin may put something around it."""

    @property
    def state(self) -> dict[str, Any]:
        """Scratch for plugins, gone after the run."""
        ...

    @property
    def task_name(self) -> str: ...

    @property
    def uuid(self) -> UUID: ...

    @property
    def attempt(self) -> int:
        """Which attempt it is, from 1."""
        ...

    @property
    def kind(self) -> Literal["async", "thread", "generator", "async generator"]:
        """Where it runs: on the loop, or in a thread."""
        ...

    @property
    def signature(self) -> Signature:
        """The function's parameters, as callers see them."""
        ...

    @property
    def context(self) -> Any:
        """What the task knows of its own run."""
        ...

    @property
    def generate_handler(self) -> Callable[[Any], Any] | None:
        """Gets what a generator yields; what it returns is stored and sent back."""
        ...

    @property
    def layers(self) -> Any:
        """The middlewares around it (`qtasks_core.layers.Layers`); None: there are none."""
        ...

    def component(self, name: str) -> Any:
        """Return broker, storage, global_config, worker, task_executor or starter; in a process task RuntimeError."""
        ...

    def yields(self) -> Any:
        """Return where a generator's values go (`qtasks_core.worker.yielding.Yields`); `async with` it, so that all is written."""
        ...

    def is_stopped(self) -> bool:
        """Tell whether somebody asked for the end of this run."""
        ...


class TaskExecutor(Component, Protocol):
    """Long-lived; runs executions and says how a run can be stopped."""

    stops: ClassVar[Literal["cancel", "cooperative", "kill"]]

    def run(self, execution: Execution) -> Awaitable[Any]:
        """Run it; what it returns or raises is awaited: `async def`, or a `def` that has nothing to wait for itself."""
        ...


class Worker(Component, Protocol):
    """Turns deliveries into outcomes."""

    async def drain(self, timeout_s: float) -> bool:
        """Stop taking, finish, release the rest, flush. True: all is written, and nothing had to be released."""
        ...


class Starter(Protocol):
    """Owns processes, signals and the order of start and stop."""

    def run(self, app: "App", options: RunOptions) -> int:
        """Run a worker, with what was asked for on the command line; return the exit code."""
        ...

"""What is tested: a backend described once, by factories and by what the kit may do to it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from uuid import UUID

    from qtasks_core.contract import Broker, GlobalConfig, Results, Sender
    from qtasks_testing.kit.context import KitContext

__all__ = ["Subject", "Trait"]


class Trait(StrEnum):
    """What a subject says of itself beside the capabilities and protocols of its components."""

    CLOCK = "a clock that tests can move"
    DURABLE = "data that outlives every object of the process"
    IDENTITY = "send() that knows a uuid that is there already"
    BACK_DOOR = "a back door to the waiting messages"
    WRONG_URLS = "a list of URLs that are refused"


class Subject(NamedTuple):
    """A backend under test. Components are made by `factory(url, context)`, mostly their class.

    Parameters:
        url: Where it is, fresh for each test or divided by namespace.
        broker: Makes the broker.
        storage: Makes the storage, or what has only Results.
        global_config: Makes the global config.
        sender: Makes the sender; the broker by default.
        back_door: Returns the uuids of the waiting messages (ready and delayed) of a context's namespace, by another
            way than the component's own methods, so that sending is not judged by receiving alone.
        wrong_urls: URLs that the constructors refuse with a ConfigError.
        movable_clock: Whether the backend goes by `context.clock()`; else tests wait, and some are skipped. A shared
            object that sleeps until a time may have a method `touch()`, called when a test has moved the clock.
        durable: Whether data outlives all objects of the process.
        identity: Whether send() answers AlreadyExists for a uuid that is there.
        due_within_s: Seconds within which the server does not tell due times apart; 0 where it keeps their order.
        patience_s: Seconds until what must happen has to have happened.
        silence_s: Seconds without it after which something is taken not to happen.
    """

    url: str
    broker: Callable[[str, Any], Broker] | None = None
    storage: Callable[[str, Any], Results] | None = None
    global_config: Callable[[str, Any], GlobalConfig] | None = None
    sender: Callable[[str, Any], Sender] | None = None
    back_door: Callable[[KitContext], Awaitable[Sequence[UUID]]] | None = None
    wrong_urls: Sequence[str] = ()
    movable_clock: bool = False
    durable: bool = False
    identity: bool = True
    due_within_s: float = 0.0
    patience_s: float = 10.0
    silence_s: float = 0.1

    @property
    def traits(self) -> frozenset[Trait]:
        """What the subject says of itself."""
        said = {
            Trait.CLOCK: self.movable_clock,
            Trait.DURABLE: self.durable,
            Trait.IDENTITY: self.identity,
            Trait.BACK_DOOR: self.back_door is not None,
            Trait.WRONG_URLS: bool(self.wrong_urls),
        }
        return frozenset(trait for trait, has in said.items() if has)

    def factory(self, component: str) -> Callable[[str, Any], Any] | None:
        """Return what makes the component of that name."""
        made: dict[str, Callable[[str, Any], Any] | None] = {
            "sender": self.sender or self.broker,
            "broker": self.broker,
            "storage": self.storage,
            "global_config": self.global_config,
        }
        return made[component]

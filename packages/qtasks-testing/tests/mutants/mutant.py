"""What a broken copy is: a subclass of one part of memory://, and the tests that are there to see what it breaks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from qtasks_core.memory import MemoryBroker, MemoryGlobalConfig, MemoryServer, MemoryStorage
from qtasks_core.memory.exchange import Exchange
from qtasks_core.memory.keys import Keys
from qtasks_core.memory.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtasks_core.config import QueueConfig

__all__ = ["MUTANTS", "UNBROKEN", "Mutant", "caught_by"]

C = TypeVar("C", bound=type)

UNBROKEN = "unbroken"


class Mutant(NamedTuple):
    """One broken copy, and what stays whole beside it.

    Parameters:
        what: What it breaks, in one sentence.
        by: The tests that are about what it breaks, `Suite::test`: each of them has to fail.
        module: Where it is written.
        broker: The class of its broker; the same for storage, global_config and server.
    """

    what: str
    by: tuple[str, ...] = ()
    module: str = ""
    broker: type[MemoryBroker] = MemoryBroker
    storage: type[MemoryStorage] = MemoryStorage
    global_config: type[MemoryGlobalConfig] = MemoryGlobalConfig
    server: type[MemoryServer] = MemoryServer

    def factory(self, component: str) -> Callable[[str, Any], Any]:
        """Return what makes a component; the first that is made brings the app's server."""

        def make(url: str, context: Any) -> Any:
            self.server.shared(url, context)
            return getattr(self, component)(url, context)

        return make


MUTANTS: dict[str, Mutant] = {UNBROKEN: Mutant("Nothing is wrong.")}


def caught_by(*tests: str) -> Callable[[C], C]:
    """Enter a subclass of a component, or of a part of the server, as a mutant; its docstring is what it breaks."""

    def enter(cls: C) -> C:
        name = re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()
        assert name not in MUTANTS, name
        assert cls.__doc__, name
        MUTANTS[name] = Mutant(cls.__doc__, tests, cls.__module__)._replace(**_place(cls))
        return cls

    return enter


def _place(cls: Any) -> dict[str, Any]:
    whole = {"broker": MemoryBroker, "storage": MemoryStorage, "global_config": MemoryGlobalConfig}
    for component, base in whole.items():
        if issubclass(cls, base):
            return {component: cls}
    return {"server": _server_with(cls)}


def _server_with(part: Any) -> type[MemoryServer]:
    class Server(MemoryServer):
        def __init__(self, clock: Callable[[], float], config: QueueConfig) -> None:
            super().__init__(clock, config)
            if issubclass(part, Exchange):
                self.exchange = part(config.dead_letter_max)
            elif issubclass(part, Ledger):
                self.ledger = part(config.result_ttl, config.max_message_bytes)
            else:
                assert issubclass(part, Keys)
                self.keys = part()

    return Server

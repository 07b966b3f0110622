"""What the kit builds components with: an app that no other test knows, and a clock that tests move."""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast, runtime_checkable

from qtasks_core.config import QueueConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

__all__ = ["KIT_CONFIG", "KitContext"]

T = TypeVar("T")

KIT_CONFIG = QueueConfig(lease_ttl=0.5, max_message_bytes=64 * 1024, send_timeout=5.0)
"""Short leases and small messages, so that tests of both are quick."""


@runtime_checkable
class _Sleeper(Protocol):
    """A shared object that would not notice by itself that the clock was moved."""

    def touch(self) -> None:
        """Have all that sleeps until a time look at the clock again."""
        ...


class _App:
    """What all contexts of one app share."""

    def __init__(self) -> None:
        self.objects: dict[object, Any] = {}
        self.lock = threading.RLock()
        self.ahead_s = 0.0


class KitContext:
    """A ComponentContext: one app, seen by a client or by one of its workers.

    Parameters:
        namespace: The app's slug; a new one by default.
        config: Its settings.
        worker: The worker's name; None in a client.
        app: What it shares with other contexts; `seen_by()` passes it on.
    """

    def __init__(
        self,
        namespace: str | None = None,
        config: QueueConfig = KIT_CONFIG,
        worker: str | None = None,
        *,
        app: _App | None = None,
    ) -> None:
        self._namespace = namespace or f"kit-{secrets.token_hex(6)}"
        self._config = config
        self._worker = worker
        self._app = app or _App()

    def __repr__(self) -> str:
        return f"KitContext({self._namespace!r}, worker={self._worker!r})"

    @property
    def namespace(self) -> str:
        """The app's slug."""
        return self._namespace

    @property
    def config(self) -> QueueConfig:
        """The app's settings."""
        return self._config

    @property
    def worker(self) -> str | None:
        """The worker's name; None in a client."""
        return self._worker

    def clock(self) -> float:
        """Return the time now, as far ahead as tests moved it."""
        return time.time() + self._app.ahead_s

    def advance(self, seconds: float) -> None:
        """Move the clock of all contexts of this app ahead; shared objects that sleep until a time look at it again."""
        self._app.ahead_s += seconds
        for shared in list(self._app.objects.values()):
            if isinstance(shared, _Sleeper):
                shared.touch()

    def shared(self, key: object, make: Callable[[], T]) -> T:
        """Return the app's one object under *key*, made on the first call."""
        with self._app.lock:
            if key not in self._app.objects:
                self._app.objects[key] = make()
            return cast("T", self._app.objects[key])

    def seen_by(self, worker: str | None) -> Self:
        """Return the same app as another worker (None: a client) sees it."""
        return type(self)(self._namespace, self._config, worker, app=self._app)

    def restarted(self) -> Self:
        """Return the same app as a later process sees it: nothing is shared but the namespace and the clock."""
        later = type(self)(self._namespace, self._config, self._worker)
        later.advance(self._app.ahead_s)
        return later

"""What a component is built with: `AppContext`."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar, cast

from qtasks_core.forks import after_fork, keep_for_ever

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtasks_core.config import QueueConfig

__all__ = ["AppContext", "SharedObjects"]

T = TypeVar("T")


class SharedObjects:
    """The objects that components of one app share, by key; a forked child begins with none.

    Parameters:
        clock: Tells the time to all of them; tests move it.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._lock = threading.RLock()
        self._objects: dict[object, Any] = {}
        after_fork(self, SharedObjects._forget)

    def get(self, key: object, make: Callable[[], T]) -> T:
        """Return the object under *key*, made on the first call."""
        with self._lock:
            if key not in self._objects:
                self._objects[key] = make()
            return cast("T", self._objects[key])

    def _forget(self) -> None:
        keep_for_ever(self._objects)
        self._lock = threading.RLock()
        self._objects = {}


class AppContext:
    """One engine's view of its app, as components see it (contract.ComponentContext).

    Parameters:
        namespace: The slug of the app's name.
        config: The app's settings.
        objects: What the app's components share.
        worker: The worker's name; None in a client.
    """

    def __init__(self, namespace: str, config: QueueConfig, objects: SharedObjects, worker: str | None = None) -> None:
        self.namespace = namespace
        self.config = config
        self.worker = worker
        self._objects = objects
        self.clock: Callable[[], float] = objects.clock

    def shared(self, key: object, make: Callable[[], T]) -> T:
        """Return the app's one object under *key*, made on the first call."""
        return self._objects.get(key, make)

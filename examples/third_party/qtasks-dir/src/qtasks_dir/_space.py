"""What the components of one app share: where its files are, and stamps that never repeat."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from qtasks_dir._files import Section, quoted
from qtasks_dir._location import locate

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtasks_core.contract import ComponentContext
    from qtasks_dir._location import Location

__all__ = ["Space"]


class Space:
    """The files of one app.

    It holds nothing open, so a forked child may go on with it, and nothing has to be closed.

    Parameters:
        location: The directory.
        namespace: The app's.
        clock: The app's.
    """

    def __init__(self, location: Location, namespace: str, clock: Callable[[], float]) -> None:
        root = location.folder / quoted(namespace)
        self.queues, self.records, self.config = (
            Section(root / name, is_synced=location.is_synced) for name in ("queues", "records", "config")
        )
        self.clock = clock
        self._lock = threading.Lock()
        self._last = 0

    @classmethod
    def shared(cls, url: str, context: ComponentContext) -> Space:
        """Return the app's one space of that URL.

        Raises:
            ConfigError: The URL is wrong.
        """
        location = locate(url)
        return context.shared(("dir", location), lambda: cls(location, context.namespace, context.clock))

    def stamp(self) -> int:
        """Return the time in microseconds, later than any stamp before: what was sent later sorts later."""
        with self._lock:
            self._last = max(self._last + 1, int(self.clock() * 1_000_000))
            return self._last

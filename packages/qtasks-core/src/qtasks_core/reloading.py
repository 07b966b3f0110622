"""Changes of source files, for `--reload`: seen by watchfiles, which is an extra."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any

from qtasks_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SourceWatch"]

_log = logging.getLogger("qtasks.supervisor")

_SHOWN = 3


class SourceWatch:
    """Watches the `.py` files below a folder, in a thread, from `with` on; not those of environments and caches.

    Parameters:
        folder: Where to look.
        changed: Called, in that thread, when files were written, added or deleted.

    Raises:
        ConfigError: watchfiles is not installed.
    """

    def __init__(self, folder: str, changed: Callable[[], None]) -> None:
        try:
            import watchfiles  # noqa: PLC0415  # an extra
        except ImportError:
            raise ConfigError('--reload needs the package watchfiles: pip install "qtasks[reload]"') from None
        self._watch = watchfiles.watch
        self._is_watched_by_default = watchfiles.DefaultFilter()
        self._folder = folder
        self._changed = changed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="qtasks reload", daemon=True)

    def __enter__(self) -> None:
        _log.info("watching the .py files below %s", self._folder)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            for changes in self._watch(
                self._folder, watch_filter=self._is_source, stop_event=self._stop, raise_interrupt=False
            ):
                _log.info("changed: %s", self._told(sorted({path for _, path in changes})))
                self._changed()
        except Exception as error:  # noqa: BLE001  # workers go on; only changes are not seen
            _log.error("changes of files cannot be seen any more: %s", error)

    def _is_source(self, change: Any, path: str) -> bool:
        return path.endswith(".py") and self._is_watched_by_default(change, path)

    def _told(self, paths: list[str]) -> str:
        shown = ", ".join(os.path.relpath(path, self._folder) for path in paths[:_SHOWN])
        return f"{shown} and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else shown

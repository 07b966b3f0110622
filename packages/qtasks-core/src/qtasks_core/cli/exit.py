"""The end of a command's process: threads that do not end hold it up for a few seconds, not for ever."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time

__all__ = ["limit_exit"]

_GRACE_S = 5.0

_log = logging.getLogger("qtasks.starter")


def limit_exit(code: int) -> None:
    """Have this process, which is about to end, end within 5 s also where threads do not.

    The interpreter waits for every thread that is no daemon, so for those of `asyncio.to_thread` too, without limit.

    Parameters:
        code: The exit code.
    """
    if _left():
        threading.Thread(target=_end, args=(code,), name="qtasks exit", daemon=True).start()


def _left() -> list[str]:
    """Return the names of the threads that the interpreter waits for."""
    main = threading.main_thread()
    return [thread.name for thread in threading.enumerate() if not thread.daemon and thread is not main]


def _end(code: int) -> None:
    time.sleep(_GRACE_S)
    _log.warning("threads that did not end are left behind: %s", ", ".join(_left()))
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)

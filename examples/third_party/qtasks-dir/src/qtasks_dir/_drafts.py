"""What becomes of the drafts of processes that died."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from qtasks_dir._files import listing, remove

if TYPE_CHECKING:
    from pathlib import Path

    from qtasks_dir._queues import Queues

__all__ = ["finish_drafts"]

_PATIENCE_S = 60.0
"""A draft lives for milliseconds. Who takes longer and lives finds its work done."""


def finish_drafts(queues: Queues) -> None:
    """Finish, or take back, what others began and left alone for a minute."""
    for name in listing(queues.section.drafts):
        draft = queues.section.drafts / name
        with contextlib.suppress(FileNotFoundError):
            if time.time() - draft.stat().st_ctime > _PATIENCE_S:
                _finish(queues, draft)


def _finish(queues: Queues, draft: Path) -> None:
    root = queues.section.root
    match draft.name.split("~"):
        case ["send", kind, queue, name, _] if _is_sent(queues, draft, name):
            queues.section.publish(draft, root / kind / queue / name)
        case ["ack", uuid, _]:
            remove(queues.id_path(uuid))
            remove(draft)
        case ["replay", queue, name, _]:
            queues.section.publish(draft, root / "dead" / queue / name)
        case _:
            remove(draft)


def _is_sent(queues: Queues, draft: Path, name: str) -> bool:
    try:
        return draft.samefile(queues.id_path(name.split("-")[2]))
    except FileNotFoundError:
        return False

"""Triggers of the starter, which runs a worker process."""
# ruff: noqa: D401  # a trigger's docstring says when it is called

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_core.hookspecs._marker import hookspec

if TYPE_CHECKING:
    from qtasks_core.contract import Starter

__all__ = ["starter_start", "starter_stop"]


@hookspec
def starter_start(starter: Starter) -> None:
    """Called when a worker process has started all its parts.

    Notifies. Not hot. Goes after `worker_start`. The result is ignored; one that raises stops the start. Since 0.1.
    """


@hookspec
def starter_stop(starter: Starter) -> None:
    """Called when a worker process has stopped its worker and is about to end.

    Notifies. Not hot. Goes after `worker_stop`. The result is ignored. Since 0.1.
    """

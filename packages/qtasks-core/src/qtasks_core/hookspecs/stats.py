"""Triggers of the statistics."""
# ruff: noqa: D401  # a trigger's docstring says when it is called

from __future__ import annotations

from typing import Any

from qtasks_core.hookspecs._marker import hookspec

__all__ = ["stats_inspect"]


@hookspec
def stats_inspect(stats: Any) -> None:
    """Called when an inspection is about to begin.

    Notifies. Not hot. The result is ignored. Since 0.1.
    """

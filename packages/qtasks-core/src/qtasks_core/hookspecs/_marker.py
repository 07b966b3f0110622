"""The mark of a trigger's declaration."""

from __future__ import annotations

from pluggy import HookspecMarker

__all__ = ["hookspec"]

hookspec = HookspecMarker("qtasks")

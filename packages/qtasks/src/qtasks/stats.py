"""What an app is and does now, for operators."""

from __future__ import annotations

from qtasks_core.stats import AsyncStats, SyncStats

__all__ = ["AsyncStats", "SyncStats"]

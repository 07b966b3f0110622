"""Tests of applications: an app in memory, time that moves at a wish, tasks that run when the test says so.

`qtasks.testing` for applications. Nothing here needs pytest; its fixtures are in the plugin of qtasks-testing.
"""

from __future__ import annotations

from qtasks_core.discovery.schemes import RegisteredScheme, register_scheme
from qtasks_core.testing.calling import call_task
from qtasks_core.testing.cases import AsyncTestCase, SyncTestCase
from qtasks_core.testing.handles import AsyncMemory, BlockingMemory
from qtasks_core.testing.memory_app import MemoryApp, memory_app

__all__ = [
    "AsyncMemory",
    "AsyncTestCase",
    "BlockingMemory",
    "MemoryApp",
    "RegisteredScheme",
    "SyncTestCase",
    "call_task",
    "memory_app",
    "register_scheme",
]

"""Tests of applications: an app in memory, time that moves at a wish, tasks that run when the test says so."""

from __future__ import annotations

from qtasks_core.testing import (
    AsyncMemory,
    AsyncTestCase,
    BlockingMemory,
    MemoryApp,
    RegisteredScheme,
    SyncTestCase,
    call_task,
    memory_app,
    register_scheme,
)

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

"""What plugins are written with; `app.add_plugin` takes them, and entry points of the group `qtasks` install them."""

from __future__ import annotations

from qtasks_core.contract import Execution
from qtasks_core.definition import TaskDefinition
from qtasks_core.plugins import BasePlugin, hookimpl
from qtasks_core.provided import Injector
from qtasks_core.triggers import Replace

__all__ = ["BasePlugin", "Execution", "Injector", "Replace", "TaskDefinition", "hookimpl"]

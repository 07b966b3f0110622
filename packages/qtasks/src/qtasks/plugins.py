"""What plugins are written with; `app.add_plugin` takes them, and entry points of the group `qtasks` install them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_core.contract import Execution
from qtasks_core.definition import TaskDefinition
from qtasks_core.extras import names_of
from qtasks_core.plugins import BasePlugin, hookimpl
from qtasks_core.provided import Injector, ReadyInjector
from qtasks_core.releases import Releases
from qtasks_core.triggers import Replace

if TYPE_CHECKING:
    from qtasks_depends import AsyncState as AsyncState  # noqa: PLC0414  # it is public
    from qtasks_depends import Depends as Depends  # noqa: PLC0414  # it is public
    from qtasks_depends import ScopeEnum as ScopeEnum  # noqa: PLC0414  # it is public
    from qtasks_depends import SyncState as SyncState  # noqa: PLC0414  # it is public

__all__ = [
    "BasePlugin",
    "Execution",
    "Injector",
    "ReadyInjector",
    "Releases",
    "Replace",
    "TaskDefinition",
    "hookimpl",
]

__getattr__ = names_of(__name__, dict.fromkeys(("AsyncState", "Depends", "ScopeEnum", "SyncState"), "depends"))

"""What the parts of `memory://` have in common: the server that they share, and a life that opens nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from qtasks_core.errors import ConfigError
from qtasks_core.memory.server import MemoryServer
from qtasks_core.role import is_pool_process

if TYPE_CHECKING:
    from qtasks_core.contract import ComponentContext

__all__ = ["MemoryComponent"]


class MemoryComponent:
    """Find the app's server; what is kept there lives as long as the app.

    Parameters:
        url: `memory://`, or `memory://NAME` for a further server within the app.
        context: Of the app.

    Raises:
        ConfigError: The URL is of another form.
    """

    qtasks_api: ClassVar[int] = 1

    def __init__(self, url: str, context: ComponentContext) -> None:
        self.server = MemoryServer.shared(url, context)

    async def start(self) -> None:
        """Open nothing.

        Raises:
            ConfigError: This process runs tasks for a worker, and what is here is not what its worker has.
        """
        if is_pool_process():
            raise ConfigError(
                "memory:// is in the process of the worker, and a task that runs in another one cannot reach it: "
                "expected a broker that processes share, such as sqlite://"
            )

    async def stop(self) -> None:
        """Do nothing: there is nothing to close."""

"""What the parts of `memory://` have in common: the server that they share, and a life that opens nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from qtasks_core.memory.server import MemoryServer

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
        """Do nothing: there is nothing to open."""

    async def stop(self) -> None:
        """Do nothing: there is nothing to close."""

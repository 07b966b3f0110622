"""Names of keys and channels: one prefix a namespace, with the version of the layout in it."""

from __future__ import annotations

__all__ = ["LAYOUT", "Keys"]

LAYOUT = 1
"""Of all that is stored; another one has keys of its own, so that two releases may run side by side."""


class Keys:
    """The keys and channels of one namespace in one database; all share a hash tag.

    Parameters:
        namespace: The app's.
        database: Channels belong to the whole server: their names tell the databases apart.
    """

    def __init__(self, namespace: str, database: int) -> None:
        self.prefix = f"qt{LAYOUT}:{{{namespace}}}:".encode()
        """What all keys begin with: scripts get it as their one KEYS[1], and add to it."""
        self.channel_prefix = f"qt{LAYOUT}:{database}:{{{namespace}}}:".encode()

    def key(self, name: str | bytes) -> bytes:
        """Return the key of that name."""
        return self.prefix + (name.encode() if isinstance(name, str) else name)

    def channel(self, name: str | bytes) -> bytes:
        """Return the channel of that name."""
        return self.channel_prefix + (name.encode() if isinstance(name, str) else name)

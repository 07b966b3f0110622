"""What installed distributions bring: plugins, URL schemes and commands, found by their entry points.

Nothing is looked for when this is imported: the first scheme, plugin or command that is asked for looks.
"""

from __future__ import annotations

from qtasks_core.discovery.ambient import LoadedPlugin, load_plugins
from qtasks_core.discovery.schemes import RegisteredScheme, register_scheme

__all__ = ["LoadedPlugin", "RegisteredScheme", "load_plugins", "register_scheme"]

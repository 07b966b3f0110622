"""Commands that distributions bring to the command line: the group `qtasks.commands`, imported when one runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_core.discovery.entries import COMMANDS, Entry, entries
from qtasks_core.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Collection

    import click

__all__ = ["commands", "load_command", "shadowing"]


def commands(built_in: Collection[str]) -> dict[str, list[Entry]]:
    """Return the entry points of each command that is no built-in one; more than one of a name is an error to run."""
    found: dict[str, list[Entry]] = {}
    for entry in entries(COMMANDS):
        if entry.name not in built_in:
            found.setdefault(entry.name, []).append(entry)
    return found


def shadowing(built_in: Collection[str]) -> list[PluginError]:
    """Return what is wrong with each entry point that has the name of a built-in command."""
    return [_shadows(entry) for entry in entries(COMMANDS) if entry.name in built_in]


def load_command(entry: Entry, built_in: Collection[str]) -> click.Command:
    """Import a command.

    Parameters:
        entry: Its entry point.
        built_in: Names that it cannot have.

    Raises:
        PluginError: It cannot be loaded, is no click command, or has the name of another one; names distribution,
            version and entry point.
    """
    import click  # noqa: PLC0415  # apps find their plugins and schemes without the command line

    if entry.name in built_in:
        raise _shadows(entry)
    what = f"command {entry.name}"
    owners = [one.owner for one in entries(COMMANDS, entry.name)]
    if len(owners) > 1:
        raise PluginError(f"{what}: more than one distribution brings it: {', '.join(owners)}; uninstall one")
    found = entry.load(what)
    if not isinstance(found, click.Command):
        raise PluginError(f"{what} {entry.origin}: expected a click command, got {found!r}")
    return found


def _shadows(entry: Entry) -> PluginError:
    return PluginError(f"command {entry.name} {entry.origin}: a built-in command has that name")

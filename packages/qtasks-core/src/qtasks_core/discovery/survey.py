"""All that is installed, and whether it works: found out by trying."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from qtasks_core.discovery.ambient import Choice, plugin_of
from qtasks_core.discovery.commands import load_command
from qtasks_core.discovery.entries import COMMANDS, PLUGINS, SCHEMES, Entry, entries
from qtasks_core.discovery.schemes import load_factory, scheme_of
from qtasks_core.errors import PluginError
from qtasks_core.triggers import Triggers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

__all__ = ["Extension", "State", "Survey", "survey"]

State = Literal["loaded", "available", "blocked", "broken"]


class Extension(Struct, frozen=True, kw_only=True):
    """A scheme, a plugin or a command that a distribution brings."""

    name: str
    distribution: str
    version: str
    entry_point: str
    state: State
    reason: str = ""
    """Why it is blocked or broken."""
    part: str | None = None
    """What of an app a scheme is for; None for a plugin or a command."""


class Survey(Struct, frozen=True, kw_only=True):
    """What is installed, each list sorted by name."""

    schemes: list[Extension]
    """State "available": each is loaded where a URL names it."""
    plugins: list[Extension]
    """State "loaded", where apps that are built now have it."""
    commands: list[Extension]
    """State "available": each is loaded when it runs."""
    missing: list[str]
    """Plugins that QTASKS_PLUGINS names and nobody brings; no app can be built."""

    @property
    def is_sound(self) -> bool:
        """Whether nothing is broken or missing."""
        return not self.missing and all(one.state != "broken" for one in [*self.schemes, *self.plugins, *self.commands])


def survey(built_in: Collection[str]) -> Survey:
    """Load all that is installed, each by itself, and return what came of it; what it prints goes to stderr.

    Parameters:
        built_in: Names of the command line's own commands.
    """
    choice, plugins = Choice.from_environment(), entries(PLUGINS)
    with contextlib.redirect_stdout(sys.stderr):
        return Survey(
            schemes=sorted(
                (_scheme(part, entry) for part, group in SCHEMES.items() for entry in entries(group)),
                key=lambda one: one.name,
            ),
            plugins=[_plugin(entry, choice) for entry in plugins],
            commands=[_command(entry, built_in) for entry in entries(COMMANDS)],
            missing=sorted((choice.only or frozenset()) - {one.name for one in plugins}),
        )


def _scheme(part: str, entry: Entry) -> Extension:
    found = _tried(entry, "available", lambda: load_factory(part, entry))
    return replace(found, name=scheme_of(entry), part=part)


def _plugin(entry: Entry, choice: Choice) -> Extension:
    variable = choice.blocks(entry.name)
    if variable is not None:
        return _extension(entry, "blocked", f"by {variable}")
    return _tried(entry, "loaded", lambda: plugin_of(entry, Triggers()))


def _command(entry: Entry, built_in: Collection[str]) -> Extension:
    return _tried(entry, "available", lambda: load_command(entry, built_in))


def _tried(entry: Entry, works: State, load: Callable[[], object]) -> Extension:
    try:
        load()
    except PluginError as error:
        text = str(error)
        _, origin, reason = text.partition(entry.origin)  # what the rest of the line says already
        return _extension(entry, "broken", reason.lstrip(": ") if origin else text)
    return _extension(entry, works)


def _extension(entry: Entry, state: State, reason: str = "") -> Extension:
    return Extension(
        name=entry.name,
        distribution=entry.distribution,
        version=entry.version,
        entry_point=entry.value,
        state=state,
        reason=reason,
    )

"""`qtasks plugins`: what is installed, and whether it works."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
import msgspec

from qtasks_core.cli.group import COMMANDS
from qtasks_core.cli.terminal import wants_colour
from qtasks_core.discovery.survey import survey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qtasks_core.discovery.survey import Extension, Survey

__all__ = ["plugins"]

_COLOURS = {"loaded": "green", "available": "green", "blocked": "yellow", "broken": "bold red"}
_WIDE = 10_000  # columns: where nobody looks, a row is one line


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
@click.option("--strict", is_flag=True, help="End with exit code 1 where anything is broken; for CI.")
@click.option("--no-color", is_flag=True, help="No colour, not even on a terminal; as does NO_COLOR.")
def plugins(*, as_json: bool, strict: bool, no_color: bool) -> None:
    """Print what installed packages bring: URL schemes, plugins and commands, and whether they work.

    Each is loaded to find out: `loaded` (a plugin that every app has), `available` (loaded where it is asked for),
    `blocked` (by QTASKS_PLUGINS or QTASKS_DISABLE_PLUGINS), or `broken`, with the reason.
    """
    found = survey(COMMANDS)
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        _print_tables(found, no_color=no_color)
        for name in found.missing:
            click.echo(f"\nQTASKS_PLUGINS names {name!r}, which no installed package brings.")
    if strict and not found.is_sound:
        raise SystemExit(1)


def _print_tables(found: Survey, *, no_color: bool) -> None:
    from rich.console import Console  # noqa: PLC0415  # of all commands this one draws tables

    is_coloured = wants_colour(sys.stdout, no_color=no_color)
    console = Console(
        width=None if sys.stdout.isatty() else _WIDE, no_color=not is_coloured, highlight=False, emoji=False
    )
    with console.capture() as printed:
        for title, extensions in (("Schemes", found.schemes), ("Plugins", found.plugins), ("Commands", found.commands)):
            console.print(_table(title, extensions) if extensions else f"{title}: none")
            console.print()
    click.echo("\n".join(line.rstrip() for line in printed.get().rstrip().splitlines()), color=is_coloured)


def _table(title: str, extensions: Iterable[Extension]) -> object:
    from rich.table import Table  # noqa: PLC0415  # as above
    from rich.text import Text  # noqa: PLC0415  # as above

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (title, "Package", "Entry point", "State"):
        table.add_column(column, overflow="fold")
    for one in extensions:
        state = f"{one.state}: {one.reason}" if one.reason else one.state
        table.add_row(
            Text(_label(one)),
            Text(f"{one.distribution} {one.version}"),
            Text(one.entry_point),
            Text(state, style=_COLOURS[one.state]),
        )
    return table


def _label(one: Extension) -> str:
    return one.name if one.part is None else f"{one.name}:// {one.part.replace('_', ' ')}"

"""`qtasks new-plugin NAME --kind KIND`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from qtasks_testing.new_plugin.naming import checked_name
from qtasks_testing.new_plugin.rendering import KINDS, write

__all__ = ["new_plugin"]


@click.command("new-plugin")
@click.argument("name")
@click.option("--kind", type=click.Choice(sorted(KINDS)), required=True, help="What it will be.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where it is written, a new or an empty folder; `qtasks-NAME` by default.",
)
def new_plugin(name: str, kind: str, directory: Path | None) -> None:
    """Write a distribution `qtasks-NAME` to start from: it works, and passes its tests as it is.

    NAME is also the scheme, the plugin's or the command's name.
    """
    try:
        checked = checked_name(name, KINDS[kind])
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from None
    folder = Path(checked.distribution) if directory is None else directory
    try:
        written = write(folder, checked, KINDS[kind])
    except OSError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{checked.distribution}: {len(written)} files of a {kind} in {folder}")
    click.echo("Next:")
    for command in (f"cd {shlex.quote(str(folder))}", 'python -m pip install --editable ".[test,lint]"', "pytest"):
        click.echo(f"  {command}")

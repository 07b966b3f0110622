"""`qtasks -A module:app flush-all`."""

from __future__ import annotations

import click

from qtasks_core.cli.asking import ask
from qtasks_core.cli.loading import load_app

__all__ = ["flush_all"]


@click.command("flush-all")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def flush_all(ref: str | None, *, yes: bool) -> None:
    """Delete everything of the app: waiting tasks, dead letters, records, results, what workers share."""
    core = load_app(ref)
    where = ", ".join(dict.fromkeys(core.describe().values()))
    if not yes:
        click.confirm(f"Delete everything of the app {core.name!r} at {where}?", abort=True)
    ask(core, lambda app: app.flush_all())
    click.echo(f"everything of the app {core.name!r} at {where} is deleted")

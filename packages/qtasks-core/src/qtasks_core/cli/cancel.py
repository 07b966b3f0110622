"""`qtasks -A module:app cancel UUID…`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from qtasks_core.cli.asking import ask
from qtasks_core.cli.loading import load_app
from qtasks_core.errors import ResultExpiredError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from qtasks_core.aio import QueueTasks

__all__ = ["cancel"]


@click.command()
@click.argument("uuids", nargs=-1, required=True, type=click.UUID, metavar="UUID…")
@click.option("--reason", default="cancelled by an operator", show_default=True, help="Kept with the task.")
@click.pass_obj
def cancel(ref: str | None, uuids: tuple[UUID, ...], reason: str) -> None:
    """Ask for the end of each task, whether it waits or runs; print what became of that.

    Exit code 1 when nothing is known of one of them.
    """
    answers = ask(load_app(ref), lambda app: _cancel(app, uuids, reason))
    for uuid, answer in zip(uuids, answers, strict=True):
        click.echo(f"{uuid} {answer}")
    if _UNKNOWN in answers:
        raise click.exceptions.Exit(1)


_UNKNOWN = "is unknown: it expired, or never was"


async def _cancel(app: QueueTasks, uuids: Sequence[UUID], reason: str) -> list[str]:
    return [await _cancel_one(app, uuid, reason) for uuid in uuids]


async def _cancel_one(app: QueueTasks, uuid: UUID, reason: str) -> str:
    try:
        return "is asked to end" if await app.cancel(uuid, reason) else "had ended"
    except ResultExpiredError:
        return _UNKNOWN

"""`qtasks -A module:app pause QUEUE…` and `resume QUEUE…`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from qtasks_core.cli.asking import ask
from qtasks_core.cli.loading import load_app

if TYPE_CHECKING:
    from qtasks_core.aio import QueueTasks

__all__ = ["pause", "resume"]


@click.command()
@click.argument("queues", nargs=-1, metavar="QUEUE…")
@click.pass_obj
def pause(ref: str | None, queues: tuple[str, ...]) -> None:
    """Have all workers take nothing more from each QUEUE until it is resumed; print which queues are paused.

    What runs goes on, and tasks may be added. Without a QUEUE it only prints.
    """

    async def ask_to_pause(app: QueueTasks) -> list[str]:
        for queue in queues:
            await app.pause(queue)
        return await app.paused()

    _show(ask(load_app(ref), ask_to_pause))


@click.command()
@click.argument("queues", nargs=-1, required=True, metavar="QUEUE…")
@click.pass_obj
def resume(ref: str | None, queues: tuple[str, ...]) -> None:
    """Have the workers take from each QUEUE again; print which queues are still paused."""

    async def ask_to_resume(app: QueueTasks) -> list[str]:
        for queue in queues:
            await app.resume(queue)
        return await app.paused()

    _show(ask(load_app(ref), ask_to_resume))


def _show(paused: list[str]) -> None:
    click.echo(f"paused: {', '.join(paused) or 'none'}")

"""`qtasks -A module:app ping`: which workers are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from qtasks_core.cli.asking import ask
from qtasks_core.cli.loading import load_app

if TYPE_CHECKING:
    from qtasks_core.pinging import PingedWorker

__all__ = ["ping"]


@click.command()
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    metavar="S",
    help="Seconds to wait for answers.",
)
@click.option("--json", "as_json", is_flag=True, help="As a JSON array.")
@click.pass_obj
def ping(ref: str | None, timeout: float, *, as_json: bool) -> None:
    """Ask all workers whether they are alive; print each that answers, or is announced and does not.

    Exit code 1 when none answers.
    """
    workers = ask(load_app(ref), lambda app: app.ping(timeout))
    if as_json:
        click.echo(msgspec.json.encode(workers))
    for worker in () if as_json else workers:
        click.echo(_line(worker))
    if all(worker.latency is None for worker in workers):
        raise click.ClickException("no worker answers")


def _line(worker: PingedWorker) -> str:
    said = "does not answer" if worker.latency is None else f"answered in {worker.latency * 1000:.0f} ms"
    return f"{worker.name} on {worker.host}, process {worker.pid}, up {worker.age:.0f} s: {said}"

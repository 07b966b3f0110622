"""`qtasks -A module:app dead list|replay|purge`: messages that came to no good end."""

from __future__ import annotations

import datetime as dt
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import click
import msgspec

from qtasks_core.cli.asking import ask
from qtasks_core.cli.loading import load_app
from qtasks_core.errors import CodecError, WireError

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from qtasks_core.aio import QueueTasks
    from qtasks_core.dead_letters import DeadLetter

__all__ = ["dead"]


@click.group()
def dead() -> None:
    """Look at dead letters, send them again, or delete them.

    A message is dead when its task failed for good, killed its workers, was known by no worker for too long, or
    cannot be read. Without --queue the queues that the app's settings and tasks name are meant.
    """


_queue = click.option("--queue", metavar="NAME", help="Of this queue only.")


def _selection(command: Callable[..., None]) -> Callable[..., None]:
    """Add what says which letters are meant."""
    for decorate in (
        click.option("--all", "is_all", is_flag=True, help="All dead letters."),
        _queue,
        click.argument("uuids", nargs=-1, type=click.UUID, metavar="[UUID…]"),
    ):
        command = decorate(command)
    return command


@dead.command("list")
@_queue
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="No more than N, the oldest.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one object a line, with arguments.")
@click.pass_obj
def list_letters(ref: str | None, queue: str | None, limit: int | None, *, as_json: bool) -> None:
    """Print dead letters, the oldest of each queue first."""
    show = _as_json if as_json else _as_text

    async def print_all(app: QueueTasks) -> int:
        count = 0
        async with aclosing(app.dead_letters.list(queue)) as letters:
            async for letter in letters:
                click.echo(show(letter))
                count += 1
                if count == limit:
                    break
        return count

    count = ask(load_app(ref), print_all)
    if not count and not as_json:
        click.echo("no dead letters")


@dead.command()
@_selection
@click.pass_obj
def replay(ref: str | None, uuids: tuple[UUID, ...], queue: str | None, *, is_all: bool) -> None:
    """Send dead letters again: those of the tasks UUID…, of a queue, or all; print how many were sent.

    Each runs as a new task would, from attempt 1. What is damaged is left.
    """
    _check(uuids, queue, is_all=is_all)
    count = ask(load_app(ref), lambda app: app.dead_letters.replay(queue, uuids=uuids or None))
    click.echo(f"sent again: {count}")


@dead.command()
@_selection
@click.pass_obj
def purge(ref: str | None, uuids: tuple[UUID, ...], queue: str | None, *, is_all: bool) -> None:
    """Delete dead letters: those of the tasks UUID…, of a queue, or all; print how many were deleted.

    What is known of their tasks stays until it expires.
    """
    _check(uuids, queue, is_all=is_all)
    count = ask(load_app(ref), lambda app: app.dead_letters.purge(queue, uuids=uuids or None))
    click.echo(f"deleted: {count}")


def _check(uuids: tuple[UUID, ...], queue: str | None, *, is_all: bool) -> None:
    if is_all == bool(uuids or queue):
        raise click.UsageError("say which: UUID…, --queue NAME, or --all")


def _as_text(letter: DeadLetter) -> str:
    """Return one line; arguments are not for everyone who looks."""
    what = letter.task_name or f"unreadable ({len(letter.raw)} bytes)"
    added = dt.datetime.fromtimestamp(letter.created_at, dt.UTC).isoformat(timespec="seconds")
    reason = " ".join(letter.reason.split())
    return f"{letter.uuid} {letter.queue} {what}, attempt {letter.attempt}, added {added}: {reason}"


def _as_json(letter: DeadLetter) -> bytes:
    """Return all that is known; what JSON does not know is written as text."""
    shown: dict[str, Any] = {
        "uuid": letter.uuid,
        "task_name": letter.task_name,
        "queue": letter.queue,
        "args": None,
        "kwargs": None,
        "reason": letter.reason,
        "attempt": letter.attempt,
        "replays": letter.replays,
        "created_at": letter.created_at,
        "cursor": letter.cursor,
    }
    try:
        shown["args"], shown["kwargs"] = letter.args, letter.kwargs
    except (WireError, CodecError) as error:
        shown["problem"], shown["raw"] = str(error), letter.raw  # in base64
    return msgspec.json.encode(shown, enc_hook=str)

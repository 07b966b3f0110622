"""`qtasks -A module:app add NAME`: add one task, and wait for its result where asked."""

from __future__ import annotations

import asyncio
import difflib
import json
from typing import TYPE_CHECKING, Any

import click
import msgspec

from qtasks_core.cli.failures import failure_of
from qtasks_core.cli.loading import load_app
from qtasks_core.errors import QTasksError

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtasks_core.app import App

__all__ = ["add"]


def _json(type_: type, expected: str) -> Callable[[click.Context, click.Parameter, str], Any]:
    """Return a click callback that reads JSON text of one type."""

    def read(ctx: click.Context, param: click.Parameter, text: str) -> Any:
        try:
            found = json.loads(text)
        except ValueError as error:
            raise click.BadParameter(f"expected a JSON {expected}, got {text!r} ({error})", ctx, param) from None
        if not isinstance(found, type_):
            raise click.BadParameter(f"expected a JSON {expected}, got {text!r}", ctx, param)
        return found

    return read


@click.command()
@click.argument("name")
@click.option("--args", callback=_json(list, "array such as [1, 2]"), default="[]", metavar="JSON", help="An array.")
@click.option(
    "--kwargs", callback=_json(dict, 'object such as {"a": 1}'), default="{}", metavar="JSON", help="An object."
)
@click.option("--wait", is_flag=True, help="Wait for the result and print it as JSON.")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="S", help="With --wait: seconds; no limit by default.")
@click.pass_obj
def add(
    ref: str | None, name: str, args: list[Any], kwargs: dict[str, Any], *, wait: bool, timeout: float | None
) -> None:
    """Add the task NAME; print its uuid, or with --wait its result as JSON."""
    if timeout is not None and not wait:
        raise click.UsageError("--timeout needs --wait")
    core = load_app(ref)
    _warn_of_unknown(core, name)
    try:
        text = asyncio.run(_add(core, name, args, kwargs, wait=wait, timeout=timeout))
    except QTasksError as error:
        raise failure_of(error) from error
    click.echo(text)


def _warn_of_unknown(core: App, name: str) -> None:
    """Say that a name is perhaps mistyped. No more: apps send tasks by name that other processes hold the code of."""
    if name in core.tasks or not core.tasks:
        return
    near = difflib.get_close_matches(name, list(core.tasks), n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else f" but {', '.join(sorted(core.tasks)[:12])}"
    click.echo(f"Warning: this app has no task {name!r}{hint}. It waits for a worker that knows it.", err=True)


async def _add(
    core: App, name: str, args: list[Any], kwargs: dict[str, Any], *, wait: bool, timeout: float | None
) -> str:
    """Return what to print."""
    async with core.aio as app:
        try:
            call = app.add_task(name, *args, **kwargs)
        except TypeError as error:  # the arguments do not fit the function's signature
            raise click.UsageError(str(error)) from error
        task = await call
        if not wait:
            return str(task.uuid)
        try:
            return _as_json(await task.result(timeout=timeout))
        except TimeoutError as error:
            raise click.ClickException(f"task {task.uuid} has no result after {timeout:g} s; it goes on") from error


def _as_json(value: object) -> str:
    """Return JSON text; what JSON does not know is written as text."""
    return msgspec.json.encode(value, enc_hook=str).decode()

"""The group `qtasks`: its options, and commands that are imported when they run, also those of other packages."""

from __future__ import annotations

import difflib
import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from qtasks_core.cli.failures import Misconfigured
from qtasks_core.discovery.commands import commands, load_command, shadowing
from qtasks_core.errors import PluginError

if TYPE_CHECKING:
    from qtasks_core.discovery.entries import Entry

__all__ = ["CommandGroup", "LazyCommand", "qtasks"]

logger = logging.getLogger("qtasks.plugins")


class LazyCommand(NamedTuple):
    """Where a command is, and what the overview says of it, so that the overview imports nothing."""

    module: str
    attribute: str
    summary: str

    def load(self) -> click.Command:
        """Import the command."""
        command = getattr(import_module(self.module), self.attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{self.module}:{self.attribute} is no click command but {type(command).__name__}")
        return command


COMMANDS = {
    "add": LazyCommand("qtasks_core.cli.add", "add", "Add a task by its name."),
    "cancel": LazyCommand("qtasks_core.cli.cancel", "cancel", "Ask for the end of tasks."),
    "dead": LazyCommand("qtasks_core.cli.dead", "dead", "Look at dead letters, send them again, delete them."),
    "flush-all": LazyCommand("qtasks_core.cli.flush", "flush_all", "Delete everything of the app."),
    "pause": LazyCommand("qtasks_core.cli.pause", "pause", "Have workers take nothing more from queues."),
    "ping": LazyCommand("qtasks_core.cli.ping", "ping", "Ask the workers whether they are alive."),
    "plugins": LazyCommand("qtasks_core.cli.plugins", "plugins", "Print what packages bring, and whether it works."),
    "resume": LazyCommand("qtasks_core.cli.pause", "resume", "Have workers take from queues again."),
    "run": LazyCommand("qtasks_core.cli.run", "run", "Run a worker until it is told to stop."),
    "version": LazyCommand("qtasks_core.cli.version", "version", "Print the versions of what is installed."),
}

EXTRA_COMMANDS = {"new-plugin": ("testing", "Write a broker, a storage, a plugin or a command to start from.")}
"""Command of another package of this project → extra of `qtasks` that brings it, and what the overview says of it."""


class CommandGroup(click.Group):
    """A click group over `LazyCommand`s and the commands of other packages: only the command that runs is imported."""

    lazy_commands = COMMANDS

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, sorted."""
        return sorted({*self.lazy_commands, *commands(self.lazy_commands), *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, imported now; None where there is none.

        One of another package that is broken says so when it runs, and not before.
        """
        lazy = self.lazy_commands.get(cmd_name)
        if lazy is not None:
            return lazy.load()
        brought = commands(self.lazy_commands).get(cmd_name)
        return super().get_command(ctx, cmd_name) if brought is None else _brought(brought[0])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that *args* name; a mistyped one is answered with the nearest name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            hint = self._hint(ctx, args[0])
            if not hint or "Did you mean" in error.message:
                raise
            raise click.UsageError(f"{error.message} {hint}", ctx) from None

    def _hint(self, ctx: click.Context, name: str) -> str:
        if name in EXTRA_COMMANDS:
            return f'It needs a package that is not installed: pip install "qtasks[{EXTRA_COMMANDS[name][0]}]"'
        near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
        return f"Did you mean {near[0]!r}?" if near else ""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview from the summaries; nothing is imported for it."""
        for error in shadowing(self.lazy_commands):
            logger.warning("%s; it cannot be run", error)
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._summary(ctx, name)) for name in self.list_commands(ctx)])

    def _summary(self, ctx: click.Context, name: str) -> str:
        if name in self.lazy_commands:
            return self.lazy_commands[name].summary
        brought = commands(self.lazy_commands).get(name)
        if brought is not None:
            return EXTRA_COMMANDS[name][1] if name in EXTRA_COMMANDS else _summary_of(brought)
        command = super().get_command(ctx, name)
        return command.get_short_help_str() if command else ""


def _brought(entry: Entry) -> click.Command:
    """Return the command of another package, or one that tells what is wrong with it."""
    try:
        return load_command(entry, COMMANDS)
    except PluginError as error:
        problem = error

    def tell(*_: Any, **__: Any) -> None:
        raise Misconfigured(str(problem)) from problem

    loose = {"ignore_unknown_options": True, "allow_extra_args": True}
    short = f"Broken: {problem}"
    return click.Command(entry.name, callback=tell, context_settings=loose, short_help=short, add_help_option=False)


def _summary_of(brought: list[Entry]) -> str:
    """Return what the overview says of another package's command: its package's words, so nothing is imported."""
    owners = " and ".join(entry.owner for entry in brought)
    return f"({owners}) {brought[0].summary}".strip()


@click.command(
    "qtasks",
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed, 2 used or configured wrongly. `qtasks COMMAND --help` says more.",
)
@click.option(
    "-A",
    "--app",
    "app",
    metavar="MODULE:ATTRIBUTE",
    envvar="QTASKS_APP",
    show_envvar=True,
    help="The app, found from the current directory; `module` alone means `module:app`.",
)
@click.pass_context
def qtasks(ctx: click.Context, app: str | None) -> None:
    """Run tasks in the background."""
    ctx.obj = app

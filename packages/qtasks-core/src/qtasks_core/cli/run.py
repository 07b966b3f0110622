"""`qtasks -A module:app run`: one worker in this process, or several under a supervisor."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from qtasks_core.cli.banner import banner_rows, show_banner
from qtasks_core.cli.failures import Misconfigured
from qtasks_core.cli.loading import load_app
from qtasks_core.cli.logs import set_up_logs
from qtasks_core.config import RunOptions
from qtasks_core.errors import ConfigError
from qtasks_core.stop_signals import stopping_early

if TYPE_CHECKING:
    from qtasks_core.app import App

__all__ = ["run"]

_LEVELS = ("debug", "info", "warning", "error", "critical")
_LAST_WORDS_S = 5.0
"""What a worker that is drained may take to close its connections and to end."""


class _Settings(Struct, frozen=True, kw_only=True):
    """The command's options, as click hands them over."""

    concurrency: int | None
    processes: int | None
    queues: dict[str, int | None] | None
    log_level: str
    no_color: bool
    worker_name: str | None
    stop_with_parent: bool
    shutdown_timeout: float | None
    max_tasks: int | None
    max_rss: int | None
    reload: bool
    parent: int | None

    @property
    def queue_names(self) -> tuple[str, ...] | None:
        """What it takes from; None: what the app says."""
        return None if self.queues is None else tuple(self.queues)

    @property
    def queue_concurrency(self) -> dict[str, int] | None:
        """Most tasks of a queue at the same time, where one was named with it."""
        return {name: most for name, most in (self.queues or {}).items() if most is not None} or None


def _split(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, int | None] | None:
    """Turn `-Q a=2,b -Q c` into {"a": 2, "b": None, "c": None}; None when nothing was said."""
    if not values:
        return None
    queues: dict[str, int | None] = {}
    for part in (part.strip() for value in values for part in value.split(",")):
        name, sign, most = part.rpartition("=") if "=" in part else (part, "", "")
        if not name or (sign and not (most.isdecimal() and int(most))):
            text = "expected names separated by commas, each perhaps with a number as in slow=2"
            raise click.BadParameter(f"{text}, got {','.join(values)!r}", ctx, param)
        queues[name.strip()] = int(most) if most else queues.get(name.strip())
    return queues


@click.command()
@click.option("--concurrency", type=click.IntRange(min=1), metavar="N", help="Tasks at the same time, per process.")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    metavar="N",
    help="Run N workers, each a process of its own, under a supervisor that replaces those that die. Not on Windows.",
)
@click.option(
    "-Q",
    "--queues",
    multiple=True,
    callback=_split,
    metavar="NAME[=N],…",
    help="Queues to take from, each with at most N of its tasks at the same time; may be repeated.",
)
@click.option(
    "--log-level",
    type=click.Choice(_LEVELS, case_sensitive=False),
    default="info",
    show_default=True,
    help="For stderr.",
)
@click.option("--no-color", is_flag=True, help="No colour, not even on a terminal; as does NO_COLOR.")
@click.option("--worker-name", metavar="NAME", help="The worker's name; with --processes the start of each name.")
@click.option("--stop-with-parent", is_flag=True, help="Stop when the process that started this one dies.")
@click.option(
    "--shutdown-timeout",
    type=click.FloatRange(min=0),
    metavar="S",
    help="Seconds that running tasks may go on after a stop was asked for.",
)
@click.option(
    "--max-tasks",
    type=click.IntRange(min=1),
    metavar="N",
    help="After about N tasks finish what runs and end with exit code 75: a supervisor starts a new process.",
)
@click.option(
    "--max-rss",
    type=click.IntRange(min=1),
    metavar="MB",
    help="The same when the process holds more than MB MiB of resident memory. Not on Windows.",
)
@click.option(
    "--reload",
    is_flag=True,
    help="Start the worker anew when a .py file below this folder changes; for development. Not on Windows.",
)
@click.option("--parent", type=int, hidden=True, help="Process id of the supervisor that started this worker.")
@click.pass_obj
def run(ref: str | None, /, **options: Any) -> None:
    """Run a worker until SIGTERM or SIGINT: tasks in progress are finished first; a second signal is immediate."""
    settings = _Settings(**options)
    parent = _parent_to_watch(settings)
    with stopping_early():
        core = load_app(ref)
        set_up_logs(settings.log_level, no_color=settings.no_color)
        try:
            code = _start(core, str(ref), settings, parent)
        except ConfigError as error:
            raise Misconfigured(str(error)) from error
    raise SystemExit(code)


def _parent_to_watch(settings: _Settings) -> int | None:
    """Return whose death stops this process: asked before the app is loaded, which takes its time."""
    if os.name == "nt":
        for option, is_wanted, why in (
            ("--processes", settings.processes is not None, "start `qtasks run` several times instead"),
            ("--stop-with-parent", settings.stop_with_parent, "which does not tell when a parent dies"),
            ("--reload", settings.reload, "which cannot ask a process to stop"),
            ("--max-rss", settings.max_rss is not None, "where Python does not tell how much memory is used"),
        ):
            if is_wanted:
                raise click.UsageError(f"{option} is not available on Windows: {why}")
    if settings.parent is not None:
        return settings.parent
    return os.getppid() if settings.stop_with_parent else None


def _start(core: App, ref: str, settings: _Settings, parent: int | None) -> int:
    if settings.parent is None:  # a supervisor has shown the banner already
        rows = banner_rows(
            core,
            queues=settings.queue_names,
            concurrency=settings.concurrency,
            processes=settings.processes,
            queue_concurrency=settings.queue_concurrency,
        )
        show_banner(rows, no_color=settings.no_color)
    if settings.processes is None and not settings.reload:
        return _run_here(core, settings, parent)
    return _supervise(core, ref, settings, parent)


def _run_here(core: App, settings: _Settings, parent: int | None) -> int:
    return core.run(
        RunOptions(
            concurrency=settings.concurrency,
            queues=settings.queue_names,
            queue_concurrency=settings.queue_concurrency,
            worker_name=settings.worker_name,
            parent=parent,
            supervised=settings.parent is not None,
            shutdown_timeout=settings.shutdown_timeout,
            max_tasks=settings.max_tasks,
            max_rss=settings.max_rss,
        )
    )


def _supervise(core: App, ref: str, settings: _Settings, parent: int | None) -> int:
    from qtasks_core.naming import new_worker_name  # noqa: PLC0415  # the engine is not needed for `run --help`
    from qtasks_core.parent import ParentWatch  # noqa: PLC0415
    from qtasks_core.reloading import SourceWatch  # noqa: PLC0415
    from qtasks_core.supervisor import Supervisor  # noqa: PLC0415
    from qtasks_core.worker.worker import DRAIN_OVERHEAD_S  # noqa: PLC0415

    async def evict(name: str) -> int:
        """Each eviction has a loop of its own, so its connections are closed with it."""
        try:
            return await core.evict(name)
        finally:
            await core.close_engine()

    timeout_s = core.config.shutdown_timeout if settings.shutdown_timeout is None else settings.shutdown_timeout
    supervisor = Supervisor(
        lambda name: worker_command(ref, settings, name),
        processes=settings.processes or 1,
        name=settings.worker_name or new_worker_name(),
        evict=evict,
        stop_timeout_s=timeout_s + DRAIN_OVERHEAD_S + _LAST_WORDS_S,
        parent=None if parent is None else ParentWatch(parent),
        waits=settings.reload,
    )
    with SourceWatch(os.getcwd(), supervisor.recycle) if settings.reload else contextlib.nullcontext():  # noqa: PTH109  # a text
        return supervisor.run()


def worker_command(ref: str, settings: _Settings, name: str) -> list[str]:
    """Return the command line of one worker under this supervisor."""
    command = [sys.executable, "-m", "qtasks_core", "-A", ref, "run"]
    command += ["--worker-name", name, "--parent", str(os.getpid()), "--log-level", settings.log_level]
    if settings.concurrency is not None:
        command += ["--concurrency", str(settings.concurrency)]
    if settings.queues is not None:
        command += ["--queues", ",".join(f"{name}={most}" if most else name for name, most in settings.queues.items())]
    if settings.shutdown_timeout is not None:
        command += ["--shutdown-timeout", str(settings.shutdown_timeout)]
    if settings.max_tasks is not None:
        command += ["--max-tasks", str(settings.max_tasks)]
    if settings.max_rss is not None:
        command += ["--max-rss", str(settings.max_rss)]
    if settings.no_color:
        command.append("--no-color")
    return command

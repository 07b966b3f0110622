"""The start banner: what this worker is and what it is connected to."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from qtasks_core.cli.terminal import wants_colour
from qtasks_core.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qtasks_core.app import App

__all__ = ["banner_rows", "show_banner"]

_LISTED = 20


def banner_rows(
    core: App,
    *,
    queues: Sequence[str] | None,
    concurrency: int | None,
    processes: int | None,
    queue_concurrency: Mapping[str, int] | None = None,
) -> list[tuple[str, str]]:
    """Return what the banner says, as (label, text).

    Parameters:
        core: The app.
        queues: Queues named on the command line; None: the app's own.
        concurrency: The same for tasks at a time.
        processes: Worker processes under a supervisor; None: this process, alone.
        queue_concurrency: Tasks of a queue at a time, where the command line says so.
    """
    taken = tuple(queues or core.config.queues)
    most = {**core.config.queue_concurrency, **(queue_concurrency or {})}
    components = core.describe()
    queue_of = {name: task.queue or core.config.queues[0] for name, task in sorted(core.tasks.items())}
    rows = [
        ("app", core.name),
        ("version", __version__),
        ("broker", components.get("broker", "none")),
        ("storage", components.get("storage", "none")),
        ("global config", components.get("global_config", "none")),
        ("queues", ", ".join(f"{name} (at most {most[name]})" if name in most else name for name in taken)),
        ("tasks", _listed([name for name, queue in queue_of.items() if queue in taken]) or "none"),
        (
            "not taken here",
            _listed([f"{name} (queue {queue})" for name, queue in queue_of.items() if queue not in taken]),
        ),
        ("concurrency", str(concurrency or core.config.concurrency)),
        ("processes", "1" if processes is None else f"{processes}, supervised"),
    ]
    return [(label, text) for label, text in rows if text]


def show_banner(rows: Sequence[tuple[str, str]], *, no_color: bool, stream: TextIO | None = None) -> None:
    """Print the banner: a rich panel on a terminal, plain lines elsewhere or where no colour is wanted.

    Parameters:
        rows: (label, text).
        no_color: Plain lines also on a terminal.
        stream: Where to; stderr by default, as the logs that follow it.
    """
    out = sys.stderr if stream is None else stream
    if wants_colour(out, no_color=no_color):
        _show_panel(rows, out)
        return
    out.writelines(f"{label:<15}{text}\n" for label, text in rows)
    out.flush()


def _show_panel(rows: Sequence[tuple[str, str]], out: TextIO) -> None:
    from rich.console import Console  # noqa: PLC0415  # loaded where something is painted only
    from rich.panel import Panel  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table.grid(padding=(0, 2))
    for label, text in rows:
        table.add_row(Text(label, style="cyan"), Text(text))
    Console(file=out).print(Panel(table, title="QTasks", title_align="left", expand=False, border_style="cyan"))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_LISTED])
    return f"{shown} … and {len(names) - _LISTED} more" if len(names) > _LISTED else shown

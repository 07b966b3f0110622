"""The command line: `qtasks -A module:app run`. Importing it loads nothing; calling `main` loads click."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code: 0 done, 1 failed, 2 used or configured wrongly.

    Parameters:
        args: Arguments without the program's name; None takes those of the process.

    Raises:
        SystemExit: Always.
    """
    from qtasks_core.cli.exit import limit_exit  # noqa: PLC0415  # loaded by those who use the command line only
    from qtasks_core.cli.group import qtasks  # noqa: PLC0415

    try:
        qtasks.main(args=args)
    except SystemExit as ended:
        limit_exit(ended.code if isinstance(ended.code, int) else 0)
        raise

"""Many rows in one statement.

Each statement gives up the interpreter's lock and has to win it back; beside a busy event loop that costs up to one
switch interval (5 ms) each time. So a batch is one statement whose VALUES come in few sizes, filled up with NULLs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

__all__ = ["MOST_ROWS", "execute_flat", "execute_values"]

MOST_ROWS = 512
SLOT = "/*VALUES*/"


def execute_values(
    connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[Any]], *first: Any
) -> sqlite3.Cursor:
    """Execute *statement* once for all rows (1..MOST_ROWS).

    Parameters:
        connection: With a transaction open.
        statement: Holds `(/*VALUES*/)` as a table whose columns are column1, column2, ...; passes over NULL in column1.
        rows: What fills the table.
        first: Parameters that stand before the table in the statement.
    """
    parameters: list[Any] = []
    for row in rows:
        parameters += row
    return execute_flat(connection, statement, len(rows[0]), parameters, *first)


def execute_flat(
    connection: sqlite3.Connection, statement: str, width: int, values: Sequence[Any], *first: Any
) -> sqlite3.Cursor:
    """Do the same with all values in a row, *width* of them for each row of the table."""
    rows = len(values) // width
    size = 1 << (rows - 1).bit_length()
    parameters = [*first, *values, *[None] * (width * (size - rows))]
    return connection.execute(_filled(statement, width, size), parameters)


@lru_cache(maxsize=512)
def _filled(statement: str, width: int, size: int) -> str:
    row = f"({','.join('?' * width)})"
    return statement.replace(SLOT, f"VALUES {','.join([row] * size)}")

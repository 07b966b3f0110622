"""The part of the broker that operators use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_sqlite import _inspecting, _workers
from qtasks_sqlite._depth import depth_of
from qtasks_sqlite._inspecting import Cursor, Letter
from qtasks_sqlite._liveness import bury
from qtasks_sqlite._rows import DEAD, DELAYED, FINAL, READY, SETTLED, to_micros
from qtasks_sqlite._sending import SqliteSender

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable, Sequence
    from uuid import UUID

    from qtasks_core.contract import Depth, Envelope
    from qtasks_sqlite._transaction import Transaction

__all__ = ["SqliteOperator"]

WAITING = (READY, DELAYED)
CLEAR = f"DELETE FROM tasks WHERE ns = ? AND state < {SETTLED} AND (status IS NULL OR status < {FINAL})"
CLOSE = f"UPDATE tasks SET state = {SETTLED}, lease = NULL, expires = ? WHERE ns = ? AND state < {SETTLED}"


class SqliteOperator(SqliteSender):
    """Look into queues and change what waits there. Parameters and errors as those of SqliteBroker."""

    async def clear(self) -> None:
        """Delete all messages and dead letters of this namespace; what is held is lost, final records stay."""
        ns, expires = self._database.ns, self._record_end()

        def run(transaction: Transaction) -> None:
            transaction.connection.execute(CLEAR, (ns,))
            transaction.connection.execute(CLOSE, (expires, ns))

        await self._database.write(run)

    async def depth(self, queue: str) -> Depth:
        """Count the messages of a queue."""
        number, now = await self._number(queue), to_micros(self._context.clock())
        return await self._database.read(lambda connection: depth_of(connection, number, now))

    async def peek(self, queue: str, dead: bool = False, after: str = "") -> AsyncIterator[tuple[str, Envelope, str]]:
        """Yield what waits, in the order of taking, or what is dead, the oldest first.

        Parameters:
            queue: Its name.
            dead: Dead letters instead of what waits.
            after: The cursor to go on from.

        Yields:
            Cursor, message, and the reason why it is dead.
        """
        async for cursor, envelope, reason in self._letters(queue, dead=dead, after=Cursor.parse(after)):
            yield str(cursor), envelope, reason

    async def replay(
        self, queue: str, rewrite: Callable[[Envelope], Envelope], cursors: Sequence[str] | None = None
    ) -> int:
        """Send dead letters again.

        Parameters:
            queue: Its name.
            rewrite: Makes the message that is sent.
            cursors: Which; None: all.

        Returns:
            How many there were.
        """
        if cursors is None:
            letters = [letter async for letter in self._letters(queue, dead=True, after=None)]
        else:
            letters = await self._letters_at(queue, _inspecting.places(cursors, (DEAD,)))
        again = [(letter.cursor, rewrite(letter.envelope)) for letter in letters]
        queues = await self._numbers([envelope.queue for _, envelope in again])
        now = self._context.clock()

        def run(transaction: Transaction) -> int:
            return sum(_inspecting.replay(transaction, cursor, envelope, queues, now) for cursor, envelope in again)

        return await self._database.write(run)

    async def purge(self, queue: str, dead: bool = False, cursors: Sequence[str] | None = None) -> int:
        """Delete what waits, or dead letters; return how many there were.

        Parameters:
            queue: Its name.
            dead: Dead letters instead of what waits.
            cursors: Which; None: all.
        """
        states, expires = (DEAD,) if dead else WAITING, self._record_end()
        places = (
            [letter.cursor async for letter in self._letters(queue, dead=dead, after=None)]
            if cursors is None
            else _inspecting.places(cursors, states)
        )
        return await self._database.write(lambda transaction: _inspecting.purge(transaction, places, expires))

    async def cancel(self, uuids: Sequence[UUID], reason: str) -> Sequence[bool | None]:
        """Cancel waiting tasks.

        Returns:
            For each: True: removed and recorded; False: already final; None: running or unknown.
        """
        ns, now, ttl = self._database.ns, self._context.clock(), self._context.config.result_ttl
        return await self._database.write(
            lambda transaction: [_inspecting.cancel(transaction, ns, uuid, reason, now=now, ttl=ttl) for uuid in uuids]
        )

    async def evict(self, worker: str) -> int:
        """Take away what the workers of that name hold, at once; return how much that was."""
        ns, path = self._database.ns, self._database.path

        def run(transaction: Transaction) -> tuple[int, list[str]]:
            workers = _workers.find(transaction.connection, ns, worker)
            return _workers.evict(transaction, workers), [found.lock for found in workers]

        taken, locks = await self._database.write(run)
        bury(path, locks)
        return taken

    async def _letters(self, queue: str, *, dead: bool, after: Cursor | None) -> AsyncIterator[Letter]:
        number, states = await self._number(queue), (DEAD,) if dead else WAITING
        place = after if after is not None and after.state in states else None
        while number is not None:
            letters = await self._database.read(
                lambda connection, place=place: _inspecting.page(connection, number, queue, states, place)  # type: ignore[misc]
            )
            for letter in letters:
                yield letter
            if not letters:
                return
            place = letters[-1].cursor

    async def _letters_at(self, queue: str, places: Sequence[Cursor]) -> list[Letter]:
        number = await self._number(queue)
        if number is None:
            return []
        return await self._database.read(lambda connection: _inspecting.at(connection, number, queue, places))

    async def _number(self, queue: str) -> int | None:
        """Return a queue's number; None: there is no such queue."""
        ns = self._database.ns

        def ask(connection: sqlite3.Connection) -> int | None:
            found = connection.execute("SELECT id FROM queues WHERE ns = ? AND name = ?", (ns, queue)).fetchone()
            return None if found is None else int(found[0])

        return await self._database.read(ask)

    def _record_end(self) -> int:
        return to_micros(self._context.clock() + self._context.config.result_ttl)

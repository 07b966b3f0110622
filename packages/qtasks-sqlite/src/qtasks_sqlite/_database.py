"""One file as one app uses it: shared by its components and engines, open while any of them is started."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import weakref
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol, TypeVar

from qtasks_core.errors import UnavailableError
from qtasks_sqlite._faults import opening_fault
from qtasks_sqlite._location import locate, refuse_network_disk
from qtasks_sqlite._reader import Looker, Reader
from qtasks_sqlite._writer import Writer

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from qtasks_core.contract import ComponentContext
    from qtasks_sqlite._transaction import Effects, Transaction

__all__ = ["Database", "Listener", "database_of"]

T = TypeVar("T")
LEAST_WAIT_S = 30.0  # a worker may be paused in the middle of a transaction

logger = logging.getLogger("qtasks.sqlite")
_told: set[tuple[Path, str]] = set()  # what was logged once in this process
_open: weakref.WeakSet[Database] = weakref.WeakSet()
_leaked: list[object] = []


class Listener(Looker, Protocol):
    """A component that waits for changes: told of those of this process, looking for those of others."""

    def committed(self, effects: Effects) -> None:
        """Hear what this process changed, on the writer's thread."""
        ...


def database_of(url: str, context: ComponentContext) -> Database:
    """Return the app's one object for the file that *url* names.

    Raises:
        ConfigError: The URL has another form, or its folder is not there.
    """
    path = locate(url)
    wait_s = max(context.config.send_timeout, LEAST_WAIT_S)
    return context.shared(("sqlite", path), lambda: Database(path, context.namespace, context.clock, wait_s))


def log_once(path: Path, kind: str, level: int, message: str) -> None:
    """Log *message* with the path once in this process."""
    if (path, kind) not in _told:
        _told.add((path, kind))
        logger.log(level, message, path)


class Database:
    """The file.

    Parameters:
        path: Absolute.
        namespace: The app's.
        clock: The time now, in epoch seconds.
        wait_s: How long another process may hold the file, in seconds.
    """

    def __init__(self, path: Path, namespace: str, clock: Callable[[], float], wait_s: float) -> None:
        self.path = path
        self.clock = clock
        self.listeners: list[Listener] = []
        self.sweeping: dict[object, Callable[[], None]] = {}
        """Who wants to know of a sweep that finds something, and how they are told: one of them is."""
        self._namespace = namespace
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._users = 0
        self._opening: Future[Session] | None = None
        self._closing: Future[None] | None = None
        _open.add(self)

    @property
    def ns(self) -> int:
        """The number of the namespace in this file; known after start()."""
        return self._session().ns

    @property
    def replaced(self) -> bool:
        """Whether the file was deleted or replaced while it was open."""
        return self._session().writer.replaced

    async def start(self) -> None:
        """Open the file, unless it is open.

        Raises:
            ConfigError: It can never be opened; names the file.
            UnavailableError: Another process holds it.
        """
        with self._lock:
            self._users += 1
            if self._opening is None:
                self._opening = Future()
                arguments = (self._opening, self._closing)
                threading.Thread(target=self._open, args=arguments, name="qtasks-sqlite-open", daemon=True).start()
            opening = self._opening
        try:
            await asyncio.shield(asyncio.wrap_future(opening))
        except BaseException:
            await self.stop()
            raise
        log_once(self.path, "path", logging.INFO, "using the database %s")

    async def stop(self) -> None:
        """Close the file when nobody uses it any more."""
        with self._lock:
            self._users -= 1
            if self._users or self._opening is None:
                return
            opening, self._opening = self._opening, None
            closing: Future[None] = Future()
            self._closing = closing
            closer = threading.Thread(target=_close, args=(opening, closing), name="qtasks-sqlite-close", daemon=True)
            try:
                closer.start()
            except RuntimeError:  # some Pythons start no thread while the interpreter ends; then nobody else works here
                _close(opening, closing)
        await asyncio.shield(asyncio.wrap_future(closing))

    def write(self, run: Callable[[Transaction], T], *, durable: bool = True) -> asyncio.Future[T]:
        """Run a job in the next transaction; the future is done when that is safe."""
        return self._session().writer.submit(asyncio.get_running_loop(), run, durable=durable)

    def read(self, ask: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Ask the reader."""
        return self._session().reader.ask(asyncio.get_running_loop(), ask)

    def poke(self) -> None:
        """Have the listeners look soon: the interest of one has grown."""
        self._session().reader.poke()

    async def queues(self, names: Iterable[str]) -> dict[str, int]:
        """Return the numbers of queues, which are made when they are not there."""
        session = self._session()
        missing = {name for name in names if name not in session.queues}
        if missing:
            session.queues.update(await self.write(lambda transaction: _number(transaction, session.ns, missing)))
        return session.queues

    def forget(self) -> None:
        """Drop, in a forked child, what is the parent's. Nothing is closed: that could free the parent's locks."""
        _leaked.append((self._opening, self._closing))
        self._lock = threading.Lock()
        self._opening = self._closing = None
        self._users = 0
        self.listeners = []

    def _session(self) -> Session:
        opening = self._opening
        if opening is None or not opening.done():
            raise UnavailableError(f"{str(self.path)!r} is not open: start() comes first")
        return opening.result()

    def _open(self, opening: Future[Session], closing: Future[None] | None) -> None:
        if closing is not None:
            closing.result()
        try:
            refuse_network_disk(self.path)
            opening.set_result(Session(self, self._namespace, self._wait_s))
        except Exception as error:  # noqa: BLE001  # start() raises it
            opening.set_exception(opening_fault(error, self.path))


class Session:
    """What is open between the first start() and the last stop()."""

    def __init__(self, database: Database, namespace: str, wait_s: float) -> None:
        self._database = database
        self.writer = Writer(database.path, wait_s, self._committed)
        try:
            self.ns, self.queues = self.writer.call(lambda transaction: _enter(transaction, namespace))
            self.reader = Reader(database.path, wait_s, database.clock, database.listeners)
        except BaseException:
            self.writer.close()
            raise

    def close(self) -> None:
        """Close both connections; blocks."""
        self.reader.close()
        self.writer.close()

    def _committed(self, effects: Effects) -> None:
        for listener in list(self._database.listeners):
            try:
                listener.committed(effects)
            except Exception:
                logger.exception("%s: a listener failed", self._database.path)


def _close(opening: Future[Session], closing: Future[None]) -> None:
    if opening.exception() is None:
        opening.result().close()
    closing.set_result(None)


def _enter(transaction: Transaction, namespace: str) -> tuple[int, dict[str, int]]:
    execute = transaction.connection.execute
    execute("INSERT INTO namespaces (name) VALUES (?) ON CONFLICT DO NOTHING", (namespace,))
    ns = int(execute("SELECT id FROM namespaces WHERE name = ?", (namespace,)).fetchone()[0])
    return ns, dict(execute("SELECT name, id FROM queues WHERE ns = ?", (ns,)).fetchall())


def _number(transaction: Transaction, ns: int, names: Iterable[str]) -> dict[str, int]:
    execute = transaction.connection.execute
    for name in names:
        execute("INSERT INTO queues (ns, name) VALUES (?, ?) ON CONFLICT DO NOTHING", (ns, name))
    return dict(execute("SELECT name, id FROM queues WHERE ns = ?", (ns,)).fetchall())


def _forget_all() -> None:
    for database in list(_open):
        database.forget()
    _told.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)

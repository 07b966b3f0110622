"""The engine: an app's components on one event loop, and the client's half of what they do."""

from __future__ import annotations

import asyncio
import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from qtasks_core.contract import Storage, Sweeps
from qtasks_core.control import Control
from qtasks_core.errors import (
    AlreadyExists,
    ConfigError,
    ResultExpiredError,
    SendRefusedError,
    SendUnknownError,
    UnavailableError,
)
from qtasks_core.group_commit import Backoff, BufferLimits, GroupCommit
from qtasks_core.outgoing import DraftEncoder
from qtasks_core.shared_memory import SharedMemory
from qtasks_core.sweep_trigger import SweepTrigger
from qtasks_core.unique_keys import UniqueKeys, keeps_unique_keys
from qtasks_core.writes import add_writer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from uuid import UUID

    from qtasks_core.components import Components
    from qtasks_core.config import QueueConfig
    from qtasks_core.context import AppContext
    from qtasks_core.contract import Component, Event, Serializer, TaskRecord, Worker
    from qtasks_core.layers import Middlewares
    from qtasks_core.options import Draft
    from qtasks_core.triggers import Triggers
    from qtasks_core.writes import Addition

__all__ = ["Engine", "buffer_limits"]

logger = logging.getLogger("qtasks.engine")

_MANY = 1_000
"""Most tasks of one call that plugins look at at the same time."""
_TRIGGERS = (
    "broker_add_after",
    "broker_add_before",
    "qtasks_add_task_after_broker",
    "qtasks_add_task_before_broker",
    "storage_add",
)


class Engine:
    """Adds tasks and waits for results on one event loop; a worker adds its own half on top.

    Parameters:
        owner: What triggers are told is the app.
        components: Broker, storage and global config, built but not started.
        context: What they were built with.
        serializer: For arguments.
        triggers: The app's triggers.
        middlewares: The app's middlewares, which see each task before it is sent.
    """

    def __init__(
        self,
        owner: Any,
        components: Components,
        context: AppContext,
        serializer: Serializer,
        triggers: Triggers,
        *,
        middlewares: Middlewares,
    ) -> None:
        self.owner = owner
        self.broker, self.storage, self.global_config = components
        self.shared_memory = None if self.global_config is None else SharedMemory(self.global_config, triggers)
        """The global config with its triggers around each call."""
        self.context = context
        self.serializer = serializer
        self.triggers = triggers
        self._middlewares = middlewares
        self.config: QueueConfig = context.config
        self.worker: Worker | None = None
        """The worker that it serves; None in a client."""
        self.is_started = False
        self._starting = asyncio.Lock()
        self._holders: dict[int, set[Engine]] = context.shared("engines by the parts that they started", dict)
        self._begun: dict[str, Component] = {}
        self._up: set[str] = set()
        self._adds: GroupCommit[Addition] = GroupCommit(
            self._write_additions, buffer_limits(self.config), "added tasks"
        )
        self._write: Callable[[Sequence[Addition]], Awaitable[Sequence[Exception | None]]] | None = None
        chains = triggers.freeze(self, _TRIGGERS)
        self._before = chains["qtasks_add_task_before_broker"]
        self._after = chains["qtasks_add_task_after_broker"]
        self._broker_before = chains["broker_add_before"]
        self._broker_after = chains["broker_add_after"]
        self._storage_add = chains["storage_add"]
        self._sweeps = SweepTrigger(triggers, self.storage)
        self._encoder = DraftEncoder(serializer, self.config)
        self._has_triggers = any(chains.values())

    async def start(self, timeout_s: float | None = None, *, control: bool = False) -> None:
        """Start the parts that are not started yet, waiting with backoff for a server that is away.

        Parameters:
            timeout_s: Seconds to wait for a server; None waits for ever.
            control: Start the global config too (a worker's need).

        Raises:
            SendRefusedError: A server was away for the whole time.
            ConfigError: A part cannot work as it is set up.
            Exception: What a plugin raised that was told of the start; what had begun is stopped again.
        """
        async with self._starting:
            deadline = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
            before = len(self._begun) if self.is_started else 0
            try:
                if control and self.global_config is not None:
                    await self._start_part("global_config", self.global_config, deadline)
                await self._start_part("storage", self.storage, deadline)
                await self._start_part("broker", self.broker, deadline)
            except SendRefusedError:  # the next call goes on from here
                raise
            except Exception:
                await self._stop_parts(before)
                raise
            self.is_started = True

    async def stop(self) -> None:
        """Write what was added, then stop the parts in reverse order."""
        if self.is_started:
            try:
                async with asyncio.timeout(self.config.send_timeout):
                    await self._adds.drain()
            except TimeoutError:
                logger.exception("%d added tasks could not be written before the stop", len(self._adds))
        await self._adds.close()
        self.is_started = False
        await self._stop_parts(0)
        self.triggers.thaw(self)

    async def add(self, draft: Draft) -> TaskRecord:
        """Send one task; return its record when it is safe.

        Raises:
            SendRefusedError: It is certainly not queued.
            SendUnknownError: It may be queued.
            CodecError: An argument cannot travel.
            ConfigError: Nothing here can keep its unique key unique.
        """
        is_heard = self._is_heard
        addition = await self.prepare(draft) if is_heard else self._encode(draft)
        if addition[1].unique_key is not None:
            return await self._added(addition, draft, await self._submit_unique(addition))
        try:
            await self._adds.submit(addition, len(addition[1].body), self.config.send_timeout)
        except Exception as error:  # noqa: BLE001  # sorted by _added
            return await self._added(addition, draft, error)
        return await self._added(addition, draft, None) if is_heard else addition[0]

    async def add_many(self, drafts: Sequence[Draft]) -> list[TaskRecord | Exception]:
        """Send many tasks in as few writes as possible; return a record or an error for each, as `add` would."""
        if self._is_heard:
            return await self._add_each(drafts)
        prepared = [self._try_encode(draft) for draft in drafts]
        sent = [(place, one) for place, one in enumerate(prepared) if not isinstance(one, Exception)]
        answers = await self._submit_many([addition for _, addition in sent])
        results: list[TaskRecord | Exception] = [one if isinstance(one, Exception) else one[0] for one in prepared]
        for (place, addition), answer in zip(sent, answers, strict=True):
            if answer is None:
                continue
            try:
                results[place] = await self._added(addition, drafts[place], answer)
            except Exception as error:  # noqa: BLE001  # one task's error is its own
                results[place] = error
        return results

    async def _add_each(self, drafts: Sequence[Draft]) -> list[TaskRecord | Exception]:
        """Send tasks one beside the other: one that a plugin holds up is not waited for by the others."""
        room = asyncio.Semaphore(_MANY)

        async def add(draft: Draft) -> TaskRecord | Exception:
            async with room:
                try:
                    return await self.add(draft)
                except Exception as error:  # noqa: BLE001  # one task's error is its own
                    return error

        return await asyncio.gather(*map(add, drafts))

    async def get(self, uuid: UUID) -> TaskRecord | None:
        """Return the record of a task as plugins show it, None when nothing is known of it.

        Raises:
            ConfigError: The storage is a mailbox that keeps no records.
        """
        record = (await self._records([uuid]))[0]
        return record if record is None else await self._read(record)

    async def get_many(self, uuids: Sequence[UUID]) -> list[TaskRecord | None]:
        """Return the records of tasks as plugins show them, None for each of which nothing is known.

        Raises:
            ConfigError: The storage is a mailbox that keeps no records.
        """
        records = list(await self._records(uuids))
        if not (chain := self.triggers.of("storage_get_all")):
            return records
        known = [record for record in records if record is not None]
        shown = iter(await self.triggers.replace(chain, "tasks", storage=self.storage, tasks=known))
        return [record if record is None else next(shown) for record in records]

    async def _records(self, uuids: Sequence[UUID]) -> Sequence[TaskRecord | None]:
        await self.ensure_started()
        if not isinstance(self.storage, Storage):
            raise ConfigError("this broker keeps no records for others to read: name a storage with storage_url=")
        return await self.storage.get(uuids)

    async def wait(self, uuid: UUID, timeout_s: float | None) -> TaskRecord:
        """Return the final record of a task.

        Raises:
            TimeoutError: It did not end in time.
            ResultExpiredError: Nobody keeps its record.
        """
        await self.ensure_started()
        backoff = Backoff()
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    return await self.storage.wait(uuid, None)
                except (UnavailableError, SendUnknownError) as error:
                    logger.debug("waiting for task %s: %s", uuid, error)
                    await backoff.wait()

    async def events(self, uuid: UUID) -> AsyncGenerator[Event, None]:
        """Yield what a task yields, from the first event on; goes on after a lost connection where it was.

        Raises:
            ResultExpiredError: Nothing is known of the task.
        """
        await self.ensure_started()
        backoff = Backoff()
        place: tuple[tuple[int, int, float], int] | None = None
        while True:
            try:
                async for event in self.storage.events(uuid, place):
                    place = (event.run, event.seq)
                    backoff.reset()
                    yield event
            except (UnavailableError, SendUnknownError) as error:
                logger.debug("the stream of task %s: %s", uuid, error)
                await backoff.wait()
            else:
                return

    async def control(self) -> Control:
        """Return the way to the workers; starts what it needs."""
        await self.start(self.config.send_timeout, control=True)
        return Control(self.broker, self.storage, self.shared_memory)

    async def ensure_started(self) -> None:
        """Start on first use, within `send_timeout`."""
        if not self.is_started:
            await self.start(self.config.send_timeout)

    async def _read(self, record: TaskRecord) -> TaskRecord:
        """Return what plugins make of a record that was read: one point with two names."""
        triggers = self.triggers
        if chain := triggers.of("broker_get"):
            record = await triggers.replace(chain, "task", broker=self.broker, task=record)
        if chain := triggers.of("storage_get"):
            record = await triggers.replace(chain, "task", storage=self.storage, task=record)
        return record

    @property
    def _is_heard(self) -> bool:
        """Whether a middleware or a plugin wants to see what is added."""
        return self._has_triggers or self._middlewares.hears_adding

    def _encode(self, draft: Draft) -> Addition:
        return self._encoder.encode(draft, self.context.clock(), self.storage.address)

    def _try_encode(self, draft: Draft) -> Addition | Exception:
        try:
            return self._encode(draft)
        except Exception as error:  # noqa: BLE001  # one task's error is its own
            return error

    async def prepare(self, draft: Draft) -> Addition:
        """Return what is written for a draft, as middlewares and plugins want it."""
        if self._middlewares.hears_adding:
            draft = await self._middlewares.before_adding(draft)
        if self._before or self._broker_before:
            draft = await self._replace_draft(draft)
        record, envelope = self._encode(draft)
        if self._storage_add:
            record = await self.triggers.replace(self._storage_add, "record", storage=self.storage, record=record)
        return record, envelope

    @cached_property
    def unique_keys(self) -> UniqueKeys | None:
        """What holds unique keys; None where broker and storage do so themselves."""
        if keeps_unique_keys(self.broker, self.storage):
            return None
        return UniqueKeys(self.storage, self.shared_memory, self.context)

    async def _submit_many(self, additions: Sequence[Addition]) -> Sequence[Exception | None]:
        is_claimed = [one[1].unique_key is not None and self.unique_keys is not None for one in additions]
        sized = [(one, len(one[1].body)) for one, claimed in zip(additions, is_claimed, strict=True) if not claimed]
        if not any(is_claimed):
            return await self._adds.submit_many(sized, self.config.send_timeout)
        async with asyncio.TaskGroup() as group:
            claiming = [one for one, claimed in zip(additions, is_claimed, strict=True) if claimed]
            claims = [group.create_task(self._submit_unique(one)) for one in claiming]
            plain = await self._adds.submit_many(sized, self.config.send_timeout)
        answers = (iter(plain), iter([claim.result() for claim in claims]))
        return [next(answers[claimed]) for claimed in is_claimed]

    async def _submit_unique(self, addition: Addition) -> Exception | None:
        """Write an addition when it holds its unique key; return its answer."""
        record, envelope = addition
        keys, key = self.unique_keys, envelope.unique_key
        try:
            if keys is None or key is None:
                await self._adds.submit(addition, len(envelope.body), self.config.send_timeout)
                return None
            await self.start(self.config.send_timeout, control=True)
            holder = await keys.claim(key, record.uuid, record.unique_ttl_s)
            if holder != record.uuid:
                return AlreadyExists(holder)
            record = msgspec.structs.replace(record, unique_key=None)  # the storage is not to hold it too
            await self._adds.submit((record, envelope), len(envelope.body), self.config.send_timeout)
        except Exception as error:  # noqa: BLE001  # sorted by _added
            is_there = isinstance(error, AlreadyExists) and error.uuid == record.uuid
            if keys is not None and key is not None and not is_there and not isinstance(error, SendUnknownError):
                await keys.free(key, record.uuid)
            return error
        return None

    async def _added(self, addition: Addition, draft: Draft, error: Exception | None) -> TaskRecord:
        record = addition[0]
        if isinstance(error, AlreadyExists):
            record = await self._first(error.uuid, record)
        elif isinstance(error, SendUnknownError):
            raise SendUnknownError(str(error), draft.uuid) from None
        elif error is not None:
            raise error
        if self._after or self._broker_after:
            await self._notify_added(draft)
        return record

    async def _write_additions(self, batch: Sequence[Addition]) -> Sequence[Exception | None]:
        if self._write is None:
            try:
                await self.start(0.0)  # who waits, and how long, is the buffer's business
            except SendRefusedError as error:
                raise UnavailableError(str(error)) from error
            except Exception as error:  # noqa: BLE001  # it is the answer for each: to try item by item helps nobody
                return [error] * len(batch)
            self._write = add_writer(self.broker, self.storage)
        return await self._write(batch)

    async def _first(self, uuid: UUID, record: TaskRecord) -> TaskRecord:
        """Return what is there: an own uuid is a success, whether it was added before or a reply was lost."""
        if isinstance(self.storage, Storage):
            there = (await self.storage.get([uuid]))[0]
            if there is not None:
                return there
        elif uuid != record.uuid:
            return msgspec.structs.replace(record, uuid=uuid)  # all that a mailbox needs to wait for it
        if uuid == record.uuid:
            return record
        raise ResultExpiredError(f"the task {uuid} that is there already has ended and its record is gone")

    async def _replace_draft(self, draft: Draft) -> Draft:
        draft = await self.triggers.replace(
            self._before, "message", qtasks=self.owner, broker=self.broker, message=draft
        )
        changed: Draft = await self.triggers.replace(
            self._broker_before, "message", broker=self.broker, storage=self.storage, message=draft
        )
        return changed

    async def _notify_added(self, draft: Draft) -> None:
        await self.triggers.notify(self._after, qtasks=self.owner, broker=self.broker, message=draft)
        await self.triggers.notify(self._broker_after, broker=self.broker, storage=self.storage, message=draft)

    async def _start_part(self, name: str, part: Component, deadline: float | None) -> None:
        if name in self._up:
            return
        if name not in self._begun:  # plugins are told once, however long its server is away
            chain = self.triggers.of(f"{name}_start")
            if chain:
                await self.triggers.start(chain, **{name: part, "worker": self.worker})
            self._begun[name] = part
        backoff = Backoff()
        while True:
            try:
                await part.start()
                break
            except UnavailableError as error:
                if deadline is not None and asyncio.get_running_loop().time() >= deadline:
                    raise SendRefusedError(f"the {name} could not be reached: {error}") from error
                logger.warning("the %s is away: %s; trying again", name, error)
                await backoff.wait()
        self._up.add(name)
        self._holders.setdefault(id(part), set()).add(self)
        if isinstance(part, Sweeps):
            part.on_sweep(self._sweeps.about_to_begin)

    async def _stop_parts(self, keep: int) -> None:
        """Stop the parts in reverse order, but for the first ones."""
        while len(self._begun) > keep:
            name, part = self._begun.popitem()
            self._up.discard(name)
            await self._stop_part(name, part)

    async def _stop_part(self, name: str, part: Component) -> None:
        chain = self.triggers.of(f"{name}_stop")
        if chain:
            await self.triggers.notify(chain, **{name: part, "worker": self.worker})
        if not self._is_last_holder(part):
            return
        if isinstance(part, Sweeps):
            part.on_sweep(None)
            await self._sweeps.close()
        try:
            await part.stop()
        except Exception:
            logger.exception("the %s did not stop cleanly", name)

    def _is_last_holder(self, part: Component) -> bool:
        """Let go of a part; an instance that the user gave may serve another engine of the app still."""
        holders = self._holders.get(id(part), set())
        holders.discard(self)
        if not holders:
            self._holders.pop(id(part), None)
        return not holders


def buffer_limits(config: QueueConfig) -> BufferLimits:
    """Return the bounds of writes and buffers that an app's settings ask for."""
    return BufferLimits(
        config.flush_items, config.flush_bytes, config.buffer_items, config.buffer_bytes, config.send_timeout
    )

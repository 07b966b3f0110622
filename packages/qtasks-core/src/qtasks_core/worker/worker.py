"""The worker: takes deliveries up to its free slots, runs them, and hands on what became of them."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from qtasks_core.contract import Capability, Outcome, Storage
from qtasks_core.engine import buffer_limits
from qtasks_core.errors import QTasksError, SendUnknownError, UnavailableError
from qtasks_core.group_commit import Backoff
from qtasks_core.pinging import Answerer
from qtasks_core.replaying import keeps_records_elsewhere
from qtasks_core.role import refuse_worker
from qtasks_core.worker.commands import Commands
from qtasks_core.worker.execution import Plan
from qtasks_core.worker.executors import Executors
from qtasks_core.worker.intake import Intake
from qtasks_core.worker.lifecycle import Lifecycle
from qtasks_core.worker.marker import Marker
from qtasks_core.worker.observer import Observer
from qtasks_core.worker.outcomes import OutcomeMaker
from qtasks_core.worker.quotas import Quotas
from qtasks_core.worker.run import Run
from qtasks_core.worker.runner import Runner
from qtasks_core.worker.services import Services
from qtasks_core.worker.settler import Settler
from qtasks_core.worker.suspects import SuspectGate
from qtasks_core.worker.taking import Taking
from qtasks_core.writes import finish_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
    from uuid import UUID

    from qtasks_core.app import App
    from qtasks_core.contract import Delivery, TaskRecord
    from qtasks_core.engine import Engine

__all__ = ["DRAIN_OVERHEAD_S", "DefaultWorker"]

logger = logging.getLogger("qtasks.worker")

_FEWEST_AT_ONCE = 16
_GATE_DELAY_S = 0.5
_ALONE_S = 30.0
"""How long a worker takes nothing while a task runs that may kill it for the last time: what it took, only to give it
back, would be charged when that happens in the wrong moment. One that runs for hours must not hold up all others."""
_CANCEL_GRACE_S = 5.0
_LAST_FLUSH_S = 10.0

DRAIN_OVERHEAD_S = _CANCEL_GRACE_S + _LAST_FLUSH_S
"""What a drain may take beyond the time of the tasks: cancelled ones clean up, and what is left is written."""


class DefaultWorker:
    """Turns deliveries into outcomes (contract.Worker).

    A delivery holds its slot until its outcome is written, so a crash can repeat at most *concurrency* runs.

    Parameters:
        app: The app whose tasks it runs.
        engine: The running loop's engine; its parts are started.
        name: Unique among the workers of the app.
        queues: What it takes from.
        concurrency: Its slots.
        queue_concurrency: Most runs of a queue at the same time; None takes the setting.
    """

    def __init__(
        self,
        app: App,
        engine: Engine,
        *,
        name: str,
        queues: Sequence[str],
        concurrency: int,
        queue_concurrency: Mapping[str, int] | None = None,
    ) -> None:
        refuse_worker()
        self.name = name
        self.queues = tuple(queues)
        self.concurrency = concurrency
        engine.worker = self  # plugins are told of it when its broker starts
        self._engine = engine
        self._broker = engine.broker
        self._storage = engine.storage
        self._clock = engine.context.clock
        self._executors = Executors(app, concurrency)
        self._outcomes = OutcomeMaker(name, engine.config, engine.serializer)
        self._services = Services(app, engine, self, self._executors.default)
        plans = {one.name: Plan(one, app, self._executors.of(one), self._services) for one in app.registry}
        self._intake = Intake(plans, self._outcomes, engine.config)
        self._gate = SuspectGate(engine.config.max_deliveries)
        self._taking = Taking(self._broker)
        write, keys = finish_writer(self._broker, self._storage), engine.unique_keys
        self._settler = Settler(
            write if keys is None else keys.freeing(write), buffer_limits(engine.config), self._free_slot
        )
        self._triggers = app.triggers
        self._lifecycle = Lifecycle(app.triggers, self, engine.broker, engine.storage)
        self._runner = Runner(self._outcomes, self._intake, self._lifecycle, self._clock, self._over)
        self._runner.timed_out = self._look_at_threads
        self._runs: set[Run] = set()
        self._marker = (
            Marker(self._storage, self._runs, self._outcomes, self._clock)
            if isinstance(self._storage, Storage)
            else None
        )
        self._slot_is_free = asyncio.Event()
        answerer = Answerer(engine.shared_memory, name, self.queues, self._clock)
        self._commands = Commands(engine.shared_memory, self.cancel, self._on_pause, answerer.answer)
        limits = engine.config.queue_concurrency if queue_concurrency is None else queue_concurrency
        self._quotas = Quotas(limits, self._runs)
        self._most_abandoned = engine.config.max_abandoned or concurrency
        self.on_exhausted: Callable[[], None] | None = None
        """Called when threads of tasks whose time was over hold as much as `max_abandoned` allows."""
        self.on_run_over: Callable[[], None] | None = None
        """Called after each run."""
        self._receiver: asyncio.Task[None] | None = None
        self._subscribing = asyncio.Lock()
        self._background: set[asyncio.Task[Any]] = set()
        self._reopens = keeps_records_elsewhere(self._storage, self._broker)  # of what is sent again
        self._is_fenced = Capability.FENCED in self._broker.capabilities
        self._at_once = max(_FEWEST_AT_ONCE, concurrency // 2)

    @property
    def unwritten(self) -> int:
        """Outcomes that could not be written before the stop."""
        return self._settler.unwritten

    @property
    def running(self) -> int:
        """Deliveries that it holds."""
        return len(self._runs)

    async def start(self) -> None:
        """Begin to take tasks."""
        if self._receiver is not None:
            return
        await self._lifecycle.starts()
        try:
            await self._executors.start()
            self._observe()
            await self._commands.start()
            await self._lifecycle.listens()
        except BaseException:
            await self._end()
            raise
        self._receiver = self._spawn(self._receive_loop())
        logger.info("worker ready: %s, concurrency %d, queues %s", self.name, self.concurrency, ", ".join(self.queues))

    async def stop(self) -> None:
        """End at once; what is left is given up (after `drain` nothing is)."""
        was_started, self._receiver = self._receiver is not None, None
        await self._stop_taking()
        for run in self._runs:
            self._cancel(run)
        if self._marker is not None:
            self._marker.stop()
        await self._settler.close()
        if was_started:
            await self._end()

    async def drain(self, timeout_s: float) -> bool:
        """Stop taking, let running tasks finish, write what became of them, give the rest back uncharged.

        Parameters:
            timeout_s: Seconds that running tasks may go on; then async ones are cancelled and threads are left behind.

        Returns:
            True when everything is written and nothing had to be given back.
        """
        self._runner.is_draining = True
        await self._stop_taking()
        await self._wait_for(self._runs, timeout_s)
        left = [run for run in self._runs if run.task is not None and not run.task.done() and not run.is_ending]
        if left:
            logger.warning("%d tasks did not finish within %g s: they are given back", len(left), timeout_s)
        cancelled = [run for run in left if run.is_cancellable]
        for run in cancelled:
            self._cancel(run)
        await self._wait_for(cancelled, _CANCEL_GRACE_S)
        rest = [run for run in self._runs if not run.is_ending]
        for run in rest:
            self._give_back(run)
        return await self._flush(_LAST_FLUSH_S) and not left and not rest

    def cancel(self, uuid: UUID, reason: str) -> None:
        """Ask for the end of a task that runs here; one in a thread is told, for a thread cannot be stopped."""
        for run in self._runs:
            envelope, execution = run.delivery.envelope, run.execution
            if envelope is None or envelope.uuid != uuid or execution is None or run.is_ending:
                continue
            run.cancel_reason = reason
            if run.is_cancellable:
                self._cancel(run)
                if run.task is not None:  # cancelled before its first step it cannot tell its end itself
                    run.task.add_done_callback(partial(self._end_cancelled, run))
            else:
                execution.ask_to_stop()

    def _observe(self) -> None:
        self._runner.observer = observer = Observer.of(self._triggers, self, self._engine)
        if observer is not None and observer.sees_written:
            self._settler.written = partial(self._tell_written, observer)
        if self._marker is not None:
            self._marker.prepare = observer.marked if observer is not None and observer.sees_marks else None

    async def _end(self) -> None:
        await self._commands.stop()
        await self._services.close()
        await self._executors.stop()
        self._triggers.thaw(self)
        await self._lifecycle.stopped()

    async def _flush(self, timeout_s: float) -> bool:
        """Write what became of the runs, and let plugins hear of it; return whether all is written."""
        until = asyncio.get_running_loop().time() + timeout_s
        is_written = await self._settler.drain(timeout_s)
        await self._wait_for(self._runs, max(0.0, until - asyncio.get_running_loop().time()))
        return is_written

    async def _stop_taking(self) -> None:
        tasks = [task for task in self._background if not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _wait_for(self, runs: Iterable[Run], timeout_s: float) -> None:
        tasks = [run.task for run in runs if run.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)

    async def _receive_loop(self) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._subscribe()
                while True:
                    await self._receive_once()
                    backoff.reset()
            except UnavailableError as error:
                logger.warning("the broker is away: %s; trying again", error)
            except QTasksError as error:
                logger.error("taking tasks failed: %s; trying again", error)  # noqa: TRY400  # it says what is wrong
            except Exception:
                logger.exception("taking tasks failed; trying again")
            await backoff.wait()

    async def _subscribe(self) -> None:
        async with self._subscribing:  # of two at once the one that knows less must not be the last
            queues = [queue for queue in self.queues if queue not in self._commands.paused]
            await self._broker.subscribe(queues, self.name, self.concurrency, self._lost)

    def _on_pause(self) -> None:
        paused = sorted(self._commands.paused.intersection(self.queues))
        logger.info("paused queues: %s", ", ".join(paused) or "none")
        self._spawn(self._resubscribe())

    async def _resubscribe(self) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._subscribe()
            except UnavailableError as error:
                logger.debug("the paused queues are told to the broker later: %s", error)
                await backoff.wait()
            else:
                return

    async def _receive_once(self) -> None:
        free = self.concurrency - len(self._runs)
        if free <= 0:
            self._slot_is_free.clear()
            await self._slot_is_free.wait()
            return
        deliveries = await self._taking.take(free, self._quotas.left())
        now = self._clock()
        runs = [Run(delivery, now) for delivery in deliveries]
        self._runs.update(runs)
        if runs and self._marker is not None:
            self._marker.note()
        suspects = [run for run in runs if run.is_suspect]
        if self._reopens:
            suspects += [run for run in runs if run.is_replay and not run.is_suspect]
        if suspects:
            self._spawn(self._take_suspects(suspects))
        begun = 0
        for run in runs:
            if suspects and run in suspects:
                continue
            self._begin(run, now)
            begun += 1
            if begun % self._at_once == 0:  # let these run and be written while the next ones start
                await asyncio.sleep(0)

    def _begin(self, run: Run, now: float) -> None:
        if run.is_lost:
            self._free_slot(run)
            return
        opened = self._intake.open(run.delivery, now)
        if isinstance(opened, Outcome):
            self._settler.put(run, opened)
            return
        cancelled = self._commands.cancelled
        if cancelled and opened.uuid in cancelled:
            run.cancel_reason = cancelled[opened.uuid]
            self._settler.put(run, self._outcomes.cancelled(opened, run.cancel_reason, now))
            return
        run.task_name = opened.plan.name
        run.execution = opened
        run.task = asyncio.get_running_loop().create_task(self._runner.run(run, opened))

    def _over(self, run: Run, outcome: Outcome | None) -> None:
        run.task = run.execution = None  # only the outcome waits for the server: a run leaves much behind
        if outcome is not None:
            self._settler.put(run, outcome)
        elif not run.is_ending:
            self._free_slot(run)

    def _look_at_threads(self) -> None:
        if self.on_exhausted is not None and self._executors.abandoned >= self._most_abandoned:
            logger.error("threads are held by %d tasks whose time is over: a restart is due", self._executors.abandoned)
            self.on_exhausted()
            self.on_exhausted = None

    async def _take_suspects(self, runs: list[Run]) -> None:
        """Ask the storage before running what may be a duplicate or was sent again, and let killers start alone."""
        if taken_over := [run.delivery for run in runs if run.is_suspect]:
            await self._lifecycle.took_over(taken_over)
        runs = await self._drop_finished(runs)
        limit = self._engine.config.max_deliveries
        crashed = {id(run.delivery): run for run in runs if 0 < run.delivery.crashes < limit}
        admitted, back = self._gate.admit([run.delivery for run in crashed.values()])
        for delivery in admitted:
            crashed[id(delivery)].is_gated = True
        returned = [crashed[id(delivery)] for delivery in back]
        for run in returned:
            self._settler.put(run, self._outcomes.released(run.delivery, _GATE_DELAY_S))
        alone = bool(admitted) and self._gate.is_alone
        if alone:
            await self._taking.hold_off(_ALONE_S)
        # Only what is given back is safe from a charge.
        while any(run in returned or (alone and run.is_waiting and run not in runs) for run in self._runs):
            await self._next_settled()
        now = self._clock()
        for run in runs:
            if run not in returned:
                self._begin(run, now)
        if self._marker is not None:
            self._marker.note()

    async def _drop_finished(self, runs: list[Run]) -> list[Run]:
        if not isinstance(self._storage, Storage):
            return runs
        known = [run for run in runs if run.delivery.envelope is not None]
        records = [
            self._outcomes.process(run.delivery.envelope, "", run.started_at)
            for run in known
            if run.delivery.envelope is not None
        ]
        if self._marker is not None and self._marker.prepare is not None:
            records = list(await asyncio.gather(*map(self._marker.prepare, records)))
        finals = await self._mark(self._storage, records)
        for run, final in zip(known, finals, strict=True):
            if final is not None:
                self._settler.put(run, self._outcomes.settled_before(run.delivery, final))
                runs = [one for one in runs if one is not run]
        return runs

    async def _mark(self, storage: Storage, records: list[TaskRecord]) -> Sequence[TaskRecord | None]:
        backoff = Backoff()
        while True:
            try:
                return await storage.mark(records)
            except (UnavailableError, SendUnknownError) as error:
                logger.warning("the storage is away: %s; suspects wait", error)
                await backoff.wait()
            except Exception:  # rather twice than never, and their slots are for others
                logger.exception("suspects could not be marked: they run all the same")
                return [None] * len(records)

    async def _next_settled(self) -> None:
        self._slot_is_free.clear()
        await self._slot_is_free.wait()

    def _give_back(self, run: Run) -> None:
        run.is_lost = True  # what its thread still returns is not written
        self._cancel(run)
        if run.execution is None:
            self._settler.put(run, self._outcomes.released(run.delivery))
        else:
            self._settler.put(run, self._runner.given_back(run.execution, self._clock()))

    def _tell_written(self, observer: Observer, run: Run, outcome: Outcome) -> None:
        """Let plugins hear of an outcome; a slow one holds this slot, so that what they have to hear is bounded."""
        run.task = asyncio.get_running_loop().create_task(observer.written(outcome))
        run.task.add_done_callback(partial(self._free_slot_of, run))

    def _cancel(self, run: Run) -> None:
        if run.execution is not None and not run.is_cancellable:
            run.execution.ask_to_stop()  # its thread goes on, and nobody waits for it
        if run.task is not None:
            run.task.cancel()

    def _end_cancelled(self, run: Run, _: asyncio.Task[None]) -> None:
        if run.execution is not None and run.cancel_reason is not None and not (run.is_ending or run.is_lost):
            self._settler.put(run, self._outcomes.cancelled(run.execution, run.cancel_reason, self._clock()))

    def _free_slot_of(self, run: Run, _: asyncio.Task[None]) -> None:
        self._free_slot(run)

    def _free_slot(self, run: Run) -> None:
        if run in self._runs:
            self._runs.discard(run)
            if run.is_gated:
                self._gate.leave()
                if not self._gate.is_alone:
                    self._taking.go_on()
            if run.cancel_reason is not None and not run.is_lost:
                self._forget_cancel(run)
            if self._quotas.is_short:
                self._taking.ask_again()
            if self.on_run_over is not None and run.task_name:
                self.on_run_over()
            self._slot_is_free.set()

    def _forget_cancel(self, run: Run) -> None:
        envelope = run.delivery.envelope
        taking_back = None if envelope is None else self._commands.forget(envelope.uuid)
        if taking_back is not None:
            self._spawn(taking_back)

    def _lost(self, deliveries: Sequence[Delivery]) -> None:
        """Stop the runs that are not ours any more; without fencing they go on, and their settling is refused."""
        if not self._is_fenced:
            return
        tokens = [delivery.token for delivery in deliveries]  # the same task may have been lent to us anew meanwhile
        for run in list(self._runs):
            envelope = run.delivery.envelope
            if envelope is not None and run.delivery.token in tokens and not run.is_ending:
                logger.warning(
                    "task %s %s was taken over by another worker: its run is stopped", run.task_name, envelope.uuid
                )
                run.is_lost = True
                self._cancel(run)
                if run.task is not None:  # cancelled before its first step it cannot free its slot itself
                    run.task.add_done_callback(partial(self._free_slot_of, run))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

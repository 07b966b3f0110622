"""One run of one task: its limits around it, and from how it ended to what becomes of its delivery."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from qtasks_core.contract import Release, Retry
from qtasks_core.errors import (
    ArgumentError,
    CodecError,
    PayloadTooLargeError,
    Postpone,
    RemoteTaskError,
    TaskCancelError,
    TaskTimeoutError,
    UnknownWireError,
)
from qtasks_core.worker.outcomes import WITHOUT_PLACE, users_part
from qtasks_core.worker.time_limit import within

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from qtasks_core.contract import Outcome
    from qtasks_core.worker.execution import TaskExecution
    from qtasks_core.worker.intake import Intake
    from qtasks_core.worker.lifecycle import Lifecycle
    from qtasks_core.worker.observer import Observer
    from qtasks_core.worker.outcomes import OutcomeMaker
    from qtasks_core.worker.run import Run

__all__ = ["Runner"]

logger = logging.getLogger("qtasks.worker")

_NEVER_BETTER = (CodecError, PayloadTooLargeError)


class Runner:
    """Runs what was opened.

    Parameters:
        outcomes: Makes the outcomes.
        intake: Parks what only other workers can read.
        lifecycle: Lets plugins decide on further attempts.
        clock: The time now, in epoch seconds.
        over: Told what becomes of a run's delivery; None when it is not ours any more.
    """

    def __init__(
        self,
        outcomes: OutcomeMaker,
        intake: Intake,
        lifecycle: Lifecycle,
        clock: Callable[[], float],
        over: Callable[[Run, Outcome | None], None],
    ) -> None:
        self.observer: Observer | None = None
        """Calls the triggers; None: no plugin answers any."""
        self.is_draining = False
        """The worker stops: a run that is cancelled is given back."""
        self.timed_out: Callable[[], None] | None = None
        """Called after each run that took too long: it may have left a thread behind."""
        self._outcomes = outcomes
        self._intake = intake
        self._lifecycle = lifecycle
        self._clock = clock
        self._over = over

    async def run(self, run: Run, execution: TaskExecution) -> None:
        """Run it to its end."""
        try:
            if run.is_suspect:
                await self._lifecycle.runs_again(execution.delivery)
            limit = execution.timeout
            if limit is None or execution.plan.keeps_time:
                result = await self.result(execution)
            else:
                result = await self._limited(execution, limit)
            outcome = self._outcomes.success(execution, result, self._clock())
        except BaseException as error:  # noqa: BLE001  # SystemExit too ends a task, not its worker
            ended = self._ended(run, execution, error)
            if ended is None:
                self._over(run, None)
                return
            outcome = await self._decided(execution, error, ended)
        if self.observer is not None:
            outcome = await self.observer.finished(execution, outcome, self._outcomes)
        self._over(run, outcome)

    async def _decided(self, execution: TaskExecution, error: BaseException, ended: Outcome) -> Outcome:
        """Return what plugins make of the end of a failed run; one that raises makes it an error."""
        try:
            return await self._lifecycle.failed(execution, error, ended)
        except Exception as broken:
            logger.exception("task %s ends with the error of a plugin that was asked for a retry", execution.task_name)
            return self._outcomes.error(execution, broken, self._clock())

    async def _limited(self, execution: TaskExecution, limit: float) -> Any:
        try:
            return await within(limit, self.result(execution))
        except TaskTimeoutError:
            execution.ask_to_stop()  # a thread goes on: it should know that nobody waits for it
            if self.timed_out is not None:
                self.timed_out()
            raise

    def result(self, execution: TaskExecution) -> Awaitable[Any]:
        """Return what a task returns, or raise what it raises, however long it takes."""
        if self.observer is not None:
            return self.observer.run(execution)
        execution.open(seen=False)
        run = execution.plan.executor.run(execution)
        return run if execution.plan.decode_result is None else _decoded(execution, run)

    def _ended(self, run: Run, execution: TaskExecution, error: BaseException) -> Outcome | None:
        if run.is_lost:
            return None
        now = self._clock()
        is_stopped = isinstance(error, (asyncio.CancelledError, TaskCancelError))
        if is_stopped and run.cancel_reason is not None:
            outcome = self._outcomes.cancelled(execution, run.cancel_reason, now)
        elif isinstance(error, TaskCancelError):
            outcome = self._outcomes.cancelled(execution, str(error), now)
        elif is_stopped and self.is_draining:
            outcome = self.given_back(execution, now)
        elif isinstance(error, Postpone):
            outcome = self._outcomes.released(execution.delivery, error.delay)
        elif isinstance(error, UnknownWireError):
            outcome = self._intake.park(execution, str(error), now)
        else:
            outcome = self._failed(execution, error, now)
        if run.cancel_reason is not None and isinstance(outcome.verdict, (Release, Retry)):
            return self._outcomes.cancelled(execution, run.cancel_reason, now)  # it must not run again
        return outcome

    def given_back(self, execution: TaskExecution, now: float) -> Outcome:
        """Return what becomes of a run that the worker's stop has cut short."""
        if execution.plan.is_at_most_once:
            reason = "its worker stopped while it ran, and ack='early' runs it at most once"
            return self._outcomes.dead(execution.delivery, reason, now, execution.task_name)
        return self._outcomes.released(execution.delivery)

    def _failed(self, execution: TaskExecution, error: BaseException, now: float) -> Outcome:
        delay_s = None
        if not isinstance(error, _NEVER_BETTER):
            delay_s = execution.plan.retry.delay(error, execution.attempt, execution.message.retry)
        _log_failure(execution, error, delay_s)
        if delay_s is None:
            return self._outcomes.error(execution, error, now)
        return self._outcomes.retry(execution, error, delay_s, now)


async def _decoded(execution: TaskExecution, run: Awaitable[Any]) -> Any:
    return await execution.decoded(await run)


def _log_failure(execution: TaskExecution, error: BaseException, delay_s: float | None) -> None:
    name, uuid = execution.task_name, execution.uuid
    if isinstance(error, ArgumentError):  # it quotes the value, and arguments are not logged above DEBUG
        logger.error("task %s %s failed: an argument does not fit its annotation", name, uuid)
        logger.debug("task %s %s: %s", name, uuid, error)
        return
    trace, words = None, ""
    if isinstance(error, RemoteTaskError):
        words = f"\n{error.traceback}".rstrip()
    elif isinstance(error, WITHOUT_PLACE):
        words = f": {error}"
    else:
        trace = (type(error), error, users_part(error.__traceback__))
    if delay_s is None:
        logger.error("task %s %s failed%s", name, uuid, words, exc_info=trace)
    else:
        text = "task %s %s failed in attempt %d and is tried again in %.1f s%s"
        logger.warning(text, name, uuid, execution.attempt, delay_s, words, exc_info=trace)

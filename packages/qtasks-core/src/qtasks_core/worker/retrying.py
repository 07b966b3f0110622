"""Whether a task that failed is tried again, and when."""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING

from qtasks_core.errors import RemoteTaskError, Retry

if TYPE_CHECKING:
    from qtasks_core.config import QueueConfig
    from qtasks_core.task_options import AllTaskOptions, Backoff

__all__ = ["RetryPolicy"]

logger = logging.getLogger("qtasks.worker")

_LONGEST_EXPONENT = 32


class RetryPolicy:
    """What a task's options say of its further attempts.

    Parameters:
        task_name: For the log.
        options: The task's.
        config: The app's settings, for what the task leaves out.
    """

    def __init__(self, task_name: str, options: AllTaskOptions, config: QueueConfig) -> None:
        self._task_name = task_name
        self._retry = options["retry"]
        self._kinds = options["retry_on_exc"]
        self._backoff: Backoff = config.retry_backoff if options["retry_backoff"] is None else options["retry_backoff"]  # type: ignore[assignment]  # checked by QueueConfig
        self._longest = options["retry_max_delay"] or config.retry_max_delay
        self._jitter = options["retry_jitter"]

    def delay(self, error: BaseException, attempt: int, asked: int | None) -> float | None:
        """Return the seconds before the next attempt, None when there is none.

        Parameters:
            error: What the run raised.
            attempt: Which attempt that was, from 1.
            asked: The call's own number of further attempts; None takes the task's.
        """
        if attempt > (self._retry if asked is None else asked):
            return None
        if isinstance(error, Retry):
            return self._wait(attempt) if error.delay is None else max(0.0, error.delay)
        return self._wait(attempt) if self._is_tried_again(error) else None

    def _is_tried_again(self, error: BaseException) -> bool:
        kinds = (Exception,) if self._kinds is None else tuple(self._kinds)
        return error.is_one_of(kinds) if isinstance(error, RemoteTaskError) else isinstance(error, kinds)

    def _wait(self, attempt: int) -> float:
        wait = min(self._base(attempt), self._longest)
        return random.uniform(0.0, wait) if self._jitter else wait  # noqa: S311  # jitter is no secret

    def _base(self, attempt: int) -> float:
        if isinstance(self._backoff, (int, float)):
            return float(self._backoff)
        if not isinstance(self._backoff, str):
            try:
                return max(0.0, float(self._backoff(attempt)))
            except Exception:
                logger.exception("task %s: its retry_backoff failed; the exponential one is taken", self._task_name)
        return float(2 ** min(attempt - 1, _LONGEST_EXPONENT))

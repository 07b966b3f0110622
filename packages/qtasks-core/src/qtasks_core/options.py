"""Options of a call, and the draft of a task that they go into."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from qtasks_core.errors import ConfigError
from qtasks_core.fields import set_checked

__all__ = ["CallOptions", "Draft"]

Headers = dict[str, str]
_EXPECTED = {
    "eta": "a datetime",
    "expires": "seconds above 0, or a datetime",
    "headers": "a mapping of texts to texts",
    "results": "true or false",
    "uuid": "a UUID",
}
"""In plain words, where msgspec's would not tell what to write."""


class CallOptions(Struct, frozen=True, kw_only=True):
    """How one call is queued; None leaves the task's or the app's default.

    Raises:
        ConfigError: An option is of the wrong type or out of range.
    """

    priority: Annotated[int, Meta(ge=-128, le=127)] | None = None
    """Lower goes first."""
    queue: Annotated[str, Meta(min_length=1)] | None = None
    delay: Annotated[float, Meta(ge=0)] | None = None
    """Seconds that the server holds the task back."""
    eta: dt.datetime | None = None
    """When the task is due; naive times are local."""
    expires: Annotated[float, Meta(gt=0)] | dt.datetime | None = None
    """Seconds from now, or a time, after which the task is not started."""
    uuid: UUID | None = None
    """The task's id; adding one that is there returns the first task."""
    headers: Headers | None = None
    results: bool = True
    """False: nobody will ask for the result, so none is kept."""
    result_ttl: Annotated[float, Meta(ge=0)] | None = None
    """Seconds that the result is kept."""

    def __post_init__(self) -> None:
        set_checked(self, _EXPECTED, prefix="option ")
        if self.delay is not None and self.eta is not None:
            raise ConfigError("options delay and eta: expected one of them, got both")


NO_OPTIONS = CallOptions()


class Draft(Struct, kw_only=True):
    """A task about to be sent: values, not bytes. Triggers may change it; its uuid stays."""

    task_name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    uuid: UUID
    queue: str
    priority: int = 0
    delay_s: float = 0.0
    due_at: float | None = None
    expires_at: float | None = None
    headers: Headers = {}
    result_ttl_s: float | None = None

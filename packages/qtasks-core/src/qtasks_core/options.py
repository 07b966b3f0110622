"""Options of a call, and the draft of a task that they go into."""

from __future__ import annotations

import datetime as dt  # noqa: TC003  # read at run time
from collections.abc import Mapping
from typing import Annotated, Any, TypedDict
from uuid import UUID

from msgspec import Meta, Struct

from qtasks_core.errors import ConfigError
from qtasks_core.fields import checked_fields

__all__ = ["CallOptions", "Draft", "checked_call"]

Headers = dict[str, str]
Name = Annotated[str, Meta(min_length=1)]
Seconds = Annotated[float, Meta(ge=0)]
Limit = Annotated[float, Meta(gt=0)]
_EXPECTED = {
    "eta": "a datetime",
    "expires": "seconds above 0, or a datetime",
    "headers": "a mapping of texts to texts",
    "results": "true or false",
    "uuid": "a UUID",
}
"""In plain words, where msgspec's would not tell what to write."""


class CallOptions(TypedDict, total=False):
    """How one call is queued; what is left out, or None, is the task's or the app's default."""

    priority: Annotated[int, Meta(ge=-128, le=127)] | None
    """Lower goes first."""
    queue: Name | None
    delay: Seconds | None
    """Seconds that the server holds the task back."""
    eta: dt.datetime | None
    """When the task is due; naive times are local."""
    expires: Limit | dt.datetime | None
    """Seconds from now, or a time, after which the task is not started."""
    timeout: Limit | None
    """Seconds that one run may take."""
    retry: Annotated[int, Meta(ge=0)] | None
    """Further attempts after one that failed."""
    uuid: UUID | None
    """The task's id; adding one that is there returns the first task."""
    unique_key: Name | None
    """Of the tasks of one key only one waits or runs; adding another returns the first."""
    unique_ttl: Limit | None
    """Seconds after which the key is free again although its task has not ended."""
    key: Name | None
    """Of what is alike: affinity and limits by key."""
    headers: Headers | None
    """For plugins; texts."""
    results: bool
    """False: nobody will ask for the result, so none is kept."""
    result_ttl: Seconds | None
    """Seconds that the result is kept."""


def checked_call(options: CallOptions) -> CallOptions:
    """Return the options that are set, each as its type says.

    Raises:
        ConfigError: An option is unknown, of the wrong type or out of range.
    """
    found: CallOptions = checked_fields(CallOptions, options, _EXPECTED, prefix="option ")
    if found.get("delay") is not None and found.get("eta") is not None:
        raise ConfigError("options delay and eta: expected one of them, got both")
    if found.get("unique_ttl") is not None and found.get("unique_key") is None:
        raise ConfigError("option unique_ttl: expected unique_key beside it")
    return {name: value for name, value in found.items() if value is not None}  # type: ignore[return-value]  # its own keys


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
    timeout_s: float | None = None
    retry: int | None = None
    key: str | None = None
    unique_key: str | None = None
    unique_ttl_s: float | None = None

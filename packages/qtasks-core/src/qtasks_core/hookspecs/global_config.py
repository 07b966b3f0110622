"""Triggers around the global config. The engine calls them, a global config never does, so every one has them.

Arguments are *global_config* (the component), *key* (without the namespace), *value* (bytes as they are kept, None
where a key is absent), and what each trigger names.
"""
# ruff: noqa: D401  # a trigger's docstring says when it is called

from __future__ import annotations

from typing import TYPE_CHECKING

from qtasks_core.hookspecs._kept import SETTING, SETTINGS, VALUE
from qtasks_core.hookspecs._marker import hookspec, keeps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtasks_core.contract import GlobalConfig, Versioned
    from qtasks_core.worker.announcer import Announcement

__all__ = [
    "global_config_get",
    "global_config_get_all",
    "global_config_get_match",
    "global_config_set",
    "global_config_set_status",
    "global_config_start",
    "global_config_stop",
]


@hookspec
def global_config_start(global_config: GlobalConfig) -> None:
    """Called when the global config is about to start.

    Notifies. Not hot. Goes before `storage_start` and `broker_start`. The result is ignored; one that raises stops the
    start. Since 0.1.
    """


@hookspec
def global_config_stop(global_config: GlobalConfig) -> None:
    """Called when the global config is about to stop.

    Notifies. Not hot. Goes after `broker_stop` and `storage_stop`. The result is ignored. Since 0.1.
    """


@hookspec
@keeps(SETTING)
def global_config_set(global_config: GlobalConfig, key: str, value: bytes | None) -> tuple[str, bytes | None] | None:
    """Called when a value is about to be written, or with value None deleted.

    Replaces (key, value). Not hot. Return a pair of key and value, or None to leave both. One that raises fails the
    call. Since 0.1.
    """


@hookspec
@keeps(VALUE)
def global_config_get(global_config: GlobalConfig, key: str, value: bytes | None) -> bytes | None:
    """Called when a value was read.

    Replaces value. Not hot. Return a value, `Replace(None)` to hide it, or None to leave it. Since 0.1.
    """


@hookspec
@keeps(SETTINGS)
def global_config_get_all(
    global_config: GlobalConfig, values: Mapping[str, Versioned]
) -> Mapping[str, Versioned] | None:
    """Called when all values were read.

    Replaces values. Not hot. Return values by key, or None to leave them. Since 0.1.
    """


@hookspec
@keeps(SETTINGS)
def global_config_get_match(
    global_config: GlobalConfig, values: Mapping[str, Versioned]
) -> Mapping[str, Versioned] | None:
    """Called when the values whose keys begin alike were read.

    Replaces values. Not hot. Return values by key, or None to leave them. Since 0.1.
    """


@hookspec
def global_config_set_status(global_config: GlobalConfig, status: Announcement) -> None:
    """Called when the app announces itself to the cluster.

    Notifies. Not hot. The result is ignored. Since 0.1.
    """

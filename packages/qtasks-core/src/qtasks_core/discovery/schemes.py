"""URL schemes: who serves them, asked when a URL names one."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

from qtasks_core.discovery.entries import SCHEMES, Entry, check_api, entries
from qtasks_core.errors import ConfigError, PluginError, UnknownSchemeError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from qtasks_core.contract import Broker, ComponentContext, GlobalConfig, Results

    Factory = Callable[[str, ComponentContext], Any]

__all__ = ["SCHEME_EXTRAS", "RegisteredScheme", "factory_of", "load_factory", "register_scheme", "scheme_of", "serves"]

SCHEME_EXTRAS = {
    "redis": "redis",
    "redis+sentinel": "redis",
    "redis+unix": "redis",
    "rediss": "redis",
    "rediss+sentinel": "redis",
    "sqlite": "sqlite",
    "unix": "redis",
}
"""Scheme → extra of the `qtasks` distribution that brings it: for hints only."""

_SCHEME = re.compile(r"[a-z][a-z0-9.+-]*")
_NEAR_ENOUGH = 0.5  # a short name has few letters to share
_registered: dict[tuple[str, str], Any] = {}


class RegisteredScheme(NamedTuple):
    """What `register_scheme` did; leaving it as a context manager, or `undo()`, takes it back."""

    scheme: str
    factories: dict[str, Any]

    def undo(self) -> None:
        """Take it back; what was built stays, but an app cannot build its components for a further event loop."""
        for part, factory in self.factories.items():
            if _registered.get((part, self.scheme)) is factory:
                del _registered[part, self.scheme]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.undo()


def register_scheme(
    scheme: str,
    *,
    broker: Callable[[str, ComponentContext], Broker] | None = None,
    storage: Callable[[str, ComponentContext], Results] | None = None,
    global_config: Callable[[str, ComponentContext], GlobalConfig] | None = None,
) -> RegisteredScheme:
    """Have a scheme served in this process, without an installed distribution: for tests.

    It goes before what is installed for the same scheme.

    Parameters:
        scheme: As URLs have it, such as "dir" or "redis+tls".
        broker: Builds the broker: a class, called with a URL and a `ComponentContext`.
        storage: Builds the storage.
        global_config: Builds the global config.

    Raises:
        ConfigError: That is no scheme, nothing is registered, something is not callable, or the scheme is registered.
        PluginError: A class was written for another version of the contract (`qtasks_api`).
    """
    if not _SCHEME.fullmatch(scheme):
        raise ConfigError(f"scheme: expected one as in SCHEME://host, in small letters, got {scheme!r}")
    named = {"broker": broker, "storage": storage, "global_config": global_config}
    factories = {part: factory for part, factory in named.items() if factory is not None}
    if not factories:
        raise ConfigError(f"{scheme}://: expected broker=, storage= or global_config=, got none")
    for part, factory in factories.items():
        _check_factory(f"{part} for {scheme}://", factory)
        if (part, scheme) in _registered:
            raise ConfigError(f"{part} for {scheme}:// is registered already; undo() that first")
    _registered.update({(part, scheme): factory for part, factory in factories.items()})
    return RegisteredScheme(scheme, dict(factories))


def serves(part: str, scheme: str) -> bool:
    """Whether somebody serves a part for a scheme; not whether that works."""
    return (part, scheme) in _registered or bool(_installed(part, scheme))


def factory_of(part: str, scheme: str) -> Factory:
    """Return what builds a part of an app.

    Parameters:
        part: "broker", "storage" or "global_config".
        scheme: A URL's.

    Raises:
        UnknownSchemeError: Nobody serves it; names the nearest scheme, what is installed, and what to install.
        PluginError: Two distributions serve it, or the one that does is broken.
    """
    registered = _registered.get((part, scheme))
    if registered is not None:
        return cast("Factory", registered)
    found = _installed(part, scheme)
    if not found:
        raise UnknownSchemeError(_unknown(part, scheme))
    return load_factory(part, found[0])


def load_factory(part: str, entry: Entry) -> Factory:
    """Load what an entry point names.

    Parameters:
        part: "broker", "storage" or "global_config".
        entry: Its entry point.

    Raises:
        PluginError: It is broken, or not the only one; names distribution, version and entry point.
    """
    what = f"{part} for {scheme_of(entry)}://"
    owners = [one.owner for one in entries(SCHEMES[part], entry.name)]
    if len(owners) > 1:
        raise PluginError(f"{what}: more than one distribution serves it: {', '.join(owners)}; uninstall one")
    factory = entry.load(what)
    _check_factory(f"{what} {entry.origin}", factory)
    return cast("Factory", factory)


def _check_factory(where: str, factory: object) -> None:
    if not callable(factory):
        raise PluginError(f"{where}: expected a class, got {factory!r}")
    check_api(where, factory)


def _installed(part: str, scheme: str) -> list[Entry]:
    return entries(SCHEMES[part], scheme.replace("+", "."))


def scheme_of(entry: Entry) -> str:
    """Return the scheme that an entry point is for."""
    return entry.name.replace(".", "+")


# ---------------------------------------------------------------- a scheme that nobody serves


def _unknown(part: str, scheme: str) -> str:
    extra = SCHEME_EXTRAS.get(scheme)
    if extra is not None and not _other_parts(part, scheme):
        return f"{part}: {scheme}:// needs a package that is not installed: {_install_line(extra)}"
    known = {scheme_of(entry) for entry in entries(SCHEMES[part])} | {one for of, one in _registered if of == part}
    return (
        f"{part}: no installed package serves {scheme}://{_hint(part, scheme, known)} "
        f"Installed: {', '.join(f'{one}://' for one in sorted(known)) or 'none'}. "
        f"A package brings a scheme by an entry point in the group {SCHEMES[part]!r}."
    )


def _hint(part: str, scheme: str, known: set[str]) -> str:
    others = _other_parts(part, scheme)
    if others:
        return f", though it is one of {' and '.join(others)}; name another URL with {part}_url=."
    near = difflib.get_close_matches(scheme, sorted({*known, *SCHEME_EXTRAS}), n=1, cutoff=_NEAR_ENOUGH)
    if not near:
        return "."
    return f"; did you mean {near[0]}://{'' if near[0] in known else f' ({_install_line(SCHEME_EXTRAS[near[0]])})'}?"


def _other_parts(part: str, scheme: str) -> list[str]:
    return [f"a {other.replace('_', ' ')}" for other in SCHEMES if other != part and serves(other, scheme)]


def _install_line(extra: str) -> str:
    return f'pip install "qtasks[{extra}]"'

"""From URLs to components: entry points by scheme, and what is used where no URL is given."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from qtasks_core.contract import Capability
from qtasks_core.discovery.schemes import factory_of, serves
from qtasks_core.errors import ConfigError
from qtasks_core.naming import mask_url

if TYPE_CHECKING:
    from qtasks_core.contract import Broker, ComponentContext, GlobalConfig, Results, Storage

__all__ = ["Components", "Sources", "build_components"]

DEFAULT_URL = "sqlite:///qtasks.db"
_PARTS = ("broker", "storage", "global_config")


class Components(NamedTuple):
    """The three parts of an app that talk to servers."""

    broker: Broker
    storage: Results
    global_config: GlobalConfig | None


class Sources(NamedTuple):
    """What the user named for each part: a URL, an instance, or nothing."""

    broker_url: str | None = None
    storage_url: str | None = None
    global_config_url: str | None = None
    broker: Broker | None = None
    storage: Storage | Results | None = None
    global_config: GlobalConfig | None = None

    def resolved(self) -> Sources:
        """Return the same with the broker's URL filled in: the environment's, else the embedded default."""
        if self.broker_url is not None or self.broker is not None:
            return self
        return self._replace(broker_url=os.environ.get("QTASKS_BROKER_URL") or DEFAULT_URL)

    def can_compare_and_set(self) -> bool:
        """Whether the app has a global config with compare-and-set; known before it starts."""
        if self.global_config is not None:
            return Capability.CAS in self.global_config.capabilities
        url = _url_of("global_config", self)
        return url is not None and _can_compare_and_set(url)

    def describe(self) -> dict[str, str]:
        """Return for each part its URL with the password masked, its class's name, or where it comes from."""
        result = {}
        for part in _PARTS:
            instance, url = getattr(self, part), getattr(self, f"{part}_url")
            inherited = self.broker_url or type(self.broker).__name__
            result[part] = type(instance).__name__ if instance is not None else mask_url(url or inherited)
        return result


def build_components(sources: Sources, context: ComponentContext) -> Components:
    """Build the parts that an app's URLs and instances name; what is not named comes from the broker's server.

    Raises:
        ConfigError: A URL is wrong, no package serves its scheme, or the package that does is broken.
    """
    broker = sources.broker or _build("broker", _require_url(sources), context)
    storage = sources.storage or _build_or_inherit("storage", sources, context)
    if storage is None:
        raise ConfigError("no storage: the broker brings none; name one with storage_url= or storage=")
    global_config = sources.global_config or _build_or_inherit("global_config", sources, context)
    return Components(broker, storage, global_config)


def _require_url(sources: Sources) -> str:
    if sources.broker_url is None:
        raise ConfigError("no broker: name one with broker_url= or broker=")
    return sources.broker_url


def _build_or_inherit(part: str, sources: Sources, context: ComponentContext) -> Any:
    url = _url_of(part, sources)
    return None if url is None else _build(part, url, context)


def _url_of(part: str, sources: Sources) -> str | None:
    """Return a part's own URL, else the broker's when its package has that part, else the storage's.

    A global config with compare-and-set goes before one without: State and locks need it.
    """
    own: str | None = getattr(sources, f"{part}_url")
    if own is not None:
        return own
    inherited = [
        url for url in (sources.broker_url, sources.storage_url) if url and serves(part, _scheme_of(part, url))
    ]
    if not inherited:
        return None
    if part == "global_config":
        inherited.sort(key=lambda url: not _can_compare_and_set(url))
    return inherited[0]


def _can_compare_and_set(url: str) -> bool:
    part = "global_config"
    capabilities = getattr(factory_of(part, _scheme_of(part, url)), "capabilities", Capability(0))
    return Capability.CAS in capabilities


def _build(part: str, url: str, context: ComponentContext) -> Any:
    return factory_of(part, _scheme_of(part, url))(url, context)


def _scheme_of(part: str, url: object) -> str:
    expected = f"{part}_url: expected a URL such as {DEFAULT_URL!r} or 'memory://'"
    if not isinstance(url, str):
        raise ConfigError(f"{expected}, got {url!r}; an instance goes to {part}=")
    try:
        scheme = urlsplit(url).scheme
    except ValueError as error:
        raise ConfigError(f"{expected}, got {mask_url(url)!r}: {error}") from None
    if not scheme:
        raise ConfigError(f"{expected}, got {mask_url(url)!r}")
    return scheme

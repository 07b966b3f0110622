"""Schemes: those that are registered in this process, and what is said of one that nobody serves."""

from __future__ import annotations

from typing import Any

import pytest

from discovery.site import Site
from qtasks_core.blocking import QueueTasks
from qtasks_core.discovery import register_scheme
from qtasks_core.discovery.schemes import SCHEME_EXTRAS, factory_of, serves
from qtasks_core.errors import ConfigError, PluginError, UnknownSchemeError
from qtasks_core.memory import MemoryBroker, MemoryGlobalConfig, MemoryStorage

PART = """
class Part:
    qtasks_api = 1
    def __init__(self, url, context): ...
"""


class Api2:
    qtasks_api = 2


# ---------------------------------------------------------------- registered in this process


def test_a_registered_scheme_is_served_until_it_is_undone() -> None:
    """As a context manager, or with undo()."""
    with register_scheme("here", broker=MemoryBroker) as registered:
        assert MemoryBroker is factory_of("broker", "here")
        assert not serves("storage", "here")
    assert not serves("broker", "here")
    again = register_scheme("here+tls", broker=MemoryBroker, storage=MemoryStorage, global_config=MemoryGlobalConfig)
    assert [True] * 3 == [serves(part, "here+tls") for part in ("broker", "storage", "global_config")]
    again.undo()
    again.undo()

    assert "here" == registered.scheme
    assert [False] * 3 == [serves(part, "here+tls") for part in ("broker", "storage", "global_config")]


def test_an_app_is_built_on_a_registered_scheme() -> None:
    """The broker and the storage that it comes with do the work."""

    class MyBroker(MemoryBroker):
        def __init__(self, url: str, context: Any) -> None:
            super().__init__(url.replace("mine:", "memory:"), context)

    class MyStorage(MemoryStorage):
        def __init__(self, url: str, context: Any) -> None:
            super().__init__(url.replace("mine:", "memory:"), context)

    with register_scheme("mine", broker=MyBroker, storage=MyStorage):
        app = QueueTasks("mine", "mine://")

        @app.task
        def add(x: int, y: int) -> int:
            return x + y

        with app.worker():
            assert 3 == add.add_task(1, 2).result(timeout=20)


def test_it_goes_before_what_is_installed(site: Site) -> None:
    """A test may stand in for a server; afterwards the installed one is back."""
    site.install("fake-one", PART, "qtasks.brokers: one = Part")
    with register_scheme("one", broker=MemoryBroker):
        assert MemoryBroker is factory_of("broker", "one")

    assert "Part" == getattr(factory_of("broker", "one"), "__name__", None)


def test_it_is_one_of_those_that_are_there() -> None:
    """The error for another one lists it."""
    with register_scheme("mine", broker=MemoryBroker), pytest.raises(UnknownSchemeError, match="did you mean mine://"):
        factory_of("broker", "mien")


def test_a_scheme_is_registered_once() -> None:
    """A second one would hide the first; nothing of it is kept."""
    with register_scheme("mine", broker=MemoryBroker):
        with pytest.raises(ConfigError, match=r"broker for mine:// is registered already; undo\(\) that first"):
            register_scheme("mine", storage=MemoryStorage, broker=MemoryBroker)
        assert not serves("storage", "mine")
        with register_scheme("mine", storage=MemoryStorage):
            assert serves("storage", "mine")
        assert serves("broker", "mine")


@pytest.mark.parametrize("scheme", ["", "My", "my://", "1st", "my_own", "mý"])
def test_what_is_no_scheme_is_refused(scheme: str) -> None:
    """It could never be named in a URL."""
    with pytest.raises(ConfigError, match=r"scheme: expected one as in SCHEME://host, in small letters, got "):
        register_scheme(scheme, broker=MemoryBroker)


def test_what_is_registered_is_checked() -> None:
    """Something, a class, and of this version of the contract."""
    seven: Any = 7
    api2: Any = Api2
    with pytest.raises(ConfigError, match=r"mine://: expected broker=, storage= or global_config=, got none"):
        register_scheme("mine")
    with pytest.raises(PluginError, match=r"storage for mine://: expected a class, got 7"):
        register_scheme("mine", broker=MemoryBroker, storage=seven)
    with pytest.raises(PluginError, match=r"broker for mine://: expected qtasks_api 1, got 2"):
        register_scheme("mine", broker=api2)

    assert not serves("broker", "mine")


# ---------------------------------------------------------------- installed


def test_a_class_that_needs_another_core_is_not_imported(site: Site) -> None:
    """Told by distribution, version and entry point, with what is needed and what is there."""
    needs = "Requires-Dist: qtasks-core>=99\n"
    site.install("fake-one", "raise AssertionError", "qtasks.brokers: one = Part", metadata=needs)
    with pytest.raises(PluginError) as caught:
        factory_of("broker", "one")

    start = "broker for one:// (fake-one 2.5, entry point fake_one:Part) needs qtasks-core>=99, and 0."
    assert str(caught.value).startswith(start)
    assert str(caught.value).endswith(" is installed; install releases that fit together")


def test_a_module_that_exits_is_an_error_like_others(site: Site) -> None:
    """The process of whoever asked goes on."""
    site.install("fake-one", "raise SystemExit(3)", "qtasks.brokers: one = Part")
    with pytest.raises(PluginError, match=r"cannot be loaded: SystemExit\(3\)") as caught:
        factory_of("broker", "one")

    assert isinstance(caught.value.__cause__, SystemExit)


# ---------------------------------------------------------------- a scheme that nobody serves


def message(part: str, scheme: str) -> str:
    with pytest.raises(UnknownSchemeError) as caught:
        factory_of(part, scheme)
    return str(caught.value)


def test_after_an_uninstall_the_nearest_scheme_is_named(site: Site) -> None:
    """And how schemes come to be: also a short name has a nearest one."""
    site.install("fake-rds", PART, "qtasks.brokers: rds = Part", "qtasks.storages: rds = Part")
    assert serves("broker", "rds")
    site.uninstall("fake-rds")
    text = message("broker", "rds")

    assert text.startswith("broker: no installed package serves rds://; did you mean redis://")
    assert "memory://" in text.partition("Installed: ")[2]
    assert text.endswith("A package brings a scheme by an entry point in the group 'qtasks.brokers'.")


def test_a_nearest_one_that_is_not_installed_comes_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the second error is spared."""
    monkeypatch.setitem(SCHEME_EXTRAS, "zzzq", "zzz")

    assert 'serves zzzp://; did you mean zzzq:// (pip install "qtasks[zzz]")? Installed:' in message("broker", "zzzp")


def test_a_scheme_of_other_parts_is_told_as_one(site: Site) -> None:
    """What it is good for, and which argument takes another URL."""
    site.install("fake-one", PART, "qtasks.brokers: one = Part", "qtasks.global_configs: one = Part")
    text = message("storage", "one")

    said = "storage: no installed package serves one://, though it is one of a broker and a global config; name another"
    assert text.startswith(f"{said} URL with storage_url=. Installed: ")

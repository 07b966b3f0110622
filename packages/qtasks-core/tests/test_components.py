"""From URLs to components: what is built where nothing is named, and errors that say what to install or to write."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qtasks_core.components import DEFAULT_URL, Sources, build_components
from qtasks_core.config import QueueConfig
from qtasks_core.context import AppContext, SharedObjects
from qtasks_core.contract import Capability
from qtasks_core.discovery.schemes import SCHEME_EXTRAS
from qtasks_core.errors import ConfigError, PluginError, UnknownSchemeError

CLASS = """
from qtasks_core.contract import Capability
class Part:
    qtasks_api = 1
    capabilities = Capability({capabilities})
    def __init__(self, url, context):
        self.url, self.context = url, context
"""


class Installer:
    """Installs distributions that exist for one test.

    Parameters:
        folder: On sys.path.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, distribution: str, *points: str, capabilities: int = 0, code: str | None = None) -> None:
        """Install one that serves *points*, each as `part:scheme`."""
        module = distribution.replace("-", "_")
        text = CLASS.format(capabilities=int(capabilities)) if code is None else code
        (self.folder / f"{module}.py").write_text(text)
        info = self.folder / f"{module}-2.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.5\n")
        groups = [
            f"[qtasks.{part}s]\n{scheme} = {module}:Part\n" for part, scheme in (one.split(":") for one in points)
        ]
        (info / "entry_points.txt").write_text("\n".join(groups))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installer]:
    """Give what makes a distribution importable and its entry points visible."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Installer(tmp_path)
    for name in [name for name in sys.modules if name.startswith("fake_")]:
        del sys.modules[name]


def build(broker_url: str | None = None, **sources: Any) -> Any:
    context = AppContext("test", QueueConfig(), SharedObjects())
    return build_components(Sources(broker_url=broker_url, **sources), context)


# ---------------------------------------------------------------- what is built


def test_a_url_is_answered_by_the_class_of_its_scheme(install: Installer) -> None:
    """The class gets URL and context; parts that are not named come from the same server."""
    install("fake-one", "broker:one", "storage:one", "global_config:one")
    found = build("one://host/0")

    assert "Components" == type(found).__name__
    assert ["one://host/0"] * 3 == [part.url for part in found]
    assert "test" == found.broker.context.namespace


def test_a_plus_in_a_scheme_is_a_dot_in_the_entry_point(install: Installer) -> None:
    """Entry-point names have no plus."""
    install("fake-tls", "broker:one.tls", "storage:one.tls")

    assert "one+tls://host" == build("one+tls://host").broker.url


def test_each_part_may_have_its_own_url(install: Installer) -> None:
    """What is named goes before what the broker's server would bring."""
    install("fake-one", "broker:one", "storage:one", "global_config:one")
    install("fake-two", "storage:two", "global_config:two")
    found = build("one://", storage_url="two://a", global_config_url="two://b")

    assert ["one://", "two://a", "two://b"] == [part.url for part in found]


def test_the_global_config_may_come_from_the_storages_server(install: Installer) -> None:
    """Where the broker's package has none."""
    install("fake-one", "broker:one")
    install("fake-two", "storage:two", "global_config:two")

    assert "two://a" == build("one://", storage_url="two://a").global_config.url


def test_a_global_config_with_compare_and_set_goes_first(install: Installer) -> None:
    """State and locks need it; the broker's control channel is the second choice."""
    install("fake-one", "broker:one", "global_config:one")
    install("fake-two", "storage:two", "global_config:two", capabilities=Capability.CAS)

    assert "two://" == build("one://", storage_url="two://").global_config.url


def test_without_any_global_config_there_is_none(install: Installer) -> None:
    """Only what needs one refuses, when it is declared."""
    install("fake-one", "broker:one", "storage:one")

    assert build("one://").global_config is None


def test_instances_go_before_urls(install: Installer) -> None:
    """What the user built is used as it is."""
    install("fake-one", "broker:one", "storage:one", "global_config:one")
    broker, storage, global_config = object(), object(), object()
    found = build("one://", broker=broker, storage=storage, global_config=global_config)

    assert (broker, storage, global_config) == found


def test_the_default_is_the_environments_url_or_the_embedded_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL or an instance in the code goes before both."""
    monkeypatch.delenv("QTASKS_BROKER_URL", raising=False)
    assert DEFAULT_URL == Sources().resolved().broker_url
    monkeypatch.setenv("QTASKS_BROKER_URL", "")
    assert DEFAULT_URL == Sources().resolved().broker_url
    monkeypatch.setenv("QTASKS_BROKER_URL", "redis://host")
    assert "redis://host" == Sources().resolved().broker_url
    assert "memory://" == Sources(broker_url="memory://").resolved().broker_url
    instance: Any = object()
    assert Sources(broker=instance).resolved().broker_url is None


def test_a_description_tells_each_part_and_no_password() -> None:
    """URLs are masked; an instance is told by its class; what is not named has the broker's."""
    instance: Any = Installer(Path())

    assert {"broker": "redis://u:***@h", "storage": "Installer", "global_config": "redis://u:***@h"} == Sources(
        broker_url="redis://u:secret@h", storage=instance
    ).describe()
    assert {"broker": "Installer", "storage": "Installer", "global_config": "kafka://:***@h"} == Sources(
        broker=instance, global_config_url="kafka://:secret@h"
    ).describe()


# ---------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("url", "got"),
    [
        ("qtasks.db", "'qtasks.db'"),
        ("", "''"),
        ("//user:secret@host", "'//user:***@host'"),
        ("redis://:secret@[::1", "'redis://:***@[::1': Invalid IPv6 URL"),
        (7, "7; an instance goes to broker="),
    ],
)
def test_what_is_no_url_is_told_with_an_example(url: Any, got: str) -> None:
    """The message names the argument, what was expected and what it got, without a password."""
    with pytest.raises(ConfigError) as caught:
        build(url)

    assert f"broker_url: expected a URL such as 'sqlite:///qtasks.db' or 'memory://', got {got}" == str(caught.value)


def test_the_argument_with_the_wrong_url_is_named(install: Installer) -> None:
    """Not the broker's, when the storage's is wrong."""
    install("fake-one", "broker:one")
    with pytest.raises(ConfigError, match=r"^storage_url: expected a URL such as .* got 'here'$"):
        build("one://", storage_url="here")


def test_no_broker_at_all_is_told() -> None:
    """Only an app that resolves no default gets here."""
    with pytest.raises(ConfigError, match=r"no broker: name one with broker_url= or broker="):
        build(None)


def test_a_broker_that_brings_no_storage_is_told(install: Installer) -> None:
    """With the argument that mends it."""
    install("fake-one", "broker:one")
    with pytest.raises(
        ConfigError, match=r"no storage: the broker brings none; name one with storage_url= or storage="
    ):
        build("one://")


def test_a_scheme_of_this_project_names_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line can be pasted into a terminal."""
    monkeypatch.setitem(SCHEME_EXTRAS, "redix", "redix")
    with pytest.raises(UnknownSchemeError) as caught:
        build("redix://user:secret@host")

    assert 'broker: redix:// needs a package that is not installed: pip install "qtasks[redix]"' == str(caught.value)


def test_a_mistyped_scheme_gets_the_nearest_one(install: Installer) -> None:
    """And the list of what is there, and how a package brings one."""
    install("fake-tls", "broker:one.tls")
    with pytest.raises(UnknownSchemeError) as caught:
        build("memry://user:secret@host")
    text = str(caught.value)

    assert text.startswith("broker: no installed package serves memry://; did you mean memory://? Installed: ")
    assert "memory://, " in text
    assert "one+tls://" in text
    assert text.endswith("A package brings a scheme by an entry point in the group 'qtasks.brokers'.")
    assert "secret" not in text


def test_a_scheme_like_no_other_gets_the_list() -> None:
    """Without a guess."""
    with pytest.raises(UnknownSchemeError, match=r"serves zzzzzz://\. Installed: .*memory://"):
        build("zzzzzz://")


def test_an_unknown_storage_is_told_as_one(install: Installer) -> None:
    """The group named is the storage's."""
    install("fake-one", "broker:one", "storage:one")
    with pytest.raises(UnknownSchemeError, match=r"storage: no installed package serves zz://.*qtasks\.storages"):
        build("one://", storage_url="zz://")


def test_two_distributions_of_one_scheme_are_told_when_it_is_asked_for(install: Installer) -> None:
    """Both by name and version; other schemes are not in the way."""
    install("fake-one", "broker:one", "storage:one")
    install("fake-two", "broker:one", "broker:two", "storage:two")
    with pytest.raises(PluginError) as caught:
        build("one://")
    message = str(caught.value)

    assert message.startswith("broker for one://: more than one distribution serves it: fake-")
    assert "fake-one 2.5" in message
    assert "fake-two 2.5" in message
    assert message.endswith("; uninstall one")
    assert "two://" == build("two://").broker.url


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import no_such_library", "cannot be loaded: ModuleNotFoundError(\"No module named 'no_such_library'\")"),
        ("1 / 0", "cannot be loaded: ZeroDivisionError('division by zero')"),
        ("", "cannot be loaded: AttributeError(\"module 'fake_one' has no attribute 'Part'\")"),
        ("Part = 7", ": expected a class, got 7"),
        ("class Part: qtasks_api = 2", ": expected qtasks_api 1, got 2; install releases that fit together"),
        ("class Part: ...", ": expected qtasks_api 1, got None; install releases that fit together"),
    ],
)
def test_a_broken_package_is_blamed_by_distribution_and_entry_point(
    install: Installer, code: str, message: str
) -> None:
    """Before anything of it is built; the cause is chained."""
    install("fake-one", "broker:one", "storage:one", code=code)
    with pytest.raises(PluginError) as caught:
        build("one://")

    start = "broker for one:// (fake-one 2.5, entry point fake_one:Part)"
    assert f"{start}{'' if message.startswith(':') else ' '}{message}" == str(caught.value)
    assert ("cannot be loaded" in message) == (caught.value.__cause__ is not None)


def test_a_broken_package_nobody_asks_for_is_in_nobodys_way(install: Installer) -> None:
    """It is not even imported."""
    install("fake-one", "broker:one", "storage:one", code="raise SystemExit")

    assert build("memory://").broker is not None

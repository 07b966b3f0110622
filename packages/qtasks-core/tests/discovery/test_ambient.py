"""Plugins that are installed: loaded one by one; what is broken is told once and skipped, or raises where asked for."""

from __future__ import annotations

import sys

import pytest

from discovery.site import Site
from qtasks_core.discovery import load_plugins
from qtasks_core.errors import ConfigError, PluginError
from qtasks_core.triggers import Triggers

MODULE = """
from pluggy import HookimplMarker

@HookimplMarker("qtasks")
def worker_start(worker):
    ...
"""
CLASS = """
class Plugin:
    def worker_start(self, worker):
        ...
"""
EXPECTED = ": expected an object or a class with methods named after triggers, or a module with functions marked by"
BROKEN = {
    "raises": ("1 / 0", "", "cannot be loaded: ZeroDivisionError('division by zero')"),
    "needs a library": ("import no_lib", "", "cannot be loaded: ModuleNotFoundError(\"No module named 'no_lib'\")"),
    "exits": ("raise SystemExit('no')", "", "cannot be loaded: SystemExit('no')"),
    "is not there": ("", "Plugin", "cannot be loaded: AttributeError(\"module 'fake_one' has no attribute 'Plugin'\")"),
    "number": ("Plugin = 7", "Plugin", EXPECTED),
    "nothing": ("Plugin = None", "Plugin", EXPECTED),
    "function": ("def Plugin(worker): ...", "Plugin", EXPECTED),
    "empty module": ("", "", EXPECTED),
    "unmarked": (MODULE.replace("@", "# @"), "", EXPECTED),
    "empty class": ("class Plugin: ...", "Plugin", EXPECTED),
    "newer": (f"qtasks_api = 2\n{MODULE}", "", ": expected qtasks_api 1, got 2; install releases that fit together"),
    "older": (
        f"{CLASS}    qtasks_api = 0",
        "Plugin",
        ": expected qtasks_api 1, got 0; install releases that fit together",
    ),
    "cannot be built": (f"{CLASS}    def __init__(self, x): ...", "Plugin", "cannot be used: TypeError("),
    "no such trigger": (
        MODULE.replace("start", "strat"),
        "",
        "cannot be used: there is no trigger 'worker_strat'; did you mean 'worker_start'?",
    ),
    "no such argument": (
        CLASS.replace(", worker)", ", wroker)"),
        "Plugin",
        "cannot be used: worker_start gives worker by name, not 'wroker'; did you mean 'worker'?",
    ),
}


def names() -> list[str]:
    return [found.name for found in load_plugins(Triggers())]


# ---------------------------------------------------------------- what is found


def test_without_plugins_there_are_none_and_pluggy_is_not_loaded(site: Site) -> None:
    """An app without plugins pays for none."""
    code = """
    import sys
    from qtasks_core.discovery import load_plugins
    from qtasks_core.triggers import Triggers
    print(load_plugins(Triggers()), 'pluggy' in sys.modules)
    """

    assert "[] False\n" == site.run_program(code).stdout


def test_importing_looks_for_nothing(site: Site) -> None:
    """Neither metadata nor plugins: the first that is asked for looks."""
    site.install("fake-one", "print('imported')", "qtasks: one = ")
    code = "import sys, qtasks_core.blocking, qtasks_core.discovery; print('importlib.metadata' in sys.modules)"

    assert "False\n" == site.run_program(code).stdout


def test_a_module_an_object_and_a_class_are_plugins(site: Site) -> None:
    """Each by the name of its entry point, sorted, with its distribution; a class is instantiated."""
    site.install("fake-one", MODULE, "qtasks: module = ")
    site.install("fake-two", f"{CLASS}\nplugin = Plugin()", "qtasks: object = plugin", "qtasks: class = Plugin")
    by_class, module, by_object = load_plugins(Triggers())

    assert [("class", "fake-two 2.5"), ("module", "fake-one 2.5"), ("object", "fake-two 2.5")] == [
        (found.name, found.owner) for found in (by_class, module, by_object)
    ]
    assert sys.modules["fake_one"] is module.plugin
    assert sys.modules["fake_two"].plugin is by_object.plugin
    assert "Plugin" == type(by_class.plugin).__name__
    assert "(fake-one 2.5, entry point fake_one)" == module.origin


def test_each_call_builds_objects_of_its_own(site: Site) -> None:
    """So that two apps do not share what a plugin keeps."""
    site.install("fake-one", CLASS, "qtasks: one = Plugin")

    assert load_plugins(Triggers())[0].plugin is not load_plugins(Triggers())[0].plugin


def test_an_object_that_answers_all_in_one_place_is_a_plugin(site: Site) -> None:
    """As BasePlugin does."""
    code = """
    from qtasks_core.plugins import BasePlugin
    class Plugin(BasePlugin):
        qtasks_api = 1
        def trigger(self, name, /, **kwargs): ...
    """
    site.install("fake-one", code, "qtasks: one = Plugin")

    assert ["one"] == names()


def test_what_is_installed_later_is_found(site: Site) -> None:
    """What was found before is kept, but not for longer than it is true."""
    assert [] == names()
    site.install("fake-one", CLASS, "qtasks: one = Plugin")

    assert ["one"] == names()


def test_a_distribution_may_need_the_core_that_is_there(site: Site) -> None:
    """Requirements that are met, of other packages, or for other environments are in nobody's way."""
    requires = ["qtasks-core>=0.1,<1", "qtasks", "redis>=99", "qtasks-core>=99; extra == 'test'", "@ nonsense"]
    site.install(
        "fake-one", CLASS, "qtasks: one = Plugin", metadata="".join(f"Requires-Dist: {one}\n" for one in requires)
    )

    assert ["one"] == names()


# ---------------------------------------------------------------- what is broken


@pytest.mark.parametrize(("code", "attribute", "reason"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_told_once_and_skipped(
    site: Site, caplog: pytest.LogCaptureFixture, code: str, attribute: str, reason: str
) -> None:
    """One warning with distribution, version and entry point; the others work, in the first app and in the next."""
    site.install("fake-one", code, f"qtasks: one = {attribute}")
    site.install("fake-two", CLASS, "qtasks: two = Plugin")

    assert ["two"] == names() == names()
    (record,) = caplog.records
    value = f"fake_one:{attribute}" if attribute else "fake_one"
    start = f"plugin one (fake-one 2.5, entry point {value})"
    assert ("WARNING", "qtasks.plugins") == (record.levelname, record.name)
    assert record.message.startswith(start + ("" if reason.startswith(":") else " ") + reason)
    assert record.message.endswith("; it is skipped, `qtasks plugins` lists all")


@pytest.mark.parametrize(("code", "attribute", "reason"), BROKEN.values(), ids=BROKEN)
def test_strict_raises(site: Site, monkeypatch: pytest.MonkeyPatch, code: str, attribute: str, reason: str) -> None:
    """With QTASKS_PLUGINS_STRICT=1; the cause is chained."""
    monkeypatch.setenv("QTASKS_PLUGINS_STRICT", "1")
    site.install("fake-one", code, f"qtasks: one = {attribute}")
    with pytest.raises(PluginError) as caught:
        load_plugins(Triggers())

    assert reason in str(caught.value)
    assert reason.startswith(":") == (caught.value.__cause__ is None)


def test_two_of_one_name_are_both_skipped(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Neither is better; each is told, and names the other one."""
    site.install("fake-one", CLASS, "qtasks: same = Plugin")
    site.install("fake-two", CLASS, "qtasks: same = Plugin", "qtasks: two = Plugin")

    assert ["two"] == names()
    first, second = (record.message for record in caplog.records)
    one, two = "(fake-one 2.5, entry point fake_one:Plugin)", "(fake-two 2.5, entry point fake_two:Plugin)"
    assert first.startswith(f"plugin same {one}: there is another one of its name {two}; uninstall one")
    assert second.startswith(f"plugin same {two}: there is another one of its name {one}; uninstall one")


def test_one_that_needs_another_core_is_not_imported(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """What it would do with this one, nobody knows."""
    site.install("fake-one", "raise AssertionError", "qtasks: one = ", metadata="Requires-Dist: qtasks_core (>=99)\n")

    assert [] == names()
    assert "(fake-one 2.5, entry point fake_one) needs qtasks_core>=99, and 0." in caplog.text


def test_damaged_metadata_hides_its_own_distribution_only(site: Site) -> None:
    """An entry_points.txt that is none is left out."""
    site.install("fake-one", CLASS, "qtasks: one = Plugin")
    site.install("fake-two", CLASS)
    (site.folder / "fake_two-2.5.dist-info" / "entry_points.txt").write_bytes(b"[qtasks]\n\xff\xfe nonsense\n")

    assert ["one"] == names()


def test_what_cannot_be_registered_is_refused_by_the_same_rules(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An app that has something of that name says so: once, or it raises."""
    site.install("fake-one", CLASS, "qtasks: one = Plugin")
    triggers = Triggers()
    load_plugins(triggers)
    assert [] == load_plugins(triggers)
    assert [] == load_plugins(triggers)

    (record,) = caplog.records
    start = "plugin one (fake-one 2.5, entry point fake_one:Plugin) cannot be used: another plugin of that name is"
    assert record.message.startswith(start)
    monkeypatch.setenv("QTASKS_PLUGINS_STRICT", "true")
    with pytest.raises(PluginError, match="another plugin of that name is registered already") as caught:
        load_plugins(triggers)
    assert isinstance(caught.value.__cause__, ConfigError)


# ---------------------------------------------------------------- what is wanted


@pytest.fixture
def three(site: Site) -> Site:
    """Install the plugins one, two and three; three is broken."""
    site.install("fake-one", CLASS, "qtasks: one = Plugin")
    site.install("fake-two", CLASS, "qtasks: two = Plugin")
    site.install("fake-three", "1 / 0", "qtasks: three = Plugin")
    return site


@pytest.mark.parametrize(
    ("only", "disabled", "expected"),
    [
        ("one", "", ["one"]),
        (" two , one,", "", ["one", "two"]),
        ("", "three", ["one", "two"]),
        ("", "three, two ,not-there", ["one"]),
        ("", "*", []),
        ("one,two", "one", ["two"]),
        ("three", "three", []),
    ],
)
@pytest.mark.usefixtures("three")
def test_the_environment_chooses_by_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, only: str, disabled: str, expected: list[str]
) -> None:
    """QTASKS_PLUGINS allows, QTASKS_DISABLE_PLUGINS blocks and goes before it; what is not wanted is not imported."""
    monkeypatch.setenv("QTASKS_PLUGINS", only)
    monkeypatch.setenv("QTASKS_DISABLE_PLUGINS", disabled)

    assert expected == names()
    assert [] == caplog.records
    assert "fake_three" not in sys.modules


@pytest.mark.usefixtures("three")
def test_one_that_was_asked_for_must_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names a broken plugin in QTASKS_PLUGINS gets the error, not an app without it."""
    monkeypatch.setenv("QTASKS_PLUGINS", "one,three")
    with pytest.raises(PluginError, match=r"plugin three \(fake-three 2\.5, entry point fake_three:Plugin\) cannot"):
        load_plugins(Triggers())


@pytest.mark.usefixtures("three")
def test_one_that_is_asked_for_and_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the nearest name, and all there are."""
    monkeypatch.setenv("QTASKS_PLUGINS", "one,twoo")
    with pytest.raises(ConfigError) as caught:
        load_plugins(Triggers())

    text = "QTASKS_PLUGINS: no plugin 'twoo' is installed; did you mean 'two'? Installed: one, three, two"
    assert text == str(caught.value)


def test_one_that_is_asked_for_where_there_are_none(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """No guess, then."""
    monkeypatch.setenv("QTASKS_PLUGINS", "one")
    with pytest.raises(ConfigError, match=r"no plugin 'one' is installed\. Installed: none$"):
        load_plugins(Triggers())


@pytest.mark.parametrize("text", ["0", "", "false"])
@pytest.mark.usefixtures("three")
def test_not_strict_is_the_default_and_can_be_said(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """QTASKS_PLUGINS_STRICT=0 is no 1."""
    monkeypatch.setenv("QTASKS_PLUGINS_STRICT", text)

    assert ["one", "two"] == names()


def test_strict_is_1_or_0(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything else is told, also where nothing is broken."""
    monkeypatch.setenv("QTASKS_PLUGINS_STRICT", "maybe")
    with pytest.raises(ConfigError, match=r"QTASKS_PLUGINS_STRICT: expected 1 or 0, got 'maybe'"):
        load_plugins(Triggers())
